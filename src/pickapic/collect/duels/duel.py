"""The pick loop: the transactions that apply the rules of `pairing`.

A duel is one prompt of one user. Its pool holds finished images that were never shown. A round takes two
images: the one that was kept from the round before, and the next of the pool; both from the pool at the
start and after a skip. Which side each stands on is drawn for every round. An answer is stored once and for
all, except that the last answers may be taken back one by one (see `undo`).
"""

from __future__ import annotations

from collections.abc import Container
from datetime import datetime, timedelta
from random import Random
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from pickapic.collect.duels import limits, showing
from pickapic.collect.duels.orders import draw_order
from pickapic.collect.duels.pairing import kept_side
from pickapic.collect.moderation import reviews
from pickapic.collect.prompts import parse_prompt
from pickapic.collect.queue import jobs
from pickapic.collect.refusals import ConflictError, NotFoundError, NotShownError
from pickapic.collect.states import ANSWERED, CLOSED, OPEN, SKIPPED, WITHDRAWN, WITHHELD
from pickapic.collect.tables import duels, images, rounds
from pickapic.collect.uids import new_uid
from pickapic.collect.writes import Writes
from pickapic.records import Pick
from pickapic.settings import Settings

UNDO_WINDOW = timedelta(minutes=10)

_insert_duel = insert(duels).returning(duels.c.id)


def start(
    connection: Connection, settings: Settings, user_id: int, typed: str, now: datetime, rng: Random
) -> str:
    """Open a duel, queue the two images of its first round and those made ahead, and return its uid.

    `settings.generators` are those that are switched on now.

    Raises:
        PromptError: the prompt cannot be used; nothing was queued.
        ReviewError: a moderator has to look at it first; nothing was queued (see `moderation.reviews`).
        LimitError: too many prompts, images or answers; see limits.py.
        ConflictError: all generators are switched off.
    """
    prompt = parse_prompt(typed, settings.prompt_max_length)
    limits.check_start(connection, settings, user_id, now)
    if not settings.generators:
        raise ConflictError(
            "No pictures can be made at the moment: all models are switched off. Please try again later."
        )
    judged_by = reviews.check(connection, settings, user_id, prompt)
    uid = new_uid()
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
            "judged_by": judged_by,
            "refused": None if judged_by is None else False,
        },
    ).scalar_one()
    orders = [
        (draw_order(prompt, settings.generators, rng), jobs.ON_SCREEN if index < 2 else jobs.AHEAD)
        for index in range(2 + settings.images_ahead)
    ]
    jobs.enqueue(connection, duel_id, user_id, orders, now)
    return uid


_left, _right = images.alias("l"), images.alias("r")
_round = (
    select(
        rounds,
        showing.pending_of(rounds.c.duel_id).label("pending"),
        duels.c.uid.label("duel_uid"),
        duels.c.state.label("duel_state"),
        duels.c.caption,
        duels.c.negative_prompt,
        *(
            column.label(f"{side}_{column.name}")
            for side, table in (("left", _left), ("right", _right))
            for column in (table.c.token, table.c.state, table.c.fetched_at)
        ),
    )
    .join(duels, duels.c.id == rounds.c.duel_id)
    .join(_left, _left.c.id == rounds.c.left_image_id)
    .join(_right, _right.c.id == rounds.c.right_image_id)
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
    session_key: int | None = None,
    delivered: Container[str] = (),
) -> str:
    """Store the answer to a round, show the next if it is ready, and return the duel's uid.

    The same answer again changes nothing. `session_key` is the browser that answers; `delivered` are tokens of
    images that were sent to this user a moment ago, beside those whose row says so.

    Raises:
        NotFoundError: no such round of this user.
        NotShownError: one of its images was never sent to this user.
        ConflictError: answered otherwise before, skipped, taken back, or the duel is over.
        LimitError: as many answers as this user may give.
    """
    row = _own_round(connection, user_id, round_uid)
    if row.state == ANSWERED and row.pick == answer:
        return row.duel_uid
    _must_be_open(row)
    _must_be_seen(row, delivered)
    limits.check_pick(connection, settings, user_id, row.number, now)
    kept_id = _kept(connection, row, answer, rng)
    values = {"state": ANSWERED, "pick": answer, "kept_image_id": kept_id, "session_key": session_key}
    writes = Writes(connection)
    _answer(writes, row, now, values)
    showing.go_on(writes, settings, row, _after(row, kept_id), now, rng)
    return row.duel_uid


def skip(
    connection: Connection,
    settings: Settings,
    user_id: int,
    round_uid: str,
    now: datetime,
    rng: Random,
    session_key: int | None = None,
) -> str:
    """Replace both images without an answer; skipping the same round again changes nothing. Raises as `pick`."""
    row = _own_round(connection, user_id, round_uid)
    if row.state == SKIPPED:
        return row.duel_uid
    _must_be_open(row)
    kept_id = showing.kept_before(connection, row.duel_id, row.number) if row.gold_pair_id else None
    values = {"state": SKIPPED, "pick": None, "kept_image_id": kept_id, "session_key": session_key}
    writes = Writes(connection)
    _answer(writes, row, now, values)
    showing.go_on(writes, settings, row, _after(row, kept_id), now, rng)
    return row.duel_uid


def _kept(connection: Connection, row: Row[Any], answer: Pick, rng: Random) -> int | None:
    """Return which image stays: after a check round the clean one, or the one that had stayed before it."""
    if row.gold_pair_id is not None:
        return showing.kept_before(connection, row.duel_id, row.number)
    side = row.gold or kept_side(answer, rng)
    return row.left_image_id if side == "left" else row.right_image_id


def _after(row: Row[Any], kept_id: int | None) -> showing.Place:
    return showing.Place(
        duel_id=row.duel_id,
        user_id=row.user_id,
        caption=row.caption,
        number=row.number + 1,
        kept_id=kept_id,
        before=row.shown_at,
        after_check=row.gold is not None,
    )


def _must_be_open(row: Row[Any]) -> None:
    if row.state == ANSWERED:
        raise ConflictError("This round was answered otherwise before; undo takes an answer back.")
    if row.state == SKIPPED:
        raise ConflictError("This round was skipped; undo brings it back.")
    if row.state == WITHDRAWN:
        raise ConflictError("This round went away when the answer before it was taken back.")
    if row.duel_state != OPEN:
        raise ConflictError("This duel is over.")


def _must_be_seen(row: Row[Any], delivered: Container[str]) -> None:
    if row.left_state in WITHHELD or row.right_state in WITHHELD:
        raise ConflictError("One of these images was taken away; skip this round to go on.")
    for token, fetched_at in ((row.left_token, row.left_fetched_at), (row.right_token, row.right_fetched_at)):
        if fetched_at is None and token not in delivered:
            raise NotShownError("Both images must be on screen before a pick counts; they are loaded again.")


_set_answer = (
    update(rounds)
    .where(rounds.c.id == bindparam("key"))
    .values(
        state=bindparam("state"),
        pick=bindparam("pick"),
        kept_image_id=bindparam("kept_image_id"),
        picked_at=bindparam("picked_at"),
        response_ms=bindparam("response_ms"),
        session_key=bindparam("session_key"),
    )
)


def _answer(writes: Writes, row: Row[Any], now: datetime, values: dict[str, Any]) -> None:
    milliseconds = max(0, round((now - row.shown_at).total_seconds() * 1000))
    writes.add(_set_answer, key=row.id, picked_at=now, response_ms=milliseconds, **values)


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


def advance(
    connection: Connection, settings: Settings, user_id: int, duel_uid: str, now: datetime, rng: Random
) -> None:
    """Show the next round of a duel if none is on screen and its images are there. Raises as `pick`."""
    duel = connection.execute(_own_duel, {"duel_uid": duel_uid, "user_id": user_id}).first()
    if duel is None:
        raise NotFoundError("You have no such duel.")
    last = connection.execute(_last_round, {"duel_key": duel.id}).first()
    if duel.state != OPEN or (last and last.state == OPEN):
        return
    place = showing.Place(
        duel_id=duel.id,
        user_id=user_id,
        caption=duel.caption,
        number=last.number + 1 if last else 1,
        kept_id=last.kept_image_id if last else None,
        before=last.shown_at if last else None,
        after_check=bool(last and last.gold),
    )
    writes = Writes(connection)
    following = showing.show_next(writes, place, now, rng)
    orders = showing.prepare_check(connection, settings, place, following, rng)
    jobs.add(writes, duel.id, user_id, orders, now)
    writes.send()


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
        showing.back_to_the_pool(connection, last)
    connection.execute(
        update(rounds)
        .where(rounds.c.id == row.id)
        .values(
            state=OPEN,
            pick=None,
            kept_image_id=None,
            picked_at=None,
            response_ms=None,
            session_key=None,
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
