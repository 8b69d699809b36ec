"""What it looks like: at every size, dark and light, nothing sticks out and everything can be reached.

With PICKAPIC_TEST_SCREENSHOTS set, the pictures in docs/screenshots are made anew.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from duel_page import SETTLE_MS, DuelPage
from PIL import Image
from playwright.sync_api import Page, expect
from stored_rounds import Collection

pytestmark = pytest.mark.browser

SCREENSHOTS = Path(__file__).parents[2] / "docs" / "screenshots"
WANTED = bool(os.environ.get("PICKAPIC_TEST_SCREENSHOTS"))

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
SIDEWAYS = {"viewport": {"width": 740, "height": 360}, "has_touch": True, "is_mobile": True}
TABLET = {"viewport": {"width": 768, "height": 1024}, "has_touch": True, "is_mobile": True}
DESKTOP = {"viewport": {"width": 1440, "height": 900}}
DEVICES = {"phone": PHONE, "sideways": SIDEWAYS, "tablet": TABLET, "desktop": DESKTOP}
# The shorter edge that a picture must have, in CSS pixels: close to the most that the screen allows.
LEAST_EDGE = {"phone": 290, "sideways": 240, "tablet": 420, "desktop": 660}

# Whatever is visible and pokes out of the window on the right, by its id or class.
POKES_OUT = """() => [...document.querySelectorAll("body *")].filter((element) => {
    if (element.closest(".sr, .wide, .label") || !element.checkVisibility()) return false;
    return element.getBoundingClientRect().right > document.documentElement.clientWidth + 1;
}).map((element) => element.id || element.className || element.tagName)"""
TOO_SMALL = """() => [...document.querySelectorAll("button, textarea, .wordmark, .links a")]
    .filter((element) => element.checkVisibility() && !element.closest(".sr"))
    .filter((element) => {
        const box = element.getBoundingClientRect();
        return box.height < 44 || box.width < 44;
    })
    .map((element) => element.id || element.className)"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", DEVICES)
def test_every_state_fits(
    device: str, scheme: str, new_page: Callable[..., Page], collection: Collection
) -> None:
    page = new_page(**DEVICES[device], color_scheme=scheme)
    duel = DuelPage(page, collection.address)
    width = DEVICES[device]["viewport"]["width"]

    def look(state: str) -> None:
        assert page.evaluate("document.documentElement.scrollWidth") <= width, state
        assert page.evaluate(POKES_OUT) == [], state
        assert page.evaluate(TOO_SMALL) == [], state
        if WANTED and device in ("phone", "desktop") and state not in ("about", "docs"):
            _keep(page, f"{state}-{device}-{scheme}.png")

    duel.open()
    page.evaluate("document.querySelector('#prompt').placeholder = 'a red fox on the beach, watercolor'")
    look("prompt")
    duel.write("a red fox and a yellow duck on the beach [blurry]")
    page.mouse.move(0, 0)
    page.wait_for_timeout(SETTLE_MS)
    look("duel")
    _check_pictures(page, device)

    for side in ("#left", "#tie", "#right", "#left"):
        before = duel.round_id
        page.wait_for_timeout(SETTLE_MS)
        page.click(side)
        duel.wait_for_other_round(before)
    duel.end()
    expect(page.locator("#reveal img").first).to_be_visible()
    page.wait_for_timeout(SETTLE_MS)
    look("reveal")
    for address in ("/leaderboard", "/about", "/docs"):
        page.goto(collection.address + address)
        look(address.strip("/"))
    assert duel.complaints == []


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


def test_it_can_be_heard(duel: DuelPage) -> None:
    """Names, live regions and the focus are there for those who do not see the page."""
    page, prompt = duel.page, "a panda in a meadow"
    live = page.locator("#live")
    expect(page.get_by_role("textbox", name="Prompt")).to_be_focused()
    duel.write(prompt)
    expect(page.get_by_role("button", name=f"left image for: {prompt}")).to_be_visible()
    expect(page.get_by_role("button", name=f"right image for: {prompt}")).to_be_visible()
    expect(page.get_by_role("heading", name="Which picture is better?")).to_be_focused()
    expect(live).to_have_text("Two pictures. Which one is better?")
    said: list[str] = []
    page.expose_function("say", lambda text: said.append(text))
    page.evaluate("""() => new MutationObserver(() => window.say(document.querySelector("#live").textContent))
        .observe(document.querySelector("#live"), { childList: true })""")
    duel.answer("1")
    assert said == ["Left picked.", "Two pictures. Which one is better?"]
    for key in ("ArrowLeft 1", "ArrowRight 2", "ArrowDown 3", "Space", "U"):
        assert page.locator(f"[aria-keyshortcuts='{key}']:visible").count() == 1
    duel.end()
    expect(live).to_contain_text("The duel has ended")
    expect(page.get_by_role("textbox", name="Prompt")).to_be_focused()


def test_nothing_moves_for_those_who_ask_for_calm(
    new_page: Callable[..., Page], collection: Collection
) -> None:
    page = new_page(reduced_motion="reduce")
    duel = DuelPage(page, collection.address)
    duel.open()
    duel.write("a polar bear in the snow")
    page.evaluate(
        """() => {
            const animate = Element.prototype.animate;
            window.moved = 0;
            Element.prototype.animate = function (...all) {
                window.moved += 1;
                return animate.apply(this, all);
            };
        }"""
    )
    for key in ("1", "2", "1"):
        duel.answer(key)
    assert page.evaluate("window.moved") == 0
    assert page.evaluate("document.getAnimations().length") == 0


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


def _keep(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    # Chromium writes PNG in haste.
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(SCREENSHOTS / name, optimize=True)
