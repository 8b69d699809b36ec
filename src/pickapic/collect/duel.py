"""The pick loop: the transactions that apply the rules of `pairing`.

A duel is one prompt of one user. Its pool holds finished images that were never shown. A round takes two
images: the one that was kept from the round before, and the next of the pool; both from the pool at the
start and after a skip. Which side each stands on is drawn for every round. An answer is stored once and for
all, except that the last answers may be taken back one by one (see `undo`).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, or_, select, update

from pickapic.collect import jobs
from pickapic.collect.pairing import Candidate, kept_side, missing, next_round
from pickapic.collect.prompts import Prompt, parse_prompt
from pickapic.collect.refusals import ConflictError, LimitError, NotFoundError
from pickapic.collect.tables import duels, images, rounds
from pickapic.collect.tables import jobs as jobs_table
from pickapic.records import Pick
from pickapic.settings import GeneratorChoice, Settings

OPEN = "open"
CLOSED = "closed"
FAILED = "failed"
ANSWERED = "answered"
SKIPPED = "skipped"
WITHDRAWN = "withdrawn"
READY = "ready"
SHOWN = "shown"

UNDO_WINDOW = timedelta(minutes=10)
LIMIT_WINDOW_SECONDS = 60
FAILED_MESSAGE = (
    "No images could be made for this prompt. Picks made before are kept; try again, or another prompt."
)


def draw_order(prompt: Prompt | Row[Any], choices: Sequence[GeneratorChoice], rng: Random) -> jobs.Order:
    """Draw the model by weight, the guidance scale from the model's range, and a 32-bit seed."""
    (choice,) = rng.choices(choices, weights=[choice.weight for choice in choices])
    negative = prompt.negative if isinstance(prompt, Prompt) else prompt.negative_prompt
    return jobs.Order(
        generator=choice.name,
        prompt=prompt.caption,
        negative_prompt=negative or choice.negative_prompt,
        guidance_scale=round(rng.uniform(choice.guidance_min, choice.guidance_max), 2),
        steps=choice.steps,
        seed=rng.getrandbits(32),
    )


_insert_duel = insert(duels).returning(duels.c.id)
_recent_duels = select(func.count(), func.min(duels.c.created_at)).where(
    duels.c.user_id == bindparam("user_id"), duels.c.created_at > bindparam("since")
)


def start(
    connection: Connection, settings: Settings, user_id: int, typed: str, now: datetime, rng: Random
) -> str:
    """Open a duel, queue the two images of its first round and those made ahead, and return its uid.

    Raises:
        PromptError: the prompt cannot be used; nothing was queued.
        LimitError: too many prompts within a minute.
    """
    prompt = parse_prompt(typed, settings.prompt_max_length)
    since = now - timedelta(seconds=LIMIT_WINDOW_SECONDS)
    count, first = connection.execute(_recent_duels, {"user_id": user_id, "since": since}).one()
    if count >= settings.prompts_per_minute:
        wait = int((first - since).total_seconds()) + 1
        raise LimitError(
            "More than {count} prompts a minute are too many.", wait, count=settings.prompts_per_minute
        )
    uid = secrets.token_urlsafe(16)
    duel_id = connection.execute(
        _insert_duel,
        {
            "uid": uid,
            "user_id": user_id,
            "typed": prompt.typed,
            "caption": prompt.caption,
            "negative_prompt": prompt.negative,
            "state": OPEN,
            "created_at": now,
        },
    ).scalar_one()
    orders = [
        (draw_order(prompt, settings.generators, rng), jobs.ON_SCREEN if index < 2 else jobs.AHEAD)
        for index in range(2 + settings.images_ahead)
    ]
    jobs.enqueue(connection, duel_id, user_id, orders, now)
    return uid


def _pending_of(duel_id: Any) -> Any:
    """Return how many images of a duel are queued or in the making, as a subquery."""
    return (
        select(func.count())
        .select_from(jobs_table)
        .where(jobs_table.c.duel_id == duel_id, jobs_table.c.state.in_((jobs.QUEUED, jobs.LEASED)))
        .scalar_subquery()
    )


_round = (
    select(
        rounds,
        _pending_of(rounds.c.duel_id).label("pending"),
        duels.c.uid.label("duel_uid"),
        duels.c.state.label("duel_state"),
        duels.c.caption,
        duels.c.negative_prompt,
    )
    .join(duels, duels.c.id == rounds.c.duel_id)
    .where(rounds.c.uid == bindparam("round_uid"), rounds.c.user_id == bindparam("user_id"))
    # Both: PostgreSQL reads a row again, once it has waited for it, only if that row is locked too. With the
    # duel's alone, two answers at once would both find the round open.
    .with_for_update(of=[duels, rounds])
)


def _own_round(connection: Connection, user_id: int, round_uid: str) -> Row[Any]:
    row = connection.execute(_round, {"round_uid": round_uid, "user_id": user_id}).first()
    if row is None:
        raise NotFoundError("You have no such round.")
    return row


def pick(
    connection: Connection,
    settings: Settings,
    user_id: int,
    round_uid: str,
    answer: Pick,
    now: datetime,
    rng: Random,
) -> str:
    """Store the answer to a round, show the next if it is ready, and return the duel's uid.

    The same answer again changes nothing.

    Raises:
        NotFoundError: no such round of this user.
        ConflictError: answered otherwise before, skipped, taken back, or the duel is over.
    """
    row = _own_round(connection, user_id, round_uid)
    if row.state == ANSWERED and row.pick == answer:
        return row.duel_uid
    _must_be_open(row)
    side = kept_side(answer, rng)
    kept_id = row.left_image_id if side == "left" else row.right_image_id
    _answer(connection, row, now, {"state": ANSWERED, "pick": answer, "kept_image_id": kept_id})
    _go_on(connection, settings, row, kept_id, now, rng)
    return row.duel_uid


def skip(
    connection: Connection, settings: Settings, user_id: int, round_uid: str, now: datetime, rng: Random
) -> str:
    """Replace both images without an answer; skipping the same round again changes nothing. Raises as `pick`."""
    row = _own_round(connection, user_id, round_uid)
    if row.state == SKIPPED:
        return row.duel_uid
    _must_be_open(row)
    _answer(connection, row, now, {"state": SKIPPED, "pick": None, "kept_image_id": None})
    _go_on(connection, settings, row, None, now, rng)
    return row.duel_uid


def _must_be_open(row: Row[Any]) -> None:
    if row.state == ANSWERED:
        raise ConflictError("This round was answered otherwise before; undo takes an answer back.")
    if row.state == SKIPPED:
        raise ConflictError("This round was skipped; undo brings it back.")
    if row.state == WITHDRAWN:
        raise ConflictError("This round went away when the answer before it was taken back.")
    if row.duel_state != OPEN:
        raise ConflictError("This duel is over.")


_set_answer = (
    update(rounds)
    .where(rounds.c.id == bindparam("key"))
    .values(
        state=bindparam("state"),
        pick=bindparam("pick"),
        kept_image_id=bindparam("kept_image_id"),
        picked_at=bindparam("picked_at"),
        response_ms=bindparam("response_ms"),
    )
)


def _answer(connection: Connection, row: Row[Any], now: datetime, values: dict[str, Any]) -> None:
    milliseconds = max(0, round((now - row.shown_at).total_seconds() * 1000))
    connection.execute(_set_answer, {"key": row.id, "picked_at": now, "response_ms": milliseconds, **values})


_pending = select(_pending_of(bindparam("duel_key")))
_stock = select(images.c.id, images.c.sha256, images.c.token, images.c.state).where(
    images.c.duel_id == bindparam("duel_key"),
    or_(images.c.state == READY, images.c.id == bindparam("kept_id")),
)
_insert_round = insert(rounds)
_show = update(images).where(images.c.id.in_(bindparam("ids", expanding=True))).values(state=SHOWN)


def _go_on(
    connection: Connection, settings: Settings, row: Row[Any], kept_id: int | None, now: datetime, rng: Random
) -> None:
    """Show the next round if it can be shown, and have as many images made as are wanted ahead."""
    pool = _show_next(connection, row.duel_id, row.user_id, row.number + 1, kept_id, now, rng)
    missing_now = 0
    if pool is None:
        missing_now = 1 if kept_id else 2
        jobs.promote(connection, row.duel_id, missing_now)
    wanted = settings.images_ahead + missing_now - (pool or 0) - row.pending
    orders = [
        (
            draw_order(row, settings.generators, rng),
            jobs.ON_SCREEN if row.pending + index < missing_now else jobs.AHEAD,
        )
        for index in range(wanted)
    ]
    jobs.enqueue(connection, row.duel_id, row.user_id, orders, now)


def _show_next(
    connection: Connection,
    duel_id: int,
    user_id: int,
    number: int,
    kept_id: int | None,
    now: datetime,
    rng: Random,
) -> int | None:
    """Make the next round and return how many images the pool still has; None if it has too few."""
    stock = connection.execute(_stock, {"duel_key": duel_id, "kept_id": kept_id}).all()
    kept = next((Candidate(row.id, row.sha256, row.token) for row in stock if row.id == kept_id), None)
    pool = sorted(
        (Candidate(row.id, row.sha256, row.token) for row in stock if row.id != kept_id),
        key=lambda candidate: candidate.image_id,
    )
    pair = next_round(kept, pool, rng)
    if pair is None:
        return None
    connection.execute(
        _insert_round,
        {
            "uid": secrets.token_urlsafe(16),
            "duel_id": duel_id,
            "user_id": user_id,
            "number": number,
            "left_image_id": pair.left.image_id,
            "right_image_id": pair.right.image_id,
            "incumbent": pair.incumbent,
            "state": OPEN,
            "shown_at": now,
        },
    )
    new = [image.image_id for image in (pair.left, pair.right) if image.image_id != kept_id]
    connection.execute(_show, {"ids": new})
    return len(pool) - len(new)


_own_duel = (
    select(duels)
    .where(duels.c.uid == bindparam("duel_uid"), duels.c.user_id == bindparam("user_id"))
    .with_for_update()
)
_last_round = (
    select(rounds)
    .where(rounds.c.duel_id == bindparam("duel_key"), rounds.c.state != WITHDRAWN)
    .order_by(rounds.c.number.desc())
    .limit(1)
)


def advance(connection: Connection, user_id: int, duel_uid: str, now: datetime, rng: Random) -> None:
    """Show the next round of a duel if none is on screen and its images are there. Raises as `pick`."""
    duel = connection.execute(_own_duel, {"duel_uid": duel_uid, "user_id": user_id}).first()
    if duel is None:
        raise NotFoundError("You have no such duel.")
    last = connection.execute(_last_round, {"duel_key": duel.id}).first()
    if duel.state != OPEN or (last and last.state == OPEN):
        return
    kept_id = last.kept_image_id if last else None
    _show_next(connection, duel.id, user_id, last.number + 1 if last else 1, kept_id, now, rng)


def undo(connection: Connection, user_id: int, round_uid: str, now: datetime) -> str:
    """Take the answer (or skip) of a round back, so that the round is on screen again; return the duel's uid.

    Possible for the last answered round of an open duel, within ten minutes; then for the one before, and
    so on. The round that had followed is withdrawn and its new images go back to the pool. Undoing a round
    that is already back on screen changes nothing. The response time then counts from when it was shown
    again.

    Raises:
        NotFoundError: no such round of this user.
        ConflictError: there is no answer to take back, or it is too late.
    """
    row = _own_round(connection, user_id, round_uid)
    if row.duel_state != OPEN:
        raise ConflictError("This duel is over; its answers stand.")
    if row.state == OPEN and row.undos:
        return row.duel_uid
    if row.state not in (ANSWERED, SKIPPED):
        raise ConflictError("This round has no answer to take back.")
    last = connection.execute(_last_round, {"duel_key": row.duel_id}).one()
    if last.number > row.number + 1 or (last.number == row.number + 1 and last.state != OPEN):
        raise ConflictError("Only the last answer can be taken back.")
    if now - row.picked_at > UNDO_WINDOW:
        raise ConflictError("An answer can be taken back for ten minutes.")
    if last.id != row.id:
        connection.execute(update(rounds).where(rounds.c.id == last.id).values(state=WITHDRAWN))
        back = {last.left_image_id, last.right_image_id} - {row.left_image_id, row.right_image_id}
        connection.execute(update(images).where(images.c.id.in_(back)).values(state=READY))
    connection.execute(
        update(rounds)
        .where(rounds.c.id == row.id)
        .values(
            state=OPEN,
            pick=None,
            kept_image_id=None,
            picked_at=None,
            response_ms=None,
            shown_at=now,
            undos=rounds.c.undos + 1,
        )
    )
    return row.duel_uid


def close(connection: Connection, user_id: int, duel_uid: str, now: datetime) -> None:
    """End a duel: what is not yet made is cancelled. Ending it again changes nothing.

    Raises:
        NotFoundError: no such duel of this user.
    """
    duel = connection.execute(_own_duel, {"duel_uid": duel_uid, "user_id": user_id}).first()
    if duel is None:
        raise NotFoundError("You have no such duel.")
    if duel.state == OPEN:
        connection.execute(update(duels).where(duels.c.id == duel.id).values(state=CLOSED, closed_at=now))
        jobs.cancel(connection, duel.id)


def fail_if_stuck(connection: Connection, duel_ids: Sequence[int], now: datetime) -> None:
    """Fail those of the duels that can never show another round: nothing on screen, in the pool or in the queue."""
    for duel_id in dict.fromkeys(duel_ids):
        last = connection.execute(_last_round, {"duel_key": duel_id}).first()
        if last and last.state == OPEN:
            continue
        kept_id = last.kept_image_id if last else None
        stock = connection.execute(_stock, {"duel_key": duel_id, "kept_id": kept_id}).all()
        pool = sum(row.id != kept_id for row in stock)
        pending = connection.execute(_pending, {"duel_key": duel_id}).scalar_one()
        if missing(kept_id is not None, pool) > pending:
            connection.execute(
                update(duels)
                .where(duels.c.id == duel_id, duels.c.state == OPEN)
                .values(state=FAILED, message=FAILED_MESSAGE, closed_at=now)
            )
            jobs.cancel(connection, duel_id)
