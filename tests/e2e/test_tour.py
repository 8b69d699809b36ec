"""The first visit: the tour, and the one prompt that is free before signing in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from duel_page import DESK, PHONE, SETTLE_MS, DuelPage
from playwright.sync_api import Page, expect
from stored_rounds import Collection

pytestmark = pytest.mark.browser

# Where the light is, and what it is on.
LIGHT = """(id) => {
    const light = document.querySelector("#tour-spot").getBoundingClientRect();
    const target = document.querySelector(id).getBoundingClientRect();
    const card = document.querySelector("#tour-card").getBoundingClientRect();
    const seen = card.left >= 0 && card.top >= 0 && card.right <= innerWidth && card.bottom <= innerHeight;
    return seen && ["left", "top", "right", "bottom"].every((edge) => Math.abs(light[edge] - target[edge]) < 12);
}"""


@pytest.mark.parametrize("device", [DESK, PHONE], ids=["desk", "phone"])
def test_the_tour_points_at_real_things_and_comes_once(
    device: dict, new_page: Callable[..., Page], collection: Collection
) -> None:
    page = new_page(tour=True, **device)
    duel = DuelPage(page, collection.address)
    duel.open()
    duel.write("a unicorn in space, neon")
    dialog = page.get_by_role("dialog", name="Pick the better picture")
    expect(dialog.get_by_text("1 of 4")).to_be_visible()
    for target in ("#pair", "#tie", "#undo", "#finish"):
        page.wait_for_function(LIGHT, arg=target)
        page.locator("#tour-next").click()
    expect(page.locator("#tour")).to_be_hidden()
    expect(page.locator("#question")).to_be_focused()
    duel.answer("1")

    page.reload()
    duel.wait_for("compare")
    page.wait_for_timeout(SETTLE_MS)
    expect(page.locator("#tour")).to_be_hidden()
    # Whoever wants it again finds it in the menu.
    page.click("#more")
    page.get_by_role("menuitem", name="Take the tour").click()
    expect(page.locator("#tour-card")).to_be_visible()
    assert duel.complaints == []


def test_the_tour_keeps_the_focus_and_the_keys_to_itself(
    new_page: Callable[..., Page], collection: Collection
) -> None:
    prompt = "a turtle on the beach, black and white"
    page = new_page(tour=True)
    duel = DuelPage(page, collection.address)
    duel.open()
    duel.write(prompt)
    expect(page.locator("#tour-next")).to_be_focused()
    for _ in range(5):
        page.keyboard.press("Tab")
        assert page.evaluate(
            "document.activeElement === document.body || !!document.activeElement.closest('#tour')"
        )
    page.wait_for_timeout(SETTLE_MS)
    for key in ("1", "ArrowRight", "u"):
        page.keyboard.press(key)
    page.keyboard.press("Escape")
    expect(page.locator("#tour")).to_be_hidden()
    assert collection.picks(prompt) == []
    duel.answer("2")
    assert collection.picks(prompt) == ["right"]
    page.reload()
    duel.wait_for("compare")
    expect(page.locator("#tour")).to_be_hidden()


def test_the_free_prompt_by_touch_then_signing_in(
    new_page: Callable[..., Page], closed_collection: Collection
) -> None:
    prompt = "a red fox and a yellow duck on the beach"
    page = new_page(tour=True, **PHONE)
    duel = DuelPage(page, closed_collection.address)
    duel.open()
    expect(page.get_by_role("heading", name="Which picture is better?")).to_be_visible()
    assert page.locator("#form").is_hidden()
    assert page.locator(".free-prompt").text_content() == prompt
    expect(page.get_by_role("link", name="Sign in with Google").first).to_have_attribute(
        "href", "/auth/google?next=/"
    )
    page.tap("#try-free")
    duel.wait_for("compare")
    page.get_by_role("button", name="Skip the tour").tap()
    assert page.text_content("#label") == prompt
    for side in ("#left", "#right"):
        duel.tap(side)
    page.wait_for_timeout(SETTLE_MS)
    page.tap("#left")

    # After the last free round: the way in, and who made the pictures.
    duel.wait_for("revealed")
    expect(page.get_by_role("heading", name="Go on with prompts of your own")).to_be_visible()
    expect(page.locator("#gate").get_by_role("link", name="Sign in with Google")).to_be_visible()
    expect(page.locator(".winner-model")).to_contain_text("miniature-")
    kinds = closed_collection.read(
        "SELECT DISTINCT users.kind FROM rounds JOIN users ON users.id = rounds.user_id"
    )
    assert kinds == [("visitor",)]
    assert closed_collection.picks(prompt)[:3] == ["left", "right", "left"]

    # Trying again does not begin anew: the server has counted.
    duel.expected = ["Failed to load resource"]
    page.reload()
    page.tap("#try-free")
    expect(page.get_by_role("heading", name="Go on with prompts of your own")).to_be_visible()
    expect(page.locator("#gate-sign_in .gate-message")).to_contain_text("Sign in to go on")
    assert duel.complaints == []


def test_an_ended_session_where_one_must_sign_in(
    new_page: Callable[..., Page], closed_collection: Collection
) -> None:
    page = new_page(**DESK)
    duel = DuelPage(page, closed_collection.address)
    duel.expected = ["Failed to load resource"]
    duel.open()
    page.click("#try-free")
    duel.wait_for("compare")
    page.context.clear_cookies()
    page.wait_for_timeout(SETTLE_MS)
    page.keyboard.press("1")
    duel.wait_for("compose")
    expect(page.locator("#gate")).to_be_focused()
    expect(page.locator("#gate-sign_in .gate-message")).to_contain_text("Your session was lost")
    assert duel.complaints == []
