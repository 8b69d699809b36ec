"""Signing in by somebody who vouches for a person: OpenID Connect issuers, and Discord."""

from pickapic.web.sign_in.provider import Provider, ProviderError
from pickapic.web.sign_in.providers import make_providers

__all__ = ["Provider", "ProviderError", "make_providers"]
