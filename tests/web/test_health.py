"""What the machinery is told: alive, ready, degraded, stopping, and what is counted; and who may know."""

import asyncio
from datetime import timedelta

import httpx
import obstore
import pytest
from pydantic import SecretStr
from sqlalchemy import insert, text, update
from web_site import Site

from pickapic.collect.tables import breakers, jobs, workers
from pickapic.web import readiness
from pickapic.web.service import now

ON_BOTH_DATABASES = True


@pytest.fixture
def fresh(monkeypatch):
    """Nothing is remembered from one look to the next."""
    monkeypatch.setattr(readiness, "SECONDS_KEPT", 0.0)
    monkeypatch.setattr(readiness, "PROBE_SECONDS", 0.0)
    monkeypatch.setattr(readiness, "PROBE_AGAIN_SECONDS", 0.0)


async def ready(site) -> tuple[int, dict]:
    async with site.client() as client:
        reply = await client.get("/readyz")
        return reply.status_code, reply.json()


async def metrics(site, **options) -> httpx.Response:
    async with site.client() as client:
        return await client.get("/metrics", **options)


async def change(site, statement) -> None:
    await site.service.database.write(lambda connection: connection.execute(statement))


class Away:
    """A database that does not answer."""

    async def read(self, *_):
        raise ConnectionRefusedError


def test_health_readiness_and_metrics(on, fresh, monkeypatch):
    async def play(site):
        person = await site.person()
        duel = await person.start()
        await site.work()
        await person.pick(await person.read(duel), "tie")
        assert (await person.get("/healthz")).json() == {"status": "ok"}
        status, found = await ready(site)
        assert (status, found["status"]) == (200, "ok")
        assert found["checks"] == {"database": "ok", "images": "ok", "queue": "ok"}
        shown = (await person.get("/metrics")).text
        assert 'pickapic_answers_total{answer="tie"} 1.0' in shown
        assert 'pickapic_jobs{state="queued"} 1.0' in shown
        assert 'route="/api/v1/rounds/{round_id}/pick",status="200"' in shown
        assert duel["duel_id"] not in shown
        monkeypatch.setattr(site.service.ready, "_database", Away())
        status, found = await ready(site)
        assert (status, found["status"], found["checks"]["queue"]) == (503, "unavailable", "not known")
        assert found["checks"]["database"] == "ConnectionRefusedError"
        assert (await person.get("/healthz")).status_code == 200

    on(play)


def test_nobody_who_makes_images_is_degraded_and_so_is_a_long_queue(on, fresh):
    async def play(site):
        person = await site.person()
        await person.start()
        assert (await ready(site))[1]["status"] == "ok", "a worker may still come"
        await change(site, update(jobs).values(created_at=now() - timedelta(seconds=60)))
        status, found = await ready(site)
        assert (status, found["status"]) == (200, "degraded")
        assert "no worker is alive" in found["checks"]["queue"]
        seen = {"name": "w", "generators": "[]", "started_at": now(), "seen_at": now()}
        await change(site, insert(workers).values(**seen))
        assert (await ready(site))[1]["status"] == "ok"
        await change(site, update(jobs).values(created_at=now() - timedelta(seconds=600)))
        assert "the oldest image waits" in (await ready(site))[1]["checks"]["queue"]
        await change(site, update(workers).values(seen_at=now() - timedelta(hours=1)))
        await change(
            site, update(jobs).values(state="leased", worker="busy", lease_until=now() + timedelta(seconds=9))
        )
        assert (await ready(site))[1]["status"] == "ok"
        assert "pickapic_workers 1.0" in (await metrics(site)).text, "who holds a lease is alive"

    on(play)


def test_a_store_that_loses_what_it_is_given_is_not_ready(on, fresh, monkeypatch):
    async def refuse(*_):
        raise PermissionError("the disk is full")

    async def play(site):
        assert (await ready(site))[0] == 200
        assert list(obstore.list(site.service.store, prefix=readiness.PROBES).collect()) == []
        monkeypatch.setattr(obstore, "put_async", refuse)
        status, found = await ready(site)
        assert (status, found["checks"]["images"]) == (503, "that is not permitted")
        assert 'pickapic_store_errors_total{operation="probe"}' in (await metrics(site)).text

    on(play)


def test_tables_that_are_older_are_not_ready_and_newer_ones_are(on, fresh):
    async def play(site):
        await change(site, text("UPDATE alembic_version SET version_num = '0001'"))
        status, found = await ready(site)
        assert status == 503
        assert "pickapic db upgrade" in found["checks"]["database"]
        await change(site, text("UPDATE alembic_version SET version_num = '9999'"))
        assert (await ready(site))[0] == 200

    on(play)


def test_readiness_is_looked_at_once_a_second_however_often_it_is_asked(on):
    async def play(site):
        looks = 0
        real = site.service.ready._look

        async def counted():
            nonlocal looks
            looks += 1
            return await real()

        site.service.ready._look = counted
        for _ in range(3):
            await asyncio.gather(*(ready(site) for _ in range(20)))
        assert looks == 1

    on(play)


def test_a_server_that_stops_says_so(on):
    async def play(site):
        site.service.ready.stopping.set()
        assert await ready(site) == (503, {"status": "stopping", "checks": {}, "jobs": {}})

    on(play)


def test_metrics_tell_of_the_queue_and_of_generators(on, fresh):
    async def play(site):
        person = await site.person()
        await person.start()
        await site.work()
        name = site.settings.generators[0].name
        row = {"name": name, "failures": 5, "error": "", "failed_at": now(), "since": now()}
        await change(site, insert(breakers).values(benched_until=now() + timedelta(minutes=1), **row))
        shown = (await metrics(site)).text
        assert f'pickapic_generator_benched{{generator="{name}"}} 1.0' in shown
        assert shown.count("pickapic_generator_benched{") == len(site.settings.generators)
        made = [line for line in shown.splitlines() if line.startswith("pickapic_recent_jobs{")]
        assert made
        assert all('state="done"' in line for line in made)
        assert sum(float(line.split()[-1]) for line in made) == len(await site.rows(jobs)) > 0
        assert "pickapic_oldest_job_seconds 0.0" in shown
        await change(site, update(jobs).values(finished_at=now() - timedelta(hours=1)))
        assert "pickapic_recent_jobs{" not in (await metrics(site)).text

    on(play)


@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("10.1.2.3", {}, 200),
        ("fd00::1", {}, 200),
        ("8.8.8.8", {}, 403),
        ("2a00:1450:4001:81b::200e", {}, 403),
        ("127.0.0.1", {"x-forwarded-for": "10.0.0.1"}, 403),
        ("127.0.0.1", {"forwarded": "for=10.0.0.1"}, 403),
        ("127.0.0.1", {"x-real-ip": "10.0.0.1"}, 403),
        ("a-socket", {}, 403),
    ],
)
def test_without_a_token_only_private_addresses_read_the_metrics(on, client, headers, status):
    async def play(site):
        transport = httpx.ASGITransport(site.app, client=(client, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            assert (await http.get("/metrics", headers=headers)).status_code == status

    on(play)


def test_with_a_token_only_who_has_it_reads_the_metrics(on, settings):
    async def play(site):
        assert (await metrics(site)).status_code == 403
        for wrong in ("Bearer x", "a-token-of-the-scraper", "Basic a-token-of-the-scraper"):
            assert (await metrics(site, headers={"authorization": wrong})).status_code == 403
        right = {"authorization": "Bearer a-token-of-the-scraper", "x-forwarded-for": "8.8.8.8"}
        assert (await metrics(site, headers=right)).status_code == 200

    token = SecretStr("a-token-of-the-scraper")
    on(play, Site(settings.model_copy(update={"metrics_token": token})))
