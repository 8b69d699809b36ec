"""What happens in a collection right now: numbers that whoever looks after it wants to see change.

Every query reads a stretch of an index, not a whole table: they are asked every few seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, literal, literal_column, select, union_all

from pickapic.collect.oversight import reports
from pickapic.collect.plans import plan_for_values
from pickapic.collect.queue import generator_states, jobs, places
from pickapic.collect.queue.endings import REFUSED
from pickapic.collect.tables import images, prompt_reviews, risks, rounds, users
from pickapic.collect.tables import jobs as jobs_table
from pickapic.settings import GeneratorChoice

MINUTES = 60
ACTIVE = timedelta(minutes=10)
WORKING = timedelta(minutes=5)
DAY = timedelta(days=1)
WEEK = timedelta(days=7)
LAST_PICKS = 5_000
LAST_IMAGES = 5_000


# As text and not as parameters, so that the partial indexes serve them.
_is_queued = jobs_table.c.state == literal_column("'queued'")
_is_leased = jobs_table.c.state == literal_column("'leased'")
_is_dead = jobs_table.c.state == literal_column("'dead'")


@dataclass(frozen=True, slots=True)
class Live:
    """The state of a collection; shares are in 0..1, None where nothing has happened that they could be of.

    `minutes` are the answers of the last hour by the minute, the oldest first; the last one is not over.
    `waited_s` is how long the oldest queued job has been waiting. Failures are jobs given up within
    24 hours; `gold` is of the gold rounds among the last answers (`LAST_PICKS`), `flagged` of the last images
    (`LAST_IMAGES`), and counts those that were removed too.
    """

    at: datetime
    users: int
    active: int
    picks_day: int
    minutes: tuple[int, ...]
    queued: int
    leased: int
    dead: int
    waited_s: float
    workers: int
    seconds_per_job: float
    failures: int
    flagged: float | None
    gold: float | None
    doubtful: int
    reports: int
    reviews: int


@dataclass(frozen=True, slots=True)
class GeneratorFigures:
    """A generator with what became of its images: made, failed, refused within seven days, and the share it won.

    `won` is over its rounds among the last picks of the whole collection (`LAST_PICKS`), a tie half a win.
    """

    state: generator_states.GeneratorState
    made: int
    failed: int
    refused: int
    seconds: float | None
    rounds: int
    won: float | None


def live(connection: Connection, doubtful: float, now: datetime) -> Live:
    """Return the numbers of this moment; `doubtful` is the risk from which a user is to be looked at."""
    plan_for_values(connection)
    answered = rounds.c.state == "answered"
    depths = jobs.depths(connection)
    picked = select(func.count(), func.count(rounds.c.user_id.distinct()))
    recently = connection.execute(picked.where(answered, rounds.c.picked_at > now - ACTIVE)).one()
    oldest = connection.execute(select(func.min(jobs_table.c.created_at)).where(_is_queued)).scalar()
    last_image = (select(func.max(images.c.id)).scalar_subquery()) - LAST_IMAGES
    return Live(
        at=now,
        users=_count(connection, users, users.c.deleted_at.is_(None)),
        active=recently[1],
        picks_day=_count(connection, rounds, answered, rounds.c.picked_at > now - DAY),
        minutes=_by_minute(connection, now),
        queued=depths[jobs.QUEUED],
        leased=depths[jobs.LEASED],
        dead=depths[jobs.DEAD],
        waited_s=0.0 if oldest is None else max(0.0, round((now - oldest).total_seconds(), 1)),
        workers=_workers(connection, now),
        seconds_per_job=round(places.seconds_per_job(connection, now), 3),
        failures=_count(connection, jobs_table, _is_dead, jobs_table.c.finished_at > now - DAY),
        flagged=_share(connection, images.c.state.in_(("flagged", "removed")), images.c.id > last_image),
        gold=_gold(connection),
        doubtful=_count(
            connection,
            risks.join(users, users.c.id == risks.c.user_id),
            risks.c.score >= doubtful,
            users.c.status == "active",
        ),
        reports=reports.count_waiting(connection),
        reviews=count_reviews(connection),
    )


def count_reviews(connection: Connection) -> int:
    """Return how many prompts wait for a decision."""
    return _count(connection, prompt_reviews, prompt_reviews.c.state == "waiting")


def generator_figures(
    connection: Connection, choices: Sequence[GeneratorChoice], now: datetime
) -> list[GeneratorFigures]:
    """Return every generator of the settings with what became of its images."""
    plan_for_values(connection)
    made = {
        row.generator: row
        for row in connection.execute(
            select(
                jobs_table.c.generator,
                func.sum(case((jobs_table.c.state == jobs.DONE, 1), else_=0)).label("made"),
                func.sum(case((jobs_table.c.state == jobs.DEAD, 1), else_=0)).label("failed"),
                func.sum(case((jobs_table.c.state == REFUSED, 1), else_=0)).label("refused"),
                func.avg(jobs_table.c.seconds).label("seconds"),
            )
            .where(jobs_table.c.finished_at > now - WEEK, jobs_table.c.kind == "generate")
            .group_by(jobs_table.c.generator)
        )
    }
    won = _won(connection)
    figures: list[GeneratorFigures] = []
    for state in generator_states.states(connection, choices):
        row = made.get(state.name)
        count, points = won.get(state.name, (0, 0.0))
        figures.append(
            GeneratorFigures(
                state=state,
                made=int(row.made) if row else 0,
                failed=int(row.failed) if row else 0,
                refused=int(row.refused) if row else 0,
                seconds=round(float(row.seconds), 3) if row and row.seconds is not None else None,
                rounds=count,
                won=points / count if count else None,
            )
        )
    return figures


def _won(connection: Connection) -> dict[str, tuple[int, float]]:
    """Return rounds and wins of each model among the last picks between two models."""
    last = (
        select(rounds.c.left_image_id, rounds.c.right_image_id, rounds.c.pick)
        .where(rounds.c.picked_at.is_not(None), rounds.c.state == "answered", rounds.c.gold.is_(None))
        .order_by(rounds.c.picked_at.desc())
        .limit(LAST_PICKS)
        .subquery()
    )
    left, right = images.alias("l"), images.alias("r")
    met = (
        select(left.c.model.label("left_model"), right.c.model.label("right_model"), last.c.pick)
        .join(left, left.c.id == last.c.left_image_id)
        .join(right, right.c.id == last.c.right_image_id)
        .where(left.c.model != right.c.model)
        .subquery()
    )
    sides = union_all(
        *(
            select(
                met.c[f"{side}_model"].label("model"),
                case(
                    (met.c.pick == side, literal(1.0)),
                    (met.c.pick == "tie", literal(0.5)),
                    else_=literal(0.0),
                ).label("points"),
            )
            for side in ("left", "right")
        )
    ).subquery()
    rows = connection.execute(
        select(sides.c.model, func.count(), func.sum(sides.c.points)).group_by(sides.c.model)
    )
    return {model: (count, float(points)) for model, count, points in rows}


def _by_minute(connection: Connection, now: datetime) -> tuple[int, ...]:
    this = now.astimezone(UTC).replace(second=0, microsecond=0)
    since = this - timedelta(minutes=MINUTES - 1)
    if connection.dialect.name == "sqlite":
        minute = func.strftime("%Y-%m-%d %H:%M", rounds.c.picked_at)
    else:
        minute = func.to_char(func.timezone("UTC", rounds.c.picked_at), "YYYY-MM-DD HH24:MI")
    rows = connection.execute(
        select(minute, func.count())
        .where(rounds.c.state == "answered", rounds.c.picked_at >= since)
        .group_by(minute)
    )
    counted: dict[str, int] = {row[0]: row[1] for row in rows}
    moments = (since + timedelta(minutes=index) for index in range(MINUTES))
    return tuple(counted.get(moment.strftime("%Y-%m-%d %H:%M"), 0) for moment in moments)


def _gold(connection: Connection) -> float | None:
    """Return the share of gold rounds answered right, among the last answers."""
    last = (
        select(rounds.c.pick, rounds.c.gold)
        .where(rounds.c.picked_at.is_not(None), rounds.c.state == "answered")
        .order_by(rounds.c.picked_at.desc())
        .limit(LAST_PICKS)
        .subquery()
    )
    return _share(connection, last.c.pick == last.c.gold, last.c.gold.is_not(None))


def _workers(connection: Connection, now: datetime) -> int:
    """Return how many workers hold a lease or finished something lately."""
    leased = select(jobs_table.c.worker).where(_is_leased, jobs_table.c.lease_until > now)
    finished = select(jobs_table.c.worker).where(
        jobs_table.c.state == jobs.DONE, jobs_table.c.finished_at > now - WORKING
    )
    seen = union_all(leased, finished).subquery()
    return connection.execute(select(func.count(seen.c.worker.distinct()))).scalar_one()


def _share(connection: Connection, which: ColumnElement[bool], among: ColumnElement[bool]) -> float | None:
    part = func.sum(case((which, 1), else_=0))
    total, found = connection.execute(select(func.count(), part).where(among)).one()
    return float(found) / total if total else None


def _count(connection: Connection, table: Any, *conditions: ColumnElement[bool]) -> int:
    return connection.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one()
