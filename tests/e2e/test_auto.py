"""Auto mode: prompts come by themselves, and nobody waits for them."""

from __future__ import annotations

import re

import pytest
from duel_page import SETTLE_MS, DuelPage
from playwright.sync_api import expect
from stored_rounds import Collection

pytestmark = pytest.mark.browser

ROUNDS = 12
MINE = "SELECT typed, state FROM duels WHERE user_id = ? ORDER BY id"


def play(duel: DuelPage, rounds: int) -> None:
    """Pick one side, then the other."""
    for number in range(rounds):
        duel.answer("12"[number % 2])


def test_after_twelve_rounds_the_next_prompt_is_there(duel: DuelPage, collection: Collection) -> None:
    prompt = "a white rabbit in a forest, oil painting"
    page = duel.page
    page.get_by_role("switch", name=re.compile("Auto")).check()
    duel.write(prompt)
    expect(page.locator("#auto-stage")).to_have_attribute("aria-pressed", "true")
    play(duel, ROUNDS - 1)
    # The next prompt is under way while one still looks at this one.
    mine = collection.read(MINE, duel.user_id())
    assert len(mine) == 2
    assert mine[0][0] == prompt
    page.evaluate(
        """() => {
            window.seen = [];
            const note = () => window.seen.push(document.body.dataset.state);
            new MutationObserver(note).observe(document.body, { attributes: true, attributeFilter: ["data-state"] });
        }"""
    )
    page.wait_for_timeout(1_000)  # its pictures are made meanwhile
    duel.answer("2")
    assert page.evaluate("window.seen") == ["answered", "compare"]
    other = mine[1][0]
    assert page.text_content("#label") == other != prompt
    assert duel.picks == ROUNDS
    duel.answer("3")
    assert collection.picks(prompt) == ["left", "right"] * 6
    assert collection.duels(prompt) == ["closed"]

    # Stop: the models of both prompts are named, and what was started ahead is taken back.
    page.get_by_role("button", name="Stop").click()
    duel.wait_for("revealed")
    expect(page.locator("#reveal .strip")).to_have_count(2)
    expect(page.locator("#reveal .strip figure")).to_have_count(2 * (ROUNDS + 1))
    assert {state for _, state in collection.read(MINE, duel.user_id())} == {"closed"}


def test_one_may_move_on_at_once_and_switch_it_off(duel: DuelPage, collection: Collection) -> None:
    page = duel.page
    page.get_by_role("switch", name=re.compile("Auto")).check()
    page.fill("#prompt", "")
    page.click("#go")  # no words are needed
    duel.wait_for("compare")
    first = page.text_content("#label")
    duel.answer("1")
    before = duel.round_id
    page.wait_for_timeout(SETTLE_MS)
    page.keyboard.press("n")
    duel.wait_for_other_round(before)
    assert page.text_content("#label") != first
    page.reload()
    duel.wait_for("compare")
    auto = page.get_by_role("button", name="Auto")
    expect(auto).to_have_attribute("aria-pressed", "true")
    auto.click()
    expect(auto).to_have_attribute("aria-pressed", "false")
    expect(page.get_by_role("button", name="New prompt")).to_be_visible()
    before = duel.round_id
    page.wait_for_timeout(SETTLE_MS)
    page.keyboard.press("n")
    page.wait_for_timeout(SETTLE_MS)
    assert duel.round_id == before
    duel.end()
    assert {state for _, state in collection.read(MINE, duel.user_id())} == {"closed"}


def test_where_the_next_prompt_cannot_be_had_this_one_goes_on(duel: DuelPage, collection: Collection) -> None:
    prompt = "a skull in the desert at night"
    duel.expected = ["Failed to load resource"]
    page = duel.page
    page.locator("#auto-compose").check()
    duel.write(prompt)
    page.route(
        "**/api/v1/duels", lambda route: route.fulfill(status=429, body="{}", headers={"Retry-After": "9"})
    )
    play(duel, ROUNDS + 1)
    assert page.text_content("#label") == prompt
    assert len(collection.picks(prompt)) == ROUNDS + 1
    page.unroute("**/api/v1/duels")
    duel.answer("1")
    assert page.text_content("#label") != prompt
