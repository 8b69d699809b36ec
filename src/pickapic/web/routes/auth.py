"""Signing in and out."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from pickapic.collect import consents, sessions, users, visitors
from pickapic.settings import Settings
from pickapic.web.routes.answers import json_of
from pickapic.web.security import set_session
from pickapic.web.service import ServiceHere, now

router = APIRouter(prefix="/auth", tags=["sign-in"])


class Somebody(BaseModel):
    """Who is signed in now."""

    user_id: int
    kind: str


@router.post("/guest", status_code=201, response_model=Somebody)
async def sign_in_as_guest(request: Request, service: ServiceHere) -> Response:
    """Sign in without an account, where the settings allow it, and agree to the terms shown beside the button.

    Whoever is signed in already stays who they are; a visitor becomes a guest.
    """
    if not service.settings.allow_guests:
        raise HTTPException(403, "Guests are not allowed here; please sign in with an account.")
    return await _come_in(request, service, users.GUEST)


@router.post("/visitor", status_code=201, response_model=Somebody)
async def look_around(request: Request, service: ServiceHere) -> Response:
    """Begin without signing in, to try the one free prompt; whoever is signed in stays who they are."""
    if not service.settings.free_prompt:
        raise HTTPException(403, "There is no free prompt here; please sign in.")
    return await _come_in(request, service, visitors.VISITOR)


@router.post("/sign-out", status_code=204)
async def sign_out(request: Request, service: ServiceHere) -> Response:
    """End this session; the cookie is worthless from now on."""
    token: str | None = request.scope.get("pickapic.session")
    if token is not None:
        await service.database.write(sessions.close_session, token)
        service.people.drop(token)
    response = Response(status_code=204)
    set_session(
        response.headers, request.app.state.secret, None, request.scope, service.settings.session_days
    )
    return response


async def _come_in(request: Request, service: ServiceHere, kind: str) -> Response:
    token: str | None = request.scope.get("pickapic.session")
    person = await service.person_of(token)
    if person is not None and (person.kind != visitors.VISITOR or kind == visitors.VISITOR):
        return json_of(Somebody(user_id=person.user_id, kind=person.kind))
    settings = service.settings
    work = _new_guest if kind == users.GUEST else _new_visitor
    user_id, new = await service.database.write(work, settings, token)
    if token is not None:
        service.people.drop(token)
    response = json_of(Somebody(user_id=user_id, kind=kind), 201)
    set_session(response.headers, request.app.state.secret, new, request.scope, settings.session_days)
    return response


def _new_guest(connection: Connection, settings: Settings, old: str | None) -> tuple[int, str]:
    user_id = users.create_guest(connection, now())
    consents.agree(connection, user_id, settings.terms_version, now())
    if old is not None:
        sessions.close_session(connection, old)
    return user_id, sessions.open_session(connection, user_id, settings.session_days, now())


def _new_visitor(connection: Connection, settings: Settings, old: str | None) -> tuple[int, str]:
    user_id = visitors.create_visitor(connection, now())
    return user_id, sessions.open_session(connection, user_id, settings.session_days, now())
