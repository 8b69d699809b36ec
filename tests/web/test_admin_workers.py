"""The page of workers and tokens: a token is shown once, and revoked at once."""

import re

import pytest
from administration import FORM, send, staff
from remote_machine import Machine

from pickapic.collect import decisions
from pickapic.collect.queue import workers
from pickapic.collect.tables import tokens as table
from pickapic.web.service import now

pytestmark = pytest.mark.slow

SCRIPT = "<script>alert(1)</script>"


def test_a_token_is_made_shown_once_and_revoked_at_once(on):
    async def play(site):
        admin = await staff(site, "admin")
        assert "nothing is being made" in (await admin.get("/admin/workers")).text
        reply = await send(admin, "/admin/workers/tokens", label=f"gpu {SCRIPT}", kind="worker", days="30")
        assert reply.status_code == 200
        assert reply.headers["cache-control"] == "no-store"
        (shown,) = re.findall(r"<code class=\"word\">(pickapic_worker_[\w-]{43})</code>", reply.text)
        assert "pickapic worker --server http://test --token-file" in reply.text
        assert SCRIPT not in reply.text
        page = await admin.get("/admin/workers")
        assert shown not in page.text
        assert "&lt;script&gt;" in page.text
        async with site.client() as client:
            machine = Machine(client, shown)
            names = tuple(choice.name for choice in site.settings.generators)
            assert await machine.turn(want=1, makes=names) == []
            page = (await admin.get("/admin/workers")).text
            assert "nothing is being made" not in page
            assert ", ".join(sorted(names)) in page
            (uid,) = re.findall(r"/admin/workers/tokens/(\w+)/revoke", page)
            reply = await send(admin, f"/admin/workers/tokens/{uid}/revoke", reason="sold")
            assert (reply.status_code, reply.headers["location"]) == (303, "/admin/workers?done=token-revoke")
            assert (await machine.say()).status_code == 401, "in this process at once"
        page = (await admin.get(reply.headers["location"])).text
        assert "opens nothing any more" in page
        assert "/revoke" not in page
        log = await site.service.database.read(decisions.recent)
        assert [(one.action, one.actor_id) for one in log[:2]] == [
            ("revoke worker token", admin.user_id),
            ("create worker token", admin.user_id),
        ]

    on(play)


def test_what_is_no_token_is_refused_with_a_page(on):
    async def play(site):
        admin, moderator = await staff(site, "admin"), await staff(site, "moderator")
        for fields, words in (
            ({"label": " ", "kind": "worker"}, "1 to 64"),
            ({"label": "x", "kind": "root"}, "does not fit"),
            ({"label": "x", "kind": "score", "days": "0"}, "1 to 3650"),
            ({"label": "x", "kind": "score", "days": "-1"}, "no number of days"),
            ({"label": "x", "kind": "score", "days": "٣"}, "no number of days"),
        ):
            reply = await send(admin, "/admin/workers/tokens", **fields)
            assert (reply.status_code, words in reply.text) == (422, True), (fields, reply.text)
        reply = await admin.client.post(
            "/admin/workers/tokens", data={"label": "x", "kind": "score"}, headers=FORM
        )
        assert reply.status_code == 403
        assert (await send(admin, "/admin/workers/tokens/nothing/revoke")).status_code == 404
        assert (await send(moderator, "/admin/workers/tokens", label="x", kind="score")).status_code == 404
        assert await site.rows(table) == []

    on(play)


def test_workers_beside_the_database_are_listed_too(on):
    async def play(site):
        admin = await staff(site, "admin")
        await site.service.database.write(workers.note, "host-1-ab", ("a", "b"), None, now())
        page = (await admin.get("/admin/workers")).text
        assert "host-1-ab" in page
        assert "a, b" in page

    on(play)
