"""The administration: who may see what, and what its forms do."""

import io
import json
import struct
import zlib
from datetime import UTC, datetime

import pytest
from administration import FORM, filled, routes, send, staff
from PIL import Image
from sqlalchemy import insert, select, update

from pickapic.collect import decisions
from pickapic.collect.moderation import reviews
from pickapic.collect.moderation.words import Reason
from pickapic.collect.people import bans
from pickapic.collect.prompts import parse_prompt
from pickapic.collect.tables import (
    blocked_images,
    duels,
    gold_pairs,
    images,
    jobs,
    prompt_reviews,
    risks,
    rounds,
    users,
)
from pickapic.collect.tables import decisions as decisions_table
from pickapic.collect.tables import reports as reports_table
from pickapic.web.service import now
from pickapic.web.statics import address

pytestmark = pytest.mark.slow

ON_BOTH_DATABASES = True

MODERATORS = {
    "/admin",
    "/admin/live",
    "/admin/users",
    "/admin/users/{user_id}",
    "/admin/users/{user_id}/status",
    "/admin/reports",
    "/admin/images/{token}",
    "/admin/images/{token}/uphold",
    "/admin/images/{token}/dismiss",
    "/admin/images/{token}/made",
    "/admin/reviews",
    "/admin/reviews/{uid}/{decision}",
}
SCRIPT = "<script>alert(1)</script>"


async def visit(person, method, path):
    if method == "GET":
        return await person.get(path, headers=FORM)
    return await send(person, path)


def test_every_route_is_for_moderators_or_for_admins_and_nobody_else_learns_of_it(on):
    async def play(site):
        nobody, person, banned = site.client(), await site.person(), await staff(site, "moderator")
        moderator, admin = await staff(site, "moderator"), await staff(site, "admin")
        await site.service.database.write(bans.ban, None, banned.user_id, "sold votes", now())
        site.service.forget_user(banned.user_id)
        known = routes()
        assert len(known) > 20
        assert {path for _, path in known} >= MODERATORS
        nowhere = (await person.get("/admin/nowhere", headers=FORM)).text
        for method, route in known:
            path = filled(route, person.user_id)
            if method == "GET":
                assert (await nobody.get(path, headers=FORM)).status_code == 404, path
            else:
                assert (await nobody.post(path, headers=FORM)).status_code in (403, 404), path
            for stranger in (person, banned):
                reply = await visit(stranger, method, path)
                assert reply.status_code == 404, (route, reply.status_code)
                assert title(reply.text) == title(nowhere)
            # Refused for what was sent, for lack of such a thing, or let in: but known to be allowed.
            inside = await visit(moderator, method, path)
            assert is_nothing_here(inside) == (route not in MODERATORS), (route, inside.text)
            assert not is_nothing_here(await visit(admin, method, path)), route
        await nobody.aclose()

    on(play)


def title(page):
    return page.partition("<title>")[2].partition("</title>")[0]


def is_nothing_here(reply):
    return reply.status_code == 404 and title(reply.text) == "Nothing here · Pick-a-Pic"


def test_a_form_without_its_token_changes_nothing(on):
    async def play(site):
        admin, person = await staff(site, "admin"), await site.person()
        path = f"/admin/users/{person.user_id}/status"
        reply = await admin.client.post(path, data={"action": "ban", "reason": "x"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "csrf")
        reply = await admin.client.post(path, data={"action": "ban", "reason": "x", "csrf": "forged"})
        assert reply.status_code == 403
        assert await status(site, person) == "active"

    on(play)


async def status(site, person):
    rows = {row.id: row for row in await site.rows(users)}
    return rows[person.user_id].status


def test_a_ban_is_felt_at_once_and_says_so(on):
    async def play(site):
        moderator, person = await staff(site, "moderator"), await site.person()
        duel = await person.start()
        await site.work()
        duel = await person.read(duel)
        assert (await person.pick(duel, "left")).status_code == 200
        reply = await send(
            moderator, f"/admin/users/{person.user_id}/status", action="ban", reason="a script"
        )
        assert (reply.status_code, reply.headers["location"]) == (
            303,
            f"/admin/users/{person.user_id}?done=ban",
        )
        for answer in (await person.pick(duel, "right"), await person.post("/api/v1/duels", {"prompt": "x"})):
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "banned")
        assert {row.state for row in await site.rows(jobs)} <= {"done", "cancelled"}
        assert {row.state for row in await site.rows(duels)} == {"closed"}
        page = await moderator.get(reply.headers["location"])
        assert "The user is banned." in page.text
        assert "a script" in page.text
        await send(moderator, f"/admin/users/{person.user_id}/status", action="unban", reason="a mistake")
        assert (await person.post("/api/v1/duels", {"prompt": "a cat"})).status_code == 201

    on(play)


def test_a_refusal_is_a_page_for_people_and_json_for_programs(on):
    async def play(site):
        admin, other = await staff(site, "admin"), await staff(site, "admin")
        for path, fields, said in (
            (f"/admin/users/{other.user_id}/status", {"action": "ban", "reason": "x"}, "somebody above"),
            (f"/admin/users/{admin.user_id}/status", {"action": "ban", "reason": "x"}, "about themself"),
            (f"/admin/users/{admin.user_id}/role", {"role": "person", "reason": "x"}, "their own role"),
            ("/admin/users/999/status", {"action": "ban", "reason": "x"}, "no user 999"),
            (f"/admin/users/{other.user_id}/role", {"role": "person"}, "Say why"),
            (f"/admin/users/{other.user_id}/role", {"role": "emperor", "reason": "x"}, "does not fit"),
            ("/admin/generators/nobody/switch", {"to": "off"}, "no generator called nobody"),
            ("/admin/generators/miniature-dune/weight", {"weight": "nan"}, "is no number"),
            ("/admin/exports", {"name": "../etc"}, "A name has letters"),
        ):
            page = await send(admin, path, **fields)
            assert page.status_code in (403, 404, 422), (path, page.status_code)
            assert said in page.text.replace("&#39;", "'"), (path, page.text)
        reply = await admin.client.post(
            f"/admin/users/{other.user_id}/status",
            data={"action": "ban", "reason": "x", "csrf": admin.client.cookies["csrf"]},
            headers={"Accept": "application/json"},
        )
        assert reply.json()["error"]["code"] == "role"
        assert (await site.rows(decisions_table))[-1].action == "role admin"

    on(play)


def test_a_report_goes_from_the_page_to_the_queue_and_the_image_goes(on):
    async def play(site):
        moderator, person, stranger = await staff(site, "moderator"), await site.person(), await site.person()
        duel = await person.start()
        await site.work()
        duel = await person.read(duel)
        url = duel["round"]["images"][0]["url"]
        token = url.rpartition("/")[2]
        wrong = await stranger.post(f"{url}/report", {"reason": "nudity"})
        assert wrong.status_code == 404
        for body in (
            {"reason": "ugly"},
            {"reason": "nudity", "note": "x" * 501},
            {},
            {"reason": "other", "by": 1},
        ):
            assert (await person.post(f"{url}/report", body)).status_code == 422
        for _ in range(2):
            said = await person.post(f"{url}/report", {"reason": "person", "note": SCRIPT})
            assert (said.status_code, said.content) == (204, b"")
        assert len(await site.rows(reports_table)) == 1
        queue = (await moderator.get("/admin/reports")).text
        assert f"/admin/images/{token}" in queue
        assert SCRIPT not in queue
        assert "&lt;script&gt;" in queue
        seen = await moderator.get(f"/admin/images/{token}")
        assert (seen.status_code, seen.headers["content-type"]) == (200, "image/jpeg")
        reply = await send(
            moderator, f"/admin/images/{token}/uphold", reason="a face", block="true", ban="true"
        )
        assert reply.status_code == 303, reply.text
        assert (await person.get(url)).status_code == 404
        assert (await moderator.get(f"/admin/images/{token}")).status_code == 200
        assert await status(site, person) == "banned"
        row = next(row for row in await site.rows(images) if row.token == token)
        assert row.state == "removed"
        assert [blocked.phash for blocked in await site.rows(blocked_images)] == [row.phash]
        assert "Nothing is reported" in (await moderator.get("/admin/reports?done=uphold")).text

    on(play)


def test_dismissing_leaves_the_image(on):
    async def play(site):
        moderator, person = await staff(site, "moderator"), await site.person()
        duel = await person.start()
        await site.work()
        duel = await person.read(duel)
        url = duel["round"]["images"][1]["url"]
        assert (await person.post(f"{url}/report", {"reason": "other"})).status_code == 204
        await send(moderator, f"/admin/images/{url.rpartition('/')[2]}/dismiss", reason="a cat")
        assert [row.state for row in await site.rows(reports_table)] == ["dismissed"]
        assert (await person.get(url)).status_code == 200

    on(play)


def test_a_prompt_in_review_is_decided_for_everybody(on):
    async def play(site):
        moderator, person = await staff(site, "moderator"), await site.person()
        for typed in (f"a cat {SCRIPT}", "a dog"):
            prompt = parse_prompt(typed, 500)
            reasons = (Reason("violence", "review", f"found {SCRIPT}"),)
            error = reviews.ReviewError(person.user_id, typed, reviews.digest_of(prompt), reasons)
            await site.service.database.write(reviews.hold, error, now())
        page = (await moderator.get("/admin/reviews")).text
        assert SCRIPT not in page
        assert "a cat &lt;script&gt;" in page
        assert "violence: found &lt;script&gt;" in page
        first, second = await site.rows(prompt_reviews)
        assert (await send(moderator, f"/admin/reviews/{first.uid}/approve")).status_code == 303
        assert (await send(moderator, f"/admin/reviews/{second.uid}/refuse", reason="no")).status_code == 303
        states = [(row.state, row.decided_by) for row in await site.rows(prompt_reviews)]
        assert states == [("approved", moderator.user_id), ("refused", moderator.user_id)]
        again = await send(moderator, f"/admin/reviews/{first.uid}/refuse")
        assert (again.status_code, "decided otherwise" in again.text) == (409, True)

    on(play)


def test_a_generator_switched_off_is_drawn_no_more_and_all_off_is_said(on):
    async def play(site):
        admin, person = await staff(site, "admin"), await site.person()
        names = [choice.name for choice in site.settings.generators]
        await person.start()
        for name in names[1:]:
            reply = await send(admin, f"/admin/generators/{name}/switch", to="off", reason="testing")
            assert reply.status_code == 303
        await person.start("a dog")
        assert {row.generator for row in await site.rows(jobs) if row.kind == "generate"} == {names[0]}
        await send(admin, f"/admin/generators/{names[0]}/switch", to="off")
        refused = await person.post("/api/v1/duels", {"prompt": "a bird"})
        assert refused.status_code == 409, refused.text
        assert "all models are switched off" in refused.json()["error"]["message"]
        assert "nobody can start a prompt" in (await admin.get("/admin/generators")).text
        await send(admin, f"/admin/generators/{names[2]}/switch", to="on")
        await send(admin, f"/admin/generators/{names[2]}/weight", weight="2.5")
        assert (await person.post("/api/v1/duels", {"prompt": "a bird"})).status_code == 201
        assert 'value="2.5"' in (await admin.get("/admin/generators")).text

    on(play)


def test_jobs_given_up_are_queued_again(on):
    async def play(site):
        admin, person = await staff(site, "admin"), await site.person()
        await person.start(SCRIPT)
        await site.service.database.write(
            lambda connection: connection.execute(
                update(jobs)
                .where(jobs.c.id <= 3)
                .values(state="dead", error=f"boom {SCRIPT}", finished_at=now())
            )
        )
        page = (await admin.get("/admin/jobs")).text
        assert SCRIPT not in page
        assert page.count("boom &lt;script&gt;") == 3
        await send(admin, "/admin/jobs/retry", job="2")
        assert [row.state for row in await site.rows(jobs)][:3] == ["dead", "queued", "dead"]
        await send(admin, "/admin/jobs/retry")
        assert {row.state for row in await site.rows(jobs)} == {"queued"}
        page = (await admin.get("/admin/decisions")).text
        assert "2 queued again" in page

    on(play)


def test_live_numbers_and_where_they_stand(on):
    async def play(site):
        moderator, person = await staff(site, "moderator"), await site.person()
        duel = await person.start()
        await site.work()
        await person.pick(await person.read(duel), "tie")
        page = (await moderator.get("/admin")).text
        numbers = (await moderator.get("/admin/live")).json()
        assert numbers["users"] == 2
        assert sum(numbers["minutes"]) == 1
        assert len(numbers["minutes"]) == 60
        for name in ("queued", "waited_s", "workers", "failures", "flagged", "gold", "reports", "reviews"):
            assert f'data-live="{name}"' in page
        assert datetime.fromisoformat(numbers["at"]).tzinfo == UTC

    on(play)


def test_users_are_found_by_number_and_their_doubts_shown_escaped(on):
    async def play(site):
        moderator, person = await staff(site, "moderator"), await site.person()
        duel = await person.start(f"a {SCRIPT}")
        await site.work()
        await person.pick(await person.read(duel), "left")
        reasons = json.dumps([{"signal": "too_fast", "points": 88.0, "detail": f"9 of 10 {SCRIPT}"}])
        await site.service.database.write(
            lambda connection: connection.execute(
                insert(risks).values(
                    user_id=person.user_id, score=88, reasons=reasons, picks=1, policy="p", computed_at=now()
                )
            )
        )
        found = await moderator.get(f"/admin/users?find={person.user_id}")
        assert found.headers["location"] == f"/admin/users/{person.user_id}"
        for path in ("/admin/users?show=doubtful&order=picks", f"/admin/users/{person.user_id}"):
            page = (await moderator.get(path)).text
            assert "9 of 10 &lt;script&gt;" in page
            assert SCRIPT not in page
        (row,) = [row for row in await site.rows(rounds) if row.state == "answered"]
        token = next(image.token for image in await site.rows(images) if image.id == row.left_image_id)
        assert f'src="/admin/images/{token}"' in page
        assert (await moderator.get("/admin/users?find=abc")).status_code == 200
        assert (await moderator.get("/admin/users?start=-1")).status_code == 422

    on(play)


def test_moderators_have_no_forms_that_only_admins_may_send(on):
    async def play(site):
        moderator, admin, person = (
            await staff(site, "moderator"),
            await staff(site, "admin"),
            await site.person(),
        )
        path = f"/admin/users/{person.user_id}"
        assert f"{path}/role" not in (await moderator.get(path)).text
        assert f"{path}/role" in (await admin.get(path)).text
        # About admins they decide nothing.
        about = (await moderator.get(f"/admin/users/{admin.user_id}")).text
        assert f"/admin/users/{admin.user_id}/status" not in about
        tabs = (await moderator.get("/admin")).text
        assert "/admin/gold" not in tabs
        assert "/admin/users" in tabs

    on(play)


def test_an_allowance_is_set_from_the_page(on):
    async def play(site):
        admin, person = await staff(site, "admin"), await site.person()
        path = f"/admin/users/{person.user_id}/allowance"
        for text, stored in (("250", 250), ("", None)):
            assert (await send(admin, path, answers=text, reason="asked")).status_code == 303
            rows = {row.id: row.allowance for row in await site.rows(users)}
            assert rows[person.user_id] == stored
        assert (await send(admin, path, answers="many", reason="asked")).status_code == 422

    on(play)


def test_the_log_goes_on_page_by_page(on):
    async def play(site):
        admin = await staff(site, "admin")

        def many(connection):
            for number in range(120):
                decisions.record(connection, None, "test", "thing", number, f"{SCRIPT} {number}", now())

        await site.service.database.write(many)
        page = (await admin.get("/admin/decisions")).text
        assert page.count("<tr>") == 101
        assert SCRIPT not in page
        last = await site.service.database.read(
            lambda connection: connection.execute(
                select(decisions_table.c.id).order_by(decisions_table.c.id.desc()).offset(99).limit(1)
            ).scalar()
        )
        assert f"?before={last}" in page
        earlier = (await admin.get(f"/admin/decisions?before={last}")).text
        assert earlier.count("<tr>") == 1 + 20 + 1

    on(play)


@pytest.mark.parametrize(
    "path", ["/admin", "/admin/users", "/admin/reports", "/admin/exports", "/admin/tables/"]
)
def test_no_page_needs_a_script_of_another_place_or_in_itself(on, path):
    async def play(site):
        admin = await staff(site, "admin")
        reply = await admin.get(path)
        assert reply.status_code == 200
        assert "'unsafe-inline'" not in reply.headers["content-security-policy"]
        assert "style=" not in reply.text
        assert reply.text.count("<script") == 1
        assert f'<script type="module" src="{address("admin.js")}">' in reply.text
        assert reply.headers["cache-control"] == "no-store"

    on(play)


def picture(colour, size=(48, 32), kind="PNG"):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, kind)
    return file.getvalue()


async def upload(admin, first, second, **fields):
    form = {"caption": "a red square", "better": "second", **fields}
    files = {"first": ("a.png", first), "second": ("b.webp", second)}
    return await admin.client.post(
        "/admin/gold", data=form, files=files, headers={**admin.csrf(), "Accept": "application/json"}
    )


def test_a_gold_pair_is_uploaded_shown_and_retired(on):
    async def play(site):
        admin = await staff(site, "admin")
        good, bad = picture("red", kind="WEBP"), picture("grey")
        assert (await upload(admin, bad, good, caption=f"a square {SCRIPT}")).status_code == 303
        (pair,) = await site.rows(gold_pairs)
        assert (pair.state, pair.added_by) == ("active", admin.user_id)
        for role, colour in (("better", (255, 0, 0)), ("worse", (128, 128, 128))):
            reply = await admin.get(f"/admin/gold/{pair.uid}/{role}")
            assert reply.headers["content-type"] == "image/png"
            with Image.open(io.BytesIO(reply.content)) as image:
                assert all(abs(a - b) < 5 for a, b in zip(image.getpixel((5, 5)), colour, strict=True))
        page = (await admin.get("/admin/gold")).text
        assert SCRIPT not in page
        assert "a square &lt;script&gt;" in page
        assert (await send(admin, f"/admin/gold/{pair.uid}/retire")).status_code == 303
        assert [row.state for row in await site.rows(gold_pairs)] == ["retired"]

    on(play)


def test_what_is_no_picture_or_too_large_is_refused_before_it_is_decoded(on):
    async def play(site):
        admin, person = await staff(site, "admin"), await site.person()
        fine = picture("red")
        header = b"IHDR" + struct.pack(">II", 65535, 65535) + fine[24:29]
        bomb = fine[:12] + header + struct.pack(">I", zlib.crc32(header)) + fine[33:]
        for wrong, said in (
            (b"<svg onload=alert(1)>", "cannot be read"),
            (fine[:60], "cannot be read"),
            (bomb, "more pixels"),
            (fine, "the same file"),
        ):
            reply = await upload(admin, fine, wrong)
            assert (reply.status_code, said in reply.text) == (422, True), reply.text
        reply = await upload(admin, fine, picture("grey"), caption=" ")
        assert reply.status_code == 422
        large = await admin.client.post(
            "/admin/gold", content=b"x", headers={**admin.csrf(), "Content-Length": str(17 << 20)}
        )
        assert large.status_code == 413
        assert (await upload(person, fine, picture("grey"))).status_code == 404
        assert await site.rows(gold_pairs) == []

    on(play)
