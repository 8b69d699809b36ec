"""A copy of the database in one file, taken while it is in use, and the way back.

SQLite: its own online backup, one state of the data whatever is written meanwhile. PostgreSQL: pg_dump and pg_restore,
which must be of the server's version or newer. Images are copied after the database (`storage/copying.py`), so that
every row of the copy has its file.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Literal

from sqlalchemy import URL, Connection, inspect, text

from pickapic.collect import schema
from pickapic.collect.database import Database, open_database, parse_url
from pickapic.records import InputError

Kind = Literal["sqlite", "postgresql"]

_BEGINNINGS: dict[bytes, Kind] = {b"SQLite format 3\x00": "sqlite", b"PGDMP": "postgresql"}
_ASIDE = "before_restore"
_BUSY_SECONDS = 15
_MESSAGE_LENGTH = 400


def backup(database_url: str, out: Path) -> None:
    """Write the database to the file `out`, whole or not at all; what was there is replaced.

    Raises:
        InputError: the database does not exist or cannot be reached, or pg_dump is missing or too old.
    """
    url = parse_url(database_url)
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        unfinished.touch(0o600)  # it holds everything about everybody
        if _is_sqlite(url):
            _copy_sqlite(_existing(url), unfinished)
        else:
            _run(url, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={unfinished}")
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)


async def restore(database_url: str, file: Path, replace: bool = False) -> None:
    """Bring the database to what the backup `file` holds; nothing is changed if that fails. No server may run on it.

    Raises:
        InputError: it is no backup, or one of the other kind of database, or damaged; the database holds something and
            `replace` is not set; or it cannot be written.
    """
    url = parse_url(database_url)
    kind = kind_of(file)
    if kind != ("sqlite" if _is_sqlite(url) else "postgresql"):
        raise InputError(f"{file} is a backup of {kind}, and the database is not; nothing was changed")
    if _is_sqlite(url):
        _restore_sqlite(Path(str(url.database)).expanduser(), file, replace)
        return
    database = open_database(database_url)
    try:
        await _restore_postgresql(database, url, file, replace)
    finally:
        await database.close()


def kind_of(file: Path) -> Kind:
    """Return of which kind of database `file` is a backup. Raises InputError if it is none."""
    with file.open("rb") as stream:
        beginning = stream.read(16)
    for known, kind in _BEGINNINGS.items():
        if beginning.startswith(known):
            return kind
    raise InputError(f"{file} is no backup that was made by: pickapic db backup")


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _existing(url: URL) -> Path:
    path = Path(str(url.database)).expanduser()
    if not path.is_file():
        raise InputError(f"there is no database {path}")
    return path


def _copy_sqlite(source: Path, target: Path) -> None:
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as there,
            closing(sqlite3.connect(target, timeout=_BUSY_SECONDS)) as here,
        ):
            there.backup(here)  # in one step: in several it begins anew whenever somebody writes
    except sqlite3.Error as error:
        raise InputError(f"{source} could not be copied to {target}: {error}") from error


def _restore_sqlite(target: Path, file: Path, replace: bool) -> None:
    _check_sqlite(file)
    if target.is_file() and not replace and _sqlite_tables(target):
        raise InputError(f"{target} is not empty; nothing was changed. --replace puts the backup over it")
    target.parent.mkdir(parents=True, exist_ok=True)
    _copy_sqlite(file, target)


def _check_sqlite(file: Path) -> None:
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as opened:
            ((state,),) = opened.execute("PRAGMA integrity_check(1)").fetchall()
            (revision,) = opened.execute("SELECT version_num FROM alembic_version").fetchone()
    except (sqlite3.Error, TypeError) as error:
        raise InputError(f"{file} is damaged, or no collection's database: {error}") from error
    if state != "ok":
        raise InputError(f"{file} is damaged: {state}")
    if revision not in (schema.newest(), *schema.older()):
        raise InputError(
            f"{file} has revision {revision}, which only a newer version knows: install that one"
        )


def _sqlite_tables(file: Path) -> int:
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as opened:
            return opened.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    except sqlite3.Error as error:
        raise InputError(f"{file} cannot be read: {error}") from error


async def _restore_postgresql(database: Database, url: URL, file: Path, replace: bool) -> None:
    await database.write(_set_aside, replace)
    try:
        whole = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
        await asyncio.to_thread(_run, url, "pg_restore", *whole, f"--dbname={url.database}", str(file))
        revision = await database.read(schema.revision)
        if revision not in (schema.newest(), *schema.older()):
            raise InputError(
                f"{file} has revision {revision}, which only a newer version knows; nothing was changed"
            )
    except BaseException:
        await database.write(_bring_back)
        raise
    await database.write(_drop_old)


def _set_aside(connection: Connection, replace: bool) -> None:
    """Rename what is there, so that it can come back."""
    if inspect(connection).get_table_names() and not replace:
        raise InputError("the database is not empty; nothing was changed. --replace puts the backup over it")
    if _ASIDE in inspect(connection).get_schema_names():
        raise InputError(
            f"an earlier restore was cut off: schema {_ASIDE} has what was there before. Look at it, drop it, try again"
        )
    connection.execute(text(f"ALTER SCHEMA public RENAME TO {_ASIDE}"))
    connection.execute(text("CREATE SCHEMA public"))


def _bring_back(connection: Connection) -> None:
    connection.execute(text("DROP SCHEMA public CASCADE"))
    connection.execute(text(f"ALTER SCHEMA {_ASIDE} RENAME TO public"))


def _drop_old(connection: Connection) -> None:
    connection.execute(text(f"DROP SCHEMA {_ASIDE} CASCADE"))


def _run(url: URL, program: str, *arguments: str) -> str:
    place = shutil.which(program) or _newest(program)
    if place is None:
        raise InputError(f"{program} is needed: install postgresql-client, of the server's version or newer")
    environment = os.environ | {
        "PGHOST": url.host or "",
        "PGPORT": str(url.port or ""),
        "PGUSER": url.username or "",
        "PGPASSWORD": str(url.password or ""),
        "PGDATABASE": url.database or "",
        "PGSSLMODE": str(url.query.get("ssl") or url.query.get("sslmode") or ""),
    }
    environment = {name: value for name, value in environment.items() if value}
    done = subprocess.run(
        [place, *arguments], env=environment, capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        reason = done.stderr.strip()[-_MESSAGE_LENGTH:]
        raise InputError(f"{program} failed, and nothing was changed: {reason}")
    return done.stdout


def _newest(program: str) -> str | None:
    """Return the program where Debian keeps those of each version."""
    found = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), key=lambda path: float(path.parts[-3])
    )
    return str(found[-1]) if found else None
