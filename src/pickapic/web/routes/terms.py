"""The terms, and agreeing to them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from starlette.responses import RedirectResponse

from pickapic.collect.people import consents
from pickapic.collect.people.visitors import VISITOR
from pickapic.collect.refusals import ConflictError
from pickapic.web.agreement import Terms
from pickapic.web.languages import language_of
from pickapic.web.routes.pages import templates
from pickapic.web.service import ServiceHere, now
from pickapic.web.sign_in.paths import local_path

router = APIRouter(include_in_schema=False)


@router.get("/terms")
async def terms_page(request: Request, service: ServiceHere, next: str = "/") -> Response:
    """Show the terms; who has not agreed to them yet can do so here."""
    return await _page(request, service, local_path(next))


@router.post("/terms")
async def agree(
    request: Request,
    service: ServiceHere,
    version: Annotated[str, Form()],
    next: Annotated[str, Form()] = "/",
) -> Response:
    """Agree, by a plain form, and go on; if the terms have changed meanwhile they are shown again."""
    person = await service.person_of(request.scope["pickapic.session"])
    path = local_path(next)
    if person is None:
        return RedirectResponse("/sign-in", 303)
    present = service.settings.terms_version
    try:
        await service.database.write(consents.agree_to_present, person.user_id, version, present, now())
    except ConflictError as error:
        problem = language_of(request).text(error.template, **error.values)
        return await _page(request, service, path, problem, 409)
    service.forget_user(person.user_id)
    return RedirectResponse(path, 303)


async def _page(
    request: Request, service: ServiceHere, next_path: str, problem: str = "", status: int = 200
) -> Response:
    person = await service.person_of(request.scope["pickapic.session"])
    terms: Terms = request.app.state.terms
    code, text = terms.page(language_of(request).code)
    context = {
        "text": text,
        "text_language": code,
        "text_direction": request.app.state.languages.known[code].direction,
        "version": terms.version,
        "asked": person is not None and person.kind != VISITOR and person.consent != terms.version,
        "next": next_path,
        "problem": problem,
    }
    headers = {"Cache-Control": "no-store"}
    return templates.TemplateResponse(request, "terms.html", context, status_code=status, headers=headers)
