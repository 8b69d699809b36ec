"""What moderators and admins do to a user: ban, exclude, trust, give a role. Every change is logged with its reason.

A user's status: `active`; `banned`, who may not start or pick any more; `excluded`, who notices nothing and
whose picks are left out at export; `trusted`, whose picks count whatever their habits. Whoever acts must stand
above the user: a moderator above persons, an admin above moderators, the command line above all.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, bindparam, select, update

from pickapic.collect import decisions
from pickapic.collect.queue import jobs
from pickapic.collect.refusals import ForbiddenError, NotFoundError
from pickapic.collect.tables import duels, users
from pickapic.collect.tables import jobs as jobs_table
from pickapic.records import InputError

Action = Literal["ban", "unban", "exclude", "trust"]
Role = Literal["person", "moderator", "admin"]

STATUS: dict[Action, str] = {"ban": "banned", "unban": "active", "exclude": "excluded", "trust": "trusted"}
ROLES: tuple[Role, ...] = ("person", "moderator", "admin")
COMMAND_LINE = len(ROLES)
MOST_ANSWERS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Change:
    """What a decision did: the user's status and role now, duels ended, queued images cancelled."""

    user_id: int
    status: str
    role: str
    duels_closed: int = 0
    jobs_cancelled: int = 0


_open_duels = (
    select(duels.c.id)
    .where(duels.c.user_id == bindparam("user_key"), duels.c.state == "open")
    .order_by(duels.c.id)
    .with_for_update()
)


def ban(connection: Connection, actor_id: int | None, user_id: int, reason: str, now: datetime) -> Change:
    """Ban a user: open duels end, what is queued for them is cancelled, a role is taken back.

    `actor_id` is who decides; None is the command line.

    Raises:
        NotFoundError: no such user.
        ForbiddenError: the actor does not stand above the user (so nobody bans themself, or another admin).
        InputError: no reason is given.
    """
    user = _below(connection, actor_id, user_id)
    why = _stated(reason)
    connection.execute(update(users).where(users.c.id == user_id).values(status=STATUS["ban"], role=ROLES[0]))
    # After the user's row is locked: a duel that was being started is seen now, and no other begins.
    closed = connection.execute(
        update(duels)
        .where(duels.c.user_id == user_id, duels.c.state == "open")
        .values(state="closed", closed_at=now)
    ).rowcount
    cancelled = connection.execute(
        update(jobs_table)
        .where(jobs_table.c.user_id == user_id, jobs_table.c.state.in_((jobs.QUEUED, jobs.LEASED)))
        .values(state=jobs.CANCELLED)
    ).rowcount
    if user.role != ROLES[0]:
        decisions.record(connection, actor_id, f"role {ROLES[0]}", "user", user_id, why, now)
    decisions.record(connection, actor_id, "ban", "user", user_id, why, now)
    return Change(user_id, STATUS["ban"], ROLES[0], closed, cancelled)


def unban(connection: Connection, actor_id: int | None, user_id: int, reason: str, now: datetime) -> Change:
    """Make a user `active` again: no longer banned, excluded or trusted. Raises as `ban`."""
    return _mark(connection, "unban", actor_id, user_id, reason, now)


def exclude(connection: Connection, actor_id: int | None, user_id: int, reason: str, now: datetime) -> Change:
    """Leave a user's picks out at export; the user goes on and notices nothing. Raises as `ban`."""
    return _mark(connection, "exclude", actor_id, user_id, reason, now)


def trust(connection: Connection, actor_id: int | None, user_id: int, reason: str, now: datetime) -> Change:
    """Let a user's picks count whatever their habits look like. Raises as `ban`."""
    return _mark(connection, "trust", actor_id, user_id, reason, now)


ACTIONS = {"ban": ban, "unban": unban, "exclude": exclude, "trust": trust}


def set_role(
    connection: Connection, actor_id: int | None, user_id: int, role: Role, reason: str, now: datetime
) -> Change:
    """Give a user a role; only admins and the command line may.

    Raises:
        NotFoundError: no such user.
        ForbiddenError: the actor is no admin, or it is their own role: so an admin is always left.
        InputError: no reason is given; the user is banned, gone, or only looks around.
    """
    user = _user(connection, user_id)
    if _rank(connection, actor_id) < ROLES.index("admin"):
        raise ForbiddenError("role", "Only admins give and take roles.")
    if actor_id == user_id:
        raise ForbiddenError("role", "Nobody changes their own role; another admin can.")
    why = _stated(reason)
    if role != ROLES[0] and (user.status == STATUS["ban"] or user.deleted_at or user.kind == "visitor"):
        raise InputError(f"User {user_id} is banned, deleted or has not signed in, so cannot be {role}.")
    connection.execute(update(users).where(users.c.id == user_id).values(role=role))
    decisions.record(connection, actor_id, f"role {role}", "user", user_id, why, now)
    return Change(user_id, user.status, role)


def set_allowance(
    connection: Connection,
    actor_id: int | None,
    user_id: int,
    answers: int | None,
    reason: str,
    now: datetime,
) -> None:
    """Set how many answers a user may give in all; None: as their standing allows (limits.py).

    Raises:
        NotFoundError: no such user.
        ForbiddenError: the actor is no admin.
        InputError: no reason is given, or the number is below 0 or beyond MOST_ANSWERS.
    """
    _user(connection, user_id)
    if _rank(connection, actor_id) < ROLES.index("admin"):
        raise ForbiddenError("role", "Only admins set how much somebody may answer.")
    why = _stated(reason)
    if answers is not None and not 0 <= answers <= MOST_ANSWERS:
        raise InputError(f"An allowance is a number of answers from 0 to {MOST_ANSWERS:,}.")
    connection.execute(update(users).where(users.c.id == user_id).values(allowance=answers))
    action = "reset allowance" if answers is None else f"allow {answers}"
    decisions.record(connection, actor_id, action, "user", user_id, why, now)


def stands_above(actor_role: str, role: str) -> bool:
    """Return whether somebody of `actor_role` may decide about somebody of `role`."""
    ranks: tuple[str, ...] = ROLES
    return actor_role != ROLES[0] and ranks.index(actor_role) > ranks.index(role)


def _mark(
    connection: Connection, action: Action, actor_id: int | None, user_id: int, reason: str, now: datetime
) -> Change:
    user = _below(connection, actor_id, user_id)
    why = _stated(reason)
    connection.execute(update(users).where(users.c.id == user_id).values(status=STATUS[action]))
    decisions.record(connection, actor_id, action, "user", user_id, why, now)
    return Change(user_id, STATUS[action], user.role)


def _user(connection: Connection, user_id: int) -> Row[Any]:
    row = connection.execute(select(users).where(users.c.id == user_id).with_for_update()).first()
    if row is None:
        raise NotFoundError("There is no user {user}.", user=user_id)
    return row


def _rank(connection: Connection, actor_id: int | None) -> int:
    if actor_id is None:
        return COMMAND_LINE
    row = connection.execute(
        select(users.c.role).where(
            users.c.id == actor_id, users.c.status != STATUS["ban"], users.c.deleted_at.is_(None)
        )
    ).first()
    return ROLES.index(row.role) if row else 0


def _below(connection: Connection, actor_id: int | None, user_id: int) -> Row[Any]:
    user = _user(connection, user_id)
    rank = _rank(connection, actor_id)
    if rank < ROLES.index("moderator"):
        raise ForbiddenError("role", "Only moderators and admins decide about users.")
    if actor_id == user_id:
        raise ForbiddenError("role", "Nobody decides about themself; another admin can.")
    if ROLES.index(user.role) >= rank:
        raise ForbiddenError(
            "role",
            "User {user} is {role}: only somebody above may decide. A role can be taken back first.",
            user=user_id,
            role=user.role,
        )
    return user


def _stated(reason: str) -> str:
    text = reason.strip()
    if not text:
        raise InputError("Say why: the reason is kept with the decision.")
    return text
