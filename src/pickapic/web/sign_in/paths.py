"""Where to go after signing in: only ever to a page of this server."""

from __future__ import annotations

from urllib.parse import urlsplit

START = "/"
LENGTH = 2000


def local_path(wish: str | None) -> str:
    """Return `wish` if it is a path on this server, perhaps with a query and a fragment; else the start page.

    Browsers read a backslash as a slash, and leave out tabs and line ends: `/\\evil.example` would lead away.
    """
    if not wish or len(wish) > LENGTH or not wish.isascii() or not wish.isprintable() or "\\" in wish:
        return START
    if not wish.startswith("/") or wish.startswith("//") or " " in wish:
        return START
    try:
        parts = urlsplit(wish)
    except ValueError:
        return START
    # Signing in leads on to a page, never into another sign-in.
    is_local = not parts.scheme and not parts.netloc and not parts.path.startswith("/auth/")
    return wish if is_local else START
