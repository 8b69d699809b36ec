"""Check rounds ("gold"): rounds whose answer is known beforehand, to see who looks. See docs/blindness.md.

Made: the image that was kept meets a spoiled copy of itself. From a list: the two images of an admin's pair.
Nothing in an answer tells such a round from another, and none of them is a preference: `rounds.gold` holds the
side of the better image, and whatever reads picks leaves those rounds out.

A copy is ordered while an ordinary round is shown, of an image drawn from three: the two on screen and the
one that comes next. It is shown one round later or more, if its source is then the image that stays; so a page that
fetches ahead had it among the images to come. One of the three stays after the next answer whatever somebody
answers, so every habit meets as many check rounds as any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, case, func, insert, select, update

from pickapic.collect.duels.pairing import Candidate, Pair
from pickapic.collect.queue import jobs
from pickapic.collect.refusals import NotFoundError
from pickapic.collect.states import ANSWERED
from pickapic.collect.states import GOLD as LISTED
from pickapic.collect.tables import gold_pairs, rounds
from pickapic.collect.tables import jobs as jobs_table
from pickapic.collect.uids import new_uid
from pickapic.records import InputError, Side

ACTIVE = "active"
RETIRED = "retired"
CAPTION_LENGTH = 500
# One image of three is the one that stays.
COPIES_FOR_ONE = 3
# The first two rounds of a duel cannot be checks; the four after them make up for it.
EARLY_ROUNDS = 4
EARLY = 1.5
PAIRS_CONSIDERED = 1000


@dataclass(frozen=True, slots=True)
class GoldPair:
    """A pair of an admin's list; `answered` times it was, `right` of them as it should be (a tie is wrong)."""

    uid: str
    caption: str
    better_sha256: str
    worse_sha256: str
    state: str
    added_by: int | None
    added_at: datetime
    answered: int
    right: int


@dataclass(frozen=True, slots=True)
class Check:
    """A check round that can be shown: the two images on their sides, the side of the better one, the list's pair."""

    pair: Pair
    better: Side
    gold_pair_id: int | None


def add_pair(
    connection: Connection,
    caption: str,
    better_sha256: str,
    worse_sha256: str,
    added_by: int | None,
    now: datetime,
) -> str:
    """Add a pair whose files are in the store, and return its uid.

    Raises:
        InputError: no caption, too long a one, or the same file twice.
    """
    words = caption.strip()
    if not 0 < len(words) <= CAPTION_LENGTH:
        raise InputError(f"A pair needs the words that it was made for, at most {CAPTION_LENGTH} characters.")
    if better_sha256 == worse_sha256:
        raise InputError("The two images are the same file: nobody could tell which is better.")
    uid = new_uid()
    connection.execute(
        insert(gold_pairs).values(
            uid=uid,
            caption=words,
            better_sha256=better_sha256,
            worse_sha256=worse_sha256,
            state=ACTIVE,
            added_by=added_by,
            added_at=now,
        )
    )
    return uid


def retire(connection: Connection, uid: str) -> None:
    """Show a pair to nobody any more; what was answered stays. Raises NotFoundError if there is no such pair."""
    changed = connection.execute(update(gold_pairs).where(gold_pairs.c.uid == uid).values(state=RETIRED))
    if not changed.rowcount:
        raise NotFoundError("There is no such pair.")


def pairs(connection: Connection) -> list[GoldPair]:
    """Return all pairs, the latest first, with how they were answered."""
    rows = connection.execute(
        select(
            gold_pairs.c.uid,
            gold_pairs.c.caption,
            gold_pairs.c.better_sha256,
            gold_pairs.c.worse_sha256,
            gold_pairs.c.state,
            gold_pairs.c.added_by,
            gold_pairs.c.added_at,
            func.count(rounds.c.id),
            func.coalesce(func.sum(case((rounds.c.pick == rounds.c.gold, 1), else_=0)), 0),
        )
        .join(
            rounds,
            and_(rounds.c.gold_pair_id == gold_pairs.c.id, rounds.c.state == ANSWERED),
            isouter=True,
        )
        .group_by(gold_pairs.c.id)
        .order_by(gold_pairs.c.id.desc())
    )
    return [GoldPair(*row) for row in rows]


def plan(
    connection: Connection,
    share: float,
    duel_id: int,
    user_id: int,
    caption: str,
    number: int,
    sources: Sequence[int],
    rng: Random,
) -> list[jobs.Order]:
    """Draw whether a check round is to be prepared, and return what has to be made for it.

    Called once for every ordinary round that is shown; `share` is the wanted share of check rounds among all,
    `number` is that of the round on screen, `sources` are the keys of its two images and of the next one. Half
    of the check rounds come from the list while it has pairs that this user has not seen.
    """
    # So many check rounds for each ordinary one. A copy is shown in one case of three, a pair always is.
    wanted = share / (1.0 - share) * (EARLY if number <= EARLY_ROUNDS else 1.0)
    if rng.random() >= COPIES_FOR_ONE * wanted:
        return []
    if rng.random() < 0.5:
        pair = _unseen(connection, duel_id, user_id, rng)
        if pair is not None:
            return _both(pair, rng) if rng.random() * COPIES_FOR_ONE < 1 else []
    return [_copy(rng.choice(sources), caption, rng)]


def _copy(source_image_id: int, caption: str, rng: Random) -> jobs.Order:
    return jobs.Order(
        generator="",
        prompt=caption,
        negative_prompt="",
        guidance_scale=0.0,
        steps=0,
        seed=rng.getrandbits(32),
        kind=jobs.CORRUPT,
        source_image_id=source_image_id,
        role=jobs.WORSE,
    )


def _both(pair: Row[*tuple[Any, ...]], rng: Random) -> list[jobs.Order]:
    """Return orders for both images of a pair, in an order that says nothing."""
    orders = [
        jobs.Order(
            generator="",
            prompt=pair.caption,
            negative_prompt="",
            guidance_scale=0.0,
            steps=0,
            seed=0,
            kind=jobs.GOLD,
            gold_pair_id=pair.id,
            role=role,
        )
        for role in (jobs.BETTER, jobs.WORSE)
    ]
    rng.shuffle(orders)
    return orders


_unseen_pairs = (
    select(gold_pairs.c.id, gold_pairs.c.caption)
    .where(
        gold_pairs.c.state == ACTIVE,
        gold_pairs.c.id.not_in(
            select(rounds.c.gold_pair_id).where(
                rounds.c.user_id == bindparam("user_id"), rounds.c.gold_pair_id.is_not(None)
            )
        ),
        gold_pairs.c.id.not_in(
            select(jobs_table.c.gold_pair_id).where(
                jobs_table.c.duel_id == bindparam("duel_key"), jobs_table.c.gold_pair_id.is_not(None)
            )
        ),
    )
    .order_by(gold_pairs.c.id.desc())
    .limit(PAIRS_CONSIDERED)
)


def _unseen(connection: Connection, duel_id: int, user_id: int, rng: Random) -> Row[*tuple[Any, ...]] | None:
    found = connection.execute(_unseen_pairs, {"user_id": user_id, "duel_key": duel_id}).all()
    return rng.choice(found) if found else None


def check_among(
    connection: Connection, aside: Sequence[Row[*tuple[Any, ...]]], kept: Candidate | None, rng: Random
) -> Check | None:
    """Return the check round that the images set aside allow now, its sides drawn; None if they allow none.

    `aside` has the columns image_id, sha256, token, phash, origin, source_image_id, job_id.
    """
    listed = [row for row in aside if row.origin == LISTED]
    if listed:
        check = _listed_check(connection, listed, rng)
        if check is not None:
            return check
    copy = next((row for row in aside if kept is not None and row.source_image_id == kept.image_id), None)
    if kept is None or copy is None:
        return None
    pair = _sided(kept, Candidate(copy.image_id, copy.sha256, copy.token), rng)
    better: Side = "left" if pair.left is kept else "right"
    return Check(Pair(pair.left, pair.right, better), better, None)


_pair_of_jobs = select(jobs_table.c.id, jobs_table.c.gold_pair_id, jobs_table.c.role).where(
    jobs_table.c.id.in_(bindparam("ids", expanding=True))
)


def _listed_check(
    connection: Connection, listed: Sequence[Row[*tuple[Any, ...]]], rng: Random
) -> Check | None:
    image_of = {row.job_id: Candidate(row.image_id, row.sha256, row.token) for row in listed}
    by_pair: dict[int, dict[str, Candidate]] = {}
    for job in connection.execute(_pair_of_jobs, {"ids": list(image_of)}):
        by_pair.setdefault(job.gold_pair_id, {})[job.role] = image_of[job.id]
    for gold_pair_id in sorted(by_pair):
        both = by_pair[gold_pair_id]
        if len(both) == 2:
            pair = _sided(both[jobs.BETTER], both[jobs.WORSE], rng)
            return Check(pair, "left" if pair.left is both[jobs.BETTER] else "right", gold_pair_id)
    return None


def _sided(first: Candidate, second: Candidate, rng: Random) -> Pair:
    if rng.random() < 0.5:
        return Pair(first, second, None)
    return Pair(second, first, None)
