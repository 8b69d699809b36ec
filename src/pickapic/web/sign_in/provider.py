"""What every provider does, and how one is called over HTTP."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc.errors import JoseError

from pickapic import __version__
from pickapic.collect.people.identities import Vouched
from pickapic.collect.people.sign_ins import Departure, SignIn
from pickapic.settings import ProviderChoice

# For one call, and for all that one step of a sign-in takes.
CALL_SECONDS = 10.0
STEP_SECONDS = 20.0
SUBJECT_LENGTH = 255
USER_AGENT = f"Pick-a-Pic/{__version__}"
LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})

# Authlib's client has no types.
Client = Any
Reason = Literal["silent", "refused", "odd"]


class ProviderError(Exception):
    """A provider did not answer (`silent`), did not accept what came back (`refused`), or its answer cannot be trusted.

    The message is for the log: it may quote the provider.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Provider(Protocol):
    """One way to sign in."""

    @property
    def choice(self) -> ProviderChoice:
        """What the settings say of it."""
        ...

    async def address(self, departure: Departure) -> str:
        """Return where at the provider to send a browser.

        Raises:
            ProviderError: the provider cannot be asked for that.
        """
        ...

    async def vouched(self, code: str, issuer: str | None, sign_in: SignIn) -> Vouched:
        """Return whom the provider vouches for, by the code that the browser has brought back.

        Raises:
            ProviderError: no answer, or none that can be trusted.
        """
        ...


@asynccontextmanager
async def client_of(
    choice: ProviderChoice, redirect_uri: str, scope: str, method: str = "client_secret_basic"
) -> AsyncGenerator[Client]:
    """Open a client for one step of a sign-in; what goes wrong in it becomes a ProviderError.

    It follows no redirect: the secret goes nowhere but where the settings say.
    """
    client: Client = AsyncOAuth2Client(
        client_id=choice.client_id,
        client_secret=choice.client_secret,
        token_endpoint_auth_method=method,
        redirect_uri=redirect_uri,
        scope=scope,
        code_challenge_method="S256",
        timeout=CALL_SECONDS,
        headers={"user-agent": USER_AGENT},
        verify=_tls(),
        # An issuer on this machine is not behind the proxy that leads out of it.
        trust_env=urlsplit(choice.issuer).hostname not in LOCAL,
    )
    try:
        async with asyncio.timeout(STEP_SECONDS), client:
            yield client
    except (httpx2.TransportError, TimeoutError) as error:
        raise ProviderError("silent", f"{type(error).__name__}: {error}") from error
    except httpx2.HTTPStatusError as error:
        reason: Reason = "silent" if error.response.status_code >= 500 else "refused"
        raise ProviderError(reason, str(error)) from error
    except AuthlibBaseError as error:
        raise ProviderError("refused", str(error)) from error
    except (JoseError, httpx2.HTTPError, httpx2.InvalidURL, LookupError, TypeError, ValueError) as error:
        raise ProviderError("odd", f"{type(error).__name__}: {error}") from error


async def fetch_object(client: Client, url: str, signed_in: bool = False) -> dict[str, Any]:
    """GET a JSON object; with `signed_in`, as the person whose token the client holds.

    Raises:
        ProviderError: it is something else.
    """
    response = await client.request(
        "GET", url, withhold_token=not signed_in, headers={"accept": "application/json"}
    )
    response.raise_for_status()
    if response.status_code != httpx2.codes.OK:
        raise ProviderError("odd", f"{url} answered {response.status_code}")
    found = response.json()
    if not isinstance(found, dict):
        raise ProviderError("odd", f"{url} answered no JSON object")
    return found


def checked_subject(value: object) -> str:
    """Return the provider's id of a person.

    Raises:
        ProviderError: it is none.
    """
    if (
        not isinstance(value, str)
        or not value.strip()
        or len(value) > SUBJECT_LENGTH
        or not value.isprintable()
    ):
        raise ProviderError("odd", "the provider named nobody")
    return value


def checked_email(value: object, verified: object) -> str | None:
    """Return an address if the provider has verified it; some say so in a string."""
    if not (verified is True or verified == "true") or not isinstance(value, str) or "@" not in value:
        return None
    return value.strip()


@cache
def _tls() -> ssl.SSLContext:
    """Return the one TLS context: making one takes a tenth of a second."""
    return httpx2.create_ssl_context()
