"""How often each model met each other one, and who won: all that a leaderboard needs, however many rounds there are.

Counting a million rounds takes seconds, so they are counted once: a `Ledger` is brought up to date by what has happened
since, and by the people whose answers have begun or ceased to count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, or_, select

from pickapic.collect.plans import plan_for_values
from pickapic.collect.quality import Policy
from pickapic.collect.quality.counting import BANNED, EXCLUDED, VISITOR, doubted, standing_picks
from pickapic.collect.tables import duels, images, rounds, users

LABELS = {"left": 1.0, "right": 0.0, "tie": 0.5}
SETTLED_AFTER = timedelta(hours=1)
"""An answer so old is not taken back any more. A younger one counts once its duel is over: a board that moved with
every pick would tell people which models they are looking at."""

Outcome = tuple[str, str, str]
"""Model on the left, model on the right, pick."""


@dataclass(frozen=True, slots=True)
class Meeting:
    """`count` answered rounds in which `model_0` and `model_1` met with this outcome (`label_0` as in the dataset)."""

    model_0: str
    model_1: str
    label_0: float
    count: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """What counts of all answers at one time: the `settled` ones from before `until`, and `fresh` ones since.

    `left_out` are the people whose answers did not count, less those who never signed in.
    """

    until: datetime
    left_out: frozenset[int]
    settled: Counter[Outcome]
    fresh: Counter[Outcome]

    def meetings(self) -> list[Meeting]:
        """Return the outcomes between models, in the order of their names."""
        return _meetings(self.settled + self.fresh)


def count(connection: Connection, before: Ledger | None, policy: Policy | None, now: datetime) -> Ledger:
    """Count the answers that count under `policy` (see counting.py); of those in `before` only what has changed.

    Answers that were deleted since are noticed only without `before`.
    """
    plan_for_values(connection)
    until = now - SETTLED_AFTER
    left_out = (
        frozenset(row.id for row in connection.execute(_left_out(policy))) if policy else frozenset[int]()
    )
    counts = standing_picks(policy)
    if before is None or before.until > until:
        settled = _counted(connection, counts, rounds.c.picked_at < until)
    else:
        settled = before.settled + _counted(
            connection, counts, rounds.c.picked_at >= before.until, rounds.c.picked_at < until
        )
        # Who is back: all that they ever answered up to then. Who is out: that much less.
        settled += _of_people(connection, before.left_out - left_out, before.until)
        settled -= _of_people(connection, left_out - before.left_out, before.until)
    # Asked of each fresh round: as a list of all duels that are over it would be made anew every time.
    over = exists().where(duels.c.id == rounds.c.duel_id, duels.c.state != "open")
    fresh = _counted(connection, counts, rounds.c.picked_at >= until, over)
    return Ledger(until, left_out, settled, fresh)


def meetings_of(connection: Connection, user_id: int) -> list[Meeting]:
    """Return one person's outcomes, of duels that are over: what is on screen stays unnamed."""
    over = rounds.c.duel_id.in_(select(duels.c.id).where(duels.c.user_id == user_id, duels.c.state != "open"))
    return _meetings(_counted(connection, _preferences(), rounds.c.user_id == user_id, over))


def _left_out(policy: Policy) -> Select[tuple[int]]:
    # Visitors are many and never were in; one who signs in comes in with the next full count.
    by_decision = users.c.status.in_((BANNED, EXCLUDED))
    return select(users.c.id).where(users.c.kind != VISITOR, or_(by_decision, doubted(policy)))


def _of_people(connection: Connection, people: Collection[int], until: datetime) -> Counter[Outcome]:
    if not people:
        return Counter()
    signed_in = select(users.c.id).where(users.c.id.in_(people), users.c.kind != VISITOR)
    return _counted(connection, _preferences(), rounds.c.user_id.in_(signed_in), rounds.c.picked_at < until)


def _preferences() -> ColumnElement[bool]:
    return and_(rounds.c.state == "answered", rounds.c.gold.is_(None))


def _counted(connection: Connection, *conditions: ColumnElement[bool]) -> Counter[Outcome]:
    left, right = images.alias("l"), images.alias("r")
    rows = connection.execute(
        select(left.c.model, right.c.model, rounds.c.pick, func.count())
        .select_from(rounds)
        .join(left, left.c.id == rounds.c.left_image_id)
        .join(right, right.c.id == rounds.c.right_image_id)
        .where(*conditions)
        .group_by(left.c.model, right.c.model, rounds.c.pick)
    )
    return Counter({(model_0, model_1, pick): number for model_0, model_1, pick, number in rows})


def _meetings(counts: Counter[Outcome]) -> list[Meeting]:
    ordered: Iterable[tuple[Outcome, int]] = sorted(counts.items())
    return [Meeting(left, right, LABELS[pick], number) for (left, right, pick), number in ordered]
