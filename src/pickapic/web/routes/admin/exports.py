"""Exports: begun from here, followed, and taken home as a zip file."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from starlette.responses import JSONResponse, StreamingResponse

from pickapic.collect import decisions
from pickapic.web.exporting import Exporting
from pickapic.web.routes.admin.access import Chief, FormRoute, back, page
from pickapic.web.service import ServiceHere, now

router = APIRouter(prefix="/admin/exports", route_class=FormRoute)


def _exporting(request: Request) -> Exporting:
    return request.app.state.exporting


@router.get("")
async def exports_page(request: Request, service: ServiceHere, person: Chief) -> Response:
    """Show the finished exports, and the one under way."""
    exporting = _exporting(request)
    context = {
        "task": exporting.task,
        "running": exporting.running,
        "datasets": await asyncio.to_thread(exporting.datasets),
        "folder": exporting.folder,
        "suggested": f"picks-{now():%Y-%m-%d}",
    }
    return await page(request, service, person, "exports", context)


@router.get("/progress")
async def progress(request: Request, person: Chief) -> JSONResponse:
    """Return how far the export is: {running, name, done, total, error}."""
    exporting = _exporting(request)
    task = exporting.task
    return JSONResponse(
        {
            "running": exporting.running,
            "name": task.name if task else None,
            "done": task.done if task else 0,
            "total": task.total if task else 0,
            "error": task.error if task else None,
        },
        headers={"Cache-Control": "no-store"},
    )


@router.post("")
async def begin(
    request: Request,
    service: ServiceHere,
    person: Chief,
    name: Annotated[str, Form(max_length=64)],
    full: Annotated[bool, Form()] = False,
) -> Response:
    """Begin an export, or bring an earlier one of that name up to date."""
    await asyncio.to_thread(_exporting(request).start, name.strip(), full)
    await service.database.write(
        decisions.record, person.user_id, "export", "export", name.strip(), "anew" if full else "", now()
    )
    return back("/admin/exports", "export")


@router.post("/stop")
async def stop(request: Request, service: ServiceHere, person: Chief) -> Response:
    """Stop the export under way."""
    task = _exporting(request).task
    await asyncio.to_thread(_exporting(request).stop)
    if task is not None:
        await service.database.write(
            decisions.record, person.user_id, "stop export", "export", task.name, "", now()
        )
    return back("/admin/exports", "export-stop")


@router.get("/{name}.zip")
async def download(request: Request, service: ServiceHere, person: Chief, name: str) -> Response:
    """Return a finished export as a zip file."""
    pieces = await asyncio.to_thread(_exporting(request).zipped, name)
    await service.database.write(decisions.record, person.user_id, "download", "export", name, "", now())
    headers = {
        "Cache-Control": "no-store",
        "Content-Disposition": f'attachment; filename="{name}.zip"',
    }
    return StreamingResponse(pieces, headers=headers, media_type="application/zip")
