"""For the machinery: is it alive, can it serve, what does it count."""

from __future__ import annotations

import hmac
from ipaddress import ip_address

from fastapi import APIRouter, Request, Response
from starlette.responses import JSONResponse

from pickapic.collect.refusals import ForbiddenError
from pickapic.settings import Settings
from pickapic.web.service import Service, ServiceHere

router = APIRouter(tags=["operations"])

# Whoever comes past a proxy comes from outside, whatever address the proxy has.
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


@router.get("/healthz")
async def healthz() -> JSONResponse:
    """Answer: the process is alive."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz")
async def readyz(service: ServiceHere) -> JSONResponse:
    """Answer 200 if the database, its tables, the image store and the scorer can be used, else 503.

    `degraded` (200): requests are answered, but images are not made as they should be; `checks.queue` says why.
    """
    found = await service.ready.look()
    return JSONResponse(
        {"status": found.status, "checks": found.checks, "jobs": found.jobs}, 200 if found.serves else 503
    )


@router.get("/metrics", response_class=Response)
async def metrics(request: Request, service: ServiceHere) -> Response:
    """Return Prometheus metrics, to a holder of the token, or without one to private addresses.

    They tell which generator made images lately, which nobody may know who picks between them.
    """
    if not _may_read(request, service.settings):
        raise ForbiddenError("metrics", "Metrics are for the machinery of this server.")
    return Response(await _text(service), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _text(service: Service) -> bytes:
    condition = await service.ready.condition()
    if condition is not None:
        service.metrics.show(condition, [choice.name for choice in service.settings.generators])
    service.metrics.scorer_waiting.set(service.scoring.images_waiting)
    return service.metrics.text()


def _may_read(request: Request, settings: Settings) -> bool:
    if settings.metrics_token is not None:
        wanted = f"Bearer {settings.metrics_token.get_secret_value()}"
        return hmac.compare_digest(request.headers.get("authorization", "").encode(), wanted.encode())
    if request.client is None or any(name in request.headers for name in FORWARDED):
        return False
    try:
        return ip_address(request.client.host).is_private
    except ValueError:  # a Unix socket, a test's name
        return False
