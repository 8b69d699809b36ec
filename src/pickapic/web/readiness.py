"""Can this server serve: what `/readyz` answers, looked at once a second at most, however often it is asked.

Two ways of not being well are told apart. `unavailable` (503): requests would fail here, so none should come.
`degraded` (200): requests are answered, but images are not made as they should be, which no other server would mend.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import obstore
import structlog
from obstore.store import ObjectStore
from sqlalchemy import Connection

from pickapic import logs
from pickapic.collect import schema
from pickapic.collect.database import Database
from pickapic.collect.queue import condition
from pickapic.collect.queue.condition import Condition
from pickapic.settings import Settings
from pickapic.storage.failures import explain
from pickapic.web.metrics import Metrics
from pickapic.web.scoring import READY, Scoring

Status = Literal["ok", "degraded", "unavailable", "stopping"]

SECONDS_KEPT = 1.0
# A database or a store that answers later than this cannot be served from.
CHECK_SECONDS = 3.0
# Writing, reading and deleting costs something, with some providers money.
PROBE_SECONDS = 30.0
PROBE_AGAIN_SECONDS = 2.0
PROBES = "probes/"
"""Where in the store the probes lie, which are no images; none stays."""
# What a job may wait before it matters that no worker is there.
NOBODY_SECONDS = 10.0
OK = "ok"


@dataclass(frozen=True, slots=True)
class Readiness:
    """How the server is: `checks` has `ok` or what is wrong, by part; `jobs` the depths of the queue, if known."""

    status: Status
    checks: dict[str, str]
    jobs: dict[str, int]

    @property
    def serves(self) -> bool:
        """Whether requests should come here."""
        return self.status in ("ok", "degraded")


class Ready:
    """Looks at the parts when asked, and remembers what it saw for a moment.

    `stopping` is set when the server begins to stop; from then on it is not ready.
    """

    def __init__(
        self, settings: Settings, database: Database, store: ObjectStore, scoring: Scoring, metrics: Metrics
    ) -> None:
        self.stopping = asyncio.Event()
        self._settings = settings
        self._database = database
        self._store = store
        self._scoring = scoring
        self._metrics = metrics
        self._outdated = frozenset({None, *schema.older()})
        self._one = asyncio.Lock()
        self._readiness: Readiness | None = None
        self._good_until = 0.0
        self._condition: Condition | None = None
        self._probed = OK
        self._next_probe = 0.0
        self._log = structlog.get_logger("pickapic.web")

    async def look(self) -> Readiness:
        """Return how the server is, at most SECONDS_KEPT ago."""
        if self.stopping.is_set():
            return Readiness("stopping", {}, {})
        async with self._one:
            if self._readiness is None or time.monotonic() >= self._good_until:
                self._readiness = await self._look()
                self._good_until = time.monotonic() + SECONDS_KEPT
            return self._readiness

    async def condition(self) -> Condition | None:
        """Return how the queue is, at most SECONDS_KEPT ago; None if the database does not say."""
        await self.look()
        return self._condition

    async def _look(self) -> Readiness:
        (database, queue), images = await asyncio.gather(self._look_at_database(), self._look_at_store())
        checks = {"database": database, "images": images}
        if self._scoring.configured:
            state = self._scoring.state
            checks["scorer"] = OK if state == READY else state
        serves = all(result == OK for result in checks.values())
        checks["queue"] = queue
        status: Status = "unavailable" if not serves else "ok" if queue == OK else "degraded"
        return Readiness(status, checks, self._condition.depths if self._condition else {})

    async def _look_at_database(self) -> tuple[str, str]:
        self._condition = None
        lease = self._settings.lease_seconds
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                self._condition = await self._database.read(_read, self._outdated, datetime.now(UTC), lease)
        except Exception as error:  # whatever it is, the answer is the same
            return type(error).__name__, "not known"
        if self._condition is None:
            return "the tables are not up to date: pickapic db upgrade", OK
        return OK, _queue_of(self._condition, self._settings.queue_alarm_seconds)

    async def _look_at_store(self) -> str:
        if time.monotonic() >= self._next_probe:
            self._probed = await self._probe()
            is_good = self._probed == OK
            self._next_probe = time.monotonic() + (PROBE_SECONDS if is_good else PROBE_AGAIN_SECONDS)
        return self._probed

    async def _probe(self) -> str:
        """Write, read and delete a small file."""
        data = secrets.token_bytes(16)
        path = PROBES + data.hex()
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await obstore.put_async(self._store, path, data)
                result = await obstore.get_async(self._store, path)
                found = bytes(await result.bytes_async())
                await obstore.delete_async(self._store, path)
        except Exception as error:  # whatever it is, the answer is the same
            self._metrics.store_errors.labels("probe").inc()
            found = explain(error, "be used")
            self._log.warning("the image store does not do what it should", error=logs.told(found))
            return found.words
        return OK if found == data else "what was written is not what is read"


def _read(
    connection: Connection, outdated: frozenset[str | None], now: datetime, lease_seconds: float
) -> Condition | None:
    """Return the condition; None if the tables are older than this program needs.

    Newer ones are what an upgrade looks like from a server whose turn has not come yet.
    """
    if schema.revision(connection) in outdated:
        return None
    return condition.look(connection, now, lease_seconds)


def _queue_of(condition: Condition, alarm_seconds: float) -> str:
    if condition.workers == 0 and condition.oldest_seconds > NOBODY_SECONDS:
        return f"no worker is alive, and images wait since {condition.oldest_seconds:.0f} seconds"
    if condition.oldest_seconds > alarm_seconds:
        return f"the oldest image waits since {condition.oldest_seconds:.0f} seconds"
    return OK
