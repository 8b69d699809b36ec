"""What a request tells of the browser that sent it, and how that browser's session is kept fresh."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Scope

from pickapic.collect.database import Database
from pickapic.collect.people import forgetting, marks, sessions
from pickapic.collect.people.sessions import SignedIn
from pickapic.collect.people.users import GUEST
from pickapic.collect.people.visitors import VISITOR
from pickapic.settings import Settings
from pickapic.web.security import add_cookie, cookie_of

DEVICE_COOKIE = "device"
# How often the last use of a session is written down.
SEEN_EVERY = timedelta(hours=1)

_DEVICE = re.compile(r"[A-Za-z0-9_-]{22}")
_PRODUCT = re.compile(r"[A-Za-z0-9._-]{1,32}(?=/|$|\s)")
# The first that fits counts: most browsers claim to be others as well.
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


@dataclass(frozen=True, slots=True)
class Visit:
    """What is known of the browser behind a request: its token, a name for it, and keyed hashes that tell it apart.

    `device` is the value of its device cookie; `is_new`: the answer has to bring that cookie.
    """

    token: str | None
    label: str
    seen: tuple[marks.Mark, ...]
    device: str
    is_new: bool


def visit_of(scope: Scope, secret: str) -> Visit:
    """Return who comes, to be signed in: from then on their browser has a device cookie."""
    known = device_of(scope)
    device = known or secrets.token_urlsafe(16)
    client = scope.get("client")
    address = marks.address_mark(secret, client[0]) if client else None
    seen = (marks.device_mark(secret, device), *((address,) if address else ()))
    return Visit(scope["pickapic.session"], label_of(scope), seen, device, known is None)


def enter(
    connection: Connection,
    user_id: int,
    days: int,
    visit: Visit,
    before: SignedIn | None,
    now: datetime,
) -> str:
    """Sign a browser in and return its token, which is always a new one; the session `before` ends.

    What a guest or a visitor, who cannot come back, had begun ends too.
    """
    if visit.token is not None:
        sessions.close_session(connection, visit.token)
    if before is not None and before.user_id != user_id and before.kind in (GUEST, VISITOR):
        forgetting.end_duels(connection, before.user_id, now)
    marks.note(connection, user_id, visit.seen, now)
    return sessions.open_session(connection, user_id, days, now, visit.label)


def label_of(scope: Scope) -> str:
    """Return a name for a browser in its owner's list, such as "Firefox on Linux"; empty if it does not say."""
    agent = Headers(scope=scope).get("user-agent", "")
    browser = next((name for mark, name in _BROWSERS if mark in agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "")
    if browser and system:
        return f"{browser} on {system}"
    product = _PRODUCT.match(agent)
    return browser or (product[0] if product else "")


def marks_of(scope: Scope, secret: str) -> tuple[marks.Mark, ...]:
    """Return the keyed hashes of a request's address and device, as far as it has them."""
    client = scope.get("client")
    address = marks.address_mark(secret, client[0]) if client else None
    device = device_of(scope)
    found = (address, marks.device_mark(secret, device) if device else None)
    return tuple(mark for mark in found if mark is not None)


def device_of(scope: Scope) -> str | None:
    """Return the value of the device cookie, if the browser has one."""
    value = cookie_of(scope, DEVICE_COOKIE)
    return value if value and _DEVICE.fullmatch(value) else None


def set_device(headers: MutableHeaders, scope: Scope, visit: Visit, days: int) -> None:
    """Give a browser without a device cookie one for `days`."""
    if visit.is_new:
        add_cookie(headers, scope, DEVICE_COOKIE, visit.device, days * 86400)


def is_due(person: SignedIn, settings: Settings, now: datetime) -> bool:
    """Return whether there is something to do for the session of a request."""
    return person.standing == "new" or (
        person.standing == "own"
        and (now - person.seen_at >= SEEN_EVERY or now - person.renewed_at >= _rotation(settings))
    )


async def keep_fresh(
    database: Database, settings: Settings, secret: str, scope: Scope, person: SignedIn
) -> None:
    """Renew or settle the token of a request, and note that it is in use.

    A new token goes into `scope["pickapic.renewed"]`, from where it gets into the answer.
    """
    now = datetime.now(UTC)
    token: str = scope["pickapic.session"]
    days = sessions.VISITOR_DAYS if person.kind == VISITOR else settings.session_days
    if person.standing == "new":
        await database.write(sessions.settle, token, days, now)
        return
    await database.write(_note, person, label_of(scope), marks_of(scope, secret), now)
    if now - person.renewed_at >= _rotation(settings):
        renewed = await database.write(sessions.renew, token, now)
        if renewed is not None:
            scope["pickapic.renewed"] = renewed, days


def _rotation(settings: Settings) -> timedelta:
    return timedelta(hours=settings.session_rotate_hours)


def _note(
    connection: Connection, person: SignedIn, label: str, seen: tuple[marks.Mark, ...], now: datetime
) -> None:
    sessions.touch(connection, person.session_key, label, now)
    marks.note(connection, person.user_id, seen, now)
