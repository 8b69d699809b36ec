"""The first page of the administration: what happens right now."""

from __future__ import annotations

import time
from dataclasses import asdict

from fastapi import APIRouter, Request, Response
from starlette.responses import JSONResponse

from pickapic.collect.oversight import live as counting
from pickapic.collect.quality import policy_from
from pickapic.web.routes.admin.access import Staff, page
from pickapic.web.service import Service, ServiceHere, now

router = APIRouter(prefix="/admin")

# However many look on, the database is asked this often at most, and spends a tenth of its time on it at most.
SECONDS_KEPT = 1.5
SHARE_OF_TIME = 0.1


@router.get("")
async def overview_page(request: Request, service: ServiceHere, person: Staff) -> Response:
    """Show the numbers of this moment; the page keeps them up to date."""
    return await page(request, service, person, "overview", {"live": await _live(request, service)})


@router.get("/live")
async def live(request: Request, service: ServiceHere, person: Staff) -> JSONResponse:
    """Return the numbers of this moment."""
    numbers = asdict(await _live(request, service))
    numbers["at"] = numbers["at"].isoformat()
    return JSONResponse(numbers, headers={"Cache-Control": "no-store"})


async def _live(request: Request, service: Service) -> counting.Live:
    kept: tuple[float, counting.Live] | None = getattr(request.app.state, "live", None)
    if kept is None or kept[0] < time.monotonic():
        start = time.monotonic()
        numbers = await service.database.read(counting.live, policy_from(service.settings).flag, now())
        end = time.monotonic()
        seconds = max(SECONDS_KEPT, (end - start) / SHARE_OF_TIME)
        kept = request.app.state.live = (end + seconds, numbers)
    return kept[1]
