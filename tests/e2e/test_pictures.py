"""What one can do with a picture: keep it, share it, report it; and take up a prompt from before."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from duel_page import SETTLE_MS, DuelPage
from playwright.sync_api import Page, expect
from stored_rounds import Collection

pytestmark = pytest.mark.browser

REPORTS = (
    "SELECT reason, note FROM reports JOIN images ON images.id = reports.image_id WHERE images.token = ?"
)


def test_the_menu_works_by_keyboard(duel: DuelPage, collection: Collection) -> None:
    prompt = "a crab and a lemon"
    duel.write(prompt)
    page = duel.page
    more = page.get_by_role("button", name="More")
    expect(more).to_have_attribute("aria-haspopup", "menu")
    more.focus()
    page.keyboard.press("Enter")
    expect(more).to_have_attribute("aria-expanded", "true")
    left = page.get_by_role("group", name="Left picture")
    expect(left.get_by_role("menuitem", name="Download")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(left.get_by_role("menuitem", name="Copy link")).to_be_focused()
    page.keyboard.press("End")
    expect(page.get_by_role("menuitem", name="Take the tour")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(left.get_by_role("menuitem", name="Download")).to_be_focused()
    page.wait_for_timeout(SETTLE_MS)
    page.keyboard.press("1")  # the keys of the duel rest
    page.keyboard.press("Escape")
    expect(more).to_have_attribute("aria-expanded", "false")
    expect(more).to_be_focused()
    page.wait_for_timeout(SETTLE_MS)
    assert collection.picks(prompt) == []
    duel.answer("1")
    assert collection.picks(prompt) == ["left"]


def test_a_picture_is_downloaded_under_the_name_of_its_prompt(duel: DuelPage) -> None:
    duel.write("three red apples, watercolor")
    page = duel.page
    page.click("#more")
    with page.expect_download() as download:
        page.get_by_role("group", name="Right picture").get_by_role("menuitem", name="Download").click()
    assert "apples" in download.value.suggested_filename
    assert download.value.path().read_bytes().startswith(b"\xff\xd8")
    expect(page.locator("#more-menu")).to_be_hidden()


def test_a_link_is_copied_and_opens_for_others(new_page: Callable[..., Page], collection: Collection) -> None:
    page = new_page(permissions=["clipboard-read", "clipboard-write"])
    duel = DuelPage(page, collection.address)
    duel.open()
    duel.write("a lion at sunset, black and white")
    page.click("#more")
    page.get_by_role("group", name="Left picture").get_by_role("menuitem", name="Copy link").click()
    expect(page.locator("#notice")).to_have_text(re.compile("The link is copied"))
    link = page.evaluate("navigator.clipboard.readText()")
    assert link.startswith(collection.address + "/i/")
    stranger = new_page()
    reply = stranger.goto(link)
    assert reply is not None
    assert reply.status == 200
    # The duel is open: nothing there may say who made it.
    assert "miniature-" not in stranger.content()
    duel.answer("1")
    duel.end()
    page.get_by_role("button", name="Share the winner").click()
    expect(page.locator("#share-winner")).to_have_text("The link is copied.")
    assert duel.complaints == []


def test_where_nothing_can_be_copied_the_link_is_shown(duel: DuelPage) -> None:
    duel.write("a blue elephant in a garden")
    page = duel.page
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('not allowed')); }")
    page.click("#more")
    page.get_by_role("group", name="Left picture").get_by_role("menuitem", name="Copy link").click()
    dialog = page.get_by_role("dialog", name="A link to this picture")
    expect(dialog.get_by_role("textbox")).to_have_value(re.compile("^http://.*/i/"))
    expect(dialog.get_by_role("textbox")).to_be_focused()


def test_a_reported_picture_goes_and_never_comes_again(duel: DuelPage, collection: Collection) -> None:
    prompt = "a sheriff cat in the desert, oil painting"
    duel.write(prompt)
    duel.answer("1")
    page = duel.page
    token, _ = duel.tokens()
    page.click("#more")
    page.get_by_role("group", name="Left picture").get_by_role("menuitem", name="Report").click()
    dialog = page.get_by_role("dialog", name="What is wrong with the left picture?")
    dialog.get_by_role("button", name="Report").click()
    expect(dialog.get_by_role("alert")).to_have_text("Choose what is wrong with it.")
    dialog.get_by_role("radio", name="Violence").check()
    dialog.get_by_role("textbox").fill("a gun")
    before = duel.round_id
    dialog.get_by_role("button", name="Report").click()
    duel.wait_for_other_round(before)
    expect(dialog).to_be_hidden()
    expect(page.locator("#notice")).to_contain_text("Thank you")
    assert collection.read(REPORTS, token) == [("violence", "a gun")]
    seen = set(duel.tokens())
    for key in ("1", "2", " ", "1"):
        duel.answer(key)
        seen |= set(duel.tokens())
    duel.answer("u")
    seen |= set(duel.tokens())
    assert token not in seen


def test_an_earlier_prompt_is_taken_up_again(duel: DuelPage) -> None:
    page = duel.page
    prompts = ["a phoenix over the desert", "a queen bee [text]", "שועל אדום"]
    assert page.locator("#history").is_hidden()
    for prompt in prompts:
        duel.write(prompt)
        duel.answer("1")
        duel.end()
    page.fill("#prompt", "")
    page.press("#prompt", "ArrowUp")
    items = page.get_by_role("menu", name="Earlier prompts").get_by_role("menuitem")
    expect(items).to_have_count(3)
    expect(items.nth(0)).to_have_text("שועל אדום 1 pick")
    expect(items.nth(0)).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.input_value("#prompt") == "a queen bee [text]"
    expect(page.locator("#prompt")).to_be_focused()
    expect(page.locator("#left-out")).to_have_text("Left out: text")
    page.keyboard.press("Enter")
    duel.wait_for("compare")
    assert page.text_content("#label") == "a queen bee [text]"


def test_what_is_left_out_is_shown_while_one_types(duel: DuelPage) -> None:
    line = duel.page.locator("#left-out")
    for words, left_out in {
        "a cat [blurry] on a sofa [text]": "blurry, text",
        "a cat [a [red] hat]": "a [red] hat",
        "a cat [blurry": "",
        "a cat ] [ ]": "",
        "[dark] a cat [ ] [many [old] [tall] trees]": "dark, many [old] [tall] trees",
    }.items():
        duel.page.fill("#prompt", "")
        duel.page.locator("#prompt").press_sequentially(words)
        if left_out:
            expect(line).to_have_text(f"Left out: {left_out}")
        else:
            expect(line).to_be_hidden()
