"""A person's score."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from pickapic.collect.boards.score import LONGEST_STREAK, Score, score, score_of
from pickapic.collect.tables import rounds


@pytest.mark.parametrize(
    ("picks", "gold", "points", "streak"),
    [
        (0, [], 0, 0),
        (12, [], 12, 0),
        (12, [True, True, False, True], 32, 2),
        (12, [False, True, True], 12, 0),
        (5, [True] * 50, 5 + 10 * LONGEST_STREAK, LONGEST_STREAK),
    ],
)
def test_picks_count_and_so_does_care(picks, gold, points, streak):
    assert score(picks, gold) == Score(points, picks, streak)


def test_known_answers_show_in_the_score_only_when_their_duel_is_over(hands):
    user = hands.guest()
    uid = hands.start(user)
    for answer in ("left", "right", "tie"):
        hands.make()
        hands.pick(user, hands.view(user, uid).round.round_uid, answer)
    for row, gold in zip(hands.rows(), ("right", "right", None), strict=False):
        hands.write(
            lambda connection, key=row.id, gold=gold: connection.execute(
                update(rounds).where(rounds.c.id == key).values(gold=gold)
            )
        )
    assert hands.read(score_of, user) == Score(3, 3, 0)
    hands.close(user, uid)
    assert hands.read(score_of, user) == Score(13, 3, 1)
