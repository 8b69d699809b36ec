"""Putting the next round on screen, and having made what the rounds after it will need."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, case, func, insert, or_, select, update

from pickapic.collect.duels import gold, losses
from pickapic.collect.duels.orders import draw_order
from pickapic.collect.duels.pairing import Candidate, next_round
from pickapic.collect.queue import jobs
from pickapic.collect.states import ASIDE, GENERATED, OPEN, READY, SHOWN, WITHDRAWN
from pickapic.collect.states import GOLD as LISTED
from pickapic.collect.tables import images, rounds
from pickapic.collect.tables import jobs as jobs_table
from pickapic.collect.uids import new_uid
from pickapic.collect.writes import Writes
from pickapic.settings import Settings


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a duel the next round comes: its number, what stayed, and what was on screen before it.

    `before` is when the round before was shown, None for the first; `after_check` whether that was a check.
    """

    duel_id: int
    user_id: int
    caption: str
    number: int
    kept_id: int | None
    before: datetime | None
    after_check: bool


@dataclass(frozen=True, slots=True)
class Next:
    """A round that was just put on screen, and how many images the pool still has; `sources` see `gold.plan`."""

    pool: int
    is_check: bool
    sources: tuple[int, ...]


def pending_of(duel_id: Any) -> Any:
    """Return how many images for the pool of a duel are queued or in the making, as a subquery."""
    return (
        select(func.count())
        .select_from(jobs_table)
        .where(
            jobs_table.c.duel_id == duel_id,
            jobs_table.c.state.in_((jobs.QUEUED, jobs.LEASED)),
            jobs.is_generate,
        )
        .scalar_subquery()
    )


def go_on(
    writes: Writes,
    settings: Settings,
    duel: Row[*tuple[Any, ...]],
    place: Place,
    now: datetime,
    rng: Random,
) -> None:
    """Show the next round if it can be shown, have as many images made as are wanted ahead, and send it all.

    `duel` has the columns caption, negative_prompt and pending (see `pending_of`); `settings.generators` are those
    that are switched on now.
    """
    connection = writes.connection
    following = show_next(writes, place, now, rng)
    missing_now = 0
    if following is None:
        missing_now = 1 if place.kept_id else 2
        jobs.promote(connection, place.duel_id, place.user_id, missing_now)
    pool = following.pool if following else 0
    orders: list[tuple[jobs.Order, int]] = []
    if settings.generators:
        wanted = settings.images_ahead + missing_now - pool - duel.pending
        orders += [
            (
                draw_order(duel, settings.generators, rng),
                jobs.ON_SCREEN if duel.pending + index < missing_now else jobs.AHEAD,
            )
            for index in range(wanted)
        ]
    orders += prepare_check(connection, settings, place, following, rng)
    jobs.add(writes, place.duel_id, place.user_id, orders, now)
    writes.send()
    if missing_now > duel.pending and not orders:
        losses.fail_if_stuck(connection, [place.duel_id], now)


def prepare_check(
    connection: Connection, settings: Settings, place: Place, following: Next | None, rng: Random
) -> list[tuple[jobs.Order, int]]:
    """Return what is to be made for a check round, if one is drawn while an ordinary round is shown."""
    if following is None or following.is_check:
        return []
    orders = gold.plan(
        connection,
        settings.gold_share,
        place.duel_id,
        place.user_id,
        place.caption,
        place.number,
        following.sources,
        rng,
    )
    # In the front class, though nobody waits for it: it costs next to nothing, and where models are slow and
    # people many, nothing behind would ever be made; then there would be no check rounds at all.
    return [(order, jobs.ON_SCREEN) for order in orders]


_stock = (
    select(
        images.c.id.label("image_id"),
        images.c.sha256,
        images.c.token,
        images.c.phash,
        images.c.state,
        images.c.origin,
        images.c.source_image_id,
        images.c.job_id,
        images.c.created_at,
    )
    .where(
        images.c.duel_id == bindparam("duel_key"),
        or_(
            images.c.state == READY,
            and_(
                images.c.state == ASIDE,
                or_(images.c.source_image_id == bindparam("kept_id"), images.c.origin == LISTED),
            ),
            and_(images.c.state == SHOWN, images.c.id == bindparam("kept_id")),
        ),
    )
    .order_by(images.c.id)
)
_insert_round = insert(rounds)
_show = update(images).where(images.c.id.in_((bindparam("one"), bindparam("other")))).values(state=SHOWN)


def show_next(writes: Writes, place: Place, now: datetime, rng: Random) -> Next | None:
    """Make the next round, or return None while the pool has too few images.

    A check round takes the place of an ordinary one only where that could be shown as well, and only with
    images that were there when the round before was shown: so neither the wait nor what was fetched ahead
    tells it apart.
    """
    connection = writes.connection
    stock = connection.execute(_stock, {"duel_key": place.duel_id, "kept_id": place.kept_id}).all()
    kept = next((_candidate(row) for row in stock if row.state == SHOWN), None)
    pool = [_candidate(row) for row in stock if row.state == READY]
    pair = next_round(kept, pool, rng)
    if pair is None:
        return None
    check = None
    if place.before is not None and not place.after_check:
        aside = [row for row in stock if row.state == ASIDE and row.created_at <= place.before]
        check = gold.check_among(connection, aside, kept, rng) if aside else None
    shown = check.pair if check else pair
    writes.add(
        _insert_round,
        uid=new_uid(),
        duel_id=place.duel_id,
        user_id=place.user_id,
        number=place.number,
        left_image_id=shown.left.image_id,
        right_image_id=shown.right.image_id,
        incumbent=shown.incumbent,
        state=OPEN,
        shown_at=now,
        gold=check.better if check else None,
        gold_pair_id=check.gold_pair_id if check else None,
    )
    ids = [image.image_id for image in (shown.left, shown.right)]
    new = [image_id for image_id in ids if image_id != place.kept_id]
    writes.add(_show, one=new[0], other=new[-1])
    left = [image.image_id for image in pool if image.image_id not in new]
    return Next(len(left), check is not None, (*ids, *left[:1]))


def _candidate(row: Row[*tuple[Any, ...]]) -> Candidate:
    return Candidate(row.image_id, row.sha256, row.token, row.phash)


_incumbent = select(rounds.c.kept_image_id).where(
    rounds.c.duel_id == bindparam("duel_key"),
    rounds.c.number == bindparam("number"),
    rounds.c.state != WITHDRAWN,
)


def kept_before(connection: Connection, duel_id: int, number: int) -> int | None:
    """Return the image that stayed before round `number`: it comes back after a check round of a list."""
    return connection.execute(_incumbent, {"duel_key": duel_id, "number": number - 1}).scalar()


def back_to_the_pool(connection: Connection, withdrawn: Row[*tuple[Any, ...]]) -> None:
    """Give the new images of a withdrawn round back to where they came from."""
    sides = {"left": withdrawn.left_image_id, "right": withdrawn.right_image_id}
    new = [image_id for side, image_id in sides.items() if side != withdrawn.incumbent]
    came_from = case((images.c.origin == GENERATED, READY), else_=ASIDE)
    connection.execute(
        update(images).where(images.c.id.in_(new), images.c.state == SHOWN).values(state=came_from)
    )
