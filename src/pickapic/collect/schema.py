"""Bringing a database to the present tables by Alembic migrations."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, insert, inspect, select, text

from pickapic.collect.database import Database, open_database
from pickapic.collect.tables import queue
from pickapic.records import InputError

MIGRATIONS = Path(__file__).parent / "migrations"
POSTGRES_LOCK = 0x7069636B


async def upgrade(database_url: str) -> str:
    """Bring the database to the newest revision and return it; an empty one gets all tables.

    Raises:
        InputError: the database was made by a newer version of this program.
    """
    database = open_database(database_url)
    try:
        return await upgrade_open(database)
    finally:
        await database.close()


async def upgrade_open(database: Database) -> str:
    """Do `upgrade` on a database that is open already; two processes at once wait for one another."""
    return await database.write(upgrade_connection)


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
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": POSTGRES_LOCK})
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
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return ScriptDirectory.from_config(config).get_current_head() or ""


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
