"""Leaderboards: what is shown, from when on, and how long it takes."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from sqlalchemy import update

from pickapic.collect.boards.standings import Meeting
from pickapic.collect.queue.generator_states import GeneratorState
from pickapic.collect.tables import images, rounds
from pickapic.ratings import standings
from pickapic.web.boards import PERSONAL_PICKS, personal_board, public_board, rate, tally_of

STATES = [GeneratorState(name, on, weight, weight, None, None) for name, on, weight in
          (("a", True, 1.0), ("b", True, 3.0), ("c", False, 2.0))]  # fmt: skip


def _meetings(count: int = 60, models: str = "abcd", seed: int = 0) -> list[Meeting]:
    rng = np.random.default_rng(seed)
    return [
        Meeting(left, right, label, int(rng.integers(1, count)))
        for left in models
        for right in models
        for label in (0.0, 0.5, 1.0)
    ]


def _rows(met: list[Meeting]) -> tuple[list[str], list[str], list[float]]:
    one_by_one = [one for one in met for _ in range(one.count)]
    return [m.model_0 for m in one_by_one], [m.model_1 for m in one_by_one], [m.label_0 for m in one_by_one]


def test_a_board_is_what_the_ratings_say_of_all_the_rounds():
    """The second opinion reads every round; the board, counts."""
    met = _meetings()
    board = public_board(met, STATES)
    expected = standings(*_rows(met), resamples=400)
    assert [row.model for row in board.rows] == [row.model for row in expected.models]
    for row, other in zip(board.rows, expected.models, strict=True):
        assert row.rating == pytest.approx(other.rating, abs=0.06)
        assert (row.low, row.high) == pytest.approx((other.low, other.high), abs=0.06)
        assert (row.rank, row.votes, row.provisional) == (other.rank, other.comparisons, other.provisional)
        assert row.win_rate == pytest.approx(other.win_rate, abs=1e-4)
    assert board.picks == sum(one.count for one in met)


def test_ranks_span_the_models_that_intervals_do_not_tell_apart():
    met = [Meeting("a", "b", 1.0, 900), Meeting("a", "b", 0.0, 100), Meeting("b", "c", 0.5, 400)]
    rows = {row.model: (row.rank, row.rank_to) for row in rate(met).rows}
    assert rows == {"a": (1, 1), "b": (2, 3), "c": (2, 3)}


@pytest.mark.parametrize(
    ("met", "models"),
    [
        ([], []),
        ([Meeting("a", "a", 1.0, 7)], []),
        ([Meeting("a", "b", 1.0, 1)], ["a", "b"]),
        ([Meeting("a", "b", 0.5, 3)], ["a", "b"]),
        ([Meeting("a", "b", 1.0, 2), Meeting("c", "d", 1.0, 2)], ["a", "b", "c", "d"]),
    ],
)
def test_the_first_picks_already_make_a_board(met, models):
    board = public_board(met, [])
    assert sorted(row.model for row in board.rows) == models
    for row in board.rows:
        assert row.provisional
        assert row.low <= row.rating <= row.high
        assert (row.rank, row.rank_to) == (1, len(models)), "one pick proves nothing"
    assert board.picks == sum(one.count for one in met)


def test_sampling_is_published():
    board = public_board(_meetings(models="abcz"), STATES)
    shares = {one.model: (one.share, one.drawn) for one in board.sampling}
    assert shares == {"a": (0.25, True), "b": (0.75, True), "c": (0.0, False)}
    assert board.retired == ["c", "z"]


def test_a_tally_leaves_out_a_model_against_itself():
    met = [Meeting("a", "a", 1.0, 50), Meeting("b", "a", 1.0, 2), Meeting("a", "b", 0.5, 1)]
    tally = tally_of(met)
    assert tally.models == ("a", "b")
    assert tally.wins.tolist() == [[0, 0], [2, 0]]
    assert tally.ties.tolist() == [[0, 1], [1, 0]]


def test_a_personal_board_waits_for_enough_picks():
    few = personal_board((Meeting("a", "b", 1.0, PERSONAL_PICKS - 1),))
    assert (few.to_go, few.rows) == (1, [])
    enough = personal_board((Meeting("a", "b", 1.0, PERSONAL_PICKS),))
    assert enough.to_go == 0
    assert [row.model for row in enough.rows] == ["a", "b"]


def test_millions_of_picks_are_rated_in_a_moment():
    met = _meetings(count=200_000, models="abcdefgh")
    assert sum(one.count for one in met) > 5_000_000
    begin = time.process_time()
    rate(met)
    assert time.process_time() - begin < 0.5, "some 20 ms"


def test_people_see_the_board_and_their_own(on):
    async def play(site):
        person = await site.person()
        empty = (await person.get("/api/v1/leaderboard")).json()
        assert (empty["picks"], empty["rows"]) == (0, [])
        assert {one["model"] for one in empty["sampling"]} == {g.name for g in site.settings.generators}
        assert "No picks yet" in (await person.get("/leaderboard")).text
        duel = await person.start()
        for answer in ["left", "tie", "right"] * 11:
            await site.work()
            duel = await person.read(duel)
            await person.pick(duel, answer)
        site.service.boards.clear()
        models = {row.model for row in await site.rows(images)}
        for path in ("/api/v1/leaderboard", "/api/v1/me/leaderboard"):
            before = (await person.get(path)).json()
            assert (before["picks"], before["rows"]) == (0, []), "its duel is open"
        await person.delete(f"/api/v1/duels/{duel['duel_id']}")
        site.service.boards.clear()
        board = (await person.get("/api/v1/leaderboard")).json()
        answered = [row for row in await site.rows(rounds) if row.state == "answered"]
        assert board["picks"] == len(answered) == 33
        mine = (await person.get("/api/v1/me/leaderboard")).json()
        assert mine["rows"] == board["rows"] != []
        assert (mine["to_go"], mine["picks"]) == (0, 33)
        assert {row["model"] for row in board["rows"]} <= models
        page = (await person.get("/leaderboard")).text
        assert all(row["model"] in page for row in board["rows"])
        assert page.count('<svg viewBox="0 0 200 16"') == len(board["rows"])
        stranger = await site.person()
        theirs = (await stranger.get("/api/v1/me/leaderboard")).json()
        assert (theirs["to_go"], theirs["rows"]) == (30, [])
        async with site.client() as client:
            assert (await client.get("/api/v1/me/leaderboard")).status_code == 401

    on(play)


def test_a_board_is_kept_for_a_moment(on):
    async def play(site):
        person = await site.person()
        duel = await person.start()
        await site.work()
        await person.pick(await person.read(duel), "left")
        await person.delete(f"/api/v1/duels/{duel['duel_id']}")
        site.service.boards.clear()
        first = (await person.get("/api/v1/leaderboard")).json()
        assert first["picks"] == 1

        def undo(connection):
            connection.execute(update(rounds).values(state="withdrawn"))

        await site.service.database.write(undo)
        assert (await person.get("/api/v1/leaderboard")).json() == first
        site.service.boards.clear()
        assert (await person.get("/api/v1/leaderboard")).json()["picks"] == 0
        assert not re.search("undefined|None", (await person.get("/leaderboard")).text)

    on(play)
