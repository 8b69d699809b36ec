"""The HTML pages, their static files, and the API's own description, all without any other server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from fastapi import APIRouter, Request, Response
from fastapi.templating import Jinja2Templates

from pickapic.collect.people.bans import ROLES
from pickapic.collect.people.users import BANNED
from pickapic.web import statics
from pickapic.web.languages import words
from pickapic.web.service import Service, ServiceHere

WEB = Path(__file__).parent.parent
templates = Jinja2Templates(WEB / "templates", context_processors=[words])
cast(dict[str, Any], templates.env.globals)["static"] = statics.address

router = APIRouter(include_in_schema=False)


@router.get("/")
async def duel_page(request: Request, service: ServiceHere) -> Response:
    """Show the page where people pick."""
    person = await service.person_of(request.scope.get("pickapic.session"))
    settings = service.settings
    context = {
        "kind": person.kind if person else "",
        "status": person.status if person else "",
        "free_prompt": settings.free_prompt,
        "free_picks": settings.free_picks,
        "providers": settings.sign_in,
    }
    return await show(request, service, "duel.html", context)


@router.get("/about")
async def about_page(request: Request, service: ServiceHere) -> Response:
    """Show what this is."""
    return await show(request, service, "about.html", {})


@router.get("/leaderboard")
async def leaderboard_page(request: Request, service: ServiceHere) -> Response:
    """Show the models' standing."""
    return await show(request, service, "leaderboard.html", {"board": await service.boards.board()})


@router.get("/docs")
async def api_page(request: Request) -> Response:
    """Show the API's description."""
    return templates.TemplateResponse(request, "api.html", {"openapi": request.app.openapi()})


def error_page(
    request: Request, status: int, title: str, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an error for a person who opened an address in a browser."""
    context = {"title": title, "message": message, "status": status}
    return templates.TemplateResponse(request, "error.html", context, status_code=status, headers=headers)


async def show(
    request: Request, service: Service, name: str, context: dict[str, Any], status: int = 200
) -> Response:
    """Return a page, with what every page knows of its reader."""
    person = await service.person_of(request.scope["pickapic.session"])
    shared = {
        "signed_in": person is not None,
        "is_staff": person is not None and person.role != ROLES[0] and person.status != BANNED,
        "allow_guests": service.settings.allow_guests,
    }
    return templates.TemplateResponse(
        request, name, shared | context, status_code=status, headers={"Cache-Control": "no-store"}
    )
