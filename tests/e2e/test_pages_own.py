"""The pages around the picking as a person uses them: gallery, sharing, download, language, deleting oneself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from player import Player
from playwright.sync_api import Browser, Page, expect
from stored_rounds import Collection

pytestmark = pytest.mark.browser

PROMPT = "a green frog in the city at night"


@pytest.fixture
def page(new_page: Callable[..., Page], collection: Collection) -> Page:
    """The gallery of a new guest who has picked three times; it must not complain on the console."""
    page = new_page(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    Player(page.context, collection).play(PROMPT, ["left", "right", "tie"])
    return page


def _complaints(page: Page) -> list[str]:
    heard: list[str] = []
    page.on(
        "console",
        lambda message: heard.append(message.text) if message.type in ("error", "warning") else None,
    )
    page.on("pageerror", lambda error: heard.append(str(error)))
    return heard


def test_share_copy_visit_and_make_private(page: Page, collection: Collection, browser: Browser) -> None:
    heard = _complaints(page)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{collection.address}/gallery")
    tile = page.locator(".tile").first
    tile.get_by_role("button", name="Share").click()
    link = page.get_by_role("textbox", name="Link").input_value()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == link
    page.get_by_role("button", name="Close").click()
    expect(tile.get_by_role("link", name="Shared page")).to_be_focused()
    stranger = browser.new_context().new_page()
    stranger.goto(link)
    expect(stranger.get_by_role("heading", name=PROMPT)).to_be_visible()
    assert stranger.evaluate("document.querySelector('.shared-picture').naturalWidth") > 0
    tile.get_by_role("button", name="Make private again").click()
    expect(tile.get_by_role("button", name="Share")).to_be_visible()
    expect(page.locator("#gallery-live")).to_have_text("The picture is private again.")
    answer = stranger.goto(link)
    assert answer is not None
    assert answer.status == 404
    expect(stranger.get_by_role("heading", name="Nothing here")).to_be_visible()
    stranger.context.close()
    assert heard == []


def test_an_image_is_downloaded_under_its_prompts_name(
    page: Page, collection: Collection, tmp_path: Path
) -> None:
    page.goto(f"{collection.address}/gallery")
    with page.expect_download() as started:
        page.locator(".tile").first.get_by_role("link", name="Download").click()
    download = started.value
    assert download.suggested_filename == "a-green-frog-in-the-city-at-night.jpg"
    download.save_as(tmp_path / "picture.jpg")
    assert (tmp_path / "picture.jpg").read_bytes()[:2] == b"\xff\xd8"


def test_an_image_is_taken_out_after_a_question(page: Page, collection: Collection) -> None:
    heard = _complaints(page)
    page.goto(f"{collection.address}/gallery")
    tiles = page.locator(".tile")
    before = tiles.count()
    tiles.first.get_by_role("button", name="Take out of my gallery").click()
    page.get_by_role("button", name="Keep it").click()
    assert tiles.count() == before
    tiles.first.get_by_role("button", name="Take out of my gallery").click()
    page.get_by_role("button", name="Take it out").click()
    expect(tiles).to_have_count(before - 1)
    page.reload()
    expect(tiles).to_have_count(before - 1)
    assert collection.picks(PROMPT).count("tie") >= 1
    assert heard == []


def test_the_keyboard_alone_is_enough(page: Page, collection: Collection) -> None:
    page.goto(f"{collection.address}/gallery")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the page")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator(".tile-picture").first).to_be_focused()
    for _ in range(3):
        page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Take out of my gallery").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Keep it")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Take out of my gallery").first).to_be_focused()


def test_older_pictures_are_a_link_away(new_page: Callable[..., Page], collection: Collection) -> None:
    page = new_page()
    player = Player(page.context, collection)
    player.play("two robots on the beach at sunset", ["left"] * 26)
    shown = len(player.images())
    page.goto(f"{collection.address}/gallery")
    expect(page.locator(".tile")).to_have_count(24)
    page.get_by_role("link", name="Older pictures").click()
    expect(page.locator(".tile")).to_have_count(shown - 24)
    expect(page.get_by_role("link", name="Older pictures")).to_have_count(0)


def test_the_language_is_chosen_and_kept(page: Page, collection: Collection) -> None:
    heard = _complaints(page)
    page.goto(f"{collection.address}/leaderboard")
    page.get_by_role("button", name="עברית").click()
    expect(page).to_have_url(f"{collection.address}/leaderboard")
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    expect(page.get_by_role("heading", name="דירוג", exact=True)).to_be_visible()
    page.goto(f"{collection.address}/gallery")
    page.locator(".tile").first.get_by_role("button", name="להוציא מהגלריה").click()
    page.get_by_role("button", name="להוציא", exact=True).click()
    expect(page.locator("#gallery-live")).to_have_text("התמונה הוצאה מהגלריה.")
    page.get_by_role("button", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    assert heard == []


def test_scripts_count_as_the_server_does(page: Page, collection: Collection) -> None:
    """The catalogue is a block of data, which the strict content policy lets through."""
    heard = _complaints(page)
    counted = """async (numbers) => {
        const { tn } = await import("/static/language.js");
        return numbers.map((n) => tn("{n} day", "{n} days", n));
    }"""
    page.goto(f"{collection.address}/about")
    assert page.evaluate(counted, [0, 1, 2, 1200]) == ["0 days", "1 day", "2 days", "1,200 days"]
    page.get_by_role("button", name="עברית").click()
    expect(page.locator("html")).to_have_attribute("lang", "he")
    assert page.evaluate(counted, [1, 2, 3, 20]) == ["יום אחד", "יומיים", "3 ימים", "20 ימים"]
    policy = page.request.get(f"{collection.address}/about").headers["content-security-policy"]
    assert "unsafe-inline" not in policy
    assert heard == []


def test_without_a_script_everything_still_works(
    new_page: Callable[..., Page], collection: Collection
) -> None:
    page = new_page(java_script_enabled=False)
    Player(page.context, collection).play(PROMPT, ["left"])
    page.goto(f"{collection.address}/gallery")
    page.get_by_role("button", name="Share").first.click()
    expect(page).to_have_url(f"{collection.address}/i/{page.url.rpartition('/')[2]}")
    expect(page.get_by_role("heading", name=PROMPT)).to_be_visible()
    page.get_by_text("Report this picture").click()
    page.get_by_label("Something else").check()
    page.get_by_role("button", name="Report").click()
    expect(page.get_by_role("heading", name="Nothing here")).to_be_visible()  # one's own is gone at once
    page.goto(f"{collection.address}/me")
    page.get_by_text("Delete me…").click()
    page.get_by_label("To confirm").fill("no")
    page.get_by_role("button", name="Delete me for good").click()
    expect(page.get_by_text("Nothing is deleted.")).to_be_visible()
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page).to_have_url(f"{collection.address}/")
    page.goto(f"{collection.address}/me")
    expect(page).to_have_url(f"{collection.address}/sign-in?next=/me")


def test_my_data_and_being_forgotten(page: Page, collection: Collection) -> None:
    heard = _complaints(page)
    page.goto(f"{collection.address}/me")
    with page.expect_download() as started:
        page.get_by_role("link", name="Download my data").click()
    assert started.value.suggested_filename == "pick-a-pic.zip"
    page.get_by_text("Delete me…").click()
    word = page.get_by_label("To confirm")
    expect(word).to_be_focused()
    word.fill("delet")
    expect(page.get_by_role("button", name="Delete me for good")).to_be_disabled()
    word.press("Enter")
    expect(page).to_have_url(f"{collection.address}/me")
    expect(word).to_be_focused()
    word.fill("Delete")
    page.get_by_role("button", name="Delete me for good").click()
    expect(page).to_have_url(f"{collection.address}/")
    assert page.request.get(f"{collection.address}/api/v1/me").status == 401
    page.goto(f"{collection.address}/gallery")
    expect(page.get_by_role("link", name="Sign in")).to_be_visible()
    assert [text for text in heard if "401" not in text] == []


def test_the_leaderboard_is_read_out_in_words(page: Page, collection: Collection) -> None:
    page.goto(f"{collection.address}/leaderboard")
    expect(page.get_by_role("heading", name="Leaderboard", exact=True)).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text="miniature-aurora")).to_contain_text("16.7 %")
    for row in page.locator(".board tbody tr").all():
        low, high = (row.locator("svg").get_attribute("aria-label") or "").split(" to ")
        assert int(low.replace(",", "")) <= int(high.replace(",", ""))
