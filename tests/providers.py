"""Providers to sign in with, for tests: of Discord's shape, and an OpenID Connect issuer that can be made to err."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

CLIENT_ID = "pick-a-pic"
CLIENT_SECRET = "the client's secret"

PAGE = """<!doctype html><html lang="en"><title>Allow Pick-a-Pic?</title><h1>Allow Pick-a-Pic?</h1>
<form method="post" action="{action}"><label>Who are you? <input name="who" value="ada"></label>
<button name="answer" value="yes">Authorize</button> <button name="answer" value="no">Cancel</button></form>"""


@dataclass
class Granted:
    """What a code stands for."""

    who: str
    redirect_uri: str
    challenge: str
    nonce: str | None


@dataclass
class Providers:
    """Both on one port. People: name -> what Discord, or the issuer, says of them."""

    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    claims: dict[str, Any] = field(
        default_factory=dict
    )  # put over those of the next ID tokens; None leaves out
    metadata: dict[str, Any] = field(default_factory=dict)  # put over those of the issuer
    failing: dict[str, int] = field(default_factory=dict)  # path -> status
    bodies: dict[str, bytes] = field(default_factory=dict)  # path -> what is answered instead of JSON
    asked: list[str] = field(default_factory=list)  # paths, in order
    signing: str = "own"  # with whose key ID tokens are signed: own, another's, none, the client's secret

    def __post_init__(self) -> None:
        self.codes: dict[str, Granted] = {}
        self.tokens: dict[str, str] = {}
        self.new_key()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Providers:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def new_key(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": secrets.token_hex(4), "use": "sig"})

    def grant(self, authorize_url: str, who: str) -> dict[str, str]:
        """Return what the provider sends back when somebody agrees at this address."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(authorize_url).query).items()}
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT_ID
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self.codes[code] = Granted(who, asked["redirect_uri"], asked["code_challenge"], asked.get("nonce"))
        return {"code": code, "state": asked["state"]}

    # What the routes answer: (status, JSON)

    def discovery(self) -> tuple[int, Any]:
        base = self.address
        found = {
            "issuer": base,
            "authorization_endpoint": f"{base}/authorize",
            "token_endpoint": f"{base}/token",
            "jwks_uri": f"{base}/jwks",
            "userinfo_endpoint": f"{base}/userinfo",
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
        }
        return 200, {key: value for key, value in {**found, **self.metadata}.items() if value is not None}

    def jwks(self) -> tuple[int, Any]:
        return 200, {"keys": [{"kty": "unheard-of", "kid": "x"}, self.key.as_dict(private=False)]}

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, Any]:
        """Exchange a code, once, for whoever has the secret and the verifier."""
        given = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        granted = self.codes.pop(form.get("code", ""), None)
        verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        fits = granted is not None and (
            given == f"{CLIENT_ID}:{CLIENT_SECRET.replace(' ', '+')}"
            or given == f"{CLIENT_ID}:{CLIENT_SECRET}"
        )
        if (
            granted is None
            or not fits
            or form.get("grant_type") != "authorization_code"
            or granted.redirect_uri != form.get("redirect_uri")
            or granted.challenge != base64.urlsafe_b64encode(verifier).decode().rstrip("=")
        ):
            return 400, {"error": "invalid_grant"}
        access = secrets.token_urlsafe(16)
        self.tokens[access] = granted.who
        answer = {"access_token": access, "token_type": "Bearer", "expires_in": 600}
        return 200, answer | {"id_token": self._id_token(granted)}

    def _id_token(self, granted: Granted) -> str:
        now = int(time.time())
        person = self.people[granted.who]
        claims = {"iss": self.address, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": granted.nonce}
        claims |= {key: person[key] for key in ("sub", "email", "email_verified") if key in person}
        claims = {key: value for key, value in {**claims, **self.claims}.items() if value is not None}
        header = {"alg": "RS256", "kid": self.key.kid}
        if self.signing == "none":
            parts = [{"alg": "none"}, claims]
            return (
                ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts) + "."
            )
        if self.signing == "secret":
            return jwt.encode(
                {"alg": "HS256"}, claims, OctKey.import_key(CLIENT_SECRET), algorithms=["HS256"]
            )
        key = self.key if self.signing == "own" else RSAKey.generate_key(2048, {"kid": self.key.kid})
        return jwt.encode(header, claims, key)

    def me(self, authorization: str) -> tuple[int, Any]:
        """Answer Discord's users/@me, and the issuer's userinfo."""
        who = self.tokens.get(authorization.removeprefix("Bearer "))
        return (401, {"message": "401: Unauthorized"}) if who is None else (200, self.people[who])


def _handler(providers: Providers) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            if self._fails(path):
                return
            if path in ("/authorize", "/oauth2/authorize"):
                page = PAGE.format(action=html.escape(self.path))
                self._send(200, page.encode(), "text/html; charset=utf-8")
            elif path == "/.well-known/openid-configuration":
                self._json(*providers.discovery())
            elif path == "/jwks":
                self._json(*providers.jwks())
            elif path in ("/userinfo", "/api/v10/users/@me"):
                self._json(*providers.me(self.headers.get("authorization", "")))
            else:
                self._json(404, {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            path = urlsplit(self.path).path
            if self._fails(path):
                return
            if path in ("/authorize", "/oauth2/authorize"):
                self._decide(form)
            elif path in ("/token", "/api/v10/oauth2/token"):
                self._json(*providers.token(form, self.headers.get("authorization", "")))
            else:
                self._json(404, {})

        def _decide(self, form: dict[str, str]) -> None:
            asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            back = {"error": "access_denied", "state": asked["state"]}
            if form["answer"] == "yes":
                back = providers.grant(self.path, form["who"])
            self.send_response(302)
            self.send_header("location", f"{asked['redirect_uri']}?{urlencode(back)}")
            self.send_header("content-length", "0")
            self.end_headers()

        def _fails(self, path: str) -> bool:
            providers.asked.append(path)
            if path in providers.failing:
                self._json(providers.failing[path], {"error": "server_error"})
            elif path in providers.bodies:
                self._send(200, providers.bodies[path], "application/json")
            return path in providers.failing or path in providers.bodies

        def _json(self, status: int, content: Any) -> None:
            self._send(status, json.dumps(content).encode(), "application/json")

        def _send(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
