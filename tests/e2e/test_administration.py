"""The administration in a browser: decisions are felt by those whom they are about; every page can be used by all.

With PICKAPIC_TEST_SCREENSHOTS set some of it goes to docs/screenshots; if it names a folder, all of it goes there.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from duel_page import DESK, SETTLE_MS, DuelPage
from PIL import Image
from player import Player
from playwright.sync_api import Browser, Page, expect
from stored_rounds import Collection

from pickapic.collect.quality.policy import Policy, fingerprint

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DOCS = Path(__file__).parents[2] / "docs" / "screenshots"
WISH = os.environ.get("PICKAPIC_TEST_SCREENSHOTS", "")
CHOSEN = {"admin-overview-desktop-light", "admin-generators-desktop-dark"}
DEVICES = {
    "phone": {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True},
    "desktop": {"viewport": {"width": 1440, "height": 900}},
}
SCRIPT = "<script>document.title = 'taken'</script>"
REASONS = [
    {"signal": "too_fast", "points": 82.0, "detail": "41 of 48 answers in under 1 s"},
    {"signal": "one_sided", "points": 64.0, "detail": f"left 45 of 48 times {SCRIPT}"},
]
TABLES = ("", "users/list", "images/list", "duels/details/1")
POKES_OUT = """() => [...document.querySelectorAll("body *")].filter((element) => {
    if (element.closest(".sr, .scroll, .tabs, svg") || !element.checkVisibility()) return false;
    return element.getBoundingClientRect().right > document.documentElement.clientWidth + 1;
}).map((element) => element.outerHTML.slice(0, 120))"""
UNSEEN = """() => [...document.querySelectorAll(".tabs [aria-current]")].filter((tab) => {
    const { left, right } = tab.getBoundingClientRect();
    return left < 0 || right > document.documentElement.clientWidth;
}).map((tab) => tab.textContent)"""
TOO_SMALL = """() => [...document.querySelectorAll("button, .tabs a, .plain, select, input")]
    .filter((element) => element.checkVisibility() && !element.matches("[type=checkbox], [type=radio], .sr *"))
    .filter((element) => element.getBoundingClientRect().height < 44)
    .map((element) => element.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def staffed(browser: Browser, own_collection: Collection) -> Iterator[tuple[dict, int]]:
    """Cookies of an admin of a collection with something on every page; and a doubtful user."""
    context = browser.new_context()
    player = Player(context, own_collection)
    me = context.request.get(f"{own_collection.address}/api/v1/me").json()["user_id"]
    _command(own_collection, "role", str(me), "admin")
    doubtful = _fill(browser, own_collection, player)
    yield context.storage_state(), doubtful
    context.close()


@pytest.fixture
def boss(staffed: tuple[dict, int]) -> dict:
    """Cookies of an admin."""
    return staffed[0]


def _fill(browser: Browser, collection: Collection, player: Player) -> int:
    for prompt in ("a red fox on the beach, watercolor", "an owl on top of a house in the snow"):
        player.play(prompt, ["?"] * (40 if WISH else 4))
    context = browser.new_context()
    other = Player(context, collection)
    other.play(f"a panda in a meadow {SCRIPT}", ["left", "left", "tie"], close=False)
    user = context.request.get(f"{collection.address}/api/v1/me").json()["user_id"]
    collection.change("UPDATE users SET status = 'active' WHERE id = ?", user)
    collection.change(
        # Of a time to come, so that nobody computes it anew.
        "INSERT INTO risks (user_id, score, reasons, picks, policy, computed_at) VALUES (?, 93.5, ?, 48, ?, "
        "'2099-01-01') ON CONFLICT (user_id) DO UPDATE SET score = 93.5, reasons = excluded.reasons",
        user,
        json.dumps(REASONS),
        fingerprint(Policy()),
    )
    collection.change(
        "INSERT INTO prompt_reviews (uid, user_id, typed, digest, reasons, state, created_at) "
        "VALUES ('review', ?, ?, x'00', ?, 'waiting', '2026-01-01')",
        user,
        f"a queen in prison {SCRIPT}",
        json.dumps([{"category": "violence", "decision": "review", "found": "prison", "part": "prompt"}]),
    )
    for image in other.images()[:2]:
        other._call(
            "POST",
            f"/api/v1/images/{image['token']}/report",
            {"reason": "person", "note": f"I know this panda {SCRIPT}"},
        )
    collection.change(
        "UPDATE jobs SET state = 'dead', error = ?, finished_at = created_at, attempts = 3 WHERE id IN (1, 2)",
        f"RuntimeError: out of memory {SCRIPT}",
    )
    for kind, label in (("worker", f"rack 2, {SCRIPT}"), ("worker", "gpu 1"), ("score", "nightly")):
        _command(collection, "tokens", "create", kind, label)
    collection.change(
        "INSERT INTO workers (name, token_id, generators, started_at, seen_at) SELECT uid || ':gpu-box-4711-0a1b2c3d', "
        "id, ?, strftime('%Y-%m-%d %H:%M:%f000'), strftime('%Y-%m-%d %H:%M:%f000') FROM tokens WHERE label = 'gpu 1'",
        json.dumps([f"a-model-with-a-long-name-{number}" for number in range(8)]),
    )
    collection.change("UPDATE tokens SET revoked_at = created_at WHERE label LIKE 'rack%'")
    # As if they had picked for an hour.
    collection.change(
        "UPDATE rounds SET picked_at = strftime('%Y-%m-%d %H:%M:%f000', picked_at, "
        "'-' || (id * id * 37 % 3400) || ' seconds') WHERE picked_at IS NOT NULL"
    )
    context.close()
    return user


def _command(collection: Collection, *arguments: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PICKAPIC_")}
    subprocess.run(
        [sys.executable, "-m", "pickapic", "admin", *arguments],
        env=environment | {"PICKAPIC_HOME": str(collection.home)},
        check=True,
        capture_output=True,
    )


@pytest.fixture
def desk(new_page: Callable[..., Page], boss: dict, own_collection: Collection) -> Iterator[Page]:
    """A page of the admin's; it must not complain on the console."""
    page = new_page(**DEVICES["desktop"], storage_state=boss)
    complaints = _heard(page)
    yield page
    # Chromium itself reports the file that is refused.
    assert [text for text in complaints if "422" not in text] == []


def _heard(page: Page) -> list[str]:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return complaints


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", DEVICES)
def test_every_page_fits_and_can_be_used_by_all(
    device: str,
    scheme: str,
    new_page: Callable[..., Page],
    staffed: tuple[dict, int],
    own_collection: Collection,
) -> None:
    boss, doubtful = staffed
    page = new_page(**DEVICES[device], color_scheme=scheme, storage_state=boss)
    complaints = _heard(page)
    pages = {
        name: f"/admin/{name}"
        for name in (
            *("users", "reports", "reviews", "gold", "generators"),
            *("jobs", "workers", "exports", "decisions"),
        )
    }
    pages |= {"overview": "/admin", "user": f"/admin/users/{doubtful}"}
    pages |= {f"tables-{path.replace('/', '-')}": f"/admin/tables/{path}" for path in TABLES}
    for name, path in pages.items():
        answer = page.goto(own_collection.address + path)
        assert answer is not None
        assert answer.status == 200, path
        # Axe takes a second a page: each colour and each size once.
        _look(page, f"admin-{name}-{device}-{scheme}", axe=(device == "phone") == (scheme == "dark"))
    assert complaints == []


def _look(page: Page, name: str, axe: bool) -> None:
    page.evaluate(
        "Promise.all([...document.images].map((image) => { image.loading = 'eager'; return image.decode(); }))"
    )
    if WISH:
        _keep(page, name)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), name
    assert page.evaluate(POKES_OUT) == [], name
    assert page.evaluate(TOO_SMALL) == [], name
    assert page.evaluate(UNSEEN) == [], name
    assert "taken" not in page.title(), name
    if not axe:
        return
    found = Axe().run(page).response["violations"]
    said = [(one["id"], one["nodes"][0]["html"][:200], one["nodes"][0]["failureSummary"]) for one in found]
    assert [one for one in found if one["impact"] in ("serious", "critical")] == [], (name, said)


def _keep(page: Page, name: str) -> None:
    folder = DOCS if WISH == "1" else Path(WISH)
    if folder == DOCS and name not in CHOSEN:
        return
    folder.mkdir(parents=True, exist_ok=True)
    shot = page.screenshot(full_page=folder != DOCS)
    picture = Image.open(io.BytesIO(shot)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    picture.save(folder / f"{name}.png", optimize=True)


def _picking(new_page: Callable[..., Page], collection: Collection, prompt: str) -> DuelPage:
    duel = DuelPage(new_page(**DESK), collection.address)
    duel.expected = ["403", "404", "409"]
    duel.open()
    duel.write(prompt)
    return duel


def test_a_ban_is_seen_by_the_banned_while_they_pick(
    desk: Page, new_page: Callable[..., Page], own_collection: Collection
) -> None:
    duel = _picking(new_page, own_collection, "a cat that is about to be banned")
    duel.answer("1")
    desk.goto(f"{own_collection.address}/admin/users?find={duel.user_id()}")
    # Without a reason the form is not sent.
    desk.click("button[value=ban]")
    expect(desk.get_by_role("status")).to_be_hidden()
    desk.fill(".act input[name=reason]", "a test of bans")
    desk.click("button[value=ban]")
    expect(desk.get_by_role("status")).to_contain_text("The user is banned.")
    expect(desk.locator("h1 .badge")).to_have_text("banned")
    expect(desk.locator(".ledger")).to_contain_text("a test of bans")
    duel.page.wait_for_timeout(SETTLE_MS)
    duel.page.keyboard.press("2")
    expect(duel.page.get_by_role("group", name="Picking has ended for you here")).to_be_visible()
    assert own_collection.picks("a cat that is about to be banned") == ["left"]
    desk.fill(".act input[name=reason]", "only a test")
    desk.get_by_role("button", name="Unban").click()
    expect(desk.get_by_role("status")).to_contain_text("as any other")
    expect(desk.locator("h1 .badge")).to_have_count(0)


def test_a_report_is_decided_by_one_key_and_the_image_is_gone(
    desk: Page, new_page: Callable[..., Page], own_collection: Collection
) -> None:
    duel = _picking(new_page, own_collection, "a dog that somebody reports")
    left, right = duel.tokens()
    for token in (left, right):
        reply = duel.page.request.post(
            f"{own_collection.address}/api/v1/images/{token}/report",
            data={"reason": "violence", "note": "it bites"},
            headers={"X-CSRF-Token": _csrf(duel.page)},
        )
        assert reply.status == 204
    desk.goto(f"{own_collection.address}/admin/reports")
    case = desk.locator(f".case:has(img[src$='{left}'])")
    expect(case).to_contain_text("it bites")
    before = desk.locator(".case").count()
    # A key where one writes is a letter.
    case.locator("input[name=reason]").fill("")
    case.locator("input[name=reason]").press("r")
    expect(case.locator("input[name=reason]")).to_have_value("r")
    case.focus()
    desk.keyboard.press("r")
    expect(desk.get_by_role("status")).to_contain_text("The picture is removed.")
    expect(desk.locator(".case")).to_have_count(before - 1)
    expect(desk.locator(".case").first).to_be_focused()
    other = desk.locator(f".case:has(img[src$='{right}'])")
    other.focus()
    desk.keyboard.press("d")
    expect(desk.get_by_role("status")).to_contain_text("dismissed")
    expect(desk.locator(".case")).to_have_count(before - 2)
    gone = duel.page.request.get(f"{own_collection.address}/api/v1/images/{left}")
    assert gone.status == 404
    duel.page.reload()
    duel.wait_for("compare")
    assert left not in duel.tokens()


def test_keys_go_through_a_queue(desk: Page, own_collection: Collection) -> None:
    desk.goto(f"{own_collection.address}/admin/reports")
    cases = desk.locator(".case")
    assert cases.count() >= 2
    desk.keyboard.press("j")
    expect(cases.nth(0)).to_be_focused()
    desk.keyboard.press("j")
    expect(cases.nth(1)).to_be_focused()
    desk.keyboard.press("k")
    expect(cases.nth(0)).to_be_focused()
    count = own_collection.read("SELECT count(*) FROM reports WHERE state = 'open'")
    desk.keyboard.press("Control+r")
    desk.wait_for_load_state()
    assert own_collection.read("SELECT count(*) FROM reports WHERE state = 'open'") == count


def test_a_gold_pair_is_added_from_files(desk: Page, own_collection: Collection, tmp_path: Path) -> None:
    for name, colour in (("good.png", "red"), ("bad.webp", "grey")):
        Image.new("RGB", (64, 64), colour).save(tmp_path / name)
    (tmp_path / "text.png").write_text("no picture")
    desk.goto(f"{own_collection.address}/admin/gold")
    desk.fill("input[name=caption]", "a plain red square")
    desk.set_input_files("input[name=first]", tmp_path / "good.png")
    desk.set_input_files("input[name=second]", tmp_path / "text.png")
    desk.check("input[value=first]")
    with desk.expect_response(lambda reply: reply.url.endswith("/admin/gold")) as refused:
        desk.get_by_role("button", name="Add").click()
    assert refused.value.status == 422
    expect(desk.locator(".problem")).to_contain_text("cannot be read")
    desk.set_input_files("input[name=second]", tmp_path / "bad.webp")
    desk.get_by_role("button", name="Add").click()
    expect(desk.get_by_role("status")).to_contain_text("The pair is added.")
    expect(desk.get_by_alt_text("Better image for: a plain red square")).to_be_visible()
    desk.get_by_role("button", name="Retire the pair for: a plain red square").click()
    expect(desk.get_by_text("retired", exact=True)).to_be_visible()


def test_a_generator_switched_off_is_drawn_no_more(
    desk: Page, new_page: Callable[..., Page], own_collection: Collection
) -> None:
    desk.goto(f"{own_collection.address}/admin/generators")
    names = [name for (name,) in own_collection.read("SELECT DISTINCT model FROM images")]
    for name in ("aurora", "bramble", "cobalt", "dune", "ember"):
        desk.get_by_role("button", name=f"Switch miniature-{name} off").click()
        expect(desk.get_by_role("status")).to_contain_text("switched off")
    assert len(names) > 1
    duel = _picking(new_page, own_collection, "a bird by one model alone")
    duel.answer("1")
    drawn = own_collection.read(
        "SELECT DISTINCT generator FROM jobs JOIN duels ON duels.id = jobs.duel_id "
        "WHERE typed = ? AND jobs.kind = 'generate'",
        "a bird by one model alone",
    )
    assert drawn == [("miniature-fjord",)]
    for name in ("aurora", "bramble", "cobalt", "dune", "ember"):
        desk.get_by_role("button", name=f"Switch miniature-{name} on").click()
        expect(desk.get_by_role("status")).to_contain_text("switched on")


def test_a_token_is_shown_once_and_revoked(
    new_page: Callable[..., Page], boss: dict, own_collection: Collection
) -> None:
    page = new_page(**DEVICES["phone"], storage_state=boss)
    page.goto(f"{own_collection.address}/admin/workers")
    page.get_by_label("For which machine").fill("attic")
    page.get_by_role("button", name="Make it").click()
    shown = page.get_by_role("region", name="The token of attic").locator("code").first.inner_text()
    assert shown.startswith("pickapic_worker_")
    _look(page, "admin-token-phone-light", axe=True)
    page.goto(f"{own_collection.address}/admin/workers")
    assert shown not in page.content()
    page.get_by_role("button", name="Revoke the token of attic").click()
    assert "opens nothing any more" in page.get_by_role("status").inner_text()
    assert page.get_by_role("button", name="Revoke the token of attic").count() == 0


def test_numbers_change_by_themselves(
    desk: Page, new_page: Callable[..., Page], own_collection: Collection
) -> None:
    desk.goto(f"{own_collection.address}/admin")
    picks = desk.locator("[data-live=picks_day]")
    before = int((picks.text_content() or "0").replace(",", ""))
    duel = _picking(new_page, own_collection, "a fish that counts")
    duel.answer("1")
    expect(picks).to_have_text(f"{before + 1:,}", timeout=10_000)


def test_an_export_is_begun_and_survives_a_reload(desk: Page, own_collection: Collection) -> None:
    desk.goto(f"{own_collection.address}/admin/exports")
    desk.fill("input[name=name]", "from-the-browser")
    desk.get_by_role("button", name="Export").click()
    desk.reload()
    expect(desk.get_by_text("from-the-browser is ready.")).to_be_visible(timeout=60_000)
    with desk.expect_download() as download:
        desk.get_by_role("link", name="Download from-the-browser as a zip file").click()
    assert download.value.suggested_filename == "from-the-browser.zip"
    assert download.value.path().stat().st_size > 1000


def _csrf(page: Page) -> str:
    return {one["name"]: one["value"] for one in page.context.cookies()}["csrf"]
