"""Jobs that were given up after too many attempts."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from sqlalchemy import Connection

from pickapic.collect import decisions, overview
from pickapic.web.routes.admin.access import Chief, FormRoute, back, page
from pickapic.web.service import ServiceHere, now

router = APIRouter(prefix="/admin/jobs", route_class=FormRoute)


@router.get("")
async def jobs_page(request: Request, service: ServiceHere, person: Chief) -> Response:
    """Show the jobs that were given up, the latest first, and why."""
    dead = await service.database.read(overview.dead_jobs)
    return await page(request, service, person, "jobs", {"jobs": dead})


@router.post("/retry")
async def retry(
    service: ServiceHere, person: Chief, job: Annotated[list[int] | None, Form()] = None
) -> Response:
    """Queue given-up jobs again: those named, or all."""
    await service.database.write(_retry, person.user_id, job)
    return back("/admin/jobs", "retry")


def _retry(connection: Connection, actor_id: int, ids: list[int] | None) -> None:
    moment = now()
    count = overview.retry(connection, moment, ids)
    named = "all" if ids is None else ", ".join(str(key) for key in ids[:20])
    decisions.record(connection, actor_id, "retry jobs", "jobs", named, f"{count} queued again", moment)
