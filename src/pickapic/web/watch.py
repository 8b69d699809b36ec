"""What a server does beside answering: risks are kept up to date, and what has expired is deleted.

Several servers may run it on one PostgreSQL: risks are computed by one at a time (risks.alone), and deleting twice
does no harm. A pass looks at a few people at a time, so that no answer waits behind it.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from pickapic.collect.database import Database
from pickapic.collect.people import forgetting, links, marks, sessions, sign_ins, visitors
from pickapic.collect.quality import risks
from pickapic.collect.quality.norms import Norms
from pickapic.collect.quality.policy import Policy, policy_from
from pickapic.settings import Settings
from pickapic.storage import blobs
from pickapic.web.service import Service, now

SECONDS = 5.0
PAUSE_SECONDS = 0.05
PEOPLE_A_PASS = 40
NORMS_KEPT = timedelta(minutes=2)
SWEPT_EVERY = timedelta(hours=1)


class Watch:
    """Remembers, from pass to pass, since when there may be something new."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._policy: Policy = policy_from(settings)
        self._mark_days = settings.mark_days
        self._since: datetime | None = None
        self._norms = Norms()
        self._norms_until: datetime | None = None
        self._swept_at: datetime | None = None

    async def refresh(self, at: datetime) -> int:
        """Compute risks that are due, some dozens at most; return how many."""
        if self._norms_until is None or at >= self._norms_until:
            self._norms = await self._database.read(risks.norms, self._policy)
            self._norms_until = at + NORMS_KEPT
        done = 0
        while done < PEOPLE_A_PASS:
            count = await self._some(at)
            if count is None:
                break
            done += count
            if count < risks.BATCH:
                self._since = at - 2 * risks.MARGIN
                break
            await asyncio.sleep(PAUSE_SECONDS)
        return done

    async def _some(self, at: datetime) -> int | None:
        if self._database.dialect == "postgresql":
            return await self._database.write(
                risks.refresh, self._policy, at, risks.BATCH, self._norms, self._since
            )
        # SQLite has one writer, which must not wait for the computing.
        people = await self._database.read(risks.due, self._policy, self._since, risks.BATCH)
        if people:
            found = await self._database.read(risks.assess_people, people, self._policy, self._norms, at)
            await self._database.write(risks.store, found, self._policy, at)
        return len(people)

    async def sweep(self, at: datetime) -> bool:
        """Once an hour, delete what has expired: sessions, marks, sign-ins on their way, offers to link accounts.

        Returns whether it was time.
        """
        if self._swept_at is not None and at < self._swept_at + SWEPT_EVERY:
            return False
        self._swept_at = at
        await self._database.write(sessions.sweep, at)
        await self._database.write(marks.sweep, at, self._mark_days)
        await self._database.write(sign_ins.sweep, at)
        await self._database.write(links.sweep, at)
        self._since = None  # now and then a look at everybody, whatever was missed
        return True


async def sweep_visitors(service: Service, secret: str) -> int:
    """Delete visitors who did not come back, with their images; return how many."""
    swept = 0
    while True:
        count, files = await service.database.write(
            visitors.sweep, secret, service.settings.visitor_days, now()
        )
        for key in await service.database.read(forgetting.unused, files):
            await blobs.delete(service.store, key)
        swept += count
        if count < visitors.SWEPT_AT_ONCE:
            return swept
        await asyncio.sleep(PAUSE_SECONDS)


async def watch(service: Service, secret: str) -> None:
    """Do so until cancelled; a database that is away for a while ends nothing."""
    log = structlog.get_logger("pickapic.web")
    watching = Watch(service.database, service.settings)
    while True:
        await asyncio.sleep(SECONDS)
        try:
            if await watching.sweep(now()):
                await sweep_visitors(service, secret)
            await watching.refresh(now())
        except (SQLAlchemyError, OSError) as error:
            log.warning("the watch goes on later", error=str(error)[:500])
