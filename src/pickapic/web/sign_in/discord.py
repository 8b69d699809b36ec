"""Discord: OAuth2 with PKCE, and one question: who is this? (https://discord.com/developers/docs/topics/oauth2)."""

from __future__ import annotations

from dataclasses import dataclass

from pickapic.collect.people.identities import Vouched
from pickapic.collect.people.sign_ins import Departure, SignIn
from pickapic.settings import ProviderChoice
from pickapic.web.sign_in.provider import checked_email, checked_subject, client_of, fetch_object

SCOPE = "identify email"
AUTHORIZE = "/oauth2/authorize"
TOKEN = "/api/v10/oauth2/token"
ME = "/api/v10/users/@me"


@dataclass(frozen=True, slots=True)
class Discord:
    """Discord, or a server of its shape at `choice.issuer`."""

    choice: ProviderChoice
    redirect_uri: str

    async def address(self, departure: Departure) -> str:
        """Return where at Discord to send a browser. Raises as `Provider.address`."""
        async with client_of(self.choice, self.redirect_uri, SCOPE) as client:
            url, _ = client.create_authorization_url(
                self.choice.issuer + AUTHORIZE, state=departure.state, code_verifier=departure.code_verifier
            )
        return url

    async def vouched(self, code: str, issuer: str | None, sign_in: SignIn) -> Vouched:
        """Return whom Discord vouches for. Raises as `Provider.vouched`."""
        async with client_of(self.choice, self.redirect_uri, SCOPE) as client:
            await client.fetch_token(
                self.choice.issuer + TOKEN,
                grant_type="authorization_code",
                code=code,
                redirect_uri=self.redirect_uri,
                code_verifier=sign_in.code_verifier,
            )
            person = await fetch_object(client, self.choice.issuer + ME, signed_in=True)
        email = checked_email(person.get("email"), person.get("verified"))
        return Vouched(self.choice.name, checked_subject(person.get("id")), email)
