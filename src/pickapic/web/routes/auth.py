"""Signing in without a provider, and out: what scripts and pages call. Providers are in `routes/sign_in.py`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from pickapic.collect.duels import limits
from pickapic.collect.people import consents, sessions, users, visitors
from pickapic.collect.people.sessions import SignedIn
from pickapic.settings import Settings
from pickapic.web import visits
from pickapic.web.routes.answers import json_of
from pickapic.web.security import set_session
from pickapic.web.service import Service, ServiceHere, now

router = APIRouter(prefix="/auth", tags=["sign-in"])


class Somebody(BaseModel):
    """Who is signed in now."""

    user_id: int
    kind: str


class WayIn(BaseModel):
    """A provider that one can sign in with: its button's words, and where that leads."""

    name: str
    label: str
    url: str


class WaysIn(BaseModel):
    """How one can sign in here."""

    providers: list[WayIn]
    guests: bool
    free_prompt: str


@router.get("/providers", response_model=WaysIn)
async def read_providers(service: ServiceHere) -> Response:
    """Return the ways to sign in; add `?next=/path` to a url to come back to a page of this server."""
    settings = service.settings
    ways = [
        WayIn(name=choice.name, label=choice.label, url=f"/auth/{choice.name}") for choice in settings.sign_in
    ]
    return json_of(WaysIn(providers=ways, guests=settings.allow_guests, free_prompt=settings.free_prompt))


@router.post("/guest", status_code=201, response_model=Somebody)
async def sign_in_as_guest(request: Request, service: ServiceHere) -> Response:
    """Sign in without an account, where the settings allow it, and agree to the terms shown beside the button.

    Whoever is signed in already stays who they are; a visitor becomes a guest.
    """
    if not service.settings.allow_guests:
        raise HTTPException(403, "Guests are not allowed here; please sign in with an account.")
    person = await service.person_of(request.scope["pickapic.session"])
    if person is not None and person.kind != visitors.VISITOR:
        return json_of(Somebody(user_id=person.user_id, kind=person.kind))
    visit = visits.visit_of(request.scope, request.app.state.secret)
    user_id, token = await service.database.write(_new_guest, service.settings, visit, person)
    response = json_of(Somebody(user_id=user_id, kind=users.GUEST), 201)
    welcome(request, service, response, visit, token, person)
    return response


@router.post("/visitor", status_code=201, response_model=Somebody)
async def look_around(request: Request, service: ServiceHere) -> Response:
    """Begin without signing in, to try the one free prompt; whoever is signed in stays who they are."""
    if not service.settings.free_prompt:
        raise HTTPException(403, "There is no free prompt here; please sign in.")
    person = await service.person_of(request.scope["pickapic.session"])
    if person is not None:
        return json_of(Somebody(user_id=person.user_id, kind=person.kind))
    label = visits.label_of(request.scope)
    user_id, token = await service.database.write(_new_visitor, label)
    response = json_of(Somebody(user_id=user_id, kind=visitors.VISITOR), 201)
    secret: str = request.app.state.secret
    set_session(response.headers, secret, token, request.scope, sessions.VISITOR_DAYS)
    return response


@router.post("/sign-out", status_code=204)
async def sign_out(request: Request, service: ServiceHere) -> Response:
    """End this session; the cookie is worthless from now on."""
    token: str | None = request.scope["pickapic.session"]
    person = await service.person_of(token)
    if token is not None:
        await service.database.write(sessions.close_session, token)
        service.people.drop(token)
    if person is not None:
        service.forget_session(person.session_key)
    return farewell(request, service, Response(status_code=204))


def welcome(
    request: Request,
    service: Service,
    response: Response,
    visit: visits.Visit,
    token: str,
    before: SignedIn | None,
) -> None:
    """Let an answer sign its browser in; `before` is who it was signed in as until now."""
    settings = service.settings
    if before is not None:
        service.forget_session(before.session_key)
    secret: str = request.app.state.secret
    set_session(response.headers, secret, token, request.scope, settings.session_days)
    visits.set_device(response.headers, request.scope, visit, settings.mark_days)


def farewell(request: Request, service: Service, response: Response) -> Response:
    """Let an answer sign its browser out."""
    secret: str = request.app.state.secret
    set_session(response.headers, secret, None, request.scope, service.settings.session_days)
    return response


def _new_guest(
    connection: Connection, settings: Settings, visit: visits.Visit, before: SignedIn | None
) -> tuple[int, str]:
    limits.check_guest(connection, settings, visit.seen, now())
    user_id = users.create_guest(connection, now())
    consents.agree(connection, user_id, settings.terms_version, now())
    return user_id, visits.enter(connection, user_id, settings.session_days, visit, before, now())


def _new_visitor(connection: Connection, label: str) -> tuple[int, str]:
    user_id = visitors.create_visitor(connection, now())
    return user_id, sessions.open_session(connection, user_id, sessions.VISITOR_DAYS, now(), label)
