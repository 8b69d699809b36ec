"""Who may see the administration, how its pages are made, and how its forms are answered.

Whoever may not be here gets the 404 of an address that leads nowhere: strangers learn nothing, and a moderator
no more than there is for moderators. Forms are plain HTML forms with the CSRF token in a field. What is done
is answered by a redirect, so that a reload never sends a form twice; what is refused, by a page that says why.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from sqlalchemy import Connection
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse

from pickapic.collect.oversight import live, reports
from pickapic.collect.people.sessions import SignedIn
from pickapic.collect.quality import policy_from
from pickapic.collect.refusals import ConflictError, ForbiddenError, NotFoundError, RefusalError
from pickapic.records import InputError
from pickapic.web.routes.pages import templates
from pickapic.web.service import Service, ServiceHere

STAFF = ("moderator", "admin")
_STATUS = {ForbiddenError: 403, NotFoundError: 404, ConflictError: 409}

DONE = {
    "ban": "The user is banned. Open prompts have ended, and what was queued is cancelled.",
    "unban": "The user is as any other again.",
    "exclude": "The user's picks are left out of exports and of the leaderboard.",
    "trust": "The user's picks count whatever their habits look like.",
    "role": "The role is changed.",
    "allowance": "The allowance is changed.",
    "uphold": "The picture is removed.",
    "dismiss": "The reports are dismissed; the picture stays.",
    "approve": "The prompt is approved: from now on it is free for everybody.",
    "refuse": "The prompt is refused.",
    "gold-add": "The pair is added.",
    "gold-retire": "The pair is shown to nobody any more.",
    "on": "The generator is switched on.",
    "off": "The generator is switched off. What was queued for it went to the others.",
    "weight": "The weight is changed.",
    "token-revoke": "The token is revoked: within two seconds it opens nothing any more.",
    "retry": "The jobs are queued again, where their prompt is still open.",
    "give-up": "The jobs are given up, and off this list.",
    "try": "The next image that is ordered tries it.",
    "export": "The export has begun.",
    "export-stop": "The export is stopped; nothing of it is left.",
}


@dataclass(frozen=True, slots=True)
class Tab:
    """A page of the administration in its navigation."""

    path: str
    label: str
    role: str


TABS = (
    Tab("/admin", "Overview", "moderator"),
    Tab("/admin/users", "Users", "moderator"),
    Tab("/admin/reports", "Reports", "moderator"),
    Tab("/admin/reviews", "Prompts", "moderator"),
    Tab("/admin/gold", "Gold pairs", "admin"),
    Tab("/admin/generators", "Generators", "admin"),
    Tab("/admin/jobs", "Jobs", "admin"),
    Tab("/admin/workers", "Workers", "admin"),
    Tab("/admin/exports", "Exports", "admin"),
    Tab("/admin/decisions", "Decisions", "admin"),
    Tab("/admin/tables/", "Tables", "admin"),
)


async def staff_of(service: Service, token: str | None, roles: tuple[str, ...]) -> SignedIn | None:
    """Return who holds the session `token` if they have one of `roles` and are not banned, else None."""
    person = await service.person_of(token)
    return person if person and person.role in roles and person.status != "banned" else None


async def _staff(request: Request, service: ServiceHere) -> SignedIn:
    return _or_nothing(await staff_of(service, request.scope.get("pickapic.session"), STAFF))


async def _chief(request: Request, service: ServiceHere) -> SignedIn:
    return _or_nothing(await staff_of(service, request.scope.get("pickapic.session"), ("admin",)))


def _or_nothing(person: SignedIn | None) -> SignedIn:
    if person is None:
        raise HTTPException(404)
    return person


Staff = Annotated[SignedIn, Depends(_staff)]
"""A moderator or an admin; anybody else: 404."""
Chief = Annotated[SignedIn, Depends(_chief)]
"""An admin; anybody else: 404."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """How much waits for a decision, for the navigation."""

    reports: int
    reviews: int


async def shared(request: Request, service: Service, person: SignedIn) -> dict[str, Any]:
    """Return what every page of the administration has around it."""
    waiting = await service.database.read(_waiting)
    return {
        "person": person,
        "tabs": [tab for tab in TABS if tab.role == "moderator" or person.role == "admin"],
        "counts": {"/admin/reports": waiting.reports, "/admin/reviews": waiting.reviews},
        "done": DONE.get(request.query_params.get("done", "")),
        "flag": policy_from(service.settings).flag,
    }


async def page(
    request: Request,
    service: Service,
    person: SignedIn,
    name: str,
    context: dict[str, Any],
    status: int = 200,
) -> Response:
    """Return the page `admin/<name>.html` with the navigation that `person` may see."""
    around = await shared(request, service, person)
    headers = {"Cache-Control": "no-store"}
    return templates.TemplateResponse(request, f"admin/{name}.html", around | context, status, headers)


def back(path: str, done: str) -> Response:
    """Answer a form: it is done, and `path` is where to go on."""
    return RedirectResponse(f"{path}{'&' if '?' in path else '?'}done={done}", 303)


class FormRoute(APIRoute):
    """Answers what a form refuses by a page, where a person reads it; programs get the JSON of any other call."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, with refusals caught."""
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await handle(request)
            except (RefusalError, InputError, RequestValidationError) as error:
                if "text/html" not in request.headers.get("accept", ""):
                    raise
                return await _refused(request, error)

        return handler


async def _refused(request: Request, error: Exception) -> Response:
    service: Service = request.app.state.service
    person = _or_nothing(await staff_of(service, request.scope.get("pickapic.session"), STAFF))
    said = "A field is missing or does not fit." if isinstance(error, RequestValidationError) else str(error)
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 422)
    context = {"problem": said, "came_from": request.url.path.rpartition("/")[0] or "/admin"}
    return await page(request, service, person, "refused", context, status)


def _waiting(connection: Connection) -> Waiting:
    return Waiting(reports.count_waiting(connection), live.count_reviews(connection))
