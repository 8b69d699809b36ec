"""One way to run a transaction, on SQLite and on PostgreSQL.

The work of a transaction is a plain function over a SQLAlchemy `Connection`, written once:

    def rename(connection: Connection, user_id: int, name: str) -> None: ...
    await database.write(rename, 7, "Ada")

On SQLite it runs in a thread that owns its connection: one thread writes, a few read. Through aiosqlite
every statement would cross threads four times, which costs seven times as much and starves beside a busy
event loop. On PostgreSQL it runs over asyncpg, on a pool.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from pickapic.collect.refusals import RefusalError
from pickapic.records import InputError

P = ParamSpec("P")
T = TypeVar("T")
Work = Callable[Concatenate[Connection, P], T]

BUSY_SECONDS = 15
READERS = 2
POSTGRES_POOL = 10
POOL_SECONDS = 30
# Transactions for `write_together` at once, and how many may share one.
GROUPS = 4
GROUP_SIZE = 16
TRIES = 4
# PostgreSQL's codes of errors.
DEADLOCK = "40P01"
NO_TEXT = "22021"
# It is lost, stops, starts, or has no connection left: to whoever asks, one and the same, and it will pass.
AWAY = ("08", "53300", "57P01", "57P02", "57P03")


class Database(Protocol):
    """Runs transactions; each is all or nothing."""

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        ...

    async def write(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(connection, ...)` in a transaction, committed when it returns."""
        ...

    async def write_together(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do `write`, perhaps in one transaction with others that wait as well: for what is small and frequent.

        A refusal by `work` is its own affair, so it must come before `work` has changed anything.
        """
        ...

    async def read(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(connection, ...)` in a transaction that only reads."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


def open_database(url: str) -> Database:
    """Open `sqlite:///file.db` or `postgresql://user:password@host/name`; nothing is connected yet.

    Raises:
        InputError: the URL cannot be read, is of another kind, or its driver is not installed.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        return SqliteDatabase(parsed)
    try:
        return PostgresDatabase(parsed)
    except ModuleNotFoundError as error:
        raise InputError(f"PostgreSQL needs the package {error.name!r}: pip install {error.name}") from error


def parse_url(url: str) -> URL:
    """Return the URL with the driver that is used here.

    Raises:
        InputError: no SQLAlchemy URL, an in-memory SQLite, or neither SQLite nor PostgreSQL.
    """
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, ValueError) as error:
        raise InputError(
            "database_url cannot be read; it looks like sqlite:///file.db or postgresql://user@host/name"
        ) from error
    if backend == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise InputError("the database must be a file: sqlite:///file.db")
        return parsed.set(drivername="sqlite+pysqlite")
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+asyncpg")
    raise InputError(f"database_url names {backend!r}; known are sqlite and postgresql")


class SqliteDatabase:
    """A SQLite file in write-ahead mode: one writer thread, a few reader threads, each with its own connection."""

    dialect = "sqlite"

    def __init__(self, url: URL) -> None:
        Path(str(url.database)).expanduser().parent.mkdir(parents=True, exist_ok=True)
        self._writer = _Lane(url, threads=1, begin="BEGIN IMMEDIATE", pragmas=())
        self._readers = _Lane(url, threads=READERS, begin="BEGIN", pragmas=("PRAGMA query_only = ON",))

    async def write(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` on the writer; the lock is taken at the start, so no transaction fails half way for it."""
        return await self._writer.run(work, *args, **kwargs)

    async def write_together(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do `write`: here a transaction costs no messages and hardly a wait for the disk."""
        return await self.write(work, *args, **kwargs)

    async def read(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` on a reader; it sees one state of the data and waits for nobody."""
        return await self._readers.run(work, *args, **kwargs)

    async def close(self) -> None:
        """Finish what runs, then close."""
        for lane in (self._readers, self._writer):
            await asyncio.to_thread(lane.close)


class _Lane:
    """Threads that each own one connection to a SQLite file."""

    def __init__(self, url: URL, threads: int, begin: str, pragmas: tuple[str, ...]) -> None:
        self._engine = _sqlite_engine(url, begin, pragmas)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="database")
        self._own = threading.local()
        self._open: list[Connection] = []

    async def run(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        def transaction() -> T:
            with self._connection() as connection, connection.begin():
                return work(connection, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._threads, transaction)

    def _connection(self) -> _Kept:
        kept: _Kept | None = getattr(self._own, "kept", None)
        if kept is None:
            kept = self._own.kept = _Kept(self._engine.connect())
            self._open.append(kept.connection)
        return kept

    def close(self) -> None:
        self._threads.shutdown(wait=True)
        for connection in self._open:
            connection.close()
        self._engine.dispose()


class _Kept:
    """A connection that a `with` block leaves open: checking one out costs as much as a statement."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def __enter__(self) -> Connection:
        return self.connection

    def __exit__(self, *_: object) -> None:
        return None


def _sqlite_engine(url: URL, begin: str, pragmas: tuple[str, ...]) -> Engine:
    # A connection is used by one thread at a time, and closed by another: SQLite's own check would refuse
    # that.
    engine = create_engine(
        url,
        poolclass=NullPool,
        connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS},
        hide_parameters=True,  # errors are logged, prompts are not
    )

    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        cursor = connection.cursor()
        for pragma in (
            "PRAGMA journal_mode = WAL",
            # Every committed transaction survives a killed process; a power cut may undo the last ones,
            # whole.
            "PRAGMA synchronous = NORMAL",
            "PRAGMA foreign_keys = ON",
            # Moving the log into the file waits for the disk: seldom and much instead of often and little.
            "PRAGMA wal_autocheckpoint = 8000",
            "PRAGMA cache_size = -65536",
            f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}",
            *pragmas,
        ):
            cursor.execute(pragma)
        cursor.close()

    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", start)
    return engine


class PostgresDatabase:
    """A PostgreSQL database over asyncpg."""

    dialect = "postgresql"

    def __init__(self, url: URL) -> None:
        # No connection beyond the pool's: opening one costs more than waiting for one. None is tried before
        # it is used, which takes three messages: what fails because its connection was lost is run again.
        self._engine: AsyncEngine = create_async_engine(
            url,
            pool_size=POSTGRES_POOL,
            max_overflow=0,
            pool_timeout=POOL_SECONDS,
            # Statements are prepared, and planned once: planning one anew costs as much as the rows it finds.
            connect_args={"server_settings": {"plan_cache_mode": "force_generic_plan"}},
            hide_parameters=True,
        )
        self._members: list[_Member] = []
        self._groups: set[asyncio.Task[None]] = set()

    async def write(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a transaction; rows that two writers might fight over are locked by the work itself.

        Of two transactions that wait for one another PostgreSQL ends one, whole; it is run again, as is one
        whose connection was lost before the commit. So `work` does nothing but what it does to the database.
        """
        return await self._run(False, work, *args, **kwargs)

    async def write_together(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do `write`; while GROUPS transactions run, what comes waits, and then shares the next.

        Under load that spares most transactions their two messages and their wait for the disk.
        """
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._members.append(_Member(lambda connection: work(connection, *args, **kwargs), result))
        if len(self._groups) < GROUPS:
            group = asyncio.create_task(self._run_groups())
            self._groups.add(group)
            group.add_done_callback(self._groups.discard)
        return await result

    async def _run_groups(self) -> None:
        while self._members:
            group, self._members = self._members[:GROUP_SIZE], self._members[GROUP_SIZE:]
            try:
                outcomes = await self.write(_run_all, [member.work for member in group])
            except Exception:
                # Whoever is at fault should learn of it, and nobody else.
                outcomes = [await self._outcome_alone(member) for member in group]
            for member, (result, error) in zip(group, outcomes, strict=True):
                if member.result.done():  # who asked has gone
                    continue
                if error is not None:
                    member.result.set_exception(error)
                else:
                    member.result.set_result(result)

    async def _outcome_alone(self, member: _Member) -> _Outcome:
        try:
            return await self.write(member.work), None
        except Exception as error:
            return None, error

    async def read(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a read-only transaction."""
        return await self._run(True, work, *args, **kwargs)

    async def _run(self, only_read: bool, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await self._repeat(only_read, work, *args, **kwargs)
        except DBAPIError as error:
            if (_state(error) or "").startswith(AWAY):
                raise OperationalError(error.statement, error.params, error.orig or error) from error
            raise
        except (OSError, PoolTimeoutError) as error:
            raise OperationalError(None, None, error) from error

    async def _repeat(self, only_read: bool, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        for left in reversed(range(TRIES)):
            async with self._engine.connect() as connection:
                if only_read:
                    connection = await connection.execution_options(postgresql_readonly=True)
                try:
                    result = await connection.run_sync(work, *args, **kwargs)
                except DBAPIError as error:
                    if left and (error.connection_invalidated or _state(error) == DEADLOCK):
                        continue
                    if _state(error) == NO_TEXT:
                        raise InputError(
                            "A text holds a zero character, which cannot be stored or looked for."
                        ) from error
                    raise
                # Nothing is run again from here on: whether a commit that fails took place is not known.
                await connection.commit()
                return result
        raise AssertionError("the last try returns or raises")

    async def close(self) -> None:
        """Close the pool."""
        await self._engine.dispose()


@dataclass(frozen=True, slots=True)
class _Member:
    """Work that shares a transaction, and where its result is awaited."""

    work: Callable[[Connection], Any]
    result: asyncio.Future[Any]


_Outcome = tuple[Any, Exception | None]


def _run_all(connection: Connection, works: Sequence[Callable[[Connection], Any]]) -> list[_Outcome]:
    outcomes: list[_Outcome] = []
    for work in works:
        try:
            outcomes.append((work(connection), None))
        except (InputError, RefusalError) as error:
            outcomes.append((None, error))
    return outcomes


def _state(error: DBAPIError) -> str | None:
    """Return PostgreSQL's code of an error."""
    return getattr(error.orig, "sqlstate", None)


async def reachable(database: Database) -> bool:
    """Return whether the database answers."""
    try:
        await database.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar())
    except (SQLAlchemyError, OSError):
        return False
    return True
