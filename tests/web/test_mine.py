"""A person's own page, and its plain forms."""

from __future__ import annotations

import re
import time

import pytest
from sqlalchemy import update
from web_site import Site

from pickapic.collect.anonymity import anonymous_id
from pickapic.collect.tables import rounds, users
from pickapic.settings import load_settings

pytestmark = pytest.mark.slow

HTML = {"Accept": "text/html,application/xhtml+xml"}


def _csrf(page: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found is not None
    return found[1]


async def _play(site, person, answers: int = 3) -> None:
    duel = await person.start()
    for number in range(answers):
        await site.work()
        duel = await person.read(duel)
        await person.pick(duel, ("left", "tie", "right")[number % 3])
    await person.delete(f"/api/v1/duels/{duel['duel_id']}")


def test_the_page_says_who_i_am_and_how_far_it_is_to_my_board(on):
    async def play(site):
        person = await site.person()
        await _play(site, person)
        page = (await person.get("/me")).text
        published = anonymous_id(site.app.state.secret, person.user_id)
        assert f"number {published} " in page
        assert (await person.get("/api/v1/me")).json()["published_id"] == published
        assert "27 picks to go" in page
        await _play(site, person, 27)
        page = (await person.get("/me")).text
        assert "By your 30 picks." in page
        assert page.count('<svg viewBox="0 0 200 16"') >= 2

    on(play)


def test_signed_out_one_is_sent_to_sign_in_and_back(on):
    async def play(site):
        async with site.client() as client:
            reply = await client.get("/me")
            assert (reply.status_code, reply.headers["location"]) == (303, "/sign-in?next=/me")
            form = await client.post("/me/delete", data={"word": "delete"}, headers=HTML)
            assert form.status_code in (401, 403)

    on(play)


def test_signing_out_is_a_form(on):
    async def play(site):
        person = await site.person()
        page = (await person.get("/me")).text
        assert (await person.client.post("/sign-out")).status_code == 403
        assert (await person.client.get("/sign-out")).status_code in (404, 405)
        reply = await person.client.post("/sign-out", data={"csrf": _csrf(page)})
        assert (reply.status_code, reply.headers["location"]) == (303, "/")
        assert (await person.get("/api/v1/me")).status_code == 401

    on(play)


@pytest.mark.parametrize(("language", "word"), [("en", " Delete "), ("he", "מחיקה")])
def test_deleting_takes_the_word_in_ones_language(on, language, word):
    async def play(site):
        person = await site.person()
        await _play(site, person)
        person.client.cookies.set("language", language)
        page = (await person.get("/me")).text
        form = {"csrf": _csrf(page), "word": "yes"}
        wrong = await person.client.post("/me/delete", data=form, headers=HTML)
        assert wrong.status_code == 422
        assert '<details class="forget" id="forget" open>' in wrong.text
        assert (await person.get("/api/v1/me")).status_code == 200
        without_token = await person.client.post("/me/delete", data={"word": word})
        assert without_token.status_code == 403
        right = await person.client.post("/me/delete", data=form | {"word": word})
        assert (right.status_code, right.headers["location"]) == (303, "/")
        assert (await person.get("/api/v1/me")).status_code == 401
        (row,) = await site.rows(users)
        assert row.deleted_at is not None

    on(play)


@pytest.mark.parametrize("how", ["anonymise", "remove"])
def test_the_page_says_what_deleting_means_here(how, tmp_path, on):
    async def play(site):
        person = await site.person()
        await _play(site, person)
        page = (await person.get("/me")).text
        assert ("under a number that is nobody’s" in page) == (how == "anonymise")
        await person.client.post("/me/delete", data={"csrf": _csrf(page), "word": "delete"})
        assert bool(await site.rows(rounds)) == (how == "anonymise")

    on(play, Site(load_settings(home=tmp_path / "other", on_delete=how)))


def test_the_banned_are_told_and_still_have_their_data(on):
    async def play(site):
        person = await site.person()
        await _play(site, person)

        def ban(connection):
            connection.execute(update(users).values(status="banned"))

        await site.service.database.write(ban)
        site.service.forget_user(person.user_id)
        page = (await person.get("/me")).text
        assert "You cannot take part here any more." in page
        assert (await person.get("/api/v1/me/export")).status_code == 200
        assert (await person.get("/gallery")).status_code == 200

    on(play)


def test_errors_are_pages_for_browsers_and_json_for_programs(on):
    async def play(site):
        person = await site.person()
        page = await person.get("/i/none", headers=HTML)
        assert (page.status_code, page.headers["content-type"][:9]) == (404, "text/html")
        assert "There is no such picture any more." in page.text
        assert (await person.get("/i/none")).json()["error"]["code"] == "not_found"
        api = await person.get("/api/v1/duels/none", headers=HTML)
        assert api.json()["error"]["code"] == "not_found"
        async with site.client() as client:
            form = await client.post("/gallery/x/share", headers=HTML)
            assert form.status_code == 401
            assert "Please sign in" in form.text

    on(play)


def test_every_page_is_made_in_a_moment(on):
    """By the processor's clock, which does not count what other processes do."""

    async def play(site):
        person = await site.person()
        await _play(site, person, 30)
        for path in ("/", "/about", "/leaderboard", "/gallery", "/me", "/terms", "/sign-in"):
            seconds = []
            for _ in range(4):
                begin = time.process_time()
                assert (await person.get(path)).status_code == 200
                seconds.append(time.process_time() - begin)
            assert min(seconds) < 0.05, path

    on(play)
