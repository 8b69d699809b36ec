"""Who may vouch for a person: the OpenID Connect issuers and the Discord application of a deployment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from pickapic.settings.names import nearest

GOOGLE = "https://accounts.google.com"
DISCORD = "https://discord.com"
LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})

# What else stands in that place of an address.
RESERVED = frozenset({"guest", "visitor", "providers", "sign-out", "link"})

_ENTRIES = ("kind", "client_id", "client_secret", "issuer", "label")


@dataclass(frozen=True, slots=True)
class ProviderChoice:
    """One way to sign in.

    `name` is in addresses (`/auth/google/callback`) and is stored with each identity: it must not change.
    `issuer` is the OpenID Connect issuer, or where Discord's API is; `label` is what the button says.
    """

    name: str
    kind: Literal["oidc", "discord"]
    client_id: str
    client_secret: str
    issuer: str
    label: str


def parse_providers(value: object) -> tuple[ProviderChoice, ...]:
    """Return the ways to sign in from a table of name -> entries, or such a table as JSON text.

    `google` and `discord` know their issuer and kind by themselves.

    Raises:
        ValueError: an unknown or missing entry, a name unfit for an address, or an issuer without TLS
            (allowed only on this machine).
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"sign_in: not JSON: {error}") from error
    if isinstance(value, tuple) and all(isinstance(one, ProviderChoice) for one in cast(Any, value)):
        return cast("tuple[ProviderChoice, ...]", value)
    if not isinstance(value, Mapping):
        raise ValueError("sign_in: give a table of name -> client_id, client_secret, issuer, ...")
    return tuple(_parse(name, entries) for name, entries in cast("Mapping[str, object]", value).items())


def _parse(name: str, entries: object) -> ProviderChoice:
    where = f"sign_in.{name}"
    if not name.isascii() or not name.replace("-", "").isalnum() or len(name) > 32 or name in RESERVED:
        reserved = ", ".join(sorted(RESERVED))
        raise ValueError(
            f"{where}: a name has letters, digits and hyphens, at most 32, and is not {reserved}"
        )
    if not isinstance(entries, Mapping):
        raise ValueError(f"{where}: give a table with {', '.join(_ENTRIES)}")
    table = cast("Mapping[str, object]", entries)
    for key, entry in table.items():
        if key not in _ENTRIES:
            raise ValueError(f"{where}: no entry is called {key!r}{nearest(key, _ENTRIES)}")
        if not isinstance(entry, str) or not entry:
            raise ValueError(f"{where}.{key}: give a text")
    text = cast("Mapping[str, str]", table)
    kind = text.get("kind", "discord" if name == "discord" else "oidc")
    issuer = text.get("issuer", DISCORD if kind == "discord" else GOOGLE if name == "google" else "")
    if kind not in ("oidc", "discord"):
        raise ValueError(f"{where}.kind: {kind!r}; known: oidc, discord")
    for key, present in (("client_id", "client_id" in text), ("client_secret", "client_secret" in text)):
        if not present:
            raise ValueError(
                f"{where}.{key} is missing: the provider gave it when the application was registered"
            )
    parts = urlsplit(issuer)
    if (
        not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOCAL))
        or not parts.hostname
    ):
        raise ValueError(f"{where}.issuer: give its https:// address")
    return ProviderChoice(
        name=name,
        kind=kind,
        client_id=text["client_id"],
        client_secret=text["client_secret"],
        issuer=issuer.rstrip("/"),
        label=text.get("label", name.capitalize()),
    )
