"""How much one person may ask for: prompts a minute, images waiting, images a week, answers in all; guests an address.

A refusal is a `LimitError` with the seconds after which it is worth trying again. Starting a prompt checks
everything in one statement; answering checks only what standing allows, and only at every tenth round.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, bindparam, case, func, or_, select

from pickapic.collect.people.marks import Mark
from pickapic.collect.quality.policy import Policy, policy_from
from pickapic.collect.queue import jobs, places
from pickapic.collect.refusals import LimitError
from pickapic.collect.tables import duels, marks, risks, rounds, users
from pickapic.collect.tables import jobs as jobs_table
from pickapic.settings import Settings

PROMPT_WINDOW = timedelta(minutes=1)
IMAGE_WINDOW = timedelta(days=7)
GUEST_WINDOW = timedelta(hours=1)
STEP = timedelta(days=7)
CHECKED_EVERY = 10
"""Rounds of a duel between two looks at a person's allowance: up to nine answers more do no harm."""
REVIEW_SECONDS = 86_400
"""For somebody whom no waiting helps: whoever looks after the collection may have decided by tomorrow."""


@dataclass(frozen=True, slots=True)
class Record:
    """What a person did, as far as it decides how many answers are allowed."""

    created_at: datetime
    answers: int
    gold_seen: int
    gold_passed: int
    risk: float
    granted: int | None
    """What an admin set, instead of any rule."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many answers a person may give, and when that is raised next (None: not by waiting)."""

    answers: int
    raised_at: datetime | None


def allowance(record: Record, first: int, policy: Policy, now: datetime) -> Allowance:
    """Return how many answers somebody may give: `first`, and as many again for every week in good standing.

    Good standing is a risk below `policy.flag` and enough gold rounds right, once some were seen.
    """
    if record.granted is not None:
        return Allowance(record.granted, None)
    enough_gold = (
        record.gold_seen < policy.standing_gold
        or record.gold_passed >= policy.standing_share * record.gold_seen
    )
    if record.risk >= policy.flag or not enough_gold:
        return Allowance(first, None)
    steps = max(0, (now - record.created_at) // STEP)
    return Allowance(first * (1 + steps), record.created_at + (steps + 1) * STEP)


_of_user = bindparam("user_id")
_prompts = select(func.count(), func.min(duels.c.created_at)).where(
    duels.c.user_id == _of_user, duels.c.created_at > bindparam("minute_ago")
)
_own_jobs = (
    select(
        func.coalesce(
            func.sum(
                case(
                    (and_(duels.c.state == "open", jobs_table.c.state.in_((jobs.QUEUED, jobs.LEASED))), 1),
                    else_=0,
                )
            ),
            0,
        ).label("waiting"),
        func.coalesce(func.sum(case((jobs_table.c.created_at > bindparam("week_ago"), 1), else_=0)), 0).label(
            "made"
        ),
        func.min(case((jobs_table.c.created_at > bindparam("week_ago"), jobs_table.c.created_at))).label(
            "first"
        ),
    )
    .join(jobs_table, jobs_table.c.duel_id == duels.c.id)
    .where(
        duels.c.user_id == _of_user,
        # A duel that was open all the time may have had images made this week; others that old may not.
        or_(duels.c.created_at > bindparam("week_ago"), duels.c.state == "open"),
        jobs_table.c.kind == "generate",
        jobs_table.c.state.in_((jobs.QUEUED, jobs.LEASED, jobs.DONE)),
    )
)
_record = (
    select(
        users.c.created_at,
        users.c.allowance,
        func.coalesce(risks.c.score, 0.0).label("risk"),
        func.count(rounds.c.id).label("answers"),
        func.count(rounds.c.gold).label("gold_seen"),
        func.coalesce(func.sum(case((rounds.c.gold == rounds.c.pick, 1), else_=0)), 0).label("gold_passed"),
    )
    .select_from(users)
    .outerjoin(risks, risks.c.user_id == users.c.id)
    .outerjoin(rounds, and_(rounds.c.user_id == users.c.id, rounds.c.state == "answered"))
    .where(users.c.id == _of_user)
    .group_by(users.c.created_at, users.c.allowance, risks.c.score)
)


def check_start(connection: Connection, settings: Settings, user_id: int, now: datetime) -> None:
    """Refuse another prompt to somebody who has asked for too much.

    Raises:
        LimitError: too many prompts within a minute, images in the queue, images this week, or answers in all.
    """
    minute_ago = now - PROMPT_WINDOW
    started, first = connection.execute(_prompts, {"user_id": user_id, "minute_ago": minute_ago}).one()
    if started >= settings.prompts_per_minute:
        raise LimitError(
            "More than {count} prompts a minute are too many.",
            _seconds(first - minute_ago),
            count=settings.prompts_per_minute,
        )
    week_ago = now - IMAGE_WINDOW
    mine = connection.execute(_own_jobs, {"user_id": user_id, "week_ago": week_ago}).one()
    wanted = 2 + settings.images_ahead
    if mine.waiting + wanted > settings.jobs_per_user:
        excess = mine.waiting + wanted - settings.jobs_per_user
        raise LimitError(
            "{count} of your images are still waiting to be made; that is as many as one person may have. "
            "Finish or end a prompt, or wait a little.",
            _seconds(timedelta(seconds=excess * places.seconds_per_job(connection, now))),
            count=mine.waiting,
        )
    if mine.made + wanted > settings.images_per_week:
        raise LimitError(
            "You have had {count} images made within seven days; more are possible when the first are a week old.",
            _seconds(_instant(mine.first, now) - week_ago),
            count=mine.made,
        )
    _check_allowance(connection, settings, user_id, now)


_newcomers = select(func.count(), func.min(marks.c.first_at)).where(
    marks.c.kind == "address", marks.c.digest == bindparam("digest"), marks.c.first_at > bindparam("hour_ago")
)


def check_guest(connection: Connection, settings: Settings, seen: Sequence[Mark], now: datetime) -> None:
    """Refuse another guest to an address from which many came just now; `seen` are the marks of their browser.

    An address that is not of the public internet has no mark, so nothing is known of it and nothing refused.

    Raises:
        LimitError: too many newcomers within the hour.
    """
    hour_ago = now - GUEST_WINDOW
    for mark in seen:
        if mark.kind != "address":
            continue
        came, first = connection.execute(_newcomers, {"digest": mark.digest, "hour_ago": hour_ago}).one()
        if came >= settings.guests_per_hour:
            raise LimitError(
                "{count} new people came from your internet address within an hour; please wait a little.",
                _seconds(first - hour_ago),
                count=came,
            )


def check_pick(connection: Connection, settings: Settings, user_id: int, number: int, now: datetime) -> None:
    """Refuse an answer to somebody who has given all that their standing allows; `number` is the round's.

    Raises:
        LimitError: no more answers for now.
    """
    if number % CHECKED_EVERY == 0:
        _check_allowance(connection, settings, user_id, now)


def record_of(connection: Connection, user_id: int) -> Record:
    """Return what decides the allowance of a user that exists."""
    row = connection.execute(_record, {"user_id": user_id}).one()
    return Record(row.created_at, row.answers, row.gold_seen, row.gold_passed, row.risk, row.allowance)


def _check_allowance(connection: Connection, settings: Settings, user_id: int, now: datetime) -> None:
    record = record_of(connection, user_id)
    allowed = allowance(record, settings.picks_first, policy_from(settings), now)
    if record.answers < allowed.answers:
        return
    wait = _seconds(allowed.raised_at - now) if allowed.raised_at else REVIEW_SECONDS
    raise LimitError(
        "You have given {count} answers, as many as your account may give for now. Thank you! They are all kept.",
        wait,
        count=record.answers,
    )


def _seconds(wait: timedelta) -> int:
    return max(1, math.ceil(wait.total_seconds()))


def _instant(value: datetime | None, otherwise: datetime) -> datetime:
    return value if value is not None else otherwise
