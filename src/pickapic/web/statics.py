"""The page's own files, at addresses that change with what is in them: a browser fetches each once, and asks no more.

The version stands in the path, `/static/<version>/duel/main.js`, because the scripts import one another by relative
path. It is one for all files: when any of them changes, all have new addresses.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from os import PathLike
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC = Path(__file__).parent / "static"
PREFIX = "/static"
FOR_EVER = "public, max-age=31536000, immutable"
# Without a version, or with that of another server in the middle of an upgrade: asked for again each time.
FOR_NOW = "no-cache"

_VERSION = re.compile(r"[0-9a-f]{16}")


@lru_cache(1)
def version() -> str:
    """Return what tells these files from any others: 16 hex digits."""
    digest = hashlib.sha256()
    for path in sorted(path for path in STATIC.rglob("*") if path.is_file()):
        digest.update(path.relative_to(STATIC).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def address(name: str) -> str:
    """Return the address of a file, such as `page.css`."""
    return f"{PREFIX}/{version()}/{name}"


class Statics(StaticFiles):
    """Serves the files with a version before them or without."""

    def __init__(self, directory: str | PathLike[str] = STATIC) -> None:
        super().__init__(directory=directory)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file, to be kept for ever if it is asked for by its present version."""
        head, _, rest = path.partition("/")
        if not _VERSION.fullmatch(head):
            head, rest = "", path
        response = await super().get_response(rest, scope)
        if response.status_code in (200, 304):
            response.headers["cache-control"] = FOR_EVER if head == version() else FOR_NOW
        return response
