"""My images: which I see, what I may do with them, and what others see."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from sqlalchemy import update

from pickapic.collect.tables import downloads, duels, images, rounds, shares, users
from pickapic.web.routes.gallery import attachment

pytestmark = pytest.mark.slow


async def _play(site, person, prompt="a red cat", answers=("left", "right", "tie"), close=True):
    duel = await person.start(prompt)
    for answer in answers:
        await site.work()
        duel = await person.read(duel)
        await person.pick(duel, answer)
    if close:
        await person.delete(f"/api/v1/duels/{duel['duel_id']}")
    return duel


async def _mine(person, query=""):
    reply = await person.get(f"/api/v1/me/images{query}")
    assert reply.status_code == 200, reply.text
    return reply.json()


async def _set(site, table, **values):
    await site.service.database.write(lambda connection: connection.execute(update(table).values(**values)))


def test_all_that_was_shown_is_there_newest_first_and_page_by_page(on):
    async def play(site):
        person = await site.person()
        await _play(site, person, "a red cat [blurry]")
        await _play(site, person, "a blue dog", close=False)
        shown = [row for row in await site.rows(images) if row.state == "shown"]
        whole = await _mine(person, "?limit=100")
        assert [one["token"] for one in whole["images"]] == [row.token for row in reversed(shown)]
        assert whole["before"] is None
        found, query = [], "?limit=3"
        while True:
            page = await _mine(person, query)
            found += page["images"]
            if page["before"] is None:
                break
            assert len(page["images"]) == 3
            query = f"?limit=3&before={page['before']}"
        assert found == whole["images"]
        open_ones = [one for one in found if one["prompt"] == "a blue dog"]
        closed_ones = [one for one in found if one["prompt"] == "a red cat [blurry]"]
        models = {row.token: row.model for row in shown}
        assert open_ones
        assert {one["model"] for one in open_ones} == {None}
        assert all(one["model"] == models[one["token"]] for one in closed_ones)
        page = (await person.get("/gallery")).text
        assert all(one["token"] in page for one in found)
        for row in shown:
            told = {one["token"] for one in closed_ones} & {row.token}
            tile = re.search(rf'data-token="{row.token}".*?</li>', page, re.DOTALL)
            assert tile is not None
            assert (row.model in tile[0]) == bool(told)

    on(play)


def test_wins_and_losses_are_those_of_the_rounds(on):
    async def play(site):
        person = await site.person()
        await _play(site, person, answers=("left", "right", "tie", "left", "tie"))
        expected: dict[str, list[int]] = {}
        tokens = {row.id: row.token for row in await site.rows(images)}
        for row in await site.rows(rounds):
            if row.state != "answered":
                continue
            for side, key in (("left", row.left_image_id), ("right", row.right_image_id)):
                fate = expected.setdefault(tokens[key], [0, 0, 0])
                fate[2 if row.pick == "tie" else int(row.pick != side)] += 1
        got = {
            one["token"]: [one["won"], one["lost"], one["tied"]] for one in (await _mine(person))["images"]
        }
        assert {token: fate for token, fate in got.items() if any(fate)} == expected

    on(play)


def test_images_of_check_rounds_are_there_while_their_duel_is_open_and_gone_afterwards(on):
    async def play(site):
        person = await site.person()
        duel = await _play(site, person, close=False)
        before = (await _mine(person))["images"]
        token = before[0]["token"]
        await site.service.database.write(
            lambda connection: connection.execute(
                update(images).where(images.c.token == token).values(origin="corrupted")
            )
        )
        assert (await _mine(person))["images"] == before
        await person.delete(f"/api/v1/duels/{duel['duel_id']}")
        after = [one["token"] for one in (await _mine(person))["images"]]
        assert token not in after
        assert len(after) == len(before) - 1

    on(play)


def test_what_is_flagged_or_never_shown_is_not_there(on):
    async def play(site):
        person = await site.person()
        await _play(site, person)
        token = (await _mine(person))["images"][0]["token"]
        for state in ("flagged", "removed", "ready"):
            await _set(site, images, state=state)
            assert (await _mine(person))["images"] == []
            for call in (
                person.get(f"/api/v1/images/{token}/download"),
                person.post(f"/api/v1/images/{token}/share"),
                person.delete(f"/api/v1/me/images/{token}"),
            ):
                assert (await call).status_code == 404

    on(play)


def test_an_image_is_downloaded_under_its_prompts_name_and_that_is_noted(on):
    async def play(site):
        person = await site.person()
        await _play(site, person, 'a "red" cat, ../etc/passwd; חתול [blurry]')
        token = (await _mine(person))["images"][0]["token"]
        reply = await person.get(f"/api/v1/images/{token}/download")
        assert (reply.status_code, reply.headers["content-type"]) == (200, "image/jpeg")
        assert reply.content[:2] == b"\xff\xd8"
        sent = reply.headers["content-disposition"]
        assert sent.startswith('attachment; filename="a-red-cat-etc-passwd-blurry.jpg"; filename*=UTF-8')
        assert unquote(sent).endswith("''a-red-cat-etc-passwd-חתול-blurry.jpg")
        (noted,) = await site.rows(downloads)
        assert noted.user_id == person.user_id
        stranger = await site.person()
        assert (await stranger.get(f"/api/v1/images/{token}/download")).status_code == 404
        assert len(await site.rows(downloads)) == 1

    on(play)


@pytest.mark.parametrize("prompt", ["", "...", "\r\nSet-Cookie: a=b", "x" * 500, "/" * 90, "חתול"])
def test_no_prompt_makes_a_bad_file_name(prompt):
    sent = attachment(prompt)
    assert re.fullmatch(r"attachment; filename=\"[A-Za-z0-9-]+\.jpg\"; filename\*=UTF-8''[\w%-]+\.jpg", sent)
    assert len(unquote(sent)) < 180


def test_a_shared_image_is_public_until_it_is_made_private(on):
    async def play(site):
        person = await site.person()
        duel = await _play(site, person, "a <b>red</b> cat", close=False)
        mine = (await _mine(person))["images"][0]
        token = mine["token"]
        url = (await person.post(f"/api/v1/images/{token}/share")).json()["url"]
        assert (await person.post(f"/api/v1/images/{token}/share")).json()["url"] == url
        assert (await _mine(person))["images"][0]["shared"] == url
        assert len(await site.rows(shares)) == 1
        model = next(row.model for row in await site.rows(images) if row.token == token)
        async with site.client() as stranger:
            page = await stranger.get(url)
            assert page.headers["x-robots-tag"] == "noindex"
            assert "a &lt;b&gt;red&lt;/b&gt; cat" in page.text
            assert f'<meta property="og:image" content="http://test{url}.jpg">' in page.text
            assert '<meta name="robots" content="noindex">' in page.text
            assert model not in page.text
            assert token not in page.text, "the address under which its user sees it stays theirs"
            picture = await stranger.get(f"{url}.jpg")
            assert (picture.status_code, picture.content[:2]) == (200, b"\xff\xd8")
            assert b"Exif" not in picture.content[:200]
            assert (await stranger.get(f"/api/v1/images/{token}")).status_code == 401
            await person.delete(f"/api/v1/duels/{duel['duel_id']}")
            assert model in (await stranger.get(url)).text
            assert (await person.delete(f"/api/v1/images/{token}/share")).status_code == 204
            gone = await stranger.get(url, headers={"Accept": "text/html"})
            assert (gone.status_code, gone.headers["content-type"][:9]) == (404, "text/html")
            assert (await stranger.get(f"{url}.jpg")).status_code == 404

    on(play)


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (images, {"state": "flagged"}),
        (images, {"state": "removed"}),
        (users, {"status": "banned"}),
    ],
)
def test_a_shared_page_goes_when_its_image_or_user_does(on, table, values):
    async def play(site):
        person = await site.person()
        await _play(site, person)
        token = (await _mine(person))["images"][0]["token"]
        url = (await person.post(f"/api/v1/images/{token}/share")).json()["url"]
        assert (await person.get(url)).status_code == 200
        await _set(site, table, **values)
        assert (await person.get(url)).status_code == 404
        assert (await person.get(f"{url}.jpg")).status_code == 404

    on(play)


def test_whoever_is_forgotten_shares_nothing(on):
    async def play(site):
        person = await site.person()
        await _play(site, person)
        token = (await _mine(person))["images"][0]["token"]
        await person.get(f"/api/v1/images/{token}/download")
        url = (await person.post(f"/api/v1/images/{token}/share")).json()["url"]
        assert (await person.delete("/api/v1/me")).status_code == 204
        async with site.client() as stranger:
            assert (await stranger.get(url)).status_code == 404

    on(play)


def test_only_the_owner_shares_and_takes_away(on):
    async def play(site):
        owner, stranger = await site.person(), await site.person()
        await _play(site, owner)
        token = (await _mine(owner))["images"][0]["token"]
        for call in (
            stranger.post(f"/api/v1/images/{token}/share"),
            stranger.delete(f"/api/v1/images/{token}/share"),
            stranger.delete(f"/api/v1/me/images/{token}"),
            stranger.get(f"/api/v1/me/images?before={token}"),
        ):
            assert (await call).status_code == 404
        assert (await _mine(stranger))["images"] == []
        async with site.client() as nobody:
            assert (await nobody.get("/api/v1/me/images")).status_code == 401
        without_token = await owner.client.post(f"/api/v1/images/{token}/share")
        assert without_token.status_code == 403

    on(play)


def test_a_visitor_cannot_share(on):
    async def play(site):
        person = await site.person()
        await _play(site, person)
        token = (await _mine(person))["images"][0]["token"]
        await _set(site, users, kind="visitor")
        site.service.forget_user(person.user_id)
        refused = await person.post(f"/api/v1/images/{token}/share")
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "sign_in")

    on(play)


def test_an_image_taken_out_leaves_its_picks(on):
    async def play(site):
        person = await site.person()
        await _play(site, person)
        before = await site.rows(rounds)
        one = (await _mine(person))["images"][0]
        url = (await person.post(f"/api/v1/images/{one['token']}/share")).json()["url"]
        assert (await person.delete(f"/api/v1/me/images/{one['token']}")).status_code == 204
        left = [other["token"] for other in (await _mine(person))["images"]]
        assert one["token"] not in left
        assert (await person.get(url)).status_code == 404
        assert await site.rows(rounds) == before
        assert (await person.get("/api/v1/me/leaderboard")).json()["picks"] == 3
        assert (await person.delete(f"/api/v1/me/images/{one['token']}")).status_code == 404

    on(play)


def test_the_gallerys_forms_work_without_a_script(on):
    async def play(site):
        person = await site.person()
        await _play(site, person)
        page = (await person.get("/gallery")).text
        token = re.search(r'action="/gallery/([^/]+)/share"', page)[1]
        csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]
        form = {"csrf": csrf, "before": ""}
        refused = await person.client.post(f"/gallery/{token}/share", data={"before": ""})
        assert refused.status_code == 403
        shared = await person.client.post(f"/gallery/{token}/share", data=form)
        assert shared.status_code == 303
        assert (await person.get(shared.headers["location"])).status_code == 200
        private = await person.client.post(f"/gallery/{token}/unshare", data=form)
        assert (private.status_code, private.headers["location"]) == (303, "/gallery")
        assert (await person.get(shared.headers["location"])).status_code == 404
        removed = await person.client.post(
            f"/gallery/{token}/remove", data=form | {"before": "//evil.example"}
        )
        assert (removed.status_code, removed.headers["location"]) == (303, "/gallery")
        assert token not in (await person.get("/gallery")).text
        html = {"Accept": "text/html"}
        again = await person.client.post(f"/gallery/{token}/remove", data=form, headers=html)
        assert (again.status_code, again.headers["content-type"][:9]) == (404, "text/html")
        signed_out = await site.client().get("/gallery")
        assert "/sign-in?next=/gallery" in signed_out.text

    on(play)


def test_a_shared_image_is_reported_by_a_plain_form(on):
    async def play(site):
        owner, reader = await site.person(), await site.person()
        await _play(site, owner)
        token = (await _mine(owner))["images"][0]["token"]
        url = (await owner.post(f"/api/v1/images/{token}/share")).json()["url"]
        page = (await reader.get(url)).text
        csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]
        wrong = await reader.client.post(f"{url}/report", data={"csrf": csrf, "reason": "dull"})
        assert wrong.status_code == 422
        sent = await reader.client.post(
            f"{url}/report", data={"csrf": csrf, "reason": "violence", "note": "no"}
        )
        assert sent.headers["location"] == f"{url}?reported=1"
        assert "Thank you" in (await reader.get(f"{url}?reported=1")).text
        assert "/sign-in?next=/i/" in (await site.client().get(url)).text

    on(play)


def test_prompts_are_listed_once_the_latest_first(on):
    async def play(site):
        person = await site.person()
        await _play(site, person, "a red cat")
        await _play(site, person, "a dog [blurry]", answers=("tie",))
        last = await _play(site, person, "a red cat", answers=("left", "tie"))
        listed = (await person.get("/api/v1/me/prompts")).json()["prompts"]
        assert [(one["prompt"], one["picks"]) for one in listed] == [("a red cat", 5), ("a dog [blurry]", 1)]
        assert listed[0]["duel_id"] == last["duel_id"]
        assert (await person.get("/api/v1/me/prompts?limit=1")).json()["prompts"] == listed[:1]
        assert (await (await site.person()).get("/api/v1/me/prompts")).json() == {"prompts": []}
        assert len({row.user_id for row in await site.rows(duels)}) == 1

    on(play)
