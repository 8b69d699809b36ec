"""Names that tell nothing, for whatever is spoken of outside the database: rounds, reports, gold pairs."""

from __future__ import annotations

import secrets


def new_uid() -> str:
    """Return 128 random bits as 22 characters of a URL; never one that a command line would take for an option."""
    while (uid := secrets.token_urlsafe(16)).startswith("-"):
        pass
    return uid
