"""The pages of signing in: the ways in, to a provider and back, and whether two of them are the same person."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlencode

import structlog
from fastapi import APIRouter, Form, Request, Response
from sqlalchemy import Connection
from starlette.responses import RedirectResponse

from pickapic.collect.people import identities, links, sign_ins, users
from pickapic.collect.people.sessions import SignedIn
from pickapic.collect.refusals import RefusalError
from pickapic.settings import Settings
from pickapic.web import visits
from pickapic.web.languages import language_of
from pickapic.web.routes import auth
from pickapic.web.routes.pages import error_page, templates
from pickapic.web.security import add_cookie, cookie_of
from pickapic.web.service import Service, ServiceHere, now
from pickapic.web.sign_in import Provider, ProviderError
from pickapic.web.sign_in.paths import local_path

router = APIRouter(include_in_schema=False)

# Ties a sign-in, and an offer to link, to the browser that began it.
BROWSER_COOKIE = "sign-in"
BROWSER_SECONDS = 40 * 60
# What a provider sends back is not longer than this.
STATE_LENGTH = 200
CODE_LENGTH = 4096

_BROWSER = re.compile(r"[A-Za-z0-9_-]{43}")
_STATUS: Mapping[str, int] = {"silent": 503, "refused": 400, "odd": 502}


@router.get("/sign-in")
async def sign_in_page(request: Request, service: ServiceHere, next: str = "/") -> Response:
    """Show the ways to sign in."""
    return await _ways_in(request, service, local_path(next))


@router.post("/sign-in/guest")
async def enter_as_guest(
    request: Request, service: ServiceHere, next: Annotated[str, Form()] = "/"
) -> Response:
    """Sign in as a guest, by a plain form, and go on."""
    response = await auth.sign_in_as_guest(request, service)
    response.status_code = 303
    response.headers["location"] = local_path(next)
    return response


@router.get("/auth/{name}")
async def depart(request: Request, service: ServiceHere, name: str, next: str = "/") -> Response:
    """Send a browser to a provider."""
    provider = _provider(request, name)
    path = local_path(next)
    if provider is None:
        return _no_such_way(request)
    if request.headers.get("sec-fetch-site") == "cross-site":
        # Another page sent them here: whether to sign in, and how, they decide themselves.
        return _go(f"/sign-in?{urlencode({'next': path})}")
    browser = _browser(request) or secrets.token_urlsafe(32)
    person = await service.person_of(request.scope["pickapic.session"])
    user_id = None if person is None else person.user_id
    departure = await service.database.write(sign_ins.begin, name, browser, path, user_id, now())
    try:
        response = _go(await provider.address(departure))
    except ProviderError as error:
        return await _failed(request, service, provider, error, path)
    add_cookie(response.headers, request.scope, BROWSER_COOKIE, browser, BROWSER_SECONDS)
    return response


@router.get("/auth/{name}/callback")
async def come_back(request: Request, service: ServiceHere, name: str) -> Response:
    """Sign in whom a provider sends back, if they left from this browser."""
    provider = _provider(request, name)
    if provider is None:
        return _no_such_way(request)
    language = language_of(request)
    given = request.query_params
    state, code = given.get("state", ""), given.get("code", "")
    begun = None
    browser = _browser(request)
    if browser is not None and 0 < len(state) <= STATE_LENGTH:
        begun = await service.database.write(sign_ins.take, name, state, browser, now())
    if begun is None:
        problem = language.text(
            "This sign-in was not begun in this browser, or too long ago. Nothing was changed; please begin again."
        )
        return await _ways_in(request, service, "/", problem, 400)
    if "error" in given or not 0 < len(code) <= CODE_LENGTH:
        problem = language.text(
            "You are not signed in: {name} says that it was called off. Nothing was changed.",
            name=provider.choice.label,
        )
        return await _ways_in(request, service, begun.next_path, problem, 403)
    try:
        vouched = await provider.vouched(code, given.get("iss"), begun)
    except ProviderError as error:
        return await _failed(request, service, provider, error, begun.next_path)
    return await _arrive(request, service, vouched, begun, str(browser))


@router.get("/link/{token}")
async def link_page(request: Request, service: ServiceHere, token: str) -> Response:
    """Ask whether a new way of signing in belongs to an account that is there already."""
    person = await service.person_of(request.scope["pickapic.session"])
    try:
        offer = await service.database.read(links.read, token, _browser(request) or "", now())
    except RefusalError as error:
        return await _refused(request, service, error)
    known = await service.database.read(identities.of_user, offer.user_id)
    labels = {choice.name: choice.label for choice in service.settings.sign_in}
    context = {
        "token": token,
        "label": labels.get(offer.provider, offer.provider),
        "is_owner": person is not None and person.user_id == offer.user_id,
        "shares_address": offer.email_hash is not None,
        "ways": [
            {"name": identity.provider, "label": labels[identity.provider]}
            for identity in known
            if identity.provider in labels
        ],
    }
    headers = {"Cache-Control": "no-store"}
    return templates.TemplateResponse(request, "link.html", context, headers=headers)


@router.post("/link/{token}")
async def decide_link(
    request: Request, service: ServiceHere, token: str, choice: Annotated[str, Form()]
) -> Response:
    """Link the two, or keep them apart: then the new one gets an account of its own."""
    person = await service.person_of(request.scope["pickapic.session"])
    browser = _browser(request) or ""
    try:
        if choice == "link":
            offer = await service.database.write(links.accept, token, browser, person, now())
            return _go(offer.next_path)
        visit = visits.visit_of(request.scope, request.app.state.secret)
        new, offer = await service.database.write(_apart, service.settings, token, browser, person, visit)
    except RefusalError as error:
        return await _refused(request, service, error)
    response = _go(offer.next_path)
    auth.welcome(request, service, response, visit, new, person)
    return response


async def _arrive(
    request: Request,
    service: Service,
    vouched: identities.Vouched,
    begun: sign_ins.SignIn,
    browser: str,
) -> Response:
    """Sign in somebody whom a provider vouches for, or ask them whether they are somebody known."""
    secret: str = request.app.state.secret
    person = await service.person_of(request.scope["pickapic.session"])
    # An account is linked only to what was begun from it; a guest is whoever holds the browser now.
    who = person if person and (person.kind != users.ACCOUNT or person.user_id == begun.user_id) else None
    visit = visits.visit_of(request.scope, secret)
    try:
        token, is_offer = await service.database.write(
            _let_in, service.settings, secret, vouched, who, person, visit, browser, begun.next_path
        )
    except RefusalError as error:
        return await _refused(request, service, error)
    if is_offer:
        response = _go(f"/link/{token}")
        add_cookie(response.headers, request.scope, BROWSER_COOKIE, browser, BROWSER_SECONDS)
        return response
    response = _go(begun.next_path)
    auth.welcome(request, service, response, visit, token, person)
    return response


def _let_in(
    connection: Connection,
    settings: Settings,
    secret: str,
    vouched: identities.Vouched,
    who: SignedIn | None,
    before: SignedIn | None,
    visit: visits.Visit,
    browser: str,
    next_path: str,
) -> tuple[str, bool]:
    """Return the token of a session, or that of an offer and True."""
    arrival = identities.arrive(connection, vouched, who, secret, settings.admins, now())
    if arrival.outcome == "offered":
        token = links.offer(connection, vouched, secret, arrival.user_id, browser, next_path, now())
        return token, True
    days = settings.session_days
    return visits.enter(connection, arrival.user_id, days, visit, before, now()), False


def _apart(
    connection: Connection,
    settings: Settings,
    token: str,
    browser: str,
    before: SignedIn | None,
    visit: visits.Visit,
) -> tuple[str, links.Offer]:
    user_id, offer = links.keep_apart(connection, token, browser, before, now())
    return visits.enter(connection, user_id, settings.session_days, visit, before, now()), offer


async def _failed(
    request: Request, service: Service, provider: Provider, error: ProviderError, next_path: str
) -> Response:
    """Say what a provider did, calmly; the details are for the log."""
    log = structlog.get_logger("pickapic.web")
    log.warning("sign-in failed", provider=provider.choice.name, reason=error.reason, detail=str(error)[:500])
    language, name = language_of(request), provider.choice.label
    if error.reason == "silent":
        problem = language.text(
            "{name} does not answer at the moment. Nothing was changed; please try again in a minute.",
            name=name,
        )
    elif error.reason == "refused":
        problem = language.text(
            "{name} did not accept this sign-in. Nothing was changed; please begin again.", name=name
        )
    else:
        problem = language.text(
            "The answer of {name} could not be trusted, so you are not signed in. Nothing was changed. "
            "If it happens again, tell whoever runs this page.",
            name=name,
        )
    return await _ways_in(request, service, next_path, problem, _STATUS[error.reason])


async def _refused(request: Request, service: Service, error: RefusalError) -> Response:
    problem = language_of(request).text(error.template, **error.values)
    return await _ways_in(request, service, "/", problem, 403)


async def _ways_in(
    request: Request, service: Service, next_path: str, problem: str = "", status: int = 200
) -> Response:
    person = await service.person_of(request.scope["pickapic.session"])
    settings = service.settings
    context = {
        "next": next_path,
        "problem": problem,
        "providers": settings.sign_in,
        "allow_guests": settings.allow_guests,
        "kind": person.kind if person else "",
        "mark_days": settings.mark_days,
    }
    headers = {"Cache-Control": "no-store"}
    return templates.TemplateResponse(request, "sign_in.html", context, status_code=status, headers=headers)


def _go(address: str) -> Response:
    return RedirectResponse(address, 303, {"Cache-Control": "no-store"})


def _provider(request: Request, name: str) -> Provider | None:
    providers: Mapping[str, Provider] = request.app.state.providers
    return providers.get(name)


def _no_such_way(request: Request) -> Response:
    language = language_of(request)
    text = language.text("Nobody signs in that way here. The page for signing in shows the ways there are.")
    return error_page(request, 404, language.text("Nothing here"), text)


def _browser(request: Request) -> str | None:
    value = cookie_of(request.scope, BROWSER_COOKIE)
    return value if value and _BROWSER.fullmatch(value) else None
