"""Signing in and out."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from pickapic.collect import sessions, users
from pickapic.web.routes.answers import json_of
from pickapic.web.security import set_session
from pickapic.web.service import ServiceHere, now

router = APIRouter(prefix="/auth", tags=["sign-in"])


class SignedIn(BaseModel):
    """Who is signed in now."""

    user_id: int
    kind: str


@router.post("/guest", status_code=201, response_model=SignedIn)
async def sign_in_as_guest(request: Request, service: ServiceHere) -> Response:
    """Sign in without an account, where the settings allow it; whoever is signed in already stays who they are."""
    if not service.settings.allow_guests:
        raise HTTPException(403, "Guests are not allowed here; please sign in with an account.")
    user_id = await service.user_of(request.scope.get("pickapic.session"))
    if user_id is not None:
        return json_of(SignedIn(user_id=user_id, kind=users.GUEST))
    days = service.settings.session_days
    user_id, token = await service.database.write(_new_guest, days)
    response = json_of(SignedIn(user_id=user_id, kind=users.GUEST), 201)
    set_session(response.headers, request.app.state.secret, token, request.scope, days)
    return response


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


def _new_guest(connection: Connection, days: int) -> tuple[int, str]:
    user_id = users.create_guest(connection, now())
    return user_id, sessions.open_session(connection, user_id, days, now())
