"""What a person may see of a duel: never a model, a seed or an image's uid while it is open."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, Row, and_, bindparam, func, or_, select

from pickapic.collect.duels.pairing import missing
from pickapic.collect.queue import jobs
from pickapic.collect.queue.places import Place, place
from pickapic.collect.refusals import NotFoundError
from pickapic.collect.states import ANSWERED, ASIDE, CLOSED, FAILED, OPEN, READY, WITHDRAWN
from pickapic.collect.states import GOLD as LISTED
from pickapic.collect.tables import duels, images, rounds
from pickapic.collect.tables import jobs as jobs_table
from pickapic.records import Pick, Side

State = Literal["queued", "generating", "ready", "failed", "closed"]


class Standing(NamedTuple):
    """What of a duel changes without its user doing anything; two that are equal need no new look."""

    state: str
    pool: int
    queued: int
    leased: int


@dataclass(frozen=True, slots=True)
class Shown:
    """An image on screen or soon to be; `sha256` stays on the server."""

    token: str
    sha256: str


@dataclass(frozen=True, slots=True)
class RoundView:
    """Two images, waiting for an answer; `prompt` is what they were made for."""

    round_uid: str
    prompt: str
    left: Shown
    right: Shown


@dataclass(frozen=True, slots=True)
class RevealedImage:
    """An image of a duel that is over."""

    side: Side
    image: Shown
    model: str
    guidance_scale: float | None
    seed: int


@dataclass(frozen=True, slots=True)
class RevealedRound:
    """An answered round of a duel that is over."""

    round_uid: str
    pick: Pick
    images: tuple[RevealedImage, RevealedImage]


@dataclass(frozen=True, slots=True)
class DuelView:
    """A duel as its user sees it.

    `needed` is how many more images the next round waits for; `ahead` are images that may be fetched before
    they are shown; `undo_round_uid` is the round whose answer undo would take back. `may_advance` is true
    if the next round could be shown but is not yet (see `duel.advance`).
    """

    duel_id: int
    duel_uid: str
    user_id: int
    prompt: str
    state: State
    message: str | None
    position: int
    eta_s: float
    progress: float
    picks: int
    round: RoundView | None
    ahead: tuple[Shown, ...]
    undo_round_uid: str | None
    may_advance: bool
    needed: int
    standing: Standing
    revealed: tuple[RevealedRound, ...]


_pool_size = (
    select(func.count())
    .select_from(images)
    .where(images.c.duel_id == duels.c.id, images.c.state == READY)
    .scalar_subquery()
)


def _job_count(state: str) -> Any:
    return (
        select(func.count())
        .select_from(jobs_table)
        .where(jobs_table.c.duel_id == duels.c.id, jobs_table.c.state == state, jobs.is_generate)
        .scalar_subquery()
    )


_standing_columns = (
    _pool_size.label("pool"),
    _job_count(jobs.QUEUED).label("queued"),
    _job_count(jobs.LEASED).label("leased"),
)
_picks = (
    select(func.count())
    .select_from(rounds)
    .where(rounds.c.duel_id == duels.c.id, rounds.c.state == ANSWERED)
    .scalar_subquery()
)
_shown = rounds.alias("shown")
_duel = (
    select(
        duels,
        *_standing_columns,
        _picks.label("picks"),
        *(
            column.label(f"round_{column.name}")
            for column in (
                _shown.c.uid,
                _shown.c.state,
                _shown.c.left_image_id,
                _shown.c.right_image_id,
                _shown.c.kept_image_id,
                _shown.c.shown_at,
                _shown.c.gold,
                _shown.c.gold_pair_id,
            )
        ),
    )
    .join_from(duels, _shown, and_(_shown.c.duel_id == duels.c.id, _shown.c.state != WITHDRAWN), isouter=True)
    .where(duels.c.uid == bindparam("duel_uid"), duels.c.user_id == bindparam("user_id"))
    .order_by(_shown.c.number.desc())
    .limit(2)
)
_standings = select(duels.c.id, duels.c.state, *_standing_columns).where(
    duels.c.id.in_(bindparam("ids", expanding=True))
)
_on_screen = bindparam("on_screen", expanding=True)
_visible = (
    select(
        images.c.id,
        images.c.token,
        images.c.origin,
        images.c.sha256,
        images.c.state,
        images.c.prompt,
        images.c.created_at,
    )
    .where(
        images.c.duel_id == bindparam("duel_key"),
        or_(
            images.c.state == READY,
            images.c.id.in_(_on_screen),
            and_(
                images.c.state == ASIDE,
                or_(images.c.source_image_id.in_(_on_screen), images.c.origin == LISTED),
            ),
        ),
    )
    .order_by(images.c.id)
)


def standings(connection: Connection, duel_ids: Collection[int]) -> dict[int, Standing]:
    """Return the standing of each duel, all in one query."""
    return {
        row.id: Standing(row.state, row.pool, row.queued, row.leased)
        for row in connection.execute(_standings, {"ids": list(duel_ids)})
    }


@dataclass(frozen=True, slots=True)
class Wait:
    """What a duel waits for: `needed` more images before its next round, 0 if there is nothing to wait for."""

    duel_id: int
    duel_uid: str
    needed: int
    standing: Standing


def waits_for(connection: Connection, user_id: int, duel_uid: str) -> Wait:
    """Return what the duel waits for: a look that costs less than `view`. Raises as `view`."""
    duel, *_ = _with_last_rounds(connection, user_id, duel_uid)
    needed = 0
    if duel.state == OPEN and duel.round_state != OPEN:
        needed = missing(duel.round_kept_image_id is not None, duel.pool)
    return Wait(duel.id, duel_uid, needed, Standing(duel.state, duel.pool, duel.queued, duel.leased))


def view(connection: Connection, user_id: int, duel_uid: str, now: datetime) -> DuelView:
    """Return the duel as its user sees it.

    Raises:
        NotFoundError: no such duel of this user.
    """
    last_two = _with_last_rounds(connection, user_id, duel_uid)
    duel = last_two[0]
    is_open = duel.state == OPEN
    current = duel if is_open and duel.round_state == OPEN else None
    answered = (row.round_uid for row in last_two if row.round_state not in (OPEN, None))
    on_screen = [current.round_left_image_id, current.round_right_image_id] if current else []
    visible = connection.execute(_visible, {"duel_key": duel.id, "on_screen": on_screen}).all()
    has_kept = duel.round_kept_image_id is not None
    needed = missing(has_kept, duel.pool) if is_open and current is None else 0
    where = place(connection, duel.id, needed, now) if needed else Place(0, 0.0)
    return DuelView(
        duel_id=duel.id,
        duel_uid=duel.uid,
        user_id=user_id,
        prompt=duel.typed,
        state=_state(duel, needed),
        message=duel.message,
        position=where.position,
        eta_s=where.eta_s,
        progress=_progress(duel, has_kept, needed),
        picks=duel.picks,
        round=_round_view(current, visible, duel.typed) if current else None,
        ahead=_ahead(visible, current) if is_open else (),
        undo_round_uid=next(answered, None) if is_open else None,
        may_advance=is_open and current is None and needed == 0,
        needed=needed,
        standing=Standing(duel.state, duel.pool, duel.queued, duel.leased),
        revealed=_reveal(connection, duel.id) if duel.state == CLOSED else (),
    )


def _with_last_rounds(connection: Connection, user_id: int, duel_uid: str) -> Sequence[Row[*tuple[Any, ...]]]:
    """Return the duel with its last round, and once more with the one before; the round's columns may be empty."""
    rows = connection.execute(_duel, {"duel_uid": duel_uid, "user_id": user_id}).all()
    if not rows:
        raise NotFoundError("You have no such duel.")
    return rows


def _state(duel: Row[*tuple[Any, ...]], needed: int) -> State:
    if duel.state == CLOSED:
        return "closed"
    if duel.state == FAILED:
        return "failed"
    if not needed:
        return "ready"
    return "generating" if duel.leased or duel.pool else "queued"


def _progress(duel: Row[*tuple[Any, ...]], has_kept: bool, needed: int) -> float:
    """Return how much of the next round is there, in 0..1; an image that is being made counts half."""
    if not needed:
        return 1.0
    wanted = 1 if has_kept else 2
    return round((wanted - needed + 0.5 * min(needed, duel.leased)) / wanted, 3)


def _round_view(
    row: Row[*tuple[Any, ...]], visible: Sequence[Row[*tuple[Any, ...]]], typed: str
) -> RoundView:
    image_of = {image.id: image for image in visible}
    left, right = image_of[row.round_left_image_id], image_of[row.round_right_image_id]
    prompt = typed if row.round_gold_pair_id is None else left.prompt
    return RoundView(row.round_uid, prompt, Shown(left.token, left.sha256), Shown(right.token, right.sha256))


def _ahead(
    visible: Sequence[Row[*tuple[Any, ...]]], current: Row[*tuple[Any, ...]] | None
) -> tuple[Shown, ...]:
    """Return the two images that come next, whichever kind of round that will be.

    What a check round would need stands where it will be shown from; see `showing.show_next` for when it is.
    """
    pool = [row for row in visible if row.state == READY]
    aside: list[Row[*tuple[Any, ...]]] = []
    if pool and current is not None and not current.round_gold:
        aside = [row for row in visible if row.state == ASIDE and row.created_at <= current.round_shown_at]
        if sum(row.origin == LISTED for row in aside) < 2:  # of a pair both, or none
            aside = [row for row in aside if row.origin != LISTED]
        # By their random addresses: the order in which the two of a list were made would tell.
        aside.sort(key=lambda row: (row.origin != LISTED, row.token))
    return tuple(Shown(row.token, row.sha256) for row in (*aside, *pool)[:2])


def _reveal(connection: Connection, duel_id: int) -> tuple[RevealedRound, ...]:
    # A check round is no preference, and its images are not what a model made.
    answered = and_(rounds.c.duel_id == duel_id, rounds.c.state == ANSWERED, rounds.c.gold.is_(None))
    left, right = images.alias("l"), images.alias("r")
    rows = connection.execute(
        select(
            rounds.c.uid,
            rounds.c.pick,
            *(
                column.label(f"{side}_{column.name}")
                for side, table in (("left", left), ("right", right))
                for column in (
                    table.c.token,
                    table.c.sha256,
                    table.c.model,
                    table.c.guidance_scale,
                    table.c.seed,
                )
            ),
        )
        .join(left, left.c.id == rounds.c.left_image_id)
        .join(right, right.c.id == rounds.c.right_image_id)
        .where(answered)
        .order_by(rounds.c.number)
    ).mappings()
    return tuple(
        RevealedRound(row["uid"], row["pick"], (_revealed(row, "left"), _revealed(row, "right")))
        for row in rows
    )


def _revealed(row: Any, side: Side) -> RevealedImage:
    return RevealedImage(
        side=side,
        image=Shown(row[f"{side}_token"], row[f"{side}_sha256"]),
        model=row[f"{side}_model"],
        guidance_scale=row[f"{side}_guidance_scale"],
        seed=row[f"{side}_seed"],
    )
