"""HTTP requests as an ingress gets them from Ray Serve's proxy."""

from __future__ import annotations

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request

LARGEST_BODY = 64 * 2**20


def path_of(request: Request) -> str:
    """Return the path below the application's route prefix."""
    path = request.url.path.removeprefix(request.scope.get("root_path", "").rstrip("/"))
    return path.rstrip("/") or "/"


async def read_body(request: Request) -> bytes:
    """Return the body.

    Raises:
        HTTPException: 413, it has more than `LARGEST_BODY` bytes.
    """
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_BODY:
            raise HTTPException(413, f"The body has more than {LARGEST_BODY >> 20} MiB.")
    return bytes(body)


def first_problem(error: ValidationError) -> str:
    """Return a sentence on what is wrong with a body."""
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "json_invalid":
        return "The body is not JSON."
    if problem["type"] == "missing":
        return f"{where} is missing."
    if problem["type"] == "extra_forbidden":
        return f"{where} is not known here."
    return f"{where}: {problem['msg']}." if where else f"{problem['msg']}."
