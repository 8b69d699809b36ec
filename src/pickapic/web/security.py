"""What every request passes first: size limit, session cookie, CSRF; and the headers that every answer carries.

The CSRF token is `nonce.signature`, signed together with the session it belongs to: a token that somebody
else planted in a cookie does not fit the victim's session. Scripts send it as a header; a plain form, which works
without any script, as its field `csrf`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SESSION_COOKIE = "session"
CSRF_COOKIE = "csrf"
CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf"
FORM = "application/x-www-form-urlencoded"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

BODY_LIMIT = 64 * 1024
SCORE_BODY_LIMIT = 16 * 1024 * 1024
SCORE_PATH = "/api/v1/score"
# Answers to these are many and cached: they bring no cookie.
QUIET_PATHS = ("/api/v1/images/", "/static/", "/healthz", "/readyz", "/metrics")

_SESSION = re.compile(r"[A-Za-z0-9_-]{43}")
_CSRF = re.compile(r"([A-Za-z0-9_-]{22})\.([0-9a-f]{64})")
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        b"connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; "
        b"form-action 'self'; frame-ancestors 'none'",
    ),
)


def csrf_token(secret: str, session: str | None) -> str:
    """Return a new CSRF token that fits `session` (None: signed out)."""
    nonce = secrets.token_urlsafe(16)
    return f"{nonce}.{_sign(secret, nonce, session)}"


def csrf_fits(secret: str, session: str | None, token: str) -> bool:
    """Return whether `token` was made here for `session`."""
    match = _CSRF.fullmatch(token)
    return match is not None and hmac.compare_digest(_sign(secret, match[1], session), match[2])


def _sign(secret: str, nonce: str, session: str | None) -> str:
    text = f"csrf.{nonce}.{session or ''}"
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def cookie(name: str, value: str, *, secure: bool, readable: bool, days: int) -> str:
    """Return a Set-Cookie value; `readable` by the page's script or by the server alone. No value deletes it."""
    age = days * 86400 if value else 0
    parts = [f"{name}={value}", "Path=/", "SameSite=Lax", f"Max-Age={age}"]
    parts += [] if readable else ["HttpOnly"]
    parts += ["Secure"] if secure else []
    return "; ".join(parts)


class SecurityMiddleware:
    """Plain ASGI: puts the session token into `scope["pickapic.session"]`, or answers with a refusal itself."""

    def __init__(self, app: ASGIApp, secret: str, session_days: int) -> None:
        self._app = app
        self._secret = secret
        self._days = session_days

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        cookies = _cookies(headers.get("cookie", ""))
        session = cookies.get(SESSION_COOKIE)
        session = session if session and _SESSION.fullmatch(session) else None
        scope["pickapic.session"] = session
        path: str = scope["path"]
        quiet = path.startswith(QUIET_PATHS)
        known = cookies.get(CSRF_COOKIE, "")
        renew = not quiet and not csrf_fits(self._secret, session, known)
        # For the forms of the page: the token that the browser has once this answer is there.
        scope["pickapic.csrf"] = csrf = csrf_token(self._secret, session) if renew else known
        answer = self._guard(send, scope, csrf if renew else None)
        sent = headers.get(CSRF_HEADER, "")
        if not sent and scope["method"] == "POST" and headers.get("content-type", "").startswith(FORM):
            sent, receive = await _form_token(receive)
        refusal = self._refusal(scope, headers, cookies, session, sent)
        if refusal:
            await _refuse(answer, *refusal)
            return
        limit = SCORE_BODY_LIMIT if path == SCORE_PATH else BODY_LIMIT
        await self._app(scope, _limited(receive, limit), answer)

    def _refusal(
        self, scope: Scope, headers: Headers, cookies: Mapping[str, str], session: str | None, sent: str
    ) -> tuple[int, str, str] | None:
        path: str = scope["path"]
        if "\0" in path:  # PostgreSQL cannot even be asked for such a name
            return 404, "not_found", "There is no such address."
        limit = SCORE_BODY_LIMIT if path == SCORE_PATH else BODY_LIMIT
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > limit:
            return 413, "too_large", f"The request has more than {limit} bytes."
        if scope["method"] in SAFE_METHODS:
            return None
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host", ""):
            return 403, "origin", "The request comes from another site."
        matches = bool(sent) and hmac.compare_digest(sent.encode(), cookies.get(CSRF_COOKIE, "").encode())
        if session is not None:
            if not matches or not csrf_fits(self._secret, session, sent):
                return 403, "csrf", "The X-CSRF-Token header does not fit the session; load the page again."
        # Signed out, only signing in changes anything; every other call will answer 401.
        elif "/auth/" in path and not matches:
            return 403, "csrf", "The X-CSRF-Token header is missing or differs from the csrf cookie."
        return None

    def _guard(self, send: Send, scope: Scope, renewed: str | None) -> Send:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                raw = list(message.get("headers", ()))
                message["headers"] = raw + [pair for pair in _HEADERS if pair[0] not in dict(raw)]
                if renewed and not any(
                    name == b"set-cookie" and value.startswith(b"csrf=") for name, value in raw
                ):
                    set_csrf(MutableHeaders(raw=message["headers"]), renewed, scope, self._days)
            await send(message)

        return guarded


def set_csrf(headers: MutableHeaders, token: str, scope: Scope, days: int) -> None:
    """Add the csrf cookie `token` to an answer."""
    secure = scope.get("scheme") == "https"
    headers.append("set-cookie", cookie(CSRF_COOKIE, token, secure=secure, readable=True, days=days))


def set_session(headers: MutableHeaders, secret: str, session: str | None, scope: Scope, days: int) -> None:
    """Add the session cookie and its csrf cookie to an answer; None signs out."""
    secure = scope.get("scheme") == "https"
    value = session or ""
    headers.append("set-cookie", cookie(SESSION_COOKIE, value, secure=secure, readable=False, days=days))
    set_csrf(headers, csrf_token(secret, session), scope, days)


def _cookies(header: str) -> dict[str, str]:
    """Return the cookies of a request; of two with one name the first counts, as browsers put the closer first."""
    found: dict[str, str] = {}
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        found.setdefault(name, value)
    return found


async def _form_token(receive: Receive) -> tuple[str, Receive]:
    """Return the csrf field of a form, empty if there is none or the form is too large, and its body once more."""
    body, more = b"", True
    while more and len(body) <= BODY_LIMIT:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    try:
        fields = parse_qs(body.decode("ascii"), max_num_fields=100)
    except ValueError:
        fields = {}
    unread: list[Message] = [{"type": "http.request", "body": body, "more_body": more}]

    async def again() -> Message:
        return unread.pop() if unread else await receive()

    return ("" if more else fields.get(CSRF_FIELD, [""])[0]), again


def _limited(receive: Receive, limit: int) -> Receive:
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > limit:
                # The one kind of error that passes through FastAPI's reading of the body as it is.
                raise HTTPException(413, f"The request has more than {limit} bytes.")
        return message

    return counted


async def _refuse(send: Send, status: int, code: str, message: str) -> None:
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        # The body that was not read would be taken for the next request.
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
