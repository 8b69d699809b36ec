"""What every request passes first: host, size, time, session cookie, origin, CSRF; and the headers of every answer.

The CSRF token is `nonce.signature`, signed together with the session it belongs to: a token that somebody
else planted in a cookie does not fit the victim's session. Scripts send it as a header; a plain form, which works
without any script, as its field `csrf`. The browser's own word on where a request comes from (Origin, Sec-Fetch-Site)
must fit as well.

Over HTTPS the cookies that only the server reads have the prefix `__Host-`: no other host of the same domain, and
nothing that came without TLS, can plant them.
"""

from __future__ import annotations

import asyncio
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

from pickapic.collect.duels.wire import LARGEST_IMAGE
from pickapic.collect.people.sessions import STABLE
from pickapic.settings import Settings

SESSION_COOKIE = "session"
CSRF_COOKIE = "csrf"
CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf"
FORM = "application/x-www-form-urlencoded"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

BODY_LIMIT = 64 * 1024
SCORE_BODY_LIMIT = 16 * 1024 * 1024
# Images come with requests for these alone.
SCORE_PATH = "/api/v1/score"
LARGE_PATHS = (SCORE_PATH, "/admin/gold")
# For machines with a token (see `machines`): no session is looked for there, and no cookie given.
MACHINE_PATHS = "/api/v1/worker/"
MACHINE_FILES = MACHINE_PATHS + "files/"
TURN_BODY_LIMIT = 1024 * 1024
# A body must be there after this long: a client that sends it byte by byte would hold a connection for ever.
BODY_SECONDS = 20.0
SCORE_BODY_SECONDS = 60.0
# Answers to these are many and cached: they bring no cookie.
QUIET_PATHS = ("/api/v1/images/", "/static/", "/healthz", "/readyz", "/metrics")
# Whoever watches the server asks it by its address, not by its name.
WATCHED_PATHS = ("/healthz", "/readyz", "/metrics")
# What a browser says of a change that its own page asked for, or the person at it.
OWN_SITES = ("same-origin", "none")

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
_SECURE_HEADERS = (*_HEADERS, (b"strict-transport-security", b"max-age=31536000"))


def csrf_token(secret: str, session: str | None) -> str:
    """Return a new CSRF token that fits `session` (None: signed out)."""
    nonce = secrets.token_urlsafe(16)
    return f"{nonce}.{_sign(secret, nonce, session)}"


def csrf_fits(secret: str, session: str | None, token: str) -> bool:
    """Return whether `token` was made here for `session`."""
    match = _CSRF.fullmatch(token)
    return match is not None and hmac.compare_digest(_sign(secret, match[1], session), match[2])


def _sign(secret: str, nonce: str, session: str | None) -> str:
    # The part of a session's token that stays when it is renewed: requests under way go on fitting.
    text = f"csrf.{nonce}.{(session or '')[:STABLE]}"
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def cookie(name: str, value: str, *, secure: bool, readable: bool, seconds: int) -> str:
    """Return a Set-Cookie value; `readable` by the page's script or by the server alone. No value deletes it."""
    age = seconds if value else 0
    parts = [f"{name}={value}", "Path=/", "SameSite=Lax", f"Max-Age={age}"]
    parts += [] if readable else ["HttpOnly"]
    parts += ["Secure"] if secure else []
    return "; ".join(parts)


def cookie_of(scope: Scope, name: str) -> str | None:
    """Return a cookie that only the server reads, as the browser sent it."""
    return scope["pickapic.cookies"].get(_full_name(scope, name))


def add_cookie(headers: MutableHeaders, scope: Scope, name: str, value: str, seconds: int) -> None:
    """Give the browser a cookie that only the server reads; no value deletes it."""
    secure: bool = scope["pickapic.secure"]
    text = cookie(_full_name(scope, name), value, secure=secure, readable=False, seconds=seconds)
    headers.append("set-cookie", text)


def _full_name(scope: Scope, name: str) -> str:
    return f"__Host-{name}" if scope["pickapic.secure"] else name


class SecurityMiddleware:
    """Plain ASGI: puts the session token into `scope["pickapic.session"]`, or answers with a refusal itself."""

    def __init__(self, app: ASGIApp, secret: str, settings: Settings) -> None:
        self._app = app
        self._secret = secret
        self._days = settings.session_days
        self._origin = settings.public_url
        self._host = urlsplit(settings.public_url).netloc if settings.environment == "production" else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        scope["pickapic.secure"] = self._origin.startswith("https:") or scope.get("scheme") == "https"
        scope["pickapic.cookies"] = cookies = _cookies(headers.get("cookie", ""))
        session = cookie_of(scope, SESSION_COOKIE)
        path: str = scope["path"]
        is_machine = _is_machine(path, headers)
        session = session if session and _SESSION.fullmatch(session) and not is_machine else None
        scope["pickapic.session"] = session
        scope["pickapic.quiet"] = quiet = is_machine or path.startswith(QUIET_PATHS)
        known = cookies.get(CSRF_COOKIE, "")
        renew = not quiet and not csrf_fits(self._secret, session, known)
        # For the forms of the page: the token that the browser has once this answer is there.
        scope["pickapic.csrf"] = csrf = csrf_token(self._secret, session) if renew else known
        answer = self._guard(send, scope, csrf if renew else None)
        limit, seconds = _body_of(path)
        receive = _timely(receive, seconds)
        receive = _limited(receive, limit)
        refusal = self._misdirected(headers, path)
        sent = headers.get(CSRF_HEADER, "")
        is_form = headers.get("content-type", "").startswith(FORM)
        if not refusal and not sent and scope["method"] == "POST" and is_form:
            try:
                sent, receive = await _form_token(receive)
            except HTTPException as error:
                refusal = (
                    error.status_code,
                    "too_slow" if error.status_code == 408 else "too_large",
                    error.detail,
                )
        refusal = refusal or self._refusal(scope, headers, cookies, session, sent)
        if refusal:
            await _refuse(answer, *refusal)
            return
        await self._app(scope, receive, answer)

    def _misdirected(self, headers: Headers, path: str) -> tuple[int, str, str] | None:
        """Refuse requests for another name: what is made of a forged Host could be cached, or mailed to people."""
        if self._host and headers.get("host", "").lower() != self._host and path not in WATCHED_PATHS:
            return 421, "misdirected", "This server has another name."
        return None

    def _comes_from_elsewhere(self, headers: Headers) -> bool:
        origin = headers.get("origin")
        if origin is not None and origin != self._origin:
            host = headers.get("host", "")
            if self._host or not host or origin not in (f"http://{host}", f"https://{host}"):
                return True
        return headers.get("sec-fetch-site", "none") not in OWN_SITES

    def _refusal(
        self, scope: Scope, headers: Headers, cookies: Mapping[str, str], session: str | None, sent: str
    ) -> tuple[int, str, str] | None:
        path: str = scope["path"]
        if "\0" in path:  # PostgreSQL cannot even be asked for such a name
            return 404, "not_found", "There is no such address."
        limit, _ = _body_of(path)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > limit:
            return 413, "too_large", f"The request has more than {limit} bytes."
        if scope["method"] in SAFE_METHODS:
            return None
        if self._comes_from_elsewhere(headers):
            return 403, "origin", "The request comes from another site."
        matches = bool(sent) and hmac.compare_digest(sent.encode(), cookies.get(CSRF_COOKIE, "").encode())
        if session is not None:
            if not matches or not csrf_fits(self._secret, session, sent):
                return 403, "csrf", "The X-CSRF-Token header does not fit the session; load the page again."
        # Signed out, only signing in changes anything; every other call will answer 401.
        elif "/auth/" in path and not matches:
            return 403, "csrf", "The X-CSRF-Token header is missing or differs from the csrf cookie."
        return None

    def _guard(self, send: Send, scope: Scope, csrf: str | None) -> Send:
        always = _SECURE_HEADERS if scope["pickapic.secure"] else _HEADERS

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                raw = list(message.get("headers", ()))
                message["headers"] = raw + [pair for pair in always if pair[0] not in dict(raw)]
                headers = MutableHeaders(raw=message["headers"])
                if csrf and not _sets(raw, CSRF_COOKIE):
                    set_csrf(headers, csrf, scope, self._days)
                renewed: tuple[str, int] | None = scope.get("pickapic.renewed")
                if renewed and not _sets(raw, _full_name(scope, SESSION_COOKIE)):
                    add_cookie(headers, scope, SESSION_COOKIE, renewed[0], renewed[1] * 86400)
            await send(message)

        return guarded


def set_csrf(headers: MutableHeaders, token: str, scope: Scope, days: int) -> None:
    """Add the csrf cookie `token` to an answer."""
    secure: bool = scope["pickapic.secure"]
    text = cookie(CSRF_COOKIE, token, secure=secure, readable=True, seconds=days * 86400)
    headers.append("set-cookie", text)


def set_session(headers: MutableHeaders, secret: str, session: str | None, scope: Scope, days: int) -> None:
    """Add the session cookie and its csrf cookie to an answer; None signs out."""
    add_cookie(headers, scope, SESSION_COOKIE, session or "", days * 86400)
    set_csrf(headers, csrf_token(secret, session), scope, days)


def _sets(headers: list[tuple[bytes, bytes]], name: str) -> bool:
    return any(key == b"set-cookie" and value.startswith(f"{name}=".encode()) for key, value in headers)


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


def _is_machine(path: str, headers: Headers) -> bool:
    """Return whether a request is a machine's, which shows a token and never a cookie."""
    if path.startswith(MACHINE_PATHS):
        return True
    return path == SCORE_PATH and headers.get("authorization", "")[:7].lower() == "bearer "


def _body_of(path: str) -> tuple[int, float]:
    """Return how many bytes the body of a request may have, and in how many seconds it must be there."""
    if path in LARGE_PATHS:
        return SCORE_BODY_LIMIT, SCORE_BODY_SECONDS
    if path.startswith(MACHINE_FILES):
        return LARGEST_IMAGE, SCORE_BODY_SECONDS
    return (TURN_BODY_LIMIT if path.startswith(MACHINE_PATHS) else BODY_LIMIT), BODY_SECONDS


def _timely(receive: Receive, seconds: float) -> Receive:
    """Let a body take so long in all, from when it is first asked for; what comes after it may take its time."""
    deadline: float | None = None
    is_whole = False

    async def timed() -> Message:
        nonlocal deadline, is_whole
        if is_whole:
            return await receive()
        deadline = deadline or asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError as error:
            raise HTTPException(
                408, f"The request was not there after {seconds:g} seconds.", {"Connection": "close"}
            ) from error
        is_whole = not message.get("more_body", False)
        return message

    return timed


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
