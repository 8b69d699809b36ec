"""For those who do not see the page, or not well, or use no mouse: axe-core, names, live regions, focus, calm."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from duel_page import DESK, PHONE, DuelPage
from playwright.sync_api import Page, expect
from stored_rounds import Collection

pytestmark = pytest.mark.browser

GRAVE = ("serious", "critical")
DIALOGS = ("keys-dialog", "consent-dialog", "report-dialog", "share-dialog")
ARRIVED = "Promise.allSettled(document.getAnimations().map((moving) => moving.finished)).then(() => null)"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def examine(page: Page, what: str) -> None:
    """No serious or critical finding on what is on screen now."""
    page.evaluate(ARRIVED)  # colours must not be on their way
    found = Axe().run(page, options={"resultTypes": ["violations"], "runOnly": TAGS}).response["violations"]
    grave = [
        (rule["id"], node["target"], node["failureSummary"])
        for rule in found
        for node in rule["nodes"]
        if rule["impact"] in GRAVE
    ]
    assert grave == [], what


# Colours are the same on every device, and names are the same in every colour.
@pytest.mark.parametrize(("device", "scheme"), [(DESK, "light"), (PHONE, "dark")], ids=["desk", "phone"])
def test_axe_finds_nothing_grave(
    device: dict, scheme: str, new_page: Callable[..., Page], collection: Collection
) -> None:
    page = new_page(tour=True, color_scheme=scheme, **device)
    duel = DuelPage(page, collection.address)
    duel.open()
    examine(page, "the empty prompt box")
    # It does find what is wrong.
    page.evaluate("document.querySelector('#compose-lead').style.color = 'var(--line)'")
    with pytest.raises(AssertionError, match="color-contrast"):
        examine(page, "words that can hardly be read")
    page.evaluate("document.querySelector('#compose-lead').style.color = ''")
    page.fill("#prompt", "a red fox and a yellow duck on the beach [blurry]")
    page.locator("#auto-compose").check()
    examine(page, "the prompt box")
    page.locator("#auto-compose").uncheck()
    page.click("#go")
    duel.wait_for("compare")
    examine(page, "tour")
    page.keyboard.press("Escape")
    examine(page, "stage")
    page.click("#more")
    examine(page, "menu")
    page.get_by_role("menuitem", name="Look closer at both").click()
    examine(page, "zoom")
    page.keyboard.press("Escape")
    for dialog in DIALOGS:
        page.evaluate("(id) => document.getElementById(id).showModal()", dialog)
        examine(page, dialog)
        page.evaluate("(id) => document.getElementById(id).close()", dialog)
    for key in ("1", "3"):
        duel.answer(key)
    examine(page, "stage with undo")
    duel.end()
    examine(page, "reveal")
    assert duel.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_grave_in_the_panels(
    scheme: str, new_page: Callable[..., Page], closed_collection: Collection
) -> None:
    page = new_page(color_scheme=scheme, **PHONE)
    page.goto(closed_collection.address)
    examine(page, "free prompt")
    for panel in ("sign_in", "banned"):
        page.evaluate(
            """(panel) => {
                for (const one of document.querySelectorAll("#gate > div")) one.hidden = one.id !== `gate-${panel}`;
            }""",
            panel,
        )
        examine(page, panel)


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
    for key in ("1", " ", "u"):
        duel.answer(key)
    assert said == [
        "Left picked.",
        "Stored. Which of these two is better?",
        "Skipped.",
        "Two pictures. Which one is better?",
        "Taken back.",
        "Two pictures. Which one is better?",
    ]
    for key in ("ArrowLeft 1", "ArrowRight 2", "ArrowDown 3", "Space", "U", "Z"):
        assert page.locator(f"[aria-keyshortcuts='{key}']:visible").count() == 1
    duel.end()
    expect(live).to_contain_text("The duel has ended")
    expect(page.get_by_role("textbox", name="Prompt")).to_be_focused()


def test_the_upper_picture_is_called_so(phone: DuelPage) -> None:
    prompt = "a snail on a leaf"
    phone.write(prompt)
    phone.tap("#left")
    expect(phone.page.locator("#live")).to_have_text("Stored. Which of these two is better?")
    expect(phone.page.get_by_role("button", name=f"upper image for: {prompt}")).to_be_visible()
    phone.page.tap("#more")
    expect(phone.page.get_by_role("group", name="Lower picture")).to_be_visible()


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
    page.keyboard.press("z")
    assert page.evaluate("window.moved") == 0
    assert page.evaluate("document.getAnimations().length") == 0


def test_nothing_shifts_when_a_round_is_answered(duel: DuelPage) -> None:
    """Frames and bar stay where they are from the first round on."""
    duel.write("two giraffes in the city")
    boxes = """() => ["#left", "#right", "#tie", "#undo", "#skip", "#finish", "#more"].map((id) => {
        const box = document.querySelector(id).getBoundingClientRect();
        return [box.x, box.y, box.width];
    })"""
    duel.answer("1")
    before = duel.page.evaluate(boxes)
    for key in ("2", "3", " ", "u"):
        duel.answer(key)
        assert duel.page.evaluate(boxes) == before
