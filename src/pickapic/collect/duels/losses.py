"""Images that will not come: jobs that died, and images that were found unfit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from random import Random

from sqlalchemy import Connection, bindparam, func, literal_column, or_, select, update

from pickapic.collect.duels.orders import draw_order
from pickapic.collect.duels.pairing import missing
from pickapic.collect.queue import endings, generator_states, jobs
from pickapic.collect.states import FAILED, FLAGGED, OPEN, READY, WITHDRAWN
from pickapic.collect.tables import duels, images, rounds
from pickapic.collect.tables import jobs as jobs_table
from pickapic.settings import GeneratorChoice

FAILED_MESSAGE = (
    "No images could be made for this prompt. Picks made before are kept; try again, or another prompt."
)
UNFIT_MESSAGE = (
    "Too many images for this prompt were unfit to be shown. "
    "Picks made before are kept; please try another prompt."
)
REFUSED_MESSAGE = (
    "The models would not draw this prompt. Picks made before are kept; please change it or try another."
)
MOST_FLAGGED = 6
"""So many images of one duel may be unfit before it is given up: the prompt asks for them."""

MOST_REFUSED = 6
"""So many images of one duel may be refused before it is given up."""

_last_round = (
    select(rounds.c.state, rounds.c.kept_image_id)
    .where(rounds.c.duel_id == bindparam("duel_key"), rounds.c.state != WITHDRAWN)
    .order_by(rounds.c.number.desc())
    .limit(1)
)
_counts = select(
    select(func.count())
    .select_from(images)
    .where(images.c.duel_id == bindparam("duel_key"), images.c.state == READY)
    .scalar_subquery()
    .label("pool"),
    select(func.count())
    .select_from(jobs_table)
    .where(
        jobs_table.c.duel_id == bindparam("duel_key"),
        or_(jobs_table.c.state == jobs.QUEUED, jobs_table.c.state == jobs.LEASED),
        jobs.is_generate,
    )
    .scalar_subquery()
    .label("pending"),
)


def fail_if_stuck(connection: Connection, duel_ids: Sequence[int], now: datetime) -> None:
    """Fail those of the duels that can never show another round: nothing on screen, in the pool or in the queue."""
    for duel_id in dict.fromkeys(duel_ids):
        last = connection.execute(_last_round, {"duel_key": duel_id}).first()
        if last and last.state == OPEN:
            continue
        row = connection.execute(_counts, {"duel_key": duel_id}).one()
        if missing(bool(last and last.kept_image_id), row.pool) > row.pending:
            _fail(connection, duel_id, FAILED_MESSAGE, now)


_flagged = (
    select(duels, func.count(images.c.id).label("unfit"))
    .join(images, images.c.duel_id == duels.c.id)
    .where(duels.c.id.in_(bindparam("ids", expanding=True)), duels.c.state == OPEN, images.c.state == FLAGGED)
    .group_by(duels.c.id)
)


def replace(
    connection: Connection,
    flagged: Sequence[jobs.Wanted],
    choices: Sequence[GeneratorChoice],
    now: datetime,
    rng: Random,
) -> None:
    """Have another image made for each of `flagged`, drawn anew, as urgent as that was.

    A duel with MOST_FLAGGED unfit images is given up. `choices` are all generators of the settings.
    """
    if not flagged:
        return
    drawn = generator_states.effective(connection, choices, now)
    by_duel: dict[int, list[jobs.Wanted]] = {}
    for job in flagged:
        by_duel.setdefault(job.duel_id, []).append(job)
    for duel in connection.execute(_flagged, {"ids": list(by_duel)}).all():
        if duel.unfit >= MOST_FLAGGED:
            _fail(connection, duel.id, UNFIT_MESSAGE, now)
        elif drawn:
            orders = [(draw_order(duel, drawn, rng), job.priority) for job in by_duel[duel.id]]
            jobs.enqueue(connection, duel.id, duel.user_id, orders, now)
        else:
            fail_if_stuck(connection, [duel.id], now)


_refused = select(jobs_table.c.generator).where(
    jobs_table.c.duel_id == bindparam("duel_key"), jobs_table.c.state == literal_column("'refused'")
)
_open = select(duels).where(duels.c.id == bindparam("duel_key"), duels.c.state == OPEN)


def replace_refused(
    connection: Connection,
    refused: Sequence[endings.Leased],
    choices: Sequence[GeneratorChoice],
    now: datetime,
    rng: Random,
) -> None:
    """Have another generator make each image that one would not draw, as urgent as that was.

    Where every generator has refused the duel's prompt they are tried again with other seeds; a duel with
    MOST_REFUSED refusals is given up. `choices` are all generators of the settings.
    """
    for job in refused:
        duel = connection.execute(_open, {"duel_key": job.duel_id}).first()
        if duel is None:
            continue
        refusers = list(connection.execute(_refused, {"duel_key": job.duel_id}).scalars())
        if len(refusers) >= MOST_REFUSED:
            _fail(connection, duel.id, REFUSED_MESSAGE, now)
            continue
        drawn = generator_states.effective(connection, choices, now)
        others = tuple(choice for choice in drawn if choice.name not in refusers) or drawn
        if others:
            order = draw_order(duel, others, rng)
            jobs.enqueue(connection, duel.id, duel.user_id, [(order, job.priority)], now)
        else:
            fail_if_stuck(connection, [duel.id], now)


def _fail(connection: Connection, duel_id: int, message: str, now: datetime) -> None:
    connection.execute(
        update(duels)
        .where(duels.c.id == duel_id, duels.c.state == OPEN)
        .values(state=FAILED, message=message, closed_at=now)
    )
    jobs.cancel(connection, duel_id)
