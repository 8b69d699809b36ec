"""What a leaderboard counts, and that counting bit by bit comes to the same as counting everything."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import delete, insert, update

from pickapic.collect.boards import standings
from pickapic.collect.boards.standings import SETTLED_AFTER, Meeting
from pickapic.collect.quality import Policy
from pickapic.collect.tables import duels, images, risks, rounds, users

POLICY = Policy()
LABELS = {"left": 1.0, "right": 0.0, "tie": 0.5}


def _play(hands, user: int, *answers: str, close: bool = True) -> str:
    uid = hands.start(user)
    for answer in answers:
        hands.make()
        hands.pick(user, hands.view(user, uid).round.round_uid, answer)
    if close:
        hands.close(user, uid)
    return uid


def _count(hands, before=None):
    return hands.read(standings.count, before, POLICY, hands.now)


def _by_hand(hands) -> list[Meeting]:
    """The same by reading every row."""
    models = {row.id: row.model for row in hands.rows(images)}
    people = {row.id: row for row in hands.rows(users)}
    risky = {
        row.user_id
        for row in hands.read(lambda c: c.execute(risks.select()).all())
        if row.score >= POLICY.exclude
    }
    still_open = {row.id for row in hands.rows(duels) if row.state == "open"}
    found: Counter[tuple[str, str, str]] = Counter()
    for row in hands.rows():
        person = people[row.user_id]
        if row.state != "answered" or row.gold is not None or person.kind == "visitor":
            continue
        if person.status in ("banned", "excluded") or (person.status == "active" and person.id in risky):
            continue
        if row.duel_id in still_open and row.picked_at >= hands.now - SETTLED_AFTER:
            continue
        found[models[row.left_image_id], models[row.right_image_id], row.pick] += 1
    return [Meeting(left, right, LABELS[pick], n) for (left, right, pick), n in sorted(found.items())]


def test_answers_count_once_their_duel_is_over(hands):
    user = hands.guest()
    uid = _play(hands, user, "right", close=False)
    assert _count(hands).meetings() == []
    assert hands.read(standings.meetings_of, user) == []
    hands.close(user, uid)
    (meeting,) = _count(hands).meetings()
    assert (meeting.label_0, meeting.count) == (0.0, 1)
    assert hands.read(standings.meetings_of, user) == [meeting]
    assert hands.read(standings.meetings_of, hands.guest()) == []


def test_an_old_answer_of_a_duel_left_open_counts_for_all_but_not_for_oneself(hands):
    user = hands.guest()
    _play(hands, user, "left", close=False)
    hands.later(SETTLED_AFTER.total_seconds() + 1)
    assert [meeting.count for meeting in _count(hands).meetings()] == [1]
    assert hands.read(standings.meetings_of, user) == []


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (rounds, {"gold": "left"}),
        (rounds, {"state": "withdrawn"}),
        (users, {"kind": "visitor"}),
        (users, {"status": "banned"}),
        (users, {"status": "excluded"}),
    ],
)
def test_what_does_not_count(hands, table, values):
    _play(hands, hands.guest(), "left", "tie")
    assert _count(hands).meetings()
    hands.write(lambda connection: connection.execute(update(table).values(**values)))
    assert _count(hands).meetings() == []
    hands.later(2 * SETTLED_AFTER.total_seconds())
    assert _count(hands).meetings() == []


def test_a_doubted_person_is_left_out_unless_an_admin_trusts_them(hands):
    user = hands.guest()
    _play(hands, user, "left")
    row = {
        "user_id": user,
        "score": 99.0,
        "reasons": "[]",
        "picks": 1,
        "policy": "x",
        "computed_at": hands.now,
    }
    hands.write(lambda connection: connection.execute(insert(risks).values(**row)))
    assert _count(hands).meetings() == []
    hands.write(lambda connection: connection.execute(update(users).values(status="trusted")))
    assert len(_count(hands).meetings()) == 1


def test_counting_bit_by_bit_comes_to_the_same(hands):
    """People pick, leave duels open, are banned and let back in, while a ledger is kept up to date."""
    rng, people, ledger = random.Random(1), [hands.guest() for _ in range(4)], None
    statuses = []
    for _ in range(14):
        _play(
            hands, rng.choice(people), *rng.choices(["left", "right", "tie"], k=3), close=rng.random() < 0.7
        )
        changed, status = (
            rng.choice(people),
            rng.choice(["active", "active", "banned", "excluded", "trusted"]),
        )
        hands.write(
            lambda connection, changed=changed, status=status: connection.execute(
                update(users).where(users.c.id == changed).values(status=status)
            )
        )
        statuses.append(status)
        hands.later(rng.choice([5, 1800, 4000]))
        ledger = _count(hands, ledger)
        assert ledger.meetings() == _by_hand(hands) == _count(hands).meetings()
    assert {"banned", "active"} <= set(statuses)
    assert sum(meeting.count for meeting in ledger.meetings()) > 8


def test_only_what_is_new_is_counted(hands):
    """Rounds that were counted are not read again: they may be gone, and the ledger still has them."""
    _play(hands, hands.guest(), "left", "tie")
    hands.later(2 * SETTLED_AFTER.total_seconds())
    ledger = _count(hands)
    hands.write(lambda connection: connection.execute(delete(rounds)))
    assert _count(hands, ledger).meetings() == ledger.meetings() != []
    assert _count(hands).meetings() == []
    hands.now -= timedelta(days=1)
    assert _count(hands, ledger).meetings() == []
