"""What it looks like: at every size, dark and light, nothing sticks out and everything can be reached.

With PICKAPIC_TEST_SCREENSHOTS naming a folder, a picture of every state is put there; with the value 1, those that the
documentation shows are made anew in docs/screenshots.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from duel_page import PHONE, SETTLE_MS, DuelPage
from PIL import Image
from playwright.sync_api import Page, expect
from stored_rounds import Collection

pytestmark = pytest.mark.browser

# Read before the settings of the caller are taken away from each test.
WANTED = os.environ.get("PICKAPIC_TEST_SCREENSHOTS", "")
DOCS = Path(__file__).parents[2] / "docs" / "screenshots"
SHOWN_IN_DOCS = frozenset(
    {
        "prompt-phone-light",
        "prompt-desktop-dark",
        "tour-phone-dark",
        "tour-desktop-light",
        "duel-phone-dark",
        "duel-desktop-light",
        "duel-tablet-dark",
        "zoom-desktop-dark",
        "menu-phone-light",
        "reveal-desktop-light",
        "reveal-phone-dark",
        "consent-phone-light",
        "banned-desktop-dark",
        "free-phone-dark",
        "duel-phone-right-to-left",
    }
)

SIDEWAYS = {"viewport": {"width": 740, "height": 360}, "has_touch": True, "is_mobile": True}
TABLET = {"viewport": {"width": 768, "height": 1024}, "has_touch": True, "is_mobile": True}
DESKTOP = {"viewport": {"width": 1440, "height": 900}}
DEVICES = {"phone": PHONE, "sideways": SIDEWAYS, "tablet": TABLET, "desktop": DESKTOP}
# The shorter edge that a picture must have, in CSS pixels: close to the most that the screen allows.
LEAST_EDGE = {"phone": 290, "sideways": 240, "tablet": 420, "desktop": 650}

# Whatever is visible and pokes out of the window on either side, by its id or class.
POKES_OUT = """() => [...document.querySelectorAll("body *")].filter((element) => {
    if (element.closest(".sr, .wide, .label, .tour-spot, .skip-link, .frame")) return false;
    const box = element.getBoundingClientRect();
    return element.checkVisibility() && (box.right > document.documentElement.clientWidth + 1 || box.left < -1);
}).map((element) => element.id || element.className || element.tagName)"""
# Links within a sentence are as high as their line.
TOO_SMALL = """() => [...document.querySelectorAll("button, textarea, .wordmark, .links a, .switch, [role=menuitem]")]
    .filter((element) => element.checkVisibility() && !element.closest(".sr"))
    .filter((element) => {
        const box = element.getBoundingClientRect();
        return box.height < 44 || box.width < 44;
    })
    .map((element) => element.id || element.className || element.textContent)"""

PANEL = """(panel) => {
    document.querySelector("#writing").hidden = true;
    document.querySelector("#gate").hidden = false;
    for (const one of document.querySelectorAll("#gate > div")) one.hidden = one.id !== `gate-${panel}`;
}"""


class Eye:
    """Looks at one page on one device."""

    def __init__(self, page: Page, device: str, suffix: str) -> None:
        self.page = page
        self.device = device
        self.suffix = suffix

    def look(self, state: str) -> None:
        """Check that everything fits and can be reached; keep a picture where one is wanted."""
        width = self.page.viewport_size["width"]  # type: ignore[index]
        assert self.page.evaluate("document.documentElement.scrollWidth") <= width, state
        assert self.page.evaluate(POKES_OUT) == [], state
        assert self.page.evaluate(TOO_SMALL) == [], state
        if WANTED:
            self._keep(f"{state}-{self.device}-{self.suffix}")

    def _keep(self, name: str) -> None:
        if WANTED == "1" and name not in SHOWN_IN_DOCS:
            return
        folder = DOCS if WANTED == "1" else Path(WANTED)
        folder.mkdir(parents=True, exist_ok=True)
        self.page.wait_for_timeout(250)  # what moves has arrived
        image = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        image.save(folder / f"{name}.jpg", quality=84, optimize=True, progressive=True)


# Sizes do not depend on colours: each device is looked at in one scheme, and in both for pictures.
LOOKS = [("phone", "dark"), ("sideways", "light"), ("tablet", "dark"), ("desktop", "light")]
if WANTED:
    LOOKS = [(device, scheme) for device in DEVICES for scheme in ("light", "dark")]


@pytest.mark.parametrize(("device", "scheme"), LOOKS)
def test_every_state_fits(
    device: str, scheme: str, new_page: Callable[..., Page], collection: Collection
) -> None:
    page = new_page(tour=True, **DEVICES[device], color_scheme=scheme)
    duel = DuelPage(page, collection.address)
    eye = Eye(page, device, scheme)

    duel.open()
    page.evaluate("document.querySelector('#prompt').placeholder = 'a red fox on the beach, watercolor'")
    eye.look("prompt")
    page.fill("#prompt", "a red fox and a yellow duck on the beach [blurry]")
    eye.look("words")
    page.click("#go")
    duel.wait_for("compare")
    for step in ("tour", "tour-tie", "tour-undo", "tour-end"):
        page.wait_for_timeout(250)  # the light has arrived
        eye.look(step)
        page.locator("#tour-next").click()
    page.mouse.move(0, 0)
    page.wait_for_timeout(SETTLE_MS)
    eye.look("duel")
    _check_pictures(page, device)
    page.click("#more")
    eye.look("menu")
    page.get_by_role("menuitem", name="Look closer at both").click()
    eye.look("zoom")
    page.keyboard.press("Escape")
    for dialog in ("consent", "report"):
        page.evaluate("(id) => document.getElementById(id).showModal()", f"{dialog}-dialog")
        eye.look(dialog)
        page.evaluate("(id) => document.getElementById(id).close()", f"{dialog}-dialog")

    for side in ("#left", "#tie", "#right", "#left"):
        before = duel.round_id
        page.wait_for_timeout(SETTLE_MS)
        page.click(side)
        duel.wait_for_other_round(before)
    duel.end()
    expect(page.locator("#reveal img").first).to_be_visible()
    page.wait_for_timeout(SETTLE_MS)
    eye.look("reveal")
    assert duel.complaints == []


@pytest.mark.parametrize(("device", "scheme"), LOOKS)
def test_every_panel_fits(
    device: str,
    scheme: str,
    new_page: Callable[..., Page],
    collection: Collection,
    closed_collection: Collection,
) -> None:
    page = new_page(**DEVICES[device], color_scheme=scheme)
    eye = Eye(page, device, scheme)
    page.goto(closed_collection.address)
    eye.look("free")
    page.evaluate(PANEL, "sign_in")
    eye.look("sign-in")
    page.goto(collection.address)
    page.evaluate(PANEL, "banned")
    eye.look("banned")


def test_right_to_left_keeps_left_and_right(new_page: Callable[..., Page], collection: Collection) -> None:
    """The bar is mirrored, the pictures are not: arrow keys and sides are physical."""
    prompt = "a red fox and a yellow duck in space"
    for device in ("phone", "desktop"):
        page = new_page(**DEVICES[device], locale="he-IL", color_scheme="dark")
        duel = DuelPage(page, collection.address)
        duel.open()
        assert page.get_attribute("html", "dir") == "rtl"
        eye = Eye(page, device, "right-to-left")
        eye.look("prompt")
        duel.write(prompt)
        eye.look("duel")
        _check_pictures(page, device)
        undo, more = page.locator("#undo").bounding_box(), page.locator("#more").bounding_box()
        assert undo is not None
        assert more is not None
        assert undo["x"] > more["x"]
        page.click("#more")
        eye.look("menu")
        page.keyboard.press("Escape")
        assert duel.complaints == []
    kept = duel.tokens()[0]
    duel.answer("ArrowLeft")
    assert kept in duel.tokens()
    assert collection.picks(prompt) == ["left"]


def _check_pictures(page: Page, device: str) -> None:
    frames = [page.locator(f"#{side} .frame").bounding_box() for side in ("left", "right")]
    viewport = DEVICES[device]["viewport"]
    for frame in frames:
        assert frame is not None
        assert min(frame["width"], frame["height"]) >= LEAST_EDGE[device]
        assert frame["width"] == pytest.approx(frame["height"], abs=1)
        assert frame["x"] >= 0
        assert frame["y"] >= 0
        assert frame["x"] + frame["width"] <= viewport["width"]
        assert frame["y"] + frame["height"] <= viewport["height"]
    left, right = frames
    assert left is not None
    assert right is not None
    # Beside or above: the one that leaves more room.
    if device in ("desktop", "sideways"):
        assert left["y"] == right["y"]
        assert left["x"] < right["x"]
    else:
        assert left["x"] == right["x"]
        assert left["y"] < right["y"]
    assert page.evaluate("document.documentElement.scrollHeight") <= viewport["height"]


def test_a_narrow_screen_and_a_long_prompt(new_page: Callable[..., Page], collection: Collection) -> None:
    page = new_page(**PHONE)
    duel = DuelPage(page, collection.address)
    duel.open()
    page.fill("#prompt", "Donaudampfschifffahrtsgesellschaft" * 12)
    assert page.evaluate(POKES_OUT) == []
    page.tap("#go")
    duel.wait_for("compare")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    _check_pictures(page, "phone")
    page.tap("#finish")
    duel.wait_for("revealed")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_no_address_but_this_server_is_asked(new_page: Callable[..., Page], collection: Collection) -> None:
    page = new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    duel = DuelPage(page, collection.address)
    duel.open()
    duel.write("a queen bee in a meadow")
    duel.answer("1")
    duel.end()
    assert asked
    assert [url for url in asked if not url.startswith(collection.address + "/")] == []


def test_every_module_is_fetched_at_once(new_page: Callable[..., Page], collection: Collection) -> None:
    """None is found only when another one asks for it: that would be one more journey on a slow line."""
    page = new_page()
    page.goto(collection.address)
    links = page.eval_on_selector_all("link[rel=modulepreload]", "all => all.map((link) => link.href)")
    asked = page.evaluate(
        "performance.getEntriesByType('resource').map(({ name }) => name).filter((name) => name.endsWith('.js'))"
    )
    assert sorted(set(links)) == sorted(set(asked))
