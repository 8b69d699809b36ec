"""A person at the page: what the hands do is what the database holds, and what the dataset says."""

from __future__ import annotations

from pathlib import Path

import pytest
from duel_page import SETTLE_MS, DuelPage
from playwright.sync_api import Request, expect
from stored_rounds import Collection

pytestmark = pytest.mark.browser

LABELS = {"left": (1.0, 0.0), "right": (0.0, 1.0), "tie": (0.5, 0.5)}


def test_twenty_picks_by_keyboard_are_the_twenty_exported_rows(
    duel: DuelPage, collection: Collection, tmp_path: Path
) -> None:
    prompt = "three penguins in the snow, watercolor [blurry]"
    presses = {
        "ArrowLeft": "left",
        "ArrowRight": "right",
        "1": "left",
        "2": "right",
        "ArrowDown": "tie",
        "3": "tie",
    }
    keys = ["ArrowLeft", "2", "ArrowDown", "1", "ArrowRight", "3", "ArrowLeft", "ArrowLeft", "2", "1"] * 2
    duel.write(prompt)
    seen, files = [], []
    for key in keys:
        seen.append(duel.tokens())
        files.append(
            tuple(
                duel.page.request.get(duel.address + duel.picture(side)).body() for side in ("left", "right")
            )
        )
        duel.answer(key)
    picks = [presses[key] for key in keys]

    stored = [row for row in collection.rounds(prompt) if row.state == "answered"]
    assert [row.pick for row in stored] == picks
    assert [row.number for row in stored] == list(range(1, 21))
    assert [(row.left_token, row.right_token) for row in stored] == seen
    assert duel.picks == 20

    # The winner stays; after a tie, one of the two.
    shown = [*seen, duel.tokens()]
    for row, before, after in zip(stored, shown, shown[1:], strict=False):
        (kept,) = set(before) & set(after)
        assert kept == row.kept_token
        if row.pick != "tie":
            assert kept == before[0 if row.pick == "left" else 1]

    rows = collection.exported(tmp_path / "dataset", "three penguins in the snow, watercolor")
    assert [(row["label_0"], row["label_1"]) for row in rows] == [LABELS[pick] for pick in picks]
    assert [(row["image_0_uid"], row["image_1_uid"]) for row in rows] == [
        (row.left_uid, row.right_uid) for row in stored
    ]
    assert [(row["jpg_0"], row["jpg_1"]) for row in rows] == files
    assert len({row["user_id"] for row in rows}) == 1


def test_skip_is_no_pick_and_shows_two_new_pictures(duel: DuelPage, collection: Collection) -> None:
    prompt = "a blue whale above a forest"
    duel.write(prompt)
    before = duel.tokens()
    duel.answer(" ")
    assert not set(before) & set(duel.tokens())
    duel.answer("1")
    assert [(row.state, row.pick) for row in collection.rounds(prompt)][:2] == [
        ("skipped", None),
        ("answered", "left"),
    ]
    assert duel.picks == 1


def test_undo_takes_answers_back_one_by_one(duel: DuelPage, collection: Collection) -> None:
    prompt = "a tiny robot behind a giant strawberry"
    duel.write(prompt)
    first = duel.round_id, duel.tokens()
    undo = duel.page.locator("#undo")
    expect(undo).to_have_attribute("aria-disabled", "true")
    duel.answer("ArrowLeft")
    second = duel.round_id, duel.tokens()
    duel.answer("ArrowDown")
    assert duel.picks == 2

    duel.answer("u")
    assert (duel.round_id, duel.tokens()) == second
    assert duel.picks == 1
    duel.answer("u")
    assert (duel.round_id, duel.tokens()) == first
    expect(duel.page.locator("#tally")).to_be_hidden()
    expect(undo).to_have_attribute("aria-disabled", "true")
    assert collection.picks(prompt) == []

    duel.answer("ArrowRight")
    assert collection.picks(prompt) == ["right"]


def test_the_whole_picture_is_the_button_and_space_still_skips(
    duel: DuelPage, collection: Collection
) -> None:
    prompt = "a parrot in a jungle, poster"
    duel.write(prompt)
    before = duel.round_id
    box = duel.page.locator("#right .frame").bounding_box()
    assert box is not None
    duel.page.wait_for_timeout(SETTLE_MS)
    duel.page.mouse.click(box["x"] + 3 + box["width"] * 0.02, box["y"] + box["height"] - 12)
    duel.wait_for_other_round(before)
    assert collection.picks(prompt) == ["right"]
    # The click must not leave the focus on the picture, where the space bar would pick it.
    duel.answer(" ")
    assert [row.state for row in collection.rounds(prompt)][:2] == ["answered", "skipped"]


def test_a_picture_with_the_focus_is_picked_by_enter(duel: DuelPage, collection: Collection) -> None:
    prompt = "a snail next to a castle"
    duel.write(prompt)
    before = duel.round_id
    duel.page.keyboard.press("Tab")
    expect(duel.page.locator("#left")).to_be_focused()
    duel.page.wait_for_timeout(SETTLE_MS)
    duel.page.keyboard.press("Enter")
    duel.wait_for_other_round(before)
    expect(duel.page.locator("#left")).to_be_focused()
    assert collection.picks(prompt) == ["left"]


def test_a_double_click_and_a_held_key_are_one_pick(duel: DuelPage, collection: Collection) -> None:
    prompt = "a crab and a lemon on the beach, pixel art"
    duel.write(prompt)
    duel.wait_for_next_picture()
    before = duel.round_id
    # The second click falls on the new round in the moment in which it appears.
    duel.page.evaluate(
        """() => new MutationObserver((_, observer) => {
            observer.disconnect();
            setTimeout(() => document.querySelector("#left").click(), 20);
        }).observe(document.querySelector("#pair"), { attributes: true, attributeFilter: ["data-round"] })"""
    )
    duel.page.wait_for_timeout(SETTLE_MS)
    duel.page.dblclick("#left")
    duel.wait_for_other_round(before)
    duel.page.wait_for_timeout(SETTLE_MS)
    assert collection.picks(prompt) == ["left"]

    before = duel.round_id
    duel.page.wait_for_timeout(SETTLE_MS)
    for _ in range(6):
        duel.page.keyboard.down("ArrowRight")
        duel.page.wait_for_timeout(100)
    duel.page.keyboard.up("ArrowRight")
    duel.wait_for_other_round(before)
    assert collection.picks(prompt) == ["left", "right"]


def test_the_next_round_comes_without_a_spinner(duel: DuelPage) -> None:
    duel.write("a goldfish in space")
    duel.page.evaluate(
        """() => new MutationObserver(() => {
            const empty = document.querySelector("#pair").classList.contains("is-empty");
            window.seen.push(empty ? "empty" : document.body.dataset.state);
        }).observe(document.body, { attributes: true, attributeFilter: ["data-state"] })"""
    )
    for key in ("1", "2", "3"):
        duel.wait_for_next_picture()
        duel.page.evaluate("window.seen = []")
        fetched: list[str] = []

        def note(request: Request, fetched: list[str] = fetched) -> None:
            fetched.append(request.url)

        duel.page.on("request", note)
        duel.answer(key)
        assert duel.page.evaluate("window.seen") == ["answered", "compare"]
        # Both pictures were here before the key was pressed.
        assert not [url for url in fetched if url.endswith(duel.tokens())]
        duel.page.remove_listener("request", note)


def test_the_keys_rest_while_one_types_and_where_they_are_switched_off(
    duel: DuelPage, collection: Collection
) -> None:
    prompt = "a cat and 3 mice: 1, 2, u"
    duel.page.locator("#prompt").press_sequentially(prompt)
    assert duel.page.input_value("#prompt") == prompt
    duel.page.press("#prompt", "Enter")
    duel.wait_for("compare")

    before = duel.round_id
    duel.page.click("#keys-open")
    duel.page.wait_for_timeout(SETTLE_MS)
    for key in ("1", "ArrowRight", "3", "u"):
        duel.page.keyboard.press(key)
    duel.page.uncheck("#keys-on")
    duel.page.keyboard.press("Escape")
    for key in ("1", "ArrowRight", "3", "u", "Control+1"):
        duel.page.keyboard.press(key)
    duel.page.wait_for_timeout(300)
    assert (duel.state, duel.round_id) == ("compare", before)
    assert collection.picks(prompt) == []

    duel.page.click("#keys-open")
    duel.page.check("#keys-on")
    duel.page.keyboard.press("Escape")
    duel.answer("1")
    assert collection.picks(prompt) == ["left"]


def test_twenty_picks_by_touch(phone: DuelPage, collection: Collection) -> None:
    prompt = "a lion at sunset, black and white"
    picks = ["left", "tie", "right", "right", "left"] * 4
    phone.page.fill("#prompt", prompt)
    phone.page.tap("#go")
    phone.wait_for("compare")
    assert not phone.page.locator("kbd:visible").count()
    for pick in picks:
        phone.tap(f"#{pick}")
    phone.page.tap("#finish")
    phone.wait_for("revealed")
    assert collection.picks(prompt) == picks
    assert collection.duels(prompt) == ["closed"]


def test_models_are_named_only_at_the_end(duel: DuelPage) -> None:
    prompt = "an owl on top of a house in the snow"
    duel.write(prompt)
    duel.answer("1")
    duel.answer("3")
    assert "miniature" not in duel.page.content()
    duel.end()
    reveal = duel.page.locator("#reveal")
    assert reveal.locator(".strip figure").count() == 4
    assert reveal.locator("figure.is-picked").count() == 3
    expect(reveal.locator("tbody tr").first).to_contain_text("miniature-")
    # A new prompt is at hand, and the counter goes on.
    expect(duel.page.locator("#prompt")).to_be_focused()
    duel.page.keyboard.type("a dog in a park")
    assert duel.page.input_value("#prompt") == "a dog in a park"
    duel.page.keyboard.press("Enter")
    duel.wait_for("compare")
    duel.answer("1")
    assert duel.picks == 3


def test_the_dice_write_a_prompt(duel: DuelPage) -> None:
    rolled = set()
    for _ in range(5):
        duel.page.click("#dice")
        rolled.add(duel.page.input_value("#prompt"))
    assert len(rolled) > 1
    assert "" not in rolled
    duel.page.click("#go")
    duel.wait_for("compare")
    assert duel.page.text_content("#label") in rolled
