"""Jobs that were given up after too many attempts, and those that a generator would not draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from sqlalchemy import Connection

from pickapic.collect import decisions
from pickapic.collect.queue import dead_letter
from pickapic.web.routes.admin.access import Chief, FormRoute, back, page
from pickapic.web.service import ServiceHere, now

router = APIRouter(prefix="/admin/jobs", route_class=FormRoute)

Named = Annotated[list[int] | None, Form()]


@router.get("")
async def jobs_page(request: Request, service: ServiceHere, person: Chief) -> Response:
    """Show the jobs that were given up or refused, the latest first, and why."""
    ended = await service.database.read(dead_letter.dead_jobs, refused=True)
    return await page(request, service, person, "jobs", {"jobs": ended})


@router.post("/retry")
async def retry(service: ServiceHere, person: Chief, job: Named = None) -> Response:
    """Queue jobs again: those named, or all that were given up."""

    def again(connection: Connection) -> int:
        return dead_letter.retry(connection, now(), job)

    await service.database.write(_decide, person.user_id, "retry jobs", job, again, "queued again")
    return back("/admin/jobs", "retry")


@router.post("/give-up")
async def give_up(service: ServiceHere, person: Chief, job: Named = None) -> Response:
    """Take jobs off the list: those named, or all."""

    def off(connection: Connection) -> int:
        return dead_letter.give_up(connection, job)

    await service.database.write(_decide, person.user_id, "give up jobs", job, off, "given up")
    return back("/admin/jobs", "give-up")


def _decide(
    connection: Connection,
    actor_id: int,
    action: str,
    ids: list[int] | None,
    change: Callable[[Connection], int],
    what: str,
) -> None:
    count = change(connection)
    named = "all" if ids is None else ", ".join(str(key) for key in ids[:20])
    decisions.record(connection, actor_id, action, "jobs", named, f"{count} {what}", now())
