"""Every error as JSON: {"error": {"code", "message"}}; the message is fit to be shown. To a browser, as a page."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import InterfaceError, OperationalError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response

from pickapic.collect.refusals import (
    ConflictError,
    ForbiddenError,
    LimitError,
    NotFoundError,
    PromptError,
    RefusalError,
)
from pickapic.records import InputError
from pickapic.storage.failures import StoreError
from pickapic.web.languages import Language, language_of
from pickapic.web.routes.pages import error_page
from pickapic.web.service import SignInError

_STATUS: dict[type[RefusalError], int] = {
    PromptError: 422,
    NotFoundError: 404,
    ConflictError: 409,
    ForbiddenError: 403,
    LimitError: 429,
}
# The phrases for these differ between versions of Python, or are too vague.
_CODES = {404: "not_found", 413: "too_large"}


def refusal(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return an error as it is sent."""
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


def answer(
    request: Request, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an error as JSON, or as a page for a person who opened an address or sent a plain form."""
    path = request.url.path
    if path.startswith("/api/") or "text/html" not in request.headers.get("accept", ""):
        return refusal(status, code, message, headers)
    if status == 401 and request.method == "GET":
        return RedirectResponse(f"/sign-in?{urlencode({'next': path})}", 303)
    return error_page(request, status, _title(language_of(request), status), message, headers)


def _title(language: Language, status: int) -> str:
    if status == 404:
        return language.text("Nothing here")
    if status == 401:
        return language.text("Please sign in")
    if status == 429:
        return language.text("A little slower, please")
    return language.text("Something went wrong") if status >= 500 else language.text("That is not possible")


def install(app: FastAPI) -> None:
    """Make `app` answer every error in this form."""
    handlers: dict[type[Exception], Any] = {
        SignInError: _sign_in,
        RefusalError: _refusal,
        InputError: _input,
        RequestValidationError: _validation,
        HTTPException: _http,
        OperationalError: _database,
        InterfaceError: _database,
        StoreError: _store,
        Exception: _internal,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


async def _sign_in(request: Request, error: Exception) -> Response:
    return answer(request, 401, "signed_out", language_of(request).text("Please sign in first."))


async def _refusal(request: Request, error: RefusalError) -> Response:
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, LimitError) else None
    message = language_of(request).text(error.template, **error.values)
    # Nobody is forbidden to sign in.
    kind = next(kind for kind in type(error).__mro__ if kind in _STATUS)
    status = 401 if error.code == "sign_in" else _STATUS[kind]
    return answer(request, status, error.code, message, headers)


async def _input(request: Request, error: Exception) -> Response:
    return answer(request, 422, "invalid", str(error))


async def _validation(request: Request, error: RequestValidationError) -> Response:
    return answer(request, 422, "invalid", "; ".join(_reason(problem) for problem in error.errors()[:5]))


def _reason(problem: Mapping[str, Any]) -> str:
    kind = problem["type"]
    where = [str(part) for part in problem["loc"] if part not in ("body", "query", "path")]
    if kind == "json_invalid":
        return "The body is not JSON."
    if kind == "missing":
        return f"{'.'.join(where)} is missing." if where else "The body is missing."
    if kind in ("model_attributes_type", "model_type", "dict_type") and not where:
        return 'The body must be a JSON object, sent as "Content-Type: application/json".'
    if kind == "extra_forbidden":
        return f"{'.'.join(where)} is not known here."
    return f"{'.'.join(where)}: {problem['msg']}." if where else f"{problem['msg']}."


async def _http(request: Request, error: HTTPException) -> Response:
    if error.status_code == 400:
        # FastAPI's word for a body that breaks its JSON reader, as deep nesting does.
        return refusal(422, "invalid", "The body is not JSON.")
    phrase = HTTPStatus(error.status_code).phrase
    code = _CODES.get(error.status_code, phrase.lower().replace(" ", "_"))
    is_lost = error.detail == "Not Found"
    language = language_of(request)
    message = language.text("There is no such address.") if is_lost else language.text(str(error.detail))
    return answer(request, error.status_code, code, message, error.headers)


async def _database(request: Request, error: Exception) -> Response:
    structlog.get_logger("pickapic.web").error("database", error=str(error))
    message = language_of(request).text("The database does not answer; try again.")
    return answer(request, 503, "busy", message, {"Retry-After": "1"})


async def _store(request: Request, error: Exception) -> Response:
    structlog.get_logger("pickapic.web").error("the image store", error=str(error))
    request.app.state.service.metrics.store_errors.labels("request").inc()
    message = language_of(request).text("The image store does not answer; try again.")
    return answer(request, 503, "busy", message, {"Retry-After": "2"})


async def _internal(request: Request, error: Exception) -> Response:
    message = language_of(request).text("Something went wrong on our side.")
    return answer(request, 500, "internal", message)
