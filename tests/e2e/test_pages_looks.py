"""Every page around the picking, in both languages, at every size, dark and light: fits, reads, and can be used by all.

With PICKAPIC_TEST_SCREENSHOTS set some of it goes to docs/screenshots; if it names a folder, all of it goes there.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from player import Player
from playwright.sync_api import Browser, Page, expect
from stored_rounds import Collection
from test_looks import PHONE, POKES_OUT, TABLET

pytestmark = pytest.mark.browser

DOCS = Path(__file__).parents[2] / "docs" / "screenshots"
WISH = os.environ.get("PICKAPIC_TEST_SCREENSHOTS", "")
# In docs: one of each page, now light, now dark, some of them from right to left.
CHOSEN = {
    "leaderboard-desktop-light-en",
    "leaderboard-phone-dark-en",
    "gallery-desktop-dark-en",
    "gallery-phone-light-he",
    "me-desktop-light-en",
    "me-phone-dark-he",
    "share-tablet-light-en",
    "about-tablet-dark-he",
    "sign-in-phone-light-en",
    "delete-tablet-light-en",
}
DESKTOP = {"viewport": {"width": 1440, "height": 900}}
DEVICES = {"phone": PHONE, "tablet": TABLET, "desktop": DESKTOP}
LANGUAGES = {"en": "ltr", "he": "rtl"}
SCHEMES = ("light", "dark")
PROMPTS = (
    "a red fox on the beach, watercolor",
    "an owl on top of a house in the snow",
    "a panda in a meadow [blurry]",
)
TOO_SMALL = """() => [...document.querySelectorAll(
        "button, summary, .links a, .plain, .primary, .quiet, .wordmark, .field")]
    .filter((element) => element.checkVisibility() && !element.closest(".sr, .skip-link"))
    .filter((element) => {
        const box = element.getBoundingClientRect();
        return box.height < 44 || box.width < 44;
    })
    .map((element) => element.id || element.className || element.textContent)"""
AT_REST = """() => Promise.allSettled(document.getAnimations()
  .filter((animation) => Number.isFinite(animation.effect.getComputedTiming().endTime))
  .map((animation) => animation.finished))"""
STICKS_OUT_LEFT = """() => [...document.querySelectorAll("body *")].filter((element) =>
    element.checkVisibility() && !element.closest(".sr, .wide, .skip-link, .wordmark")
    && element.getBoundingClientRect().left < -1).map((element) => element.id || element.className)"""


@pytest.fixture(scope="module")
def somebody(browser: Browser, collection: Collection) -> Iterator[tuple[dict, str]]:
    """Cookies of a person with pictures, picks and a shared page; and that page's path."""
    context = browser.new_context()
    player = Player(context, collection)
    rounds = 110 if WISH else 12
    for prompt in PROMPTS:
        player.play(prompt, ["?", "tie", *["?"] * (rounds - 2)])
    shared = player.share()
    player.play("a tiny robot next to a giant strawberry", ["?"] * 3, close=False)
    yield context.storage_state(), shared
    context.close()


def _opened(
    new_page: Callable[..., Page], device: str, scheme: str, language: str, state: dict | None, address: str
) -> Page:
    page = new_page(
        **DEVICES[device],
        color_scheme=scheme,
        storage_state=state,
        locale={"en": "en-GB", "he": "he-IL"}[language],
    )
    page.complaints = []
    page.on(
        "console", lambda message: page.complaints.append(message.text) if message.type != "log" else None
    )
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(address)
    return page


# Colours and words do not depend on the width: in between, two looks are enough.
LOOKS = [
    *(
        (device, scheme, language)
        for device in ("phone", "desktop")
        for scheme in SCHEMES
        for language in LANGUAGES
    ),
    *(("tablet", scheme, language) for scheme, language in zip(SCHEMES, LANGUAGES, strict=True)),
]


@pytest.mark.parametrize(("device", "scheme", "language"), LOOKS)
def test_every_page_fits_and_can_be_used_by_all(
    device: str,
    scheme: str,
    language: str,
    new_page: Callable[..., Page],
    collection: Collection,
    somebody: tuple[dict, str],
) -> None:
    state, shared = somebody
    page = _opened(new_page, device, scheme, language, state, collection.address)

    def look(name: str, path: str, status: int = 200) -> None:
        answer = page.goto(collection.address + path)
        assert answer is not None
        assert answer.status == status, path
        _look(page, f"{name}-{device}-{scheme}-{language}", language)

    look("leaderboard", "/leaderboard")
    look("gallery", "/gallery")
    look("me", "/me")
    page.click("#forget summary")
    page.mouse.move(0, 0)
    _look(page, f"delete-{device}-{scheme}-{language}", language)
    for name, path in (("about", "/about"), ("terms", "/terms"), ("share", shared), ("docs", "/docs")):
        look(name, path)
    look("lost", "/nowhere", 404)
    assert [text for text in page.complaints if "404" not in text] == []


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("device", DEVICES)
def test_the_pages_of_somebody_signed_out(
    device: str,
    language: str,
    new_page: Callable[..., Page],
    collection: Collection,
    somebody: tuple[dict, str],
) -> None:
    scheme = "dark" if language == "he" else "light"
    page = _opened(new_page, device, scheme, language, None, collection.address + "/me")
    expect(page).to_have_url(collection.address + "/sign-in?next=/me")
    _look(page, f"sign-in-{device}-{scheme}-{language}", language)
    page.goto(collection.address + "/gallery")
    _look(page, f"gallery-signed-out-{device}-{scheme}-{language}", language)
    page.goto(collection.address + somebody[1])
    page.click(".shared summary")
    _look(page, f"share-signed-out-{device}-{scheme}-{language}", language)
    assert page.complaints == []


def _look(page: Page, name: str, language: str) -> None:
    assert page.get_attribute("html", "lang") == language, name
    assert page.get_attribute("html", "dir") == LANGUAGES[language], name
    page.evaluate(
        "Promise.all([...document.images].map((image) => { image.loading = 'eager'; return image.decode(); }))"
    )
    # Colours in the middle of a change are nobody's to judge.
    page.evaluate(AT_REST)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), name
    assert page.evaluate(POKES_OUT) == [], name
    assert page.evaluate(STICKS_OUT_LEFT) == [], name
    assert page.evaluate(TOO_SMALL) == [], name
    if WISH:
        _keep(page, name)
    if "tablet" not in name:
        found = Axe().run(page).response["violations"]
        said = [
            (one["id"], one["nodes"][0]["html"][:200], one["nodes"][0]["failureSummary"]) for one in found
        ]
        assert [one for one in found if one["impact"] in ("serious", "critical")] == [], (name, said)


def _keep(page: Page, name: str) -> None:
    folder = DOCS if WISH == "1" else Path(WISH)
    if folder == DOCS and name not in CHOSEN:
        return
    folder.mkdir(parents=True, exist_ok=True)
    # Chromium writes PNG in haste, and photographs of pictures need no more than 256 colours each.
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    picture.save(folder / f"{name}.png", optimize=True)
