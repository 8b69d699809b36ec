"""Looking closer: both pictures zoom alike, one stands in the other's place; by keyboard, mouse and fingers."""

from __future__ import annotations

from itertools import pairwise

import pytest
from duel_page import SETTLE_MS, DuelPage
from playwright.sync_api import CDPSession, expect
from stored_rounds import Collection

pytestmark = pytest.mark.browser

# How both pictures are transformed: [scale, x, y] each, x and y in px.
LOOK = """async () => {
    await Promise.allSettled(document.getAnimations().map((moving) => moving.finished));
    return ["left", "right"].map((side) => {
        const matrix = new DOMMatrix(getComputedStyle(document.querySelector(`#${side} img`)).transform);
        return [matrix.a, matrix.e, matrix.f].map((value) => Math.round(value * 10) / 10);
    });
}"""
# A second tap comes within this time, and a finger is held for longer than this.
TAPS_MS = 80
HOLD_MS = 520


def look(duel: DuelPage) -> list[float]:
    """How the pictures are shown now: both alike."""
    left, right = duel.page.evaluate(LOOK)
    assert left == right
    return left


def middle(duel: DuelPage, side: str) -> tuple[float, float]:
    """The middle of one frame in the window."""
    box = duel.page.locator(f"#{side} .frame").bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_both_pictures_zoom_and_move_alike_by_keyboard(duel: DuelPage, collection: Collection) -> None:
    prompt = "an owl above the city at night"
    duel.write(prompt)
    page = duel.page
    box = page.locator("#left .frame").bounding_box()
    page.wait_for_timeout(SETTLE_MS)
    page.keyboard.press("z")
    assert look(duel)[0] == 2.5
    expect(page.locator("#live")).to_contain_text("Zoomed in")
    expect(page.locator("#zoom")).to_have_attribute("aria-pressed", "true")
    # The arrows look around now, and no further than the edges.
    seen = [look(duel)]
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp"):
        page.keyboard.press(key)
        seen.append(look(duel))
    assert all(one != other for one, other in pairwise(seen))
    assert seen[0] == seen[-1]
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    at_the_edge = look(duel)
    page.keyboard.press("ArrowRight")
    assert look(duel) == at_the_edge
    page.keyboard.press("+")
    assert look(duel)[0] == pytest.approx(3.7, abs=0.1)
    assert page.locator("#left .frame").bounding_box() == box  # nothing else moves
    page.keyboard.press("Escape")
    assert look(duel) == [1, 0, 0]
    assert collection.picks(prompt) == []
    # One may pick while looking closely; the next round is whole.
    page.keyboard.press("z")
    duel.answer("2")
    assert collection.picks(prompt) == ["right"]
    assert look(duel) == [1, 0, 0]


def test_zoom_by_mouse_drags_and_a_click_goes_back(duel: DuelPage, collection: Collection) -> None:
    prompt = "a dolphin under a rocket"
    duel.write(prompt)
    page = duel.page
    page.click("#zoom")
    x, y = middle(duel, "right")
    before = look(duel)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 60, y + 40, steps=4)
    page.mouse.up()
    after = look(duel)
    assert after[1] == pytest.approx(before[1] - 60, abs=1)
    assert after[2] == pytest.approx(before[2] + 40, abs=1)
    page.mouse.wheel(0, -300)
    page.wait_for_function(
        "parseFloat(document.querySelector('#pair').style.getPropertyValue('--zoom')) > 2.6"
    )
    page.wait_for_timeout(SETTLE_MS)
    page.mouse.click(x, y)
    assert look(duel) == [1, 0, 0]
    assert collection.picks(prompt) == []
    # The space bar still skips: the buttons did not keep the focus.
    duel.answer(" ")
    assert collection.rounds(prompt)[0].state == "skipped"


def test_two_taps_zoom_one_tap_goes_back_and_one_more_picks(phone: DuelPage, collection: Collection) -> None:
    prompt = "a ghost and a pumpkin"
    phone.write(prompt)
    page = phone.page
    page.wait_for_timeout(SETTLE_MS)
    page.tap("#left")
    expect(page.locator("#left")).to_have_class("picture is-tapped")
    page.wait_for_timeout(TAPS_MS)
    page.tap("#left")
    page.wait_for_function("document.querySelector('#pair').classList.contains('is-zoomed')")
    assert look(phone)[0] == 2.5
    page.wait_for_timeout(2 * SETTLE_MS)
    page.tap("#right")
    assert look(phone) == [1, 0, 0]
    page.wait_for_timeout(2 * SETTLE_MS)
    assert collection.picks(prompt) == []
    phone.tap("#right")
    assert collection.picks(prompt) == ["right"]


def touch(cdp: CDPSession, kind: str, *points: tuple[float, float]) -> None:
    """Fingers on the glass."""
    cdp.send(
        "Input.dispatchTouchEvent",
        {"type": kind, "touchPoints": [{"x": x, "y": y, "id": index} for index, (x, y) in enumerate(points)]},
    )


def test_two_fingers_zoom_and_one_moves(phone: DuelPage, collection: Collection) -> None:
    prompt = "a parrot and a pirate ship"
    phone.write(prompt)
    page = phone.page
    cdp = page.context.new_cdp_session(page)
    x, y = middle(phone, "left")
    touch(cdp, "touchStart", (x - 30, y), (x + 30, y))
    for spread in (40, 60, 80, 90):
        touch(cdp, "touchMove", (x - spread, y), (x + spread, y))
    touch(cdp, "touchEnd")
    scale = look(phone)[0]
    assert scale == pytest.approx(3, abs=0.2)
    before = look(phone)
    touch(cdp, "touchStart", (x, y))
    for step in range(1, 6):
        touch(cdp, "touchMove", (x - 8 * step, y))
    touch(cdp, "touchEnd")
    assert look(phone)[1] < before[1]
    # Together again.
    touch(cdp, "touchStart", (x - 90, y), (x + 90, y))
    for spread in (60, 30, 20, 10):
        touch(cdp, "touchMove", (x - spread, y), (x + spread, y))
    touch(cdp, "touchEnd")
    assert look(phone) == [1, 0, 0]
    page.wait_for_timeout(2 * SETTLE_MS)
    assert collection.picks(prompt) == []


def test_a_picture_that_is_held_gives_its_place_to_the_other(phone: DuelPage, collection: Collection) -> None:
    prompt = "a castle next to a snail"
    phone.write(prompt)
    page = phone.page
    cdp = page.context.new_cdp_session(page)
    x, y = middle(phone, "left")
    page.wait_for_timeout(SETTLE_MS)
    touch(cdp, "touchStart", (x, y))
    page.wait_for_timeout(HOLD_MS)
    cover = page.locator("#left .cover")
    assert cover.get_attribute("src") == phone.picture("right")
    assert cover.bounding_box() == page.locator("#left .frame").bounding_box()
    touch(cdp, "touchEnd")
    expect(cover).to_have_count(0)
    page.wait_for_timeout(2 * SETTLE_MS)
    assert collection.picks(prompt) == []
    phone.tap("#left")
    assert collection.picks(prompt) == ["left"]


def test_the_key_c_shows_each_in_the_others_place(duel: DuelPage) -> None:
    duel.write("a brown bear next to a red car")
    page = duel.page
    left, right = duel.picture("left"), duel.picture("right")
    page.keyboard.down("c")
    assert page.locator("#left .cover").get_attribute("src") == right
    assert page.locator("#right .cover").get_attribute("src") == left
    page.keyboard.up("c")
    expect(page.locator(".cover")).to_have_count(0)
    assert (duel.picture("left"), duel.picture("right")) == (left, right)
