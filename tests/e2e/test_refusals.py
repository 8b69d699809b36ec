"""What the server refuses: asked, told, kept; and the interrupted wish goes on by itself."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from duel_page import DESK, SETTLE_MS, DuelPage
from playwright.sync_api import Page, Route, expect
from stored_rounds import Collection

pytestmark = pytest.mark.browser

FAILED_LOAD = "Failed to load resource"
# The server asks the database again who somebody is after this long.
SESSION_MS = 2_200

OLD_TERMS = "UPDATE consents SET version = 'old' WHERE user_id = ?"
BANNED = "UPDATE users SET status = 'banned' WHERE id = ?"


def signed_in(duel: DuelPage) -> int:
    """Sign in as a guest, without a duel, and return who it is."""
    page = duel.page
    token = next(cookie["value"] for cookie in page.context.cookies() if cookie["name"] == "csrf")
    assert page.request.post(f"{duel.address}/auth/guest", headers={"X-CSRF-Token": token}).status == 201
    page.reload()
    return duel.user_id()


def test_consent_is_asked_and_the_prompt_goes_on_by_itself(duel: DuelPage, collection: Collection) -> None:
    prompt = "a velociraptor in the city, neon [crowds]"
    page = duel.page
    duel.expected = [FAILED_LOAD]
    user_id = signed_in(duel)
    collection.change(OLD_TERMS, user_id)
    page.wait_for_timeout(SESSION_MS)

    page.fill("#prompt", prompt)
    page.press("#prompt", "Enter")
    dialog = page.get_by_role("dialog", name="Before you go on")
    expect(dialog).to_be_visible()
    expect(dialog.get_by_role("link", name="the whole terms")).to_have_attribute("href", "/terms")
    page.keyboard.press("Escape")
    expect(page.locator("#prompt-problem")).to_contain_text("terms")
    assert page.input_value("#prompt") == prompt
    assert collection.duels(prompt) == []

    page.click("#go")
    dialog.get_by_role("button", name="Agree").click()
    duel.wait_for("compare")
    assert page.text_content("#label") == prompt
    assert collection.read("SELECT version FROM consents WHERE user_id = ? ORDER BY version", user_id) == [
        ("1",),
        ("old",),
    ]


def test_new_terms_in_the_middle_of_a_duel_lose_no_pick(duel: DuelPage, collection: Collection) -> None:
    prompt = "a queen bee in a meadow, poster"
    page = duel.page
    duel.expected = [FAILED_LOAD]
    duel.write(prompt)
    collection.change(OLD_TERMS, duel.user_id())
    page.wait_for_timeout(SESSION_MS)
    before = duel.round_id
    page.keyboard.press("2")
    dialog = page.get_by_role("dialog", name="Before you go on")
    expect(dialog).to_be_visible()
    page.keyboard.press("1")  # the keys rest
    dialog.get_by_role("button", name="Agree").click()
    duel.wait_for_other_round(before)
    assert collection.picks(prompt) == ["right"]


def test_somebody_banned_is_told_calmly(duel: DuelPage, collection: Collection) -> None:
    prompt = "a pink flamingo in the desert"
    page = duel.page
    duel.expected = [FAILED_LOAD]
    duel.write(prompt)
    duel.answer("1")
    user_id = duel.user_id()
    collection.change(BANNED, user_id)
    page.wait_for_timeout(SESSION_MS)
    page.keyboard.press("1")
    duel.wait_for("compose")
    panel = page.get_by_role("group", name="Picking has ended for you here")
    expect(panel).to_be_focused()
    expect(panel).to_contain_text("cannot take part")
    expect(panel.get_by_role("link", name="My data")).to_have_attribute("href", "/me")
    assert page.locator("#form").is_hidden()
    assert collection.picks(prompt) == ["left"]
    # So it is on the next visit, from the start.
    page.reload()
    expect(panel).to_be_visible()
    assert page.locator("#form").is_hidden()


def test_a_blocked_prompt_says_why_and_stays(duel: DuelPage, collection: Collection) -> None:
    prompt = "a nude woman on the beach"
    duel.expected = [FAILED_LOAD]
    duel.page.fill("#prompt", prompt)
    duel.page.click("#go")
    expect(duel.page.locator("#prompt-problem")).to_have_text(re.compile(r"\w+"))
    assert duel.page.input_value("#prompt") == prompt
    assert duel.state == "compose"
    assert collection.duels(prompt) == []
    expect(duel.page.locator("#prompt")).to_be_focused()


def refuse(route: Route, status: int, code: str, message: str, **headers: str) -> None:
    """Answer as the server does."""
    body = json.dumps({"error": {"code": code, "message": message}})
    route.fulfill(status=status, body=body, content_type="application/json", headers=headers)


def test_a_prompt_in_review_is_no_error(duel: DuelPage, collection: Collection) -> None:
    prompt = "a nude statue of a knight"
    duel.expected = [FAILED_LOAD]
    duel.page.fill("#prompt", prompt)
    duel.page.click("#go")
    expect(duel.page.locator("#prompt-problem.is-review")).to_contain_text("moderator")
    expect(duel.page.locator("#prompt")).to_have_attribute("aria-invalid", "false")
    assert duel.page.input_value("#prompt") == prompt
    assert collection.read("SELECT typed, state FROM prompt_reviews WHERE typed = ?", prompt) == [
        (prompt, "waiting")
    ]


def test_too_many_prompts_are_refused_for_as_long_as_is_said(
    new_page: Callable[..., Page], strict_collection: Collection
) -> None:
    duel = DuelPage(new_page(**DESK), strict_collection.address)
    duel.expected = [FAILED_LOAD]
    duel.open()
    duel.write("a red fox on the beach")
    duel.end()
    duel.page.fill("#prompt", "a yellow duck on the beach")
    duel.page.click("#go")
    expect(duel.page.locator("#prompt-problem")).to_have_text("More than 1 prompts a minute are too many.")
    expect(duel.page.locator("#prompt-clock")).to_have_text(re.compile(r"Try again in [1-5]\d s\."))
    strict_collection.change("UPDATE duels SET created_at = datetime(created_at, '-1 minute')")
    duel.page.click("#go")
    duel.wait_for("compare")
    assert duel.page.text_content("#label") == "a yellow duck on the beach"
    assert duel.complaints == []


def test_a_limit_counts_down_and_keeps_the_words(duel: DuelPage) -> None:
    prompt = "a small mouse on top of a big watermelon"
    message = "More than 60 prompts a minute are too many."
    duel.expected = [FAILED_LOAD]
    duel.page.route(
        "**/api/v1/duels", lambda route: refuse(route, 429, "too_many", message, **{"Retry-After": "2"})
    )
    duel.page.fill("#prompt", prompt)
    duel.page.click("#go")
    problem, clock = duel.page.locator("#prompt-problem"), duel.page.locator("#prompt-clock")
    expect(problem).to_have_text(message)
    expect(clock).to_have_text("Try again in 2 s.")
    expect(clock).to_have_text("Try again in 1 s.")
    expect(clock).to_have_text("")
    expect(problem).to_have_text("")
    assert duel.page.input_value("#prompt") == prompt
    duel.page.unroute("**/api/v1/duels")
    duel.page.click("#go")
    duel.wait_for("compare")


def test_long_waits_are_told_in_their_unit(duel: DuelPage) -> None:
    duel.expected = [FAILED_LOAD]
    duel.page.fill("#prompt", "a dog")
    for seconds, words in ((600, "10 minutes"), (7_200, "2 hours"), (7 * 86_400, "7 days")):

        def answer(route: Route, *, seconds: int = seconds) -> None:
            refuse(route, 429, "too_many", "Enough.", **{"Retry-After": str(seconds)})

        duel.page.route("**/api/v1/duels", answer)
        duel.page.click("#go")
        expect(duel.page.locator("#prompt-clock")).to_have_text(f"Try again in {words}.")


def test_a_picture_that_the_server_has_not_seen_shown_is_fetched_again(
    duel: DuelPage, collection: Collection
) -> None:
    """The browser may have had it in its own cache."""
    prompt = "an eagle above the mountains"
    duel.expected = [FAILED_LOAD]
    duel.write(prompt)
    refused: list[str] = []

    def once(route: Route) -> None:
        if refused:
            route.continue_()
            return
        refused.append(route.request.url)
        refuse(route, 409, "not_shown", "Look at both images first.")

    duel.page.route("**/pick", once)
    with duel.page.expect_request("**/api/v1/images/*"):
        duel.answer("2")
    assert collection.picks(prompt) == ["right"]
    expect(duel.page.locator("#notice")).to_be_hidden()


def test_words_survive_every_refusal_and_a_reload(duel: DuelPage, new_page: Callable[..., Page]) -> None:
    """Errors always return to the prompt with the text intact."""
    duel.expected = [FAILED_LOAD]
    for status, code in (
        (422, "prompt"),
        (429, "too_many"),
        (403, "consent"),
        (500, "internal"),
        (503, "busy"),
    ):
        words = f"a fox that meets {status}"

        def answer(route: Route, *, status: int = status, code: str = code) -> None:
            refuse(route, status, code, f"No, {status}.")

        duel.page.route("**/api/v1/duels", answer)
        duel.page.fill("#prompt", words)
        duel.page.wait_for_timeout(SETTLE_MS)
        duel.page.click("#go")
        if code == "consent":
            duel.page.get_by_role("button", name="Not now").click()
        expect(duel.page.locator("#prompt-problem")).to_have_text(re.compile(f"No, {status}|No connection"))
        assert duel.page.input_value("#prompt") == words
        duel.page.unroute("**/api/v1/duels")
    duel.page.reload()
    assert duel.page.input_value("#prompt") == words
