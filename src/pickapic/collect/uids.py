"""Names that tell nothing: of rounds, duels, reports and whatever else is spoken of outside the database."""

from __future__ import annotations

import secrets


def new_uid() -> str:
    """Return 128 random bits as 22 characters of a URL; never one that a command line would take for an option."""
    while (uid := secrets.token_urlsafe(16)).startswith("-"):
        pass
    return uid
