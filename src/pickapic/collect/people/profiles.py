"""What moderators and admins see of users: a list to search and sort, and one user's profile with their last rounds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias, get_args

from sqlalchemy import Connection, Row, and_, case, func, select

from pickapic.collect.quality.risk import from_json
from pickapic.collect.quality.signals import Reason
from pickapic.collect.refusals import NotFoundError
from pickapic.collect.tables import (
    consents,
    duels,
    identities,
    images,
    marks,
    reports,
    risks,
    rounds,
    sessions,
    users,
)

Record: TypeAlias = "Row[*tuple[Any, ...]]"
Order = Literal["risk", "picks", "newest"]
ORDERS: tuple[Order, ...] = get_args(Order)
Show = Literal["all", "doubtful", "banned", "excluded", "trusted", "staff"]
SHOWS: tuple[Show, ...] = get_args(Show)

LAST_ROUNDS = 24


@dataclass(frozen=True, slots=True)
class Listed:
    """A user in a list. `risk` is 0 to 100, None where it was not computed yet; `picks` are the answers it saw."""

    user_id: int
    kind: str
    role: str
    status: str
    created_at: datetime
    deleted: bool
    risk: float | None
    reasons: tuple[Reason, ...]
    picks: int


@dataclass(frozen=True, slots=True)
class Habits:
    """How a user answers: counts, shares of the answers in 0..1 (None: no answers), and response times in ms."""

    answers: int
    skipped: int
    duels: int
    left: float | None
    tie: float | None
    fast: float | None
    median_ms: int | None
    gold_seen: int
    gold_passed: int
    undos: int
    first_at: datetime | None
    last_at: datetime | None


@dataclass(frozen=True, slots=True)
class Profile:
    """One user. `together` are users seen at the same address or device: (user, kind of mark, last seen)."""

    listed: Listed
    allowance: int | None
    providers: tuple[str, ...]
    sessions: int
    consent: str | None
    habits: Habits
    together: tuple[tuple[int, str, datetime], ...]
    reports_made: int
    reports_against: int


@dataclass(frozen=True, slots=True)
class ShownRound:
    """A round as its user saw it; `gold` is the side known to be better, if it was a gold round."""

    prompt: str
    left: str
    right: str
    left_model: str
    right_model: str
    state: str
    pick: str | None
    gold: str | None
    response_ms: int | None
    at: datetime


_listed = (
    select(
        users.c.id,
        users.c.kind,
        users.c.role,
        users.c.status,
        users.c.created_at,
        users.c.deleted_at,
        risks.c.score,
        risks.c.reasons,
        func.coalesce(risks.c.picks, 0).label("picks"),
    )
    .select_from(users)
    .outerjoin(risks, risks.c.user_id == users.c.id)
)
_ORDER: dict[Order, Any] = {
    "risk": (func.coalesce(risks.c.score, -1.0).desc(), users.c.id.desc()),
    "picks": (func.coalesce(risks.c.picks, 0).desc(), users.c.id.desc()),
    "newest": (users.c.id.desc(),),
}


def listed(
    connection: Connection,
    order: Order = "risk",
    show: Show = "all",
    doubtful: float = 50.0,
    limit: int = 50,
    offset: int = 0,
) -> tuple[list[Listed], int]:
    """Return users in `order`, and how many there are of that kind; `doubtful` is the risk from which one is."""
    conditions = {
        "all": users.c.kind != "visitor",
        "doubtful": and_(risks.c.score >= doubtful, users.c.status == "active"),
        "banned": users.c.status == "banned",
        "excluded": users.c.status == "excluded",
        "trusted": users.c.status == "trusted",
        "staff": users.c.role != "person",
    }
    query = _listed.where(conditions[show])
    rows = connection.execute(query.order_by(*_ORDER[order]).limit(limit).offset(offset))
    total = connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
    return [_read(row) for row in rows], total


def profile(connection: Connection, user_id: int, fast_ms: int = 1000) -> Profile:
    """Return all that is known of a user; answers quicker than `fast_ms` are counted as fast.

    Raises:
        NotFoundError: no such user.
    """
    row = connection.execute(_listed.where(users.c.id == user_id)).first()
    if row is None:
        raise NotFoundError("There is no user {user}.", user=user_id)

    def count(table: Any, *conditions: Any) -> int:
        return connection.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one()

    own_images = images.join(duels, duels.c.id == images.c.duel_id)
    providers = select(identities.c.provider).where(identities.c.user_id == user_id)
    agreed = select(consents.c.version).where(consents.c.user_id == user_id)
    return Profile(
        listed=_read(row),
        allowance=connection.execute(select(users.c.allowance).where(users.c.id == user_id)).scalar(),
        providers=tuple(connection.execute(providers.order_by(identities.c.id)).scalars()),
        sessions=count(sessions, sessions.c.user_id == user_id, sessions.c.replaced_at.is_(None)),
        consent=connection.execute(agreed.order_by(consents.c.id.desc()).limit(1)).scalar(),
        habits=_habits(connection, user_id, fast_ms),
        together=_together(connection, user_id),
        reports_made=count(reports, reports.c.user_id == user_id),
        reports_against=count(
            reports.join(own_images, images.c.id == reports.c.image_id),
            duels.c.user_id == user_id,
            reports.c.state != "dismissed",
        ),
    )


def last_rounds(connection: Connection, user_id: int, limit: int = LAST_ROUNDS) -> list[ShownRound]:
    """Return a user's last answered and skipped rounds, the latest first."""
    left, right = images.alias("l"), images.alias("r")
    rows = connection.execute(
        select(
            duels.c.typed,
            left.c.token,
            right.c.token,
            left.c.model,
            right.c.model,
            rounds.c.state,
            rounds.c.pick,
            rounds.c.gold,
            rounds.c.response_ms,
            rounds.c.picked_at,
        )
        .select_from(rounds)
        .join(duels, duels.c.id == rounds.c.duel_id)
        .join(left, left.c.id == rounds.c.left_image_id)
        .join(right, right.c.id == rounds.c.right_image_id)
        .where(rounds.c.user_id == user_id, rounds.c.picked_at.is_not(None))
        .order_by(rounds.c.picked_at.desc())
        .limit(limit)
    )
    return [ShownRound(*row) for row in rows]


def _read(row: Record) -> Listed:
    return Listed(
        user_id=row.id,
        kind=row.kind,
        role=row.role,
        status=row.status,
        created_at=row.created_at,
        deleted=row.deleted_at is not None,
        risk=row.score,
        reasons=from_json(row.reasons) if row.reasons else (),
        picks=row.picks,
    )


def _habits(connection: Connection, user_id: int, fast_ms: int) -> Habits:
    answered = rounds.c.state == "answered"

    def share(condition: Any) -> Any:
        return func.sum(case((and_(answered, condition), 1), else_=0))

    row = connection.execute(
        select(
            share(answered).label("answers"),
            func.sum(case((rounds.c.state == "skipped", 1), else_=0)).label("skipped"),
            share(rounds.c.pick == "left").label("left"),
            share(rounds.c.pick == "tie").label("tie"),
            share(rounds.c.response_ms < fast_ms).label("fast"),
            share(rounds.c.gold.is_not(None)).label("gold_seen"),
            share(rounds.c.gold == rounds.c.pick).label("gold_passed"),
            func.sum(rounds.c.undos).label("undos"),
            func.min(rounds.c.picked_at).label("first_at"),
            func.max(rounds.c.picked_at).label("last_at"),
        ).where(rounds.c.user_id == user_id)
    ).one()
    answers = int(row.answers or 0)
    started = select(func.count()).select_from(duels).where(duels.c.user_id == user_id)
    middle = (
        select(rounds.c.response_ms)
        .where(rounds.c.user_id == user_id, answered)
        .order_by(rounds.c.response_ms)
        .offset(answers // 2)
        .limit(1)
    )
    return Habits(
        answers=answers,
        skipped=int(row.skipped or 0),
        duels=connection.execute(started).scalar_one(),
        left=row.left / answers if answers else None,
        tie=row.tie / answers if answers else None,
        fast=row.fast / answers if answers else None,
        median_ms=connection.execute(middle).scalar() if answers else None,
        gold_seen=int(row.gold_seen or 0),
        gold_passed=int(row.gold_passed or 0),
        undos=int(row.undos or 0),
        first_at=row.first_at,
        last_at=row.last_at,
    )


def _together(connection: Connection, user_id: int) -> tuple[tuple[int, str, datetime], ...]:
    mine, theirs = marks.alias("mine"), marks.alias("theirs")
    rows = connection.execute(
        select(theirs.c.user_id, theirs.c.kind, func.max(theirs.c.last_at))
        .join(mine, and_(mine.c.kind == theirs.c.kind, mine.c.digest == theirs.c.digest))
        .where(mine.c.user_id == user_id, theirs.c.user_id != user_id)
        .group_by(theirs.c.user_id, theirs.c.kind)
        .order_by(func.max(theirs.c.last_at).desc())
        .limit(50)
    )
    return tuple((row[0], row[1], row[2]) for row in rows)
