"""OpenID Connect: the authorization code flow with PKCE, state and nonce (OpenID Connect Core 1.0, section 3.1).

The ID token is checked for issuer, audience, authorized party, expiry, nonce, and its signature by the issuer's keys.
Where everything of an issuer is, it says itself (Discovery 1.0); that is remembered for an hour.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import Key, KeySet, import_key
from joserfc.jws import JWSRegistry

from pickapic.collect.people.identities import Vouched
from pickapic.collect.people.sign_ins import Departure, SignIn
from pickapic.settings import ProviderChoice
from pickapic.web.sign_in.provider import (
    LOCAL,
    Client,
    ProviderError,
    checked_email,
    checked_subject,
    client_of,
    fetch_object,
)

SCOPE = "openid email"
DISCOVERY = "/.well-known/openid-configuration"
DISCOVERY_SECONDS = 3600.0
# A token signed with a key that is not known yet: the issuer may have changed its keys, but not every second.
KEYS_SECONDS = 30.0
# By which the clocks of the issuer and of this server may differ.
SKEW_SECONDS = 120
# Signatures that only the issuer can make; never `none`, and nothing with a shared secret.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
# Google's ID tokens may name their issuer without the scheme.
ALIASES = {"https://accounts.google.com": "accounts.google.com"}


@dataclass(frozen=True, slots=True)
class Issuer:
    """What an issuer says of itself."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    auth_method: str
    algorithms: tuple[str, ...]
    names_itself: bool
    """Whether it adds `iss` to what it sends back (RFC 9207)."""


@dataclass(slots=True)
class OpenIdConnect:
    """An issuer of OpenID Connect, Google or any other."""

    choice: ProviderChoice
    redirect_uri: str
    _issuer: tuple[float, Issuer] | None = None
    _keys: tuple[float, KeySet] | None = None
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def address(self, departure: Departure) -> str:
        """Return where at the issuer to send a browser. Raises as `Provider.address`."""
        async with client_of(self.choice, self.redirect_uri, SCOPE) as client:
            issuer = await self._discover(client)
            url, _ = client.create_authorization_url(
                issuer.authorization_endpoint,
                state=departure.state,
                code_verifier=departure.code_verifier,
                nonce=departure.nonce,
            )
        return url

    async def vouched(self, code: str, issuer: str | None, sign_in: SignIn) -> Vouched:
        """Return whom the issuer vouches for; `issuer` is the `iss` it sent along. Raises as `Provider.vouched`."""
        async with client_of(self.choice, self.redirect_uri, SCOPE) as client:
            found = await self._discover(client)
            if issuer != found.issuer and (issuer is not None or found.names_itself):
                raise ProviderError("odd", f"the answer came from {issuer!r}")
            client.token_endpoint_auth_method = found.auth_method
            token: Mapping[str, Any] = await client.fetch_token(
                found.token_endpoint,
                grant_type="authorization_code",
                code=code,
                redirect_uri=self.redirect_uri,
                code_verifier=sign_in.code_verifier,
            )
            claims = await self._claims(client, found, token, sign_in.nonce)
            subject = checked_subject(claims["sub"])
            if "email" not in claims and found.userinfo_endpoint is not None:
                claims = await fetch_object(client, found.userinfo_endpoint, signed_in=True)
                if claims.get("sub") != subject:
                    raise ProviderError("odd", "the userinfo is of somebody else")
        email = checked_email(claims.get("email"), claims.get("email_verified"))
        return Vouched(self.choice.name, subject, email)

    async def _claims(
        self, client: Client, issuer: Issuer, token: Mapping[str, Any], nonce: str
    ) -> Mapping[str, Any]:
        """Return what a token says, once all of it is checked."""
        text = token["id_token"]
        registry = JWSRegistry(algorithms=issuer.algorithms, strict_check_header=False)
        try:
            decoded = jwt.decode(text, await self._key_set(client, issuer), registry=registry)
        except InvalidKeyIdError:
            keys = await self._key_set(client, issuer, fresh=True)
            decoded = jwt.decode(text, keys, registry=registry)
        names = [issuer.issuer, *(alias for name, alias in ALIASES.items() if name == issuer.issuer)]
        claims = CodeIDToken(
            decoded.claims,
            decoded.header,
            {
                "iss": {"essential": True, "values": names},
                "aud": {"essential": True, "value": self.choice.client_id},
                "nonce": {"essential": True, "value": nonce},
            },
            {"nonce": nonce, "client_id": self.choice.client_id, "access_token": token.get("access_token")},
        )
        claims.validate(leeway=SKEW_SECONDS)
        return claims

    async def _discover(self, client: Client) -> Issuer:
        async with self._asking:
            if self._issuer is None or self._issuer[0] < time.monotonic():
                found = read_issuer(
                    self.choice.issuer, await fetch_object(client, self.choice.issuer + DISCOVERY)
                )
                self._issuer = time.monotonic() + DISCOVERY_SECONDS, found
                self._keys = None
            return self._issuer[1]

    async def _key_set(self, client: Client, issuer: Issuer, fresh: bool = False) -> KeySet:
        async with self._asking:
            if self._keys is None or (fresh and self._keys[0] + KEYS_SECONDS < time.monotonic()):
                found = await fetch_object(client, issuer.jwks_uri)
                self._keys = time.monotonic(), read_keys(found)
            return self._keys[1]


def read_issuer(wanted: str, found: Mapping[str, Any]) -> Issuer:
    """Read what an issuer says of itself.

    Raises:
        ProviderError: it is another one, something is missing, or an address is not safe.
    """
    name = found.get("issuer")
    if not isinstance(name, str) or name.rstrip("/") != wanted:
        raise ProviderError("odd", f"the issuer calls itself {name!r}")
    is_local = urlsplit(wanted).hostname in LOCAL
    endpoints: dict[str, str | None] = {}
    for key in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"):
        url = found.get(key)
        scheme = urlsplit(url).scheme if isinstance(url, str) else ""
        fits = scheme == "https" or (is_local and scheme == "http")
        if not fits and key != "userinfo_endpoint":
            raise ProviderError("odd", f"{key} is {url!r}")
        endpoints[key] = url if fits else None
    methods = found.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    offered = found.get("id_token_signing_alg_values_supported") or ["RS256"]
    algorithms = tuple(name for name in ALGORITHMS if name in offered)
    if not algorithms:
        raise ProviderError("odd", f"ID tokens are signed with {offered!r}")
    return Issuer(
        issuer=name,
        authorization_endpoint=str(endpoints["authorization_endpoint"]),
        token_endpoint=str(endpoints["token_endpoint"]),
        jwks_uri=str(endpoints["jwks_uri"]),
        userinfo_endpoint=endpoints["userinfo_endpoint"],
        auth_method="client_secret_basic" if "client_secret_basic" in methods else "client_secret_post",
        algorithms=algorithms,
        names_itself=found.get("authorization_response_iss_parameter_supported") is True,
    )


def read_keys(found: Mapping[str, Any]) -> KeySet:
    """Read an issuer's keys; those of a kind that is not known here are left out."""
    keys: list[Key] = []
    for entry in found["keys"]:
        try:
            keys.append(import_key(entry))
        except (JoseError, ValueError, TypeError, LookupError):
            continue
    if not keys:
        raise ProviderError("odd", "the issuer has no key that can be used")
    return KeySet(keys)
