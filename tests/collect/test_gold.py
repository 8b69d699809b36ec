"""Check rounds: made ones and those of a list, in every order of pick, skip and undo."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loop_player import EVERYTHING, PICKS, Player
from sqlalchemy import select

from pickapic.collect.duels import duel, gold
from pickapic.collect.refusals import ConflictError, NotFoundError
from pickapic.collect.tables import gold_pairs
from pickapic.collect.tables import jobs as jobs_table
from pickapic.records import InputError

pytestmark = pytest.mark.slow


def sides(row):
    return {"left": row.left_image_id, "right": row.right_image_id}


def other(side: str) -> str:
    return "right" if side == "left" else "left"


def add_pairs(connection, now, count: int) -> list[str]:
    return [
        gold.add_pair(connection, f"a pair {number}", f"{number:064x}", f"{number + 100:064x}", None, now)
        for number in range(count)
    ]


def test_a_made_check_shows_the_kept_image_and_a_spoiled_copy_of_it(hands):
    def play(connection):
        player = Player(hands, connection, share=0.2)
        player.play(100)
        played, shown = player.rounds(), player.images()
        checks = [row for row in played if row.gold]
        assert len(checks) >= 8
        for row in checks:
            clean, copy = (shown[sides(row)[side]] for side in (row.gold, other(row.gold)))
            assert (clean.origin, copy.origin) == ("generated", "corrupted")
            assert copy.source_image_id == clean.id
            assert row.incumbent == row.gold
            before = played[row.number - 2]
            assert before.kept_image_id == clean.id
            assert before.gold is None  # never two in a row
            if row.state == "answered":
                assert row.kept_image_id == clean.id
                following = played[row.number]
                assert sides(following)[following.incumbent] == clean.id
        assert {row.pick for row in checks if row.state == "answered"} == set(PICKS)
        assert min(row.number for row in checks) > 2
        assert all(image.origin == "generated" for image in shown.values() if image.state == "ready")

    hands.write(play)


# Numbers that the database has no part in are drawn on one of them alone.
ON_SQLITE = pytest.mark.parametrize("kind", ["sqlite"], indirect=True)


@pytest.mark.slow
@ON_SQLITE
@pytest.mark.parametrize("share", [0.03, 0.07, 0.1])
def test_the_share_of_check_rounds_is_about_what_the_settings_say(hands, share):
    def play(connection):
        return [
            row.gold
            for seed in range(4)
            for player in [Player(hands, connection, share, seed)]
            for row in [player.play(200), *player.rounds()]
            if row is not None
        ]

    played = hands.write(play)
    found = sum(side is not None for side in played) / len(played)
    # 800 rounds: five standard deviations of a share of 0.1 are 0.053.
    assert abs(found - share) < 5 * (share * (1 - share) / len(played)) ** 0.5
    lefts = sum(side == "left" for side in played)
    assert abs(lefts - found * len(played) / 2) < 2.5 * (found * len(played)) ** 0.5


def test_without_a_share_there_is_no_check(hands):
    def play(connection):
        player = Player(hands, connection, share=0.0)
        player.play(60)
        assert not any(row.gold for row in player.rounds())
        assert {row.kind for row in connection.execute(select(jobs_table.c.kind))} == {"generate"}

    hands.write(play)


@pytest.mark.slow
@ON_SQLITE
@pytest.mark.parametrize("habit", ["always the new one", "always the old one", "left", "tie"])
def test_no_habit_avoids_check_rounds(hands, habit):
    def play(connection):
        player = Player(hands, connection, share=0.1)
        for _ in range(150):
            player.view()
            row = player.rounds()[-1]
            answer = {"left": "left", "tie": "tie"}.get(habit)
            if answer is None:
                old = row.incumbent or "left"
                answer = old if habit == "always the old one" else other(old)
            player.pick(answer)
            player.make()
        return sum(row.gold is not None for row in player.rounds())

    # 15 are expected; as few as two come once in 25,000 times.
    assert hands.write(play) >= 3


def test_a_pair_of_the_list_is_shown_with_its_own_words_and_then_the_winner_returns(hands):
    def play(connection):
        add_pairs(connection, hands.now, 3)
        player = Player(hands, connection, share=0.2)
        for answer in PICKS:
            row = player.until_check(listed=True)
            shown = player.images()
            better, worse = (shown[sides(row)[side]] for side in (row.gold, other(row.gold)))
            assert (better.origin, better.role, worse.origin, worse.role) == (
                "gold",
                "better",
                "gold",
                "worse",
            )
            view = player.view()
            number = row.gold_pair_id - 1
            assert view.round.prompt == f"a pair {number}" == better.prompt
            assert view.prompt == "a cat [dog]"
            assert row.incumbent is None
            player.pick(answer)
            before, answered, following = player.rounds()[-3:]
            assert answered.id == row.id
            assert answered.kept_image_id == before.kept_image_id
            if before.state == "answered":
                assert sides(following)[following.incumbent] == before.kept_image_id
            assert player.view().round.prompt == "a cat [dog]"
            player.make()
        # Each pair once, then no more of them; the others are made.
        player.play(60)
        asked = Counter(row.gold_pair_id for row in player.rounds() if row.gold_pair_id)
        assert asked == {1: 1, 2: 1, 3: 1}
        assert {pair.answered for pair in gold.pairs(connection)} == {1}
        right = sum(row.pick == row.gold for row in player.rounds() if row.gold_pair_id)
        assert sum(pair.right for pair in gold.pairs(connection)) == right
        # Another person has not seen them yet.
        assert Player(hands, connection, share=0.2, seed=9).until_check(listed=True)

    hands.write(play)


@pytest.mark.slow
@ON_SQLITE
def test_about_half_of_the_checks_come_from_the_list_while_it_lasts(hands):
    def play(connection):
        add_pairs(connection, hands.now, 200)
        player = Player(hands, connection, share=0.15)
        player.play(200)
        return Counter(bool(row.gold_pair_id) for row in player.rounds() if row.gold)

    found = hands.write(play)
    # 30 are expected: five standard deviations are 14 of 15.
    assert found[True] > 1
    assert found[False] > 1


def test_a_retired_pair_is_shown_to_nobody(hands):
    def play(connection):
        for uid in add_pairs(connection, hands.now, 2):
            gold.retire(connection, uid)
        player = Player(hands, connection, share=0.2)
        player.play(80)
        assert not any(row.gold_pair_id for row in player.rounds())
        assert any(row.gold for row in player.rounds())
        assert {pair.state for pair in gold.pairs(connection)} == {"retired"}
        with pytest.raises(NotFoundError):
            gold.retire(connection, "x")

    hands.write(play)


def test_what_a_pair_of_the_list_needs(hands):
    def play(connection):
        good = ("a" * 64, "b" * 64, None, hands.now)
        for caption in ("", "  ", "x" * 501):
            with pytest.raises(InputError, match="words"):
                gold.add_pair(connection, caption, *good)
        with pytest.raises(InputError, match="same file"):
            gold.add_pair(connection, "a cat", "a" * 64, "a" * 64, None, hands.now)
        assert connection.execute(select(gold_pairs)).all() == []

    hands.write(play)


def test_each_showing_of_a_pair_has_images_of_its_own(hands):
    def play(connection):
        add_pairs(connection, hands.now, 1)
        first, second = (Player(hands, connection, share=0.2, seed=seed) for seed in (1, 2))
        tokens = []
        for player in (first, second):
            row = player.until_check(listed=True)
            shown = player.images()
            tokens += [shown[key].token for key in (row.left_image_id, row.right_image_id)]
        assert len(set(tokens)) == 4

    hands.write(play)


@pytest.mark.parametrize("listed", [False, True])
def test_skipping_a_check(hands, listed):
    def play(connection):
        add_pairs(connection, hands.now, 3)
        player = Player(hands, connection, share=0.2)
        row = player.until_check(listed)
        player.skip()
        before, skipped, following = player.rounds()[-3:]
        assert (skipped.id, skipped.state, skipped.pick) == (row.id, "skipped", None)
        if listed:
            assert skipped.kept_image_id == before.kept_image_id
        else:
            assert skipped.kept_image_id is None
            assert not set(sides(row).values()) & set(sides(following).values())
        assert following.gold is None

    hands.write(play)


@pytest.mark.parametrize("listed", [False, True])
def test_undoing_a_check_and_the_answer_before_it(hands, listed):
    def play(connection):
        add_pairs(connection, hands.now, 3)
        player = Player(hands, connection, share=0.2)
        row = player.until_check(listed)
        shown = player.view().round
        before = player.rounds()[-2]
        player.pick(other(row.gold))
        following = player.rounds()[-1]
        fresh = set(sides(following).values()) - {before.kept_image_id}
        player.undo()
        assert player.view().round == shown
        assert player.images()[before.kept_image_id].state == "shown"
        assert {player.images()[key].state for key in fresh} == {"ready"}
        again = player.rounds()[-1]
        assert (again.id, again.state, again.pick, again.gold) == (row.id, "open", None, row.gold)

        player.undo()  # the answer before the check
        new = [key for key in sides(row).values() if key != before.kept_image_id]
        assert {player.images()[key].state for key in new} == {"aside"}
        assert player.rounds()[-1].id == before.id
        player.skip()
        assert player.rounds()[-1].number == before.number + 1

    hands.write(play)


def test_a_check_counts_as_a_pick_while_the_duel_is_open_and_is_left_out_when_models_are_named(hands):
    def play(connection):
        player = Player(hands, connection, share=0.2)
        player.play(40)
        answered = [row for row in player.rounds() if row.state == "answered"]
        checks = [row for row in answered if row.gold]
        assert checks
        assert player.view().picks == len(answered) == 40
        over = player.close()
        assert [one.round_uid for one in over.revealed] == [row.uid for row in answered if not row.gold]
        named = {image.model for one in over.revealed for image in one.images}
        assert not {model for model in named if model.startswith(("gold", "corrupted"))}

    hands.write(play)


def test_what_comes_next_is_announced_in_the_same_way_whatever_it_is(hands):
    """The images of a check were among those to be fetched ahead, from the moment the round before was shown."""

    def play(connection):
        add_pairs(connection, hands.now, 20)
        player = Player(hands, connection, share=0.15)
        seen: list[tuple[set[str], set[str], str | None]] = []
        for _ in range(80):
            view = player.view()
            ahead = tuple(image.token for image in view.ahead)
            assert len(ahead) == 2
            player.now += timedelta(seconds=1)
            player.make()
            assert tuple(image.token for image in player.view().ahead) == ahead
            row = player.rounds()[-1]
            seen.append((set(ahead), {view.round.left.token, view.round.right.token}, row.gold))
            player.now += timedelta(seconds=1)
            player.pick(player.rng.choice(PICKS))
        checks = 0
        for (ahead, before, _), (_, shown, better) in itertools.pairwise(seen):
            assert shown - before <= ahead or better is None
            checks += better is not None
        assert checks > 3

    hands.write(play)


def test_a_copy_waits_for_the_pool_as_an_ordinary_round_does(hands):
    def play(connection):
        player = Player(hands, connection, share=0.25)
        for _ in range(60):
            view = player.view()
            if view.round is None:
                assert view.needed >= 1
                assert not view.may_advance
                player.make()
                continue
            player.pick("left")  # and nothing is made until the pool is empty
        return sum(row.gold is not None for row in player.rounds())

    assert hands.write(play) >= 1


def test_a_stranger_of_the_list_cannot_be_answered_twice(hands):
    def play(connection):
        add_pairs(connection, hands.now, 1)
        player = Player(hands, connection, share=0.2)
        row = player.until_check(listed=True)
        player.pick(row.gold)
        args = (player.settings, player.user, row.uid)
        duel.pick(connection, *args, row.gold, player.now, player.rng, None, EVERYTHING)
        with pytest.raises(ConflictError):
            duel.pick(connection, *args, other(row.gold), player.now, player.rng, None, EVERYTHING)

    hands.write(play)


ACTIONS = st.lists(
    st.sampled_from([*PICKS, *PICKS, "skip", "undo", "undo", "make", "make", "make"]), max_size=30
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(ACTIONS, st.integers(0, 1000), st.booleans())
def test_no_order_of_answers_breaks_a_rule(hands, actions, seed, with_list):
    def play(connection):
        with connection.begin_nested() as attempt:
            if with_list:
                add_pairs(connection, hands.now, 3)
            player = Player(hands, connection, share=0.25, seed=seed)
            for action in actions:
                view = player.view()
                if action == "make":
                    player.make()
                elif action == "undo":
                    player.undo()
                elif view.round is not None:
                    player.skip() if action == "skip" else player.pick(action)
            assert_rules(player)
            over = player.close()
            picks = [row for row in player.rounds() if row.state == "answered" and row.gold is None]
            assert [one.round_uid for one in over.revealed] == [row.uid for row in picks]
            shown = player.images()
            assert all(shown[key].origin == "generated" for row in picks for key in sides(row).values())
            attempt.rollback()

    hands.write(play)


def assert_rules(player: Player) -> None:
    played, shown = player.rounds(), player.images()
    assert [row.number for row in played] == list(range(1, len(played) + 1))
    assert [row.state for row in played[:-1]].count("open") == 0
    new: list[int] = []
    kept = None
    for row, before in zip(played, [None, *played], strict=False):
        both = sides(row)
        assert len(set(both.values())) == 2
        if row.gold_pair_id:
            assert {shown[both[row.gold]].role, shown[both[other(row.gold)]].role} == {"better", "worse"}
            assert shown[both[row.gold]].role == "better"
            assert row.incumbent is None
        elif row.gold:
            assert shown[both[other(row.gold)]].source_image_id == both[row.gold] == kept
            assert row.incumbent == row.gold
        else:
            assert (both[row.incumbent] if row.incumbent else None) == kept
        assert not (row.gold and before is not None and before.gold)
        new += [key for side, key in both.items() if side != row.incumbent]
        if row.state == "answered":
            if row.gold_pair_id is None:
                wanted = {row.gold} if row.gold else {row.pick} if row.pick != "tie" else {"left", "right"}
                assert row.kept_image_id in {both[side] for side in wanted}
            else:
                assert row.kept_image_id == kept
            kept = row.kept_image_id
        elif row.state == "skipped":
            assert row.kept_image_id == (kept if row.gold_pair_id else None)
            kept = row.kept_image_id
    assert len(new) == len(set(new)), "an image was new twice"
    for image in shown.values():
        waiting = "ready" if image.origin == "generated" else "aside"
        assert image.state == ("shown" if image.id in new else waiting)
