"""The tables change while people pick: nobody is refused, and no pick is lost."""

import asyncio
import shutil
import threading
import time
from contextlib import ExitStack

import pytest
from sqlalchemy import inspect, text

from databases import KINDS
from live_site import LiveSite, Visitor
from pickapic.collect import schema
from pickapic.collect.database import open_database
from pickapic.collect.tables import rounds

pytestmark = pytest.mark.slow

NEXT = '''
"""What a next version may bring: columns, a table, and an index of a large table."""

import sqlalchemy as sa
from alembic import op

revision = "9001"
down_revision = "{head}"
branch_labels = None
depends_on = None
CONCURRENTLY = {{"ix_images_steps": "images (steps)"}}


def upgrade():
    op.execute("CREATE INDEX IF NOT EXISTS ix_images_steps ON images (steps)")
    op.add_column("rounds", sa.Column("mood", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("colour", sa.Text(), server_default="none", nullable=False))
    op.create_table(
        "moods",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("user_id", sa.BigInteger(), sa.ForeignKey("users.id"), nullable=False),
    )


def downgrade():
    op.drop_table("moods")
    op.drop_column("jobs", "colour")
    op.drop_column("rounds", "mood")
    op.execute("DROP INDEX ix_images_steps")
'''


@pytest.fixture(params=KINDS)
def url(request, databases, tmp_path):
    url = databases.migrated(request.param, tmp_path)
    yield url
    databases.drop(url)


@pytest.fixture
def next_version(monkeypatch, tmp_path) -> str:
    """A program with one revision more; returns the revision before it."""
    head = schema.newest()
    folder = tmp_path / "migrations"
    shutil.copytree(schema.MIGRATIONS, folder)
    (folder / "versions" / "9001_next.py").write_text(NEXT.format(head=head))
    monkeypatch.setattr(schema, "MIGRATIONS", folder)
    assert schema.newest() == "9001"
    return head


class Picker(threading.Thread):
    """Picks round after round until told to stop, or until something goes wrong."""

    def __init__(self, visitor: Visitor) -> None:
        super().__init__()
        self.visitor = visitor
        self.stopping = threading.Event()
        self.picked: dict[str, str] = {}
        self.slowest = 0.0
        self.wrong: list[str] = []

    def run(self) -> None:
        try:
            while not self.stopping.is_set() and not self.wrong:
                self.duel()
        except Exception as error:
            self.wrong.append(repr(error))

    def duel(self) -> None:
        made = self.timed(lambda: self.visitor.post("/api/v1/duels", {"prompt": "a red cat"}))
        if made.status_code != 201:
            self.wrong.append(f"{made.status_code} {made.text}")
            return
        path = f"/api/v1/duels/{made.json()['duel_id']}"
        duel = self.timed(lambda: self.visitor.get(f"{path}?wait=20")).json()
        for answer in ("left", "tie", "right"):
            if duel["round"] is None:
                break
            for image in duel["round"]["images"]:
                self.timed(lambda image=image: self.visitor.get(image["url"]))
            key = duel["round"]["round_id"]
            reply = self.timed(
                lambda key=key, answer=answer: self.visitor.post(
                    f"/api/v1/rounds/{key}/pick?wait=20", {"pick": answer}
                )
            )
            if reply.status_code != 200:
                self.wrong.append(f"{reply.status_code} {reply.text}")
                return
            self.picked[key] = answer
            duel = reply.json()
        self.visitor.delete(path)

    def timed(self, call):
        start = time.monotonic()
        reply = call()
        self.slowest = max(self.slowest, time.monotonic() - start)
        if reply.status_code >= 500:
            self.wrong.append(f"{reply.status_code} {reply.text}")
        return reply


def test_people_pick_while_the_tables_change(url, next_version, monkeypatch, tmp_path):
    monkeypatch.setenv("PICKAPIC_PROMPTS_PER_MINUTE", "10000")
    head = next_version
    with monkeypatch.context() as before:
        before.setattr(schema, "newest", lambda: head)
        site = LiveSite(home=tmp_path / "home", database_url=url)
        site.__enter__()
    working = threading.Event()
    worker = threading.Thread(target=work, args=(site, working))
    with ExitStack() as stack:
        stack.callback(site.__exit__, None, None, None)
        pickers = [Picker(stack.enter_context(Visitor(site))) for _ in range(3)]
        for picker in pickers:
            picker.visitor.guest()
            picker.visitor.agree()
        worker.start()
        for picker in pickers:
            picker.start()
        try:
            wait_for_picks(pickers, 3)
            for _ in range(3):
                assert asyncio.run(schema.upgrade(url)) == "9001"
                wait_for_picks(pickers, 2)
                assert asyncio.run(schema.downgrade(url, head)) == head
                wait_for_picks(pickers, 2)
        finally:
            for picker in pickers:
                picker.stopping.set()
            for picker in pickers:
                picker.join(30)
            working.set()
            worker.join(30)
        promised = {key: answer for picker in pickers for key, answer in picker.picked.items()}
        stored = {row.uid: row.pick for row in site.rows(rounds) if row.state == "answered"}
    assert [wrong for picker in pickers for wrong in picker.wrong] == []
    assert len(promised) >= 30
    assert {key: stored.get(key) for key in promised} == promised
    assert max(picker.slowest for picker in pickers) < 10


def work(site: LiveSite, stop: threading.Event) -> None:
    while not stop.is_set():
        site.work()
        time.sleep(0.02)


def wait_for_picks(pickers, more: int) -> None:
    """Wait until everybody has picked so much more, or something went wrong."""
    until = time.monotonic() + 60
    wanted = [len(picker.picked) + more for picker in pickers]
    while any(
        len(picker.picked) < count and not picker.wrong for picker, count in zip(pickers, wanted, strict=True)
    ):
        assert time.monotonic() < until, "nobody picks any more"
        time.sleep(0.02)


async def only_the_tables(url: str) -> str:
    database = open_database(url)
    try:
        return await schema.upgrade_open(database)
    finally:
        await database.close()


@pytest.mark.skipif("postgresql" not in KINDS, reason="locks of PostgreSQL")
def test_nobody_waits_behind_an_upgrade_that_waits(databases, next_version, monkeypatch, tmp_path):
    monkeypatch.setattr(schema, "PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(schema, "LOCK_SECONDS", 0.2)
    url = databases.migrated("postgresql", tmp_path)

    async def race() -> float:
        holder, reader = open_database(url), open_database(url)
        let_go = asyncio.Event()
        loop = asyncio.get_running_loop()

        async def hold() -> None:
            async with holder._engine.begin() as connection:  # a long export, or a backup
                await connection.execute(text("SELECT count(*) FROM rounds"))
                await let_go.wait()

        holding = asyncio.create_task(hold())
        await asyncio.sleep(0.2)
        upgrading = asyncio.create_task(asyncio.to_thread(asyncio.run, only_the_tables(url)))
        slowest, until = 0.0, loop.time() + 2
        while loop.time() < until:
            start = loop.time()
            await reader.read(lambda c: c.execute(text("SELECT count(*) FROM rounds")).scalar())
            slowest = max(slowest, loop.time() - start)
            await asyncio.sleep(0.01)
        assert not upgrading.done(), "it cannot have had the lock"
        let_go.set()
        assert await upgrading == "9001"
        await holding
        columns = await reader.read(lambda c: [one["name"] for one in inspect(c).get_columns("rounds")])
        assert "mood" in columns
        await holder.close()
        await reader.close()
        return slowest

    assert asyncio.run(race()) < 1.5
    databases.drop(url)
