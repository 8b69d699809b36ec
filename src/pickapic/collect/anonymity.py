"""The number that stands for a person in published data."""

from __future__ import annotations

import hashlib
import hmac


def anonymous_id(secret: str, user_id: int) -> int:
    """Return the number that stands for a user in datasets: 53 bits of an HMAC-SHA-256 under the secret key.

    The same user has the same number in every export, nobody without the key can tell which user it is, and
    numbers of 53 bits survive JSON and tables that hold integers as doubles.
    """
    digest = hmac.digest(secret.encode(), f"dataset user {user_id}".encode(), hashlib.sha256)
    return int.from_bytes(digest[:8], "big") >> 11
