"""Risks, stored: whose answers are doubted, how much and why; computed anew when there is something new.

Something new is an answer, another account in the same browser or at the same address, or another policy. What
people who look would answer (`norms`) is read off everybody's latest rounds, those of doubted people left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import (
    BigInteger,
    Connection,
    Row,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal,
    or_,
    select,
    union,
)
from sqlalchemy.dialects import postgresql, sqlite

from pickapic.collect.database import Database
from pickapic.collect.plans import plan_for_values
from pickapic.collect.quality.answers import Answers, sides
from pickapic.collect.quality.counting import ACTIVE, BANNED, EXCLUDED, TRUSTED, VISITOR
from pickapic.collect.quality.norms import STAGES, Kind, Norms, fit
from pickapic.collect.quality.policy import Policy, fingerprint
from pickapic.collect.quality.risk import Risk, assess, from_json, to_json
from pickapic.collect.quality.signals import Reason
from pickapic.collect.tables import duels, images, marks, risks, rounds, users

NORM_ROUNDS = 20_000
BATCH = 4
"""People a transaction: some milliseconds, so that nobody's answer waits for long behind it."""
BULK = 64
"""The same where all are computed: before an export, on the command line."""
MARGIN = timedelta(seconds=5)
"""An answer may be committed this much later than its time says; who answered within it is looked at again."""
LOCK = 0x7069_636B_7269_736B
UPSERTS = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


@dataclass(frozen=True, slots=True)
class Assessed:
    """A person and the risk that was found."""

    user_id: int
    risk: Risk


@dataclass(frozen=True, slots=True)
class Listed:
    """A person in the list of risks. `counts` says whether their answers count at present, and `status` why not."""

    user_id: int
    kind: str
    status: str
    score: float
    answers: int
    flagged: bool
    counts: bool
    reasons: tuple[Reason, ...]
    computed_at: datetime
    current: bool
    """Whether it was computed by the present policy."""


def norms(connection: Connection, policy: Policy) -> Norms:
    """Return what people who look would answer, from the latest rounds of those who are not doubted.

    Only doubts by this policy count: what another one thought may be just what was wrong with it.
    """
    plan_for_values(connection)
    doubted = (
        select(users.c.id)
        .join(risks, risks.c.user_id == users.c.id, isouter=True)
        .where(
            or_(
                users.c.status.in_((BANNED, EXCLUDED)),
                and_(
                    users.c.status != TRUSTED,
                    risks.c.score >= policy.flag,
                    risks.c.policy == fingerprint(policy),
                ),
            )
        )
    )
    latest = (
        select(
            rounds.c.left_image_id,
            rounds.c.right_image_id,
            rounds.c.incumbent,
            rounds.c.number,
            rounds.c.pick,
        )
        .where(
            rounds.c.picked_at.is_not(None),
            rounds.c.state == "answered",
            rounds.c.pick != "tie",
            rounds.c.gold.is_(None),
            rounds.c.user_id.not_in(doubted),
        )
        .order_by(rounds.c.picked_at.desc())
        .limit(NORM_ROUNDS)
        .subquery()
    )
    incumbent = case((latest.c.incumbent == "left", 1), (latest.c.incumbent == "right", -1), else_=0)
    steps = [(latest.c.number >= first, stage) for stage, first in reversed(list(enumerate(STAGES)))]
    stage = case((latest.c.incumbent.is_(None), 0), *steps, else_=0)
    left, right = images.alias("l"), images.alias("r")
    kinds = (left.c.model, right.c.model, incumbent, stage)
    rows = connection.execute(
        select(*kinds, func.count(), func.sum(case((latest.c.pick == "left", 1), else_=0)))
        .select_from(latest)
        .join(left, left.c.id == latest.c.left_image_id)
        .join(right, right.c.id == latest.c.right_image_id)
        .group_by(*kinds)
    )
    return fit([Kind(*row) for row in rows])


def due(
    connection: Connection, policy: Policy, since: datetime | None = None, limit: int | None = None
) -> list[int]:
    """Return the people whose risk is to be computed, those who were never looked at first, then the longest ago.

    With `since`, only people with an answer or a shared mark from then on are considered, which is quick.
    """
    plan_for_values(connection)
    answered = exists().where(rounds.c.user_id == users.c.id, rounds.c.state == "answered")
    anew = exists().where(rounds.c.user_id == users.c.id, rounds.c.picked_at > risks.c.computed_at)
    mine, other = marks.alias("mine"), marks.alias("other")
    same_mark = and_(
        mine.c.kind == other.c.kind, mine.c.digest == other.c.digest, mine.c.user_id != other.c.user_id
    )
    joined = exists().where(same_mark, mine.c.user_id == users.c.id, other.c.first_at > risks.c.computed_at)
    query = (
        select(users.c.id)
        .outerjoin(risks, risks.c.user_id == users.c.id)
        .where(
            users.c.kind != VISITOR,
            or_(
                and_(risks.c.user_id.is_(None), answered),
                risks.c.policy != fingerprint(policy),
                anew,
                joined,
            ),
        )
        .order_by(risks.c.computed_at.is_not(None), risks.c.computed_at, users.c.id)
    )
    if since is not None:
        # Few; named one by one, so that nothing is asked about all the others.
        active = select(rounds.c.user_id).where(rounds.c.picked_at > since)
        shared = select(mine.c.user_id).join(other, same_mark).where(other.c.last_at > since)
        people = connection.execute(union(active, shared)).scalars().all()
        if not people:
            return []
        query = query.where(users.c.id.in_(people))
    return list(connection.execute(query if limit is None else query.limit(limit)).scalars())


_left, _right = images.alias("l"), images.alias("r")
_answers = (
    select(
        rounds.c.picked_at,
        rounds.c.response_ms,
        rounds.c.pick,
        rounds.c.incumbent,
        rounds.c.gold,
        rounds.c.number,
        rounds.c.session_key,
        _left.c.model.label("left_model"),
        _right.c.model.label("right_model"),
    )
    .join(_left, _left.c.id == rounds.c.left_image_id)
    .join(_right, _right.c.id == rounds.c.right_image_id)
    .where(rounds.c.user_id == bindparam("user_id"), rounds.c.state == "answered")
    .order_by(rounds.c.picked_at.desc(), rounds.c.id.desc())
    .limit(bindparam("count"))
)
_prompts = (
    select(duels.c.caption)
    .where(duels.c.user_id == bindparam("user_id"))
    .order_by(duels.c.created_at.desc(), duels.c.id.desc())
    .limit(bindparam("count"))
)
_mine, _other = marks.alias("mine"), marks.alias("other")
_accounts = (
    select(_mine.c.kind, func.count(_other.c.user_id.distinct()))
    .join(
        _other,
        and_(
            _other.c.kind == _mine.c.kind,
            _other.c.digest == _mine.c.digest,
            _other.c.user_id != _mine.c.user_id,
        ),
    )
    .join(users, users.c.id == _other.c.user_id)
    .where(
        _mine.c.user_id == bindparam("user_id"),
        _mine.c.last_at > bindparam("since"),
        _other.c.last_at > bindparam("since"),
        users.c.kind != VISITOR,
    )
    .group_by(_mine.c.kind)
)


def answers_of(connection: Connection, user_id: int, policy: Policy, now: datetime) -> Answers:
    """Return the latest answers of a person, as the signals read them."""
    rows = connection.execute(_answers, {"user_id": user_id, "count": policy.answers}).all()[::-1]
    prompts = connection.execute(_prompts, {"user_id": user_id, "count": policy.spam_prompts}).scalars().all()
    since = now - timedelta(days=policy.account_days)
    shared = connection.execute(_accounts, {"user_id": user_id, "since": since}).all()
    accounts: dict[str, int] = {row[0]: row[1] for row in shared}
    return _in_columns(rows, tuple(prompts[::-1]), accounts.get("device", 0), accounts.get("address", 0))


def _in_columns(
    rows: Sequence[Row[*tuple[Any, ...]]], prompts: tuple[str, ...], same_device: int, same_address: int
) -> Answers:
    models = sorted({model for row in rows for model in (row.left_model, row.right_model)})
    code = {model: index for index, model in enumerate(models)}
    seconds = [np.nan if row.response_ms is None else row.response_ms / 1000 for row in rows]
    return Answers(
        picked_at=np.array([row.picked_at.timestamp() for row in rows], np.float64),
        seconds=np.array(seconds, np.float64),
        pick=sides([row.pick for row in rows]),
        incumbent=sides([row.incumbent for row in rows]),
        gold=sides([row.gold for row in rows]),
        number=np.array([row.number for row in rows], np.int64),
        session=np.array([row.session_key or 0 for row in rows], np.int64),
        left_model=np.array([code[row.left_model] for row in rows], np.int64),
        right_model=np.array([code[row.right_model] for row in rows], np.int64),
        models=tuple(models),
        prompts=prompts,
        same_device=same_device,
        same_address=same_address,
    )


def assess_people(
    connection: Connection, user_ids: Iterable[int], policy: Policy, known: Norms, now: datetime
) -> list[Assessed]:
    """Return the risks of these people; nothing is written."""
    return [
        Assessed(user_id, assess(answers_of(connection, user_id, policy, now), known, policy))
        for user_id in user_ids
    ]


def store(connection: Connection, assessed: Sequence[Assessed], policy: Policy, now: datetime) -> None:
    """Write risks in place of those that were there."""
    if not assessed:
        return
    write = UPSERTS[connection.dialect.name](risks)
    changed = ("score", "reasons", "picks", "policy", "computed_at")
    connection.execute(
        write.on_conflict_do_update(
            index_elements=["user_id"], set_={name: write.excluded[name] for name in changed}
        ),
        [
            {
                "user_id": one.user_id,
                "score": one.risk.score,
                "reasons": to_json(one.risk.reasons),
                "picks": one.risk.answers,
                "policy": fingerprint(policy),
                "computed_at": now - MARGIN,
            }
            for one in assessed
        ],
    )


def refresh(
    connection: Connection,
    policy: Policy,
    now: datetime,
    limit: int = BATCH,
    known: Norms | None = None,
    since: datetime | None = None,
) -> int | None:
    """Compute up to `limit` risks that are due, in this transaction; return how many people were looked at.

    None if another process is at it: on PostgreSQL one at a time does so.
    """
    if not alone(connection):
        return None
    found = due(connection, policy, since, limit)
    assessed = (
        assess_people(connection, found, policy, known or norms(connection, policy), now) if found else []
    )
    store(connection, assessed, policy, now)
    return len(assessed)


def alone(connection: Connection) -> bool:
    """Return whether no other process is computing risks; on PostgreSQL that stays so until the transaction ends."""
    if connection.dialect.name != "postgresql":
        return True
    return bool(
        connection.execute(select(func.pg_try_advisory_xact_lock(literal(LOCK, BigInteger)))).scalar_one()
    )


async def refresh_all(database: Database, policy: Policy, now: datetime, everybody: bool = False) -> int:
    """Compute all risks that are due, or everybody's; return how many people were looked at.

    Everybody's, and the first ones by a policy, are computed twice: the norms of the second time leave out those
    who were doubted the first time.
    """
    people = await database.read(_everybody) if everybody else await database.read(due, policy)
    twice = people and (everybody or await database.read(_is_new, policy))
    for _ in range(2 if twice else 1):
        known = await database.read(norms, policy) if people else Norms()
        for start in range(0, len(people), BULK):
            batch = people[start : start + BULK]
            assessed = await database.read(assess_people, batch, policy, known, now)
            await database.write(store, assessed, policy, now)
    return len(people)


def _is_new(connection: Connection, policy: Policy) -> bool:
    by_it = select(risks.c.user_id).where(risks.c.policy == fingerprint(policy)).limit(1)
    return connection.execute(by_it).first() is None


def _everybody(connection: Connection) -> list[int]:
    answered = exists().where(rounds.c.user_id == users.c.id, rounds.c.state == "answered")
    return list(
        connection.execute(
            select(users.c.id).where(users.c.kind != VISITOR, answered).order_by(users.c.id)
        ).scalars()
    )


def listed(connection: Connection, policy: Policy, least: float = 0.0, limit: int = 100) -> list[Listed]:
    """Return the people whose risk is at least `least`, the greatest first."""
    rows = connection.execute(
        select(users.c.kind, users.c.status, risks)
        .join_from(risks, users, users.c.id == risks.c.user_id)
        .where(risks.c.score >= least)
        .order_by(risks.c.score.desc(), risks.c.user_id)
        .limit(limit)
    )
    present = fingerprint(policy)
    return [
        Listed(
            user_id=row.user_id,
            kind=row.kind,
            status=row.status,
            score=row.score,
            answers=row.picks,
            flagged=row.score >= policy.flag,
            counts=row.status == TRUSTED or (row.status == ACTIVE and row.score < policy.exclude),
            reasons=from_json(row.reasons),
            computed_at=row.computed_at,
            current=row.policy == present,
        )
        for row in rows
    ]
