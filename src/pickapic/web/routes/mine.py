"""A person's own pages, /gallery and /me, and the plain forms on them, which work without a script."""

from __future__ import annotations

from itertools import groupby
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Query, Request, Response
from starlette.responses import RedirectResponse

from pickapic.collect.anonymity import anonymous_id
from pickapic.collect.boards import gallery, shares
from pickapic.collect.boards.score import STREAK_POINTS, score_of
from pickapic.collect.people.visitors import VISITOR
from pickapic.web.languages import language_of
from pickapic.web.routes import me
from pickapic.web.routes.account import account_context
from pickapic.web.routes.gallery import PAGE_SIZE, publish, shared_path
from pickapic.web.routes.pages import show
from pickapic.web.service import Participant, Person, ServiceHere, now

router = APIRouter(include_in_schema=False)


@router.get("/gallery")
async def gallery_page(
    request: Request, service: ServiceHere, before: Annotated[str | None, Query(max_length=64)] = None
) -> Response:
    """Show my images, newest first, by prompt."""
    person = await service.person_of(request.scope["pickapic.session"])
    context: dict[str, Any] = {"groups": [], "before": None, "first": before is None, "before_here": before}
    if person is not None:
        page = await service.database.read(gallery.page, person.user_id, before, PAGE_SIZE)
        groups = groupby(page.images, lambda image: (image.duel_uid, image.prompt))
        context |= {
            "groups": [(prompt, list(images)) for (_, prompt), images in groups],
            "before": page.before,
            "may_share": person.kind != VISITOR,
            "shared_path": shared_path,
        }
    return await show(request, service, "gallery.html", context)


@router.post("/gallery/{token}/{action}")
async def change_image(
    service: ServiceHere,
    person: Participant,
    token: str,
    action: Literal["share", "unshare", "remove"],
    before: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Share one of my images, make it private again, or take it out of my gallery."""
    if action == "share":
        return RedirectResponse(await publish(service, person, token), 303)
    if action == "unshare":
        await service.database.write(shares.unshare, person.user_id, token)
    else:
        await service.database.write(gallery.hide, person.user_id, token, now())
    query = f"?before={before}" if before.replace("-", "").replace("_", "").isalnum() else ""
    return RedirectResponse(f"/gallery{query}", 303)


@router.get("/me")
async def me_page(request: Request, service: ServiceHere) -> Response:
    """Show who I am here, my score and leaderboard, my browsers and my data."""
    person = await service.person_of(request.scope["pickapic.session"])
    if person is None:
        return RedirectResponse("/sign-in?next=/me", 303)
    return await _me(request, service, person)


@router.post("/me/delete")
async def delete_me(
    request: Request, service: ServiceHere, person: Person, word: Annotated[str, Form(max_length=64)] = ""
) -> Response:
    """Forget me, once the word of the form is typed; else show the page again."""
    wanted = language_of(request).text("delete")
    if word.strip().casefold() != wanted.casefold():
        return await _me(request, service, person, mistyped=True)
    response = await me.forget_me(request, service, person.user_id)
    response.status_code = 303
    response.headers["location"] = "/"
    return response


async def _me(request: Request, service: ServiceHere, person: Person, mistyped: bool = False) -> Response:
    account = await account_context(service, person)
    settings = service.settings
    context = account | {
        "person": person,
        "published_id": anonymous_id(request.app.state.secret, person.user_id),
        "score": await service.database.read(score_of, person.user_id),
        "streak_points": STREAK_POINTS,
        "board": await service.boards.personal(person.user_id),
        "terms_version": settings.terms_version,
        "consent_needed": person.kind != VISITOR and person.consent != settings.terms_version,
        "on_delete": settings.on_delete,
        "mistyped": mistyped,
    }
    return await show(request, service, "me.html", context, 422 if mistyped else 200)
