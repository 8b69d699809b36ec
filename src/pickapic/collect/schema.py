"""Bringing a database to the present tables by Alembic migrations, while people pick.

All migrations apply, or none: they are one transaction. What takes long is done before it, on PostgreSQL: a migration
that has `CONCURRENTLY`, a mapping of names to "table (columns)", gets those indexes without a lock that anybody would
notice, and finds them there. What is left are changes that take no time once their table is free. So that nobody waits
behind one that waits, it gives up after `LOCK_SECONDS`, lets everybody through, and begins anew.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from pickapic.collect.database import Database, open_database, parse_url
from pickapic.collect.tables import queue
from pickapic.records import InputError

T = TypeVar("T")

MIGRATIONS = Path(__file__).parent / "migrations"
POSTGRES_LOCK = 0x7069636B
LOCK_SECONDS = 0.5
PAUSE_SECONDS = 1.0
PATIENCE_SECONDS = 120.0
# PostgreSQL's code: a lock was not there in time.
LOCKED = "55P03"


async def upgrade(database_url: str) -> str:
    """Bring the database to the newest revision and return it; an empty one gets all tables.

    Raises:
        InputError: the database was made by a newer version of this program, or somebody else held a table for
            two minutes.
    """
    database = open_database(database_url)
    try:
        if database.dialect == "postgresql":
            await _make_indexes(database_url, await database.read(revision))
        return await upgrade_open(database)
    finally:
        await database.close()


async def downgrade(database_url: str, to: str) -> str | None:
    """Go back to revision `to`, or to nothing (`base`), and return it; what the newer tables held is lost.

    Raises:
        InputError: there is no such revision, or somebody else held a table for two minutes.
    """
    known = {script.revision for script in _scripts().walk_revisions()}
    if to != "base" and to not in known:
        raise InputError(f"there is no revision {to!r}; known are base, {', '.join(sorted(known))}")
    database = open_database(database_url)
    try:
        await _when_free(lambda: database.write(_downgrade, to))
        return await database.read(revision)
    finally:
        await database.close()


async def upgrade_open(database: Database) -> str:
    """Do `upgrade` on a database that is open already; two processes at once wait for one another."""
    return await _when_free(lambda: database.write(upgrade_connection))


async def upgrade_if_empty(database: Database) -> None:
    """Give an empty database its tables; one of an older version is left to `pickapic db upgrade`.

    Raises:
        InputError: the database is of another version.
    """
    present = await database.read(revision)
    if present is None:
        await upgrade_open(database)
    elif present != newest():
        raise InputError(
            f"the database has revision {present}, this version needs {newest()}; "
            "make a backup, then run: pickapic db upgrade"
        )


def upgrade_connection(connection: Connection) -> str:
    """Do `upgrade` within a transaction."""
    _one_at_a_time(connection)
    config = _config(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    present = revision(connection)
    if present is not None and present not in known:
        raise InputError(
            f"the database has revision {present}, which only a newer version knows: install that one"
        )
    with _quiet():
        command.upgrade(config, "head")
    if connection.execute(select(queue.c.id)).first() is None:
        connection.execute(insert(queue).values(id=1, virtual_time=0.0))
    return revision(connection) or ""


def _downgrade(connection: Connection, to: str) -> None:
    _one_at_a_time(connection)
    downgrade_connection(connection, to)


def _one_at_a_time(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": POSTGRES_LOCK})
        connection.execute(text(f"SET LOCAL lock_timeout = {round(LOCK_SECONDS * 1000)}"))


async def _when_free(change: Callable[[], Awaitable[T]]) -> T:
    """Make a change; where a table is in use, wait without holding anybody up, and try again."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return await change()
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != LOCKED:
                raise
            if time.monotonic() > until:
                raise InputError(
                    f"somebody else holds a table of the database for {PATIENCE_SECONDS:g} s and longer; nothing was "
                    "changed. Wait for what runs long (an export, a backup), then try again"
                ) from error
        await asyncio.sleep(PAUSE_SECONDS)


async def _make_indexes(database_url: str, present: str | None) -> None:
    """Make the indexes that migrations after `present` want, without a lock that anybody would notice."""
    wanted: dict[str, str] = {}
    known = [script.revision for script in _scripts().walk_revisions()]
    if present not in known:
        return
    for script in _scripts().iterate_revisions("head", present):
        wanted |= getattr(script.module, "CONCURRENTLY", {})
    if not wanted:
        return
    engine = create_async_engine(parse_url(database_url), isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            # Tried, not waited for: what waits for a lock is a transaction that an index would wait for.
            while not await _value(connection, f"SELECT pg_try_advisory_lock({POSTGRES_LOCK + 1})"):
                await asyncio.sleep(PAUSE_SECONDS)
            for name, of in wanted.items():
                await _make_index(connection, name, of)
    finally:
        await engine.dispose()


async def _make_index(connection: AsyncConnection, name: str, of: str) -> None:
    table = of.partition(" ")[0]
    if not await _value(connection, f"SELECT to_regclass('{table}') IS NOT NULL"):
        return
    # One whose making was cut short is there, but serves nobody.
    broken = f"SELECT true FROM pg_index WHERE indexrelid = to_regclass('{name}') AND NOT indisvalid"
    if await _value(connection, broken):
        await connection.execute(text(f"DROP INDEX CONCURRENTLY {name}"))
    await connection.execute(text(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {of}"))


async def _value(connection: AsyncConnection, statement: str) -> bool:
    return bool((await connection.execute(text(statement))).scalar())


def downgrade_connection(connection: Connection, to: str) -> None:
    """Go back to revision `to`, or to nothing (`base`); what the newer tables held is lost."""
    with _quiet():
        command.downgrade(_config(connection), to)


def revision(connection: Connection) -> str | None:
    """Return the revision of the database, None if it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return MigrationContext.configure(connection).get_current_revision()


def newest() -> str:
    """Return the revision that this version of the program needs."""
    return _scripts().get_current_head() or ""


def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return ScriptDirectory.from_config(config)


def older() -> frozenset[str]:
    """Return the revisions before `newest`."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    return frozenset(known - {newest()})


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@contextmanager
def _quiet() -> Generator[None]:
    logger = logging.getLogger("alembic")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
