"""The ways to sign in of a deployment, from its settings."""

from __future__ import annotations

from collections.abc import Mapping

from pickapic.settings import Settings
from pickapic.web.sign_in.discord import Discord
from pickapic.web.sign_in.openid import OpenIdConnect
from pickapic.web.sign_in.provider import Provider


def make_providers(settings: Settings) -> Mapping[str, Provider]:
    """Return the ways to sign in by name; none is asked for anything yet."""
    found: dict[str, Provider] = {}
    for choice in settings.sign_in:
        # Never from a request: a forged Host header would have the code sent elsewhere.
        redirect_uri = f"{settings.public_url}/auth/{choice.name}/callback"
        kind = Discord if choice.kind == "discord" else OpenIdConnect
        found[choice.name] = kind(choice, redirect_uri)
    return found
