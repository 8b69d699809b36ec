"""Attacks on rounds: other people's, forged winners, replays, and answers that race one another."""

import asyncio

import pytest
from attacker import assert_error, playing
from sqlalchemy import func, select
from web_site import Site

from pickapic.collect.tables import images, rounds

pytestmark = pytest.mark.slow

ON_BOTH_DATABASES = True


def test_other_peoples_things_do_not_exist(on):
    async def play(site):
        person, duel = await playing(site)
        stranger = await site.person()
        assert_error(await stranger.pick(duel, "left"), 404)
        assert_error(await stranger.post(f"/api/v1/rounds/{duel['round']['round_id']}/skip"), 404)
        assert_error(await stranger.post(f"/api/v1/rounds/{duel['round']['round_id']}/undo"), 404)
        assert_error(await stranger.get(f"/api/v1/duels/{duel['duel_id']}"), 404)
        assert_error(await stranger.get(f"/api/v1/duels/{duel['duel_id']}/events"), 404)
        assert_error(await stranger.delete(f"/api/v1/duels/{duel['duel_id']}"), 404)
        assert_error(await stranger.get(duel["round"]["images"][0]["url"]), 404)
        site.service.locations.clear()
        assert_error(await stranger.get(duel["round"]["images"][0]["url"]), 404)
        assert (await person.get(duel["round"]["images"][0]["url"])).status_code == 200
        assert (await person.read(duel))["round"] == duel["round"]

    on(play)


@pytest.mark.parametrize(
    "forged", ["1", "0", "-1", "x" * 5000, "%00", "..%2f..%2fetc%2fpasswd", "' OR 1=1 --", "%ff%fe", "🐱"]
)
def test_forged_ids_are_not_found(on, forged):
    async def play(site):
        person, _ = await playing(site)
        for path in (f"/api/v1/duels/{forged}", f"/api/v1/images/{forged}"):
            assert_error(await person.get(path), 404)
        for wish in ("pick", "skip", "undo"):
            reply = await person.post(f"/api/v1/rounds/{forged}/{wish}", {"pick": "left"})
            assert_error(reply, 404)

    on(play)


def test_the_winner_the_sides_and_the_user_cannot_be_claimed(on):
    async def play(site):
        person, duel = await playing(site)
        path = f"/api/v1/rounds/{duel['round']['round_id']}/pick"
        for claim in (
            {"pick": "left", "winner": "x"},
            {"pick": "left", "user_id": 1},
            {"pick": "LEFT"},
            {"pick": 0},
            {"pick": None},
            {"pick": ["left"]},
            {},
        ):
            assert_error(await person.post(path, claim), 422, *([] if not claim else [list(claim)[-1]]))
        assert {row.state for row in await site.rows(rounds)} == {"open"}

    on(play)


def test_a_replayed_pick_is_counted_once_and_a_changed_one_refused(on):
    async def play(site):
        person, duel = await playing(site)
        replies = [await person.pick(duel, "left") for _ in range(5)]
        assert {reply.status_code for reply in replies} == {200}
        assert len({reply.text for reply in replies}) == 1
        assert_error(await person.pick(duel, "right"), 409, "otherwise")
        assert_error(await person.pick(duel, "tie"), 409)
        assert [row.pick for row in await site.rows(rounds)] == ["left", None]

    on(play)


def test_of_two_different_picks_at_once_exactly_one_counts(on):
    async def play(site):
        person, duel = await playing(site)
        for _ in range(5):
            replies = await asyncio.gather(
                *(person.pick(duel, answer) for answer in ("left", "right", "tie", "left", "right"))
            )
            codes = sorted(reply.status_code for reply in replies)
            assert set(codes) == {200, 409}
            await site.work()
            stored = [row for row in await site.rows(rounds) if row.uid == duel["round"]["round_id"]]
            assert len(stored) == 1
            answers = ("left", "right", "tie", "left", "right")
            good = {
                answer for answer, reply in zip(answers, replies, strict=True) if reply.status_code == 200
            }
            assert good == {stored[0].pick}
            duel = await person.read(duel)
        assert [row.state for row in await site.rows(rounds)].count("answered") == 5
        assert [row.state for row in await site.rows(rounds)].count("open") == 1

    on(play)


def test_what_an_answer_is_stored_as_comes_from_the_server_alone(on):
    """Whatever is sent beside the pick, in the address or the headers: the row is the server's own."""

    async def play(site):
        person, duel = await playing(site)
        await person.look(duel)
        shown = (await site.rows(rounds))[0]
        path = f"/api/v1/rounds/{duel['round']['round_id']}/pick"
        claims = (
            "?winner=right&user_id=9&left_image_id=7&model=best&picked_at=2001-01-01&response_ms=1&wait=0"
        )
        reply = await person.post(path + claims, {"pick": "left"})
        assert reply.status_code == 200
        stored = (await site.rows(rounds))[0]
        assert (stored.pick, stored.kept_image_id) == ("left", shown.left_image_id)
        assert (stored.user_id, stored.left_image_id) == (person.user_id, shown.left_image_id)
        assert stored.picked_at.year > 2001

    on(play)


@pytest.mark.parametrize("wish", ["pick", "skip", "undo"])
def test_a_round_of_a_duel_that_is_over_stays_as_it_is(on, wish):
    async def play(site):
        person, duel = await playing(site)
        await person.pick(duel, "left")
        second = await person.read(duel)
        await person.look(second)
        assert (await person.delete(f"/api/v1/duels/{duel['duel_id']}")).status_code == 200
        before = await site.rows(rounds)
        for shown in (duel, second):
            body = {"pick": "right"} if wish == "pick" else None
            assert_error(await person.post(f"/api/v1/rounds/{shown['round']['round_id']}/{wish}", body), 409)
        assert await site.rows(rounds) == before

    on(play)


def test_pick_skip_and_end_at_once_leave_one_outcome(on):
    async def play(site):
        for _ in range(4):
            person, duel = await playing(site)
            await person.look(duel)
            key = duel["round"]["round_id"]
            replies = await asyncio.gather(
                person.post(f"/api/v1/rounds/{key}/pick", {"pick": "left"}),
                person.post(f"/api/v1/rounds/{key}/skip"),
                person.post(f"/api/v1/rounds/{key}/pick", {"pick": "right"}),
                person.delete(f"/api/v1/duels/{duel['duel_id']}"),
            )
            codes = [reply.status_code for reply in replies]
            assert set(codes) <= {200, 409}, [reply.text for reply in replies]
            assert sum(code == 200 for code in codes[:3]) <= 1
            row = next(row for row in await site.rows(rounds) if row.uid == key)
            told = [
                outcome for outcome, code in zip(("left", None, "right"), codes, strict=False) if code == 200
            ]
            assert row.state == ("open" if not told else "skipped" if told == [None] else "answered")
            if told:
                assert row.pick == told[0]

    on(play)


def test_undo_and_pick_at_once_never_show_an_image_twice(on):
    async def play(site):
        person, duel = await playing(site)
        for turn in range(6):
            first = duel["round"]["round_id"]
            reply = await person.pick(duel, "left")
            assert reply.status_code == 200, reply.text
            await site.work()
            duel = await person.read(duel)
            await person.look(duel)
            replies = await asyncio.gather(
                person.post(f"/api/v1/rounds/{first}/undo"),
                person.post(f"/api/v1/rounds/{duel['round']['round_id']}/pick", {"pick": "tie"}),
                person.post(f"/api/v1/rounds/{first}/undo"),
            )
            assert {reply.status_code for reply in replies} <= {200, 409}, turn
            await site.work()
            duel = await person.read(duel)
        assert await site.service.database.read(count_doubles) == 0
        states = [row.state for row in await site.rows(rounds)]
        assert states.count("open") == 1

    on(play)


def count_doubles(connection):
    """Return how many rounds share their number with another of their duel that was not withdrawn."""
    numbers = (
        select(func.count().label("n"))
        .where(rounds.c.state != "withdrawn")
        .group_by(rounds.c.duel_id, rounds.c.number)
        .subquery()
    )
    return connection.execute(select(func.count()).select_from(numbers).where(numbers.c.n > 1)).scalar()


def test_two_server_processes_take_one_of_two_answers(on, settings):
    """Two apps on one database are two processes to it: nothing but the database decides between them."""

    async def play(site):
        async with Site(settings) as second:
            person, duel = await playing(site)
            twin = second.client()
            twin.cookies.update(dict(person.client.cookies))
            for number in range(6):
                await person.look(duel)
                path = f"/api/v1/rounds/{duel['round']['round_id']}/pick"
                mine, other = ("left", "right") if number % 2 else ("tie", "left")
                replies = await asyncio.gather(
                    person.post(path, {"pick": mine}),
                    twin.post(path, json={"pick": other}, headers=person.csrf()),
                )
                assert sorted(reply.status_code for reply in replies) == [200, 409]
                winner = mine if replies[0].status_code == 200 else other
                await site.work()
                stored = next(row for row in await site.rows(rounds) if row.uid == duel["round"]["round_id"])
                assert stored.pick == winner
                duel = await person.read(duel)
            await twin.aclose()
        assert await site.service.database.read(count_doubles) == 0

    on(play)


def test_the_same_pick_sent_ten_times_at_once_is_counted_once(on):
    async def play(site):
        person, duel = await playing(site)
        await person.look(duel)
        path = f"/api/v1/rounds/{duel['round']['round_id']}/pick"
        replies = await asyncio.gather(*(person.post(path, {"pick": "right"}) for _ in range(10)))
        assert {reply.status_code for reply in replies} == {200}
        assert len({reply.json()["round"]["round_id"] for reply in replies}) == 1
        stored = await site.rows(rounds)
        assert [row.state for row in stored] == ["answered", "open"]
        used = {stored[1].left_image_id, stored[1].right_image_id} | {stored[0].left_image_id}
        shown = [row.id for row in await site.rows(images) if row.state == "shown"]
        assert set(shown) == used | {stored[0].right_image_id}

    on(play)
