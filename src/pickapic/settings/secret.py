"""The key that signs cookies and anonymises users: set, or made once and kept."""

from __future__ import annotations

import contextlib
import os
import secrets

from pickapic.records import InputError
from pickapic.settings.service import SECRET_LENGTH, Settings


def secret_key(settings: Settings) -> str:
    """Return the key that signs cookies; where none is set, make one once and keep it in `home/secret_key`.

    Two processes that start together get the same key: the file is written aside with mode 0600 and linked
    into place, which fails for the second.

    Raises:
        InputError: the kept key is too short, so somebody has changed it.
    """
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value()
    kept = settings.home / "secret_key"
    if not kept.exists():
        settings.home.mkdir(parents=True, exist_ok=True)
        draft = settings.home / f".secret_key.{secrets.token_hex(8)}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(48))
        with contextlib.suppress(FileExistsError):
            os.link(draft, kept)
        draft.unlink()
    key = kept.read_text(encoding="ascii").strip()
    if len(key) < SECRET_LENGTH:
        raise InputError(
            f"{kept} holds fewer than {SECRET_LENGTH} characters; delete it and a new key is made"
        )
    return key
