"""Taking an image out of the rounds of its duel, while its user goes on: hidden from them, or removed for everybody.

An image's family are the image, what it was a spoiled copy of, and the spoiled copies (gold.py): all show the
same. Whoever calls this holds the lock on the duel's row, as those who pick do.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from random import Random
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, or_, select, update

from pickapic.collect.duels import losses, showing
from pickapic.collect.duels.orders import draw_order
from pickapic.collect.duels.pairing import missing
from pickapic.collect.queue import generator_states, jobs
from pickapic.collect.states import ASIDE, FLAGGED, OPEN, READY, REMOVED, SHOWN, WITHDRAWN
from pickapic.collect.tables import duels, images, rounds, shares
from pickapic.settings import GeneratorChoice

_me = images.alias("me")
_source = func.coalesce(_me.c.source_image_id, _me.c.id)
_family = (
    select(images.c.id)
    .join(_me, _me.c.duel_id == images.c.duel_id)
    .where(
        _me.c.id == bindparam("image_key"), or_(images.c.id == _source, images.c.source_image_id == _source)
    )
)


def hide(connection: Connection, image_id: int, flag: str) -> None:
    """Show an image and its family in no later round; a round on screen is left to its user."""
    family = _family_of(connection, image_id)
    connection.execute(
        update(images)
        .where(images.c.id.in_(family), images.c.state.in_((READY, ASIDE, SHOWN)))
        .values(state=FLAGGED, flag=flag)
    )
    _keep_no_longer(connection, family)


def show_again(connection: Connection, image_id: int, flag: str) -> None:
    """Take back what `hide` marked with `flag`; the rounds of its duel go on without it all the same."""
    connection.execute(
        update(images)
        .where(
            images.c.id.in_(_family_of(connection, image_id)),
            images.c.state == FLAGGED,
            images.c.flag == flag,
        )
        .values(state=SHOWN, flag=None)
    )


def remove(connection: Connection, image_id: int, flag: str) -> list[int]:
    """Remove an image and its family everywhere, and return their keys; a round on screen with one is withdrawn."""
    family = _family_of(connection, image_id)
    connection.execute(update(images).where(images.c.id.in_(family)).values(state=REMOVED, flag=flag))
    connection.execute(delete(shares).where(shares.c.image_id.in_(family)))
    shown = connection.execute(
        select(rounds).where(
            rounds.c.duel_id.in_(select(images.c.duel_id).where(images.c.id == image_id)),
            rounds.c.state == OPEN,
            or_(rounds.c.left_image_id.in_(family), rounds.c.right_image_id.in_(family)),
        )
    ).first()
    if shown is not None:
        connection.execute(update(rounds).where(rounds.c.id == shown.id).values(state=WITHDRAWN))
        showing.back_to_the_pool(connection, shown)
    _keep_no_longer(connection, family)
    return family


_last_round = (
    select(rounds.c.state, rounds.c.kept_image_id)
    .where(rounds.c.duel_id == bindparam("duel_key"), rounds.c.state != WITHDRAWN)
    .order_by(rounds.c.number.desc())
    .limit(1)
)
_open_duel = select(
    duels.c.id,
    duels.c.user_id,
    duels.c.caption,
    duels.c.negative_prompt,
    showing.pending_of(duels.c.id).label("pending"),
    select(func.count())
    .select_from(images)
    .where(images.c.duel_id == duels.c.id, images.c.state == READY)
    .scalar_subquery()
    .label("pool"),
).where(duels.c.id == bindparam("duel_key"), duels.c.state == OPEN)


def make_up(
    connection: Connection, duel_id: int, choices: Sequence[GeneratorChoice], now: datetime, rng: Random
) -> None:
    """Have made at once what the next round of a duel lacks, after images were taken away from it.

    `choices` are all generators of the settings; if none is on, a duel that cannot go on is given up.
    """
    duel: Any = connection.execute(_open_duel, {"duel_key": duel_id}).first()
    last = connection.execute(_last_round, {"duel_key": duel_id}).first()
    if duel is None or (last and last.state == OPEN):
        return
    needed = missing(bool(last and last.kept_image_id), duel.pool)
    jobs.promote(connection, duel_id, duel.user_id, needed)
    drawn = generator_states.effective(connection, choices, now)
    if needed > duel.pending and drawn:
        orders = [(draw_order(duel, drawn, rng), jobs.ON_SCREEN) for _ in range(needed - duel.pending)]
        jobs.enqueue(connection, duel_id, duel.user_id, orders, now)
    else:
        losses.fail_if_stuck(connection, [duel_id], now)


def _family_of(connection: Connection, image_id: int) -> list[int]:
    return list(connection.execute(_family, {"image_key": image_id}).scalars())


def _keep_no_longer(connection: Connection, family: Sequence[int]) -> None:
    """Let the next round go on without an image that was to stay."""
    duel = select(images.c.duel_id).where(images.c.id == family[0]).scalar_subquery()
    connection.execute(
        update(rounds)
        .where(rounds.c.duel_id == duel, rounds.c.kept_image_id.in_(family))
        .values(kept_image_id=None)
    )
