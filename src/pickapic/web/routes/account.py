"""The part of a person's page about signing in: providers, browsers, and ending sessions by plain forms."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from pickapic.collect.people import identities
from pickapic.collect.people.sessions import SignedIn
from pickapic.collect.refusals import NotFoundError
from pickapic.web.routes import me
from pickapic.web.service import Person, Service, ServiceHere

router = APIRouter(include_in_schema=False)

PAGE = "/me"


async def account_context(service: Service, person: SignedIn) -> dict[str, Any]:
    """Return what the template `account.html` shows of a person who is signed in."""
    known = await service.database.read(identities.of_user, person.user_id)
    linked = {identity.provider: identity for identity in known}
    return {
        "browsers": await me.browsers_of(service, person),
        "linked": [
            {"label": choice.label, "since": linked[choice.name].linked_at}
            for choice in service.settings.sign_in
            if choice.name in linked
        ],
        "more_ways": [choice for choice in service.settings.sign_in if choice.name not in linked],
        "kind": person.kind,
        "session_days": service.settings.session_days,
    }


@router.post("/me/sessions/{uid}/sign-out")
async def end_session(uid: str, request: Request, service: ServiceHere, person: Person) -> Response:
    """Sign one of the person's browsers out; one that is signed out already is fine."""
    try:
        response = await me.sign_out_browser(uid, request, service, person)
    except NotFoundError:
        response = Response(status_code=204)
    return _back(response)


@router.post("/me/sign-out-everywhere")
async def end_sessions(request: Request, service: ServiceHere, person: Person) -> Response:
    """Sign the person out everywhere, here too."""
    response = _back(await me.sign_out_everywhere(request, service, person))
    response.headers["location"] = "/"
    return response


def _back(response: Response) -> Response:
    response.status_code = 303
    response.headers["location"] = PAGE
    return response
