"""What goes wrong is said, loses no words, and is never counted twice."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress

import pytest
from duel_page import SETTLE_MS, DuelPage
from playwright.sync_api import Browser, Error, Page, Route, expect
from stored_rounds import Collection

pytestmark = pytest.mark.browser

# Chromium itself reports every answer of 400 and more, and every request that fails.
FAILED_LOAD = "Failed to load resource"


def test_an_empty_prompt_is_explained(duel: DuelPage, collection: Collection) -> None:
    for words in ("", "   ", "[only negative]"):
        duel.expected = [FAILED_LOAD]
        duel.page.fill("#prompt", words)
        duel.page.click("#go")
        expect(duel.page.locator("#prompt-problem")).to_contain_text(re.compile("empty|only says"))
        assert duel.page.input_value("#prompt") == words
        assert duel.state == "compose"
    assert collection.duels("[only negative]") == []
    expect(duel.page.locator("#prompt")).to_be_focused()
    # It goes away with the next try.
    duel.write("a dog and a prompt")
    expect(duel.page.locator("#prompt-problem")).to_have_text("")


def test_ten_thousand_characters_are_refused_and_kept(duel: DuelPage, collection: Collection) -> None:
    duel.expected = [FAILED_LOAD]
    for count in (10_000, 100_000):
        words = "a very long cat." * (count // 16)
        duel.page.fill("#prompt", words)
        duel.page.click("#go")
        expect(duel.page.locator("#prompt-problem")).to_contain_text(re.compile("10000 characters|too long"))
        assert duel.page.input_value("#prompt") == words
        assert duel.state == "compose"
        assert collection.duels(words) == []
    duel.page.reload()
    assert duel.page.input_value("#prompt") == words


def test_a_prompt_is_text_and_never_markup(duel: DuelPage) -> None:
    prompt = '<img src=x onerror=alert(1)> & "a cat" \' [<b>]'
    duel.write(prompt)
    assert duel.page.text_content("#label") == prompt
    assert duel.page.get_attribute("#left img", "alt") == f"left image for: {prompt}"
    duel.answer("1")
    duel.end()
    expect(duel.page.locator(".reveal-prompt")).to_have_text(prompt)


def test_a_lost_session_returns_to_the_prompt_with_the_words(duel: DuelPage, collection: Collection) -> None:
    prompt = "a green frog in the city at night"
    duel.expected = [FAILED_LOAD]
    duel.write(prompt)
    duel.answer("1")
    duel.answer("2")
    duel.page.context.clear_cookies()
    duel.page.wait_for_timeout(SETTLE_MS)
    duel.page.keyboard.press("1")
    duel.wait_for("compose")
    expect(duel.page.locator("#prompt-problem")).to_contain_text("session was lost")
    assert duel.page.input_value("#prompt") == prompt
    assert collection.picks(prompt) == ["left", "right"]

    duel.page.press("#prompt", "Enter")
    duel.wait_for("compare")
    duel.answer("3")
    assert collection.picks(prompt) == ["left", "right", "tie"]
    assert duel.picks == 3


def test_a_visit_that_starts_with_a_dead_session_signs_in_again(
    duel: DuelPage, collection: Collection
) -> None:
    duel.write("an alien in a meadow")
    duel.page.context.clear_cookies()
    duel.expected = [FAILED_LOAD]
    # The stream for the next picture may notice it first: the page is back at the prompt either way.
    duel.page.reload()
    duel.wait_for("compose")
    duel.page.fill("#prompt", "an alien in a garden")
    duel.page.context.clear_cookies()
    duel.page.click("#go")
    duel.wait_for("compare")
    duel.answer("1")
    assert collection.picks("an alien in a garden") == ["left"]


def test_a_reload_goes_on_where_it_was(duel: DuelPage, collection: Collection) -> None:
    prompt = "a monkey with a guitar, pencil sketch"
    duel.write(prompt)
    duel.answer("1")
    duel.answer("2")
    on_screen = duel.round_id, duel.tokens()
    duel.page.reload()
    duel.wait_for("compare")
    assert (duel.round_id, duel.tokens()) == on_screen
    assert duel.picks == 2
    assert duel.page.text_content("#label") == prompt
    duel.answer("u")
    duel.answer("3")
    assert collection.picks(prompt) == ["left", "tie"]


def test_a_browser_killed_in_the_middle_of_a_pick_counts_it_once(
    launch: Callable[[], Browser], new_page: Callable[..., Page], collection: Collection
) -> None:
    prompt = "a pirate and a parrot on an island"
    doomed = launch()
    context = doomed.new_context()
    context.add_init_script("localStorage.setItem('pickapic.tour', '1')")
    duel = DuelPage(context.new_page(), collection.address)
    duel.open()
    duel.write(prompt)
    for key in ("1", "2", "3"):
        duel.answer(key)
    cookies = context.storage_state()
    memory = json.dumps(duel.memory())
    cdp = doomed.new_browser_cdp_session()

    def crash(route: Route) -> None:
        # The server has the pick; the answer never reaches the page.
        assert route.fetch().status == 200
        with suppress(Error):
            cdp.send("Browser.crash")

    duel.page.route("**/pick", crash)
    duel.page.wait_for_timeout(SETTLE_MS)
    with suppress(Error):
        duel.page.keyboard.press("ArrowLeft")
        duel.page.wait_for_timeout(5_000)
    assert not doomed.is_connected()
    assert collection.picks(prompt) == ["left", "right", "tie", "left"]

    page = new_page(storage_state=cookies)
    page.add_init_script(f"sessionStorage.setItem('pickapic.duel', {json.dumps(memory)})")
    again = DuelPage(page, collection.address)
    again.open()
    again.wait_for("compare")
    assert again.picks == 4
    again.answer("2")
    assert collection.picks(prompt) == ["left", "right", "tie", "left", "right"]
    assert again.picks == 5
    assert again.complaints == []


def test_a_pick_whose_answer_was_lost_is_sent_again_and_counted_once(
    duel: DuelPage, collection: Collection
) -> None:
    prompt = "a yellow bus under water"
    duel.expected = [FAILED_LOAD]
    duel.write(prompt)
    sent: list[str | None] = []

    def lose_two_answers(route: Route) -> None:
        sent.append(route.request.post_data)
        if len(sent) == 1:
            assert route.fetch().status == 200
            route.abort("connectionreset")
        elif len(sent) == 2:
            route.abort("internetdisconnected")
        else:
            route.continue_()

    duel.page.route("**/pick", lose_two_answers)
    before = duel.round_id
    duel.page.wait_for_timeout(SETTLE_MS)
    duel.page.keyboard.press("2")
    expect(duel.page.locator("#notice")).to_contain_text("No connection")
    assert duel.state == "answered"
    expect(duel.page.locator("#right")).to_have_class(re.compile("is-picked"))
    duel.wait_for_other_round(before)
    expect(duel.page.locator("#notice")).to_be_hidden()
    assert sent == ['{"pick":"right"}'] * 3
    assert collection.picks(prompt) == ["right"]
    assert duel.picks == 1


def test_a_refused_pick_is_rolled_back_and_told(duel: DuelPage, collection: Collection) -> None:
    prompt = "a skull in the desert, pencil sketch"
    duel.expected = [FAILED_LOAD]
    duel.write(prompt)
    body = json.dumps({"error": {"code": "too_many", "message": "That was too fast."}})
    duel.page.route(
        "**/pick", lambda route: route.fulfill(status=429, body=body, headers={"Retry-After": "7"})
    )
    before = duel.round_id
    duel.page.wait_for_timeout(SETTLE_MS)
    duel.page.keyboard.press("1")
    expect(duel.page.locator("#notice")).to_have_text(
        re.compile(r"That was too fast\. Try again in [67] s\.")
    )
    assert (duel.state, duel.round_id) == ("compare", before)
    expect(duel.page.locator("#right")).not_to_have_class(re.compile("is-passed"))
    expect(duel.page.locator("#tally")).to_be_hidden()
    duel.page.unroute("**/pick")
    duel.answer("1")
    expect(duel.page.locator("#notice")).to_be_hidden()
    assert collection.picks(prompt) == ["left"]


def test_two_windows_on_one_duel_agree_with_the_server(duel: DuelPage, collection: Collection) -> None:
    prompt = "two robots on the beach at sunset"
    duel.expected = [FAILED_LOAD]
    duel.write(prompt)
    memory = json.dumps(duel.memory())
    page = duel.page.context.new_page()
    page.add_init_script(f"sessionStorage.setItem('pickapic.duel', {json.dumps(memory)})")
    other = DuelPage(page, collection.address)
    other.open()
    other.wait_for("compare")
    other.answer("1")
    # Where the first window still shows the old round, its different answer is refused and it catches up.
    duel.page.wait_for_timeout(SETTLE_MS)
    duel.page.keyboard.press("2")
    expect(duel.page.locator("#pair")).to_have_attribute("data-round", other.round_id)
    duel.wait_for("compare")
    expect(duel.page.locator("#notice")).to_contain_text("answered already")
    assert collection.picks(prompt) == ["left"]
    assert duel.picks == 1


def test_a_picture_that_does_not_arrive_is_fetched_again(duel: DuelPage) -> None:
    duel.expected = [FAILED_LOAD]
    failures: list[str] = []

    def fail_three(route: Route) -> None:
        if len(failures) < 3:
            failures.append(route.request.url)
            route.abort()
        else:
            route.continue_()

    duel.page.route("**/api/v1/images/*", fail_three)
    duel.write("a cup of coffee in the city")
    assert len(failures) == 3
    assert duel.page.evaluate("[...document.querySelectorAll('#pair img')].every((i) => i.naturalWidth > 0)")


def test_without_a_connection_the_prompt_is_kept(duel: DuelPage) -> None:
    duel.expected = [FAILED_LOAD]
    duel.page.context.set_offline(True)
    duel.page.fill("#prompt", "a phoenix over the desert")
    duel.page.click("#go")
    expect(duel.page.locator("#prompt-problem")).to_contain_text("No connection")
    assert duel.page.input_value("#prompt") == "a phoenix over the desert"
    duel.page.context.set_offline(False)
    duel.page.click("#go")
    duel.wait_for("compare")


def test_cancelling_ends_the_duel_and_keeps_the_words(duel: DuelPage, collection: Collection) -> None:
    prompt = "a sheriff cat in the desert"
    duel.expected = [FAILED_LOAD]
    # Hold the pictures back, so that there is something to wait for.
    held: list[Route] = []
    duel.page.route("**/api/v1/images/*", lambda route: held.append(route))
    duel.page.fill("#prompt", prompt)
    duel.page.click("#go")
    duel.wait_for("generating")
    expect(duel.page.locator("#progress-text")).to_be_visible()
    with duel.page.expect_response(lambda response: response.request.method == "DELETE"):
        duel.page.click("#cancel")
    duel.wait_for("compose")
    assert duel.page.input_value("#prompt") == prompt
    assert collection.duels(prompt) == ["closed"]
    for route in held:
        route.abort()
