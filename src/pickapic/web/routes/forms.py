"""What plain HTML forms send, so that the pages work without a script: each call answers with a page to go to."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from starlette.responses import RedirectResponse

from pickapic.web import languages
from pickapic.web.routes import auth
from pickapic.web.service import ServiceHere
from pickapic.web.sign_in.paths import local_path

router = APIRouter(include_in_schema=False)

COOKIE_SECONDS = 365 * 86400


@router.post("/language")
async def choose_language(
    request: Request,
    language: Annotated[str, Form(max_length=16)],
    next: Annotated[str, Form(max_length=2048)] = "/",
) -> Response:
    """Answer in `language` from now on; an unknown one: back to the browser's choice."""
    response = RedirectResponse(local_path(next), 303)
    known: languages.Languages = request.app.state.languages
    response.set_cookie(
        languages.COOKIE,
        language if language in known.known else "",
        max_age=COOKIE_SECONDS if language in known.known else 0,
        samesite="lax",
        secure=request.url.scheme == "https",
        httponly=True,
    )
    return response


@router.post("/sign-out")
async def sign_out(request: Request, service: ServiceHere) -> Response:
    """End this session and go to the start page."""
    response = await auth.sign_out(request, service)
    response.status_code = 303
    response.headers["location"] = "/"
    return response
