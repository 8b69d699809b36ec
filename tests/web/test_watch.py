"""What a server does beside answering: risks follow the answers, what has expired goes, and no failure ends it."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import OperationalError
from web_site import Person

from crowd import START, add_hasty, add_user
from pickapic.collect.people import visitors
from pickapic.collect.quality import Policy
from pickapic.collect.quality.risks import BATCH
from pickapic.collect.tables import images, marks, risks, rounds, sessions, users
from pickapic.records import InputError
from pickapic.settings import load_settings
from pickapic.web import watch as watching
from pickapic.web.app import create_app
from pickapic.web.watch import Watch

ON_BOTH_DATABASES = True
LATER = START + timedelta(hours=1)


async def scores(site):
    rows = await site.service.database.read(lambda c: c.execute(select(risks)).all())
    return {row.user_id: row.score for row in rows}


def test_risks_follow_the_answers(on):
    async def play(site):
        database = site.service.database
        hasty = await database.write(add_hasty)
        await database.write(add_user)
        watch = Watch(database, site.settings)
        assert await watch.refresh(LATER) == 1
        assert list(await scores(site)) == [hasty]
        assert (await scores(site))[hasty] >= Policy().flag
        assert await watch.refresh(LATER) == 0
        assert await watch.refresh(LATER + timedelta(seconds=30)) == 0
        at = LATER + timedelta(minutes=1)
        await database.write(
            lambda c: c.execute(update(rounds).where(rounds.c.number == 12).values(picked_at=at))
        )
        assert await watch.refresh(at) == 1

    on(play)


def test_many_people_are_looked_at_in_passes(on, monkeypatch):
    monkeypatch.setattr(watching, "PEOPLE_A_PASS", 2 * BATCH)
    monkeypatch.setattr(watching, "PAUSE_SECONDS", 0)

    async def play(site):
        for _ in range(2 * BATCH + 1):
            await site.service.database.write(add_hasty)
        watch = Watch(site.service.database, site.settings)
        assert [await watch.refresh(LATER) for _ in range(3)] == [2 * BATCH, 1, 0]
        assert len(await scores(site)) == 2 * BATCH + 1

    on(play)


def test_what_has_expired_goes_once_an_hour(on):
    async def play(site):
        database = site.service.database

        def fill(connection):
            user = add_user(connection)
            for days in (40, 1):
                at = LATER - timedelta(days=days)
                connection.execute(
                    insert(marks).values(
                        user_id=user, kind="device", digest=bytes([days] * 32), first_at=at, last_at=at
                    )
                )

        def left(connection):
            return connection.execute(select(func.count()).select_from(marks)).scalar_one()

        await database.write(fill)
        watch = Watch(database, site.settings)
        await watch.sweep(LATER)
        assert await database.read(left) == 1
        await database.write(lambda c: c.execute(update(marks).values(last_at=LATER - timedelta(days=50))))
        await watch.sweep(LATER + timedelta(minutes=59))
        assert await database.read(left) == 1
        await watch.sweep(LATER + timedelta(minutes=60))
        assert await database.read(left) == 0

    on(play)


def test_expired_sessions_go(on):
    async def play(site):
        person = await site.person()
        assert (await person.get("/api/v1/me")).json()["user_id"] == person.user_id
        await Watch(site.service.database, site.settings).sweep(LATER + timedelta(days=5000))
        assert await site.rows(sessions) == []

    on(play)


def test_it_runs_beside_the_server_and_outlives_a_failure(on, monkeypatch):
    monkeypatch.setattr(watching, "SECONDS", 0.02)
    failures = []
    refresh = Watch.refresh

    async def failing_first(self, at):
        if not failures:
            failures.append(at)
            raise OperationalError("SELECT 1", {}, Exception("the database is restarting"))
        return await refresh(self, at)

    monkeypatch.setattr(Watch, "refresh", failing_first)

    async def play(site):
        await site.service.database.write(add_hasty)
        for _ in range(250):
            if await scores(site):
                return
            await asyncio.sleep(0.02)
        raise AssertionError("no risk was computed")

    on(play)
    assert failures


def test_a_misspelt_parameter_stops_the_server_at_its_start(tmp_path):
    settings = load_settings(home=tmp_path, quality={"exlude": 90})
    with pytest.raises(InputError, match="parameter 'exlude' is unknown; did you mean 'exclude'"):
        create_app(settings)


def test_only_one_process_computes_at_a_time(on, database_kind):
    async def play(site):
        database = site.service.database
        await database.write(add_hasty)
        if database_kind == "sqlite":  # a file has one server
            assert await database.read(watching.risks.alone)
            return
        watch = Watch(database, site.settings)

        entered, leave = asyncio.Event(), asyncio.Event()

        async def other():
            async with database._engine.begin() as connection:
                assert await connection.run_sync(watching.risks.alone)
                entered.set()
                await leave.wait()

        task = asyncio.create_task(other())
        await entered.wait()
        assert await watch.refresh(LATER) == 0
        leave.set()
        await task
        assert await watch.refresh(LATER) == 1

    on(play)


def test_visitors_who_cannot_come_back_are_deleted_with_their_images(on, monkeypatch):
    monkeypatch.setattr(visitors, "SWEPT_AT_ONCE", 2)

    async def visit(site):
        client = site.client()
        await client.get("/api/v1/me")
        person = Person(client)
        assert (await person.post("/auth/visitor")).status_code in (200, 201)
        await person.start(site.settings.free_prompt)
        await site.work()
        return person

    async def kept(site):
        found = await site.service.database.read(lambda c: c.execute(select(users.c.kind)).scalars().all())
        files = [path for path in Path(site.settings.images_url).rglob("*") if path.is_file()]
        return sorted(found), len(files)

    async def play(site):
        await site.person()
        people = [await visit(site) for _ in range(4)]
        kinds, files = await kept(site)
        assert (kinds, files) == (["guest", *["visitor"] * 4], len(await site.rows(images)))
        sweep = lambda: watching.sweep_visitors(site.service, "secret")  # noqa: E731
        assert await sweep() == 0, "their time is not over"
        database = site.service.database
        long_ago = watching.now() - timedelta(days=31)
        await database.write(lambda c: c.execute(update(users).values(created_at=long_ago)))
        assert await sweep() == 0, "they have a session"
        last = select(func.max(users.c.id)).scalar_subquery()
        await database.write(lambda c: c.execute(delete(sessions).where(sessions.c.user_id != last)))
        assert await sweep() == 3
        kinds, files = await kept(site)
        assert (kinds, files) == (["guest", "visitor"], len(await site.rows(images)))
        assert files > 0
        assert (await people[-1].get("/api/v1/me")).status_code == 200
        assert await sweep() == 0

    on(play)
