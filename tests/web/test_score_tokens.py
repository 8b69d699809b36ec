"""POST /api/v1/score by a machine: a token beside sessions, and nothing of anybody's but what is public."""

import asyncio
import base64
from datetime import timedelta

import pytest
from web_site import Site

import fake_scorers
from fake_scorers import expected
from hostile_images import encoded
from pickapic.collect.boards import shares
from pickapic.collect.people import tokens
from pickapic.collect.tables import images, rounds
from pickapic.settings import load_settings
from pickapic.web import machines
from pickapic.web.service import now

pytestmark = pytest.mark.slow

PICTURE = encoded(0)


@pytest.fixture
def scoring(tmp_path, on):
    """Run `async def play(site, ask)` on a site with the hashing scorer; `ask(token, *images)` has no cookies."""

    def run(play):
        async def with_scorer(site):
            while site.service.scoring.state != "ok":
                await asyncio.sleep(0.01)
            async with site.client() as client:

                async def ask(token, *sent, **headers):
                    if token is not None:
                        headers["Authorization"] = f"Bearer {token}"
                    body = {"prompt": "a cat", "images": [as_text(one) for one in sent]}
                    return await client.post("/api/v1/score", json=body, headers=headers)

                return await play(site, ask)

        with fake_scorers.installed():
            return on(with_scorer, Site(load_settings(home=tmp_path / "scoring", scorer="hashing")))

    return run


def as_text(image):
    return image if isinstance(image, str) else base64.b64encode(image).decode()


async def token_of(site, kind="score", days=None, at=None):
    return await site.service.database.write(tokens.create, kind, "ci", days, None, at or now())


def test_a_token_scores_uploads_without_cookie_or_csrf(scoring):
    async def play(site, ask):
        made = await token_of(site)
        reply = await ask(made.token, PICTURE, PICTURE)
        assert reply.status_code == 200, reply.text
        assert reply.json()["scores"] == [expected("a cat", PICTURE)] * 2
        assert "set-cookie" not in reply.headers
        (listed,) = await site.service.database.read(tokens.listed, now())
        assert listed.used_at is not None
        # A cookie that comes along changes nothing: neither does it help, nor is its CSRF token asked for.
        person = await site.person()
        cookies = "; ".join(f"{name}={value}" for name, value in person.client.cookies.items())
        assert (await ask(made.token, PICTURE, Cookie=cookies)).status_code == 200
        assert (await ask("wrong", PICTURE, Cookie=cookies)).status_code == 401
        assert (await ask(None, PICTURE, Cookie=cookies)).status_code == 403  # a session needs its CSRF token

    scoring(play)


def test_a_machine_sees_what_is_public_and_nobody_s_images(scoring):
    async def play(site, ask):
        made = await token_of(site)
        person = await site.person()
        duel = await person.start()
        await site.work()
        duel = await person.read(duel)
        own = duel["round"]["images"][0]["url"]
        refused = await ask(made.token, own)
        assert (refused.status_code, "no image of yours" in refused.text) == (422, True)
        assert (await person.post("/api/v1/score", {"prompt": "a cat", "images": [own]})).status_code == 200
        assert (await person.pick(duel, "left")).status_code == 200
        shown = {row.left_image_id for row in await site.rows(rounds)}
        row = next(row for row in await site.rows(images) if row.id in shown)
        share = await site.service.database.write(shares.share, person.user_id, row.token, now())
        for address in (f"/i/{share}.jpg", f"http://test/i/{share}.jpg"):
            reply = await ask(made.token, address)
            assert reply.status_code == 200, reply.text
        await site.service.database.write(shares.unshare, person.user_id, row.token)
        assert (await ask(made.token, f"/i/{share}.jpg")).status_code == 422
        assert (await ask(made.token, "http://evil.example/i/x.jpg")).status_code == 422

    scoring(play)


def test_what_is_no_token_for_this_is_refused(scoring):
    async def play(site, ask):
        good = await token_of(site)
        worker = await token_of(site, "worker")
        old = await token_of(site, days=1, at=now() - timedelta(days=2))
        for token in (worker.token, old.token, good.token[:-1], good.uid, "x" * 4000):
            reply = await ask(token, PICTURE)
            assert reply.status_code == 401, token
            assert reply.headers["www-authenticate"].startswith('Bearer realm="pickapic"')
            assert reply.json()["error"]["message"][-1] == "."
        assert (await ask(good.token, PICTURE)).status_code == 200
        await site.service.database.write(tokens.revoke, good.uid, None, "lost", now())
        async with asyncio.timeout(machines.FRESH_SECONDS + 10):
            while (await ask(good.token, PICTURE)).status_code == 200:
                await asyncio.sleep(0.05)
        assert (await ask(good.token, PICTURE)).status_code == 401

    scoring(play)


def test_a_score_token_opens_nothing_else(scoring):
    async def play(site, ask):
        made = await token_of(site)
        calls = [
            (method.upper(), path)
            for path, found in site.app.openapi()["paths"].items()
            for method in found
            if path.startswith("/api/v1") and path != "/api/v1/score" and method != "delete"
        ]
        assert len(calls) > 20
        headers = {"Authorization": f"Bearer {made.token}"}
        async with site.client() as client:
            public = [(method, path) for method, path in calls if "{" not in path and method == "GET"]
            for method, path in calls:
                with_it = await client.request(method, path.replace("{sha256}", "0" * 64), headers=headers)
                without = await client.request(method, path.replace("{sha256}", "0" * 64))
                assert with_it.status_code == without.status_code, (method, path, with_it.text)
            assert public

    scoring(play)


def test_many_wrong_tokens_from_one_address_are_answered_with_429(scoring):
    async def play(site, ask):
        good, other = await token_of(site), await token_of(site)
        assert (await ask(good.token, PICTURE)).status_code == 200
        for number in range(machines.MOST_FAILURES):
            assert (await ask(f"pickapic_score_{number:043}", PICTURE)).status_code == 401
        reply = await ask("pickapic_score_" + "x" * 43, PICTURE)
        assert reply.status_code == 429
        assert 1 <= int(reply.headers["retry-after"]) <= machines.FAILURE_SECONDS
        # Who was let in before is not shut out by a neighbour; who was not has to wait.
        assert (await ask(good.token, PICTURE)).status_code == 200
        assert (await ask(other.token, PICTURE)).status_code == 429

    scoring(play)
