"""On PostgreSQL no page and no part of the pick loop reads a whole large table.

A collection of twenty thousand picks is played on and looked at through the app; every statement that reaches the
database is planned again, as it was: for any values, or for its own (see collect/plans.py).
"""

import asyncio
import json
import sys
from pathlib import Path

import asyncpg
import pytest
from administration import staff
from sqlalchemy import event
from web_site import Site

from databases import KINDS
from pickapic.settings import load_settings
from pickapic.web.service import now
from pickapic.web.watch import Watch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from million_rows import fill

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("postgresql" not in KINDS, reason="plans are PostgreSQL's"),
]

LARGE = {"duels", "images", "jobs", "rounds"}
CUSTOM = "SET LOCAL plan_cache_mode = force_custom_plan"
PAGES = (
    *("/", "/gallery", "/me", "/leaderboard", "/api/v1/leaderboard", "/api/v1/me/leaderboard", "/api/v1/me"),
    *("/admin", "/admin/users", "/admin/users?order=picks", "/admin/users?show=doubtful", "/admin/users/7"),
    *(
        "/admin/generators",
        "/admin/jobs",
        "/admin/reports",
        "/admin/reviews",
        "/admin/gold",
        "/admin/decisions",
    ),
    *("/admin/exports", "/metrics", "/readyz", "/healthz"),
)


class Listener:
    """Every statement that an engine sends, with its values and whether it is planned for them."""

    def __init__(self, engine) -> None:
        self.sent: dict[tuple[str, bool], tuple[object, ...]] = {}
        self._custom: set[int] = set()
        event.listen(engine, "before_cursor_execute", self._hear)
        event.listen(engine, "commit", self._end)
        event.listen(engine, "rollback", self._end)

    def _hear(self, connection, cursor, statement, parameters, context, executemany) -> None:
        if statement == CUSTOM:
            self._custom.add(id(connection))
        elif statement.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH"):
            values = parameters[0] if executemany else parameters
            custom = id(connection) in self._custom
            self.sent[statement, custom] = tuple(values or ())

    def _end(self, connection) -> None:
        self._custom.discard(id(connection))


@pytest.fixture(scope="module")
def url(databases, tmp_path_factory):
    url = databases.empty("postgresql", tmp_path_factory.mktemp("plans"))
    asyncio.run(fill(url, 20_000))
    yield url
    databases.drop(url)


async def play(site: Site) -> None:
    """Do everything that people and those who look after them do."""
    admin = await staff(site, "admin")
    await admin.post("/api/v1/me/consent", {"version": site.settings.terms_version})
    for number in range(2):
        duel = await admin.start(f"a cat on a bench {number}")
        await site.work()
        for turn in range(11):  # the allowance is looked at in every tenth round
            duel = await admin.read(duel)
            key = duel["round"]["round_id"]
            assert (await admin.pick(duel, "left")).status_code == 200
            if turn == 3:
                assert (await admin.post(f"/api/v1/rounds/{key}/undo")).status_code == 200
            if turn == 5:
                again = await admin.read(duel)
                await admin.post(f"/api/v1/rounds/{again['round']['round_id']}/skip")
            await site.work()
        await admin.delete(f"/api/v1/duels/{duel['duel_id']}")
    for page in PAGES:
        reply = await admin.get(page)
        assert reply.status_code in (200, 503), f"{page}: {reply.status_code}"
    watching = Watch(site.service.database, site.settings)
    await watching.refresh(now())
    await watching.refresh(now())


async def statements(url: str, home) -> dict[tuple[str, bool], tuple[object, ...]]:
    # Half of all rounds are checks, so that these are there too.
    async with Site(load_settings(home=home, database_url=url, gold_share=0.5)) as site:
        await site.service.boards.board()  # counted once, in whole, when a server starts
        listener = Listener(site.service.database._engine.sync_engine)
        await play(site)
        return listener.sent


def faults(plan: dict, above: str = "") -> list[str]:
    """Return what reads a large table from end to end."""
    found = []
    name, kind = plan.get("Relation Name") or "", plan["Node Type"]
    if kind == "Seq Scan" and name in LARGE:
        found.append(f"all of {name}")
    is_whole = kind in ("Index Scan", "Index Only Scan") and name in LARGE and "Index Cond" not in plan
    # A partial index is as small as what it is about; with a limit and no filter a few rows are read.
    if is_whole and plan["Index Name"] not in PARTIAL and (above != "Limit" or "Filter" in plan):
        found.append(f"all of {plan['Index Name']}")
    return [*found, *(fault for part in plan.get("Plans", ()) for fault in faults(part, kind))]


PARTIAL = (
    "ix_jobs_order",
    "ix_jobs_lease_until",
    "ix_jobs_dead",
    "ix_jobs_user_id_priority",
    "ix_rounds_gold_pair_id",
)


async def plan_of(connection: asyncpg.Connection, statement: str, custom: bool, values) -> dict:
    if custom:
        rows = await connection.fetch(f"EXPLAIN (FORMAT JSON) {statement}", *values)
    else:
        await connection.execute(f"PREPARE planned AS {statement}")
        try:
            nothing = f"({', '.join(['NULL'] * len(values))})" if values else ""
            rows = await connection.fetch(f"EXPLAIN (FORMAT JSON) EXECUTE planned{nothing}")
        finally:
            await connection.execute("DEALLOCATE planned")
    return json.loads(rows[0][0])[0]["Plan"]


async def explain_all(url: str, home) -> tuple[dict[str, list[str]], int]:
    sent = await statements(url, home)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        # What has another way than reading all takes it, however small this collection is.
        for way in ("seqscan", "hashjoin", "mergejoin"):
            await connection.execute(f"SET enable_{way} = off")
        found = {}
        for (statement, custom), values in sent.items():
            wrong = faults(await plan_of(connection, statement, custom, values))
            if wrong:
                found[statement] = wrong
        return found, len(sent)
    finally:
        await connection.close()


def test_no_statement_reads_all_of_a_large_table(url, tmp_path):
    found, count = asyncio.run(explain_all(url, tmp_path))
    assert count > 60, "most statements were not heard"
    assert not found, "\n\n".join(f"{wrong}: {statement}" for statement, wrong in found.items())


def test_reading_all_would_be_noticed(url):
    async def look(statement: str) -> list[str]:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute("SET enable_seqscan = off")
            return faults(await plan_of(connection, statement, False, ()))
        finally:
            await connection.close()

    assert asyncio.run(look("SELECT count(*) FROM images WHERE steps = 7"))
    assert asyncio.run(look("SELECT id FROM rounds WHERE response_ms = 7 ORDER BY id LIMIT 3"))
    assert not asyncio.run(look("SELECT id FROM rounds WHERE id = 7"))
