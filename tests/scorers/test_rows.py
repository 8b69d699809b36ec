"""Rows and their scores: each different image once, and a bad one at the cost of its own row."""

import numpy as np
import pytest

from fake_scorers import Hashing, expected
from hostile_images import bomb, encoded
from pickapic.records import InputError
from pickapic.scorers.rows import Row, RowScore, score_rows, scores_by_key


def single(number: int, image: str | bytes, prompt: str | None = "a cat") -> Row:
    return Row(prompt, (image,), (f"row {number}",), (number,))


def pair(prompt: str, left: int, right: int) -> Row:
    uids = (f"image-{left}", f"image-{right}")
    return Row(prompt, (encoded(left), encoded(right)), ("left", "right"), (), uids)


def test_one_call_scores_all_rows():
    scorer = Hashing()
    rows = [single(n, encoded(n), f"prompt {n}") for n in range(5)]
    assert score_rows(scorer, rows) == [RowScore((expected(f"prompt {n}", encoded(n)),)) for n in range(5)]
    assert scorer.calls == [5]
    assert score_rows(scorer, []) == []


def test_an_image_is_scored_once_for_each_prompt():
    scorer = Hashing()
    rows = [pair("a", 1, 2), pair("a", 2, 3), pair("a", 2, 4), pair("b", 2, 4)]
    scores = score_rows(scorer, rows)
    assert scorer.calls == [6]
    assert [score.scores for score in scores] == [
        (expected(row.prompt, row.images[0]), expected(row.prompt, row.images[1])) for row in rows
    ]
    again = score_rows(scorer, [pair("b", 4, 5)], scores_by_key(rows, scores))
    assert scorer.calls == [6, 1], "what the rows before had is known"
    assert again[0].scores == (expected("b", encoded(4)), expected("b", encoded(5)))


class Remembering(Hashing):
    """What it was asked before moves its scores, as a prompt's features move with the batch that they came from."""

    def score(self, prompts, images):
        return super().score(prompts, images) + np.float32(len(self.calls))

    def forget(self):
        self.calls.clear()


def test_what_was_scored_before_changes_nothing():
    """Rows come out the same in one go, after a stop, and on another machine."""
    rows = [pair("a", 1, 2), pair("b", 3, 4)]
    used, fresh = Remembering(), Remembering()
    score_rows(used, [pair("b", 5, 6)])
    assert score_rows(used, rows) == score_rows(fresh, rows)


def test_images_without_a_uid_are_never_taken_for_the_same():
    scorer = Hashing()
    score_rows(scorer, [single(0, encoded(1)), single(1, encoded(1))])
    assert scorer.calls == [2]


def test_a_bad_image_costs_its_own_row_and_the_rest_is_scored_in_one_more_call(tmp_path):
    path = tmp_path / "cut.jpg"
    path.write_bytes(encoded(7, size=64)[:-600])
    bad = {1: str(path), 2: b"", 4: bomb(40_000), 5: str(tmp_path / "gone.png")}
    rows = [single(n, bad.get(n, encoded(n))) for n in range(7)]
    scorer = Hashing()
    scores = score_rows(scorer, rows)
    assert scorer.calls == [7, 3]
    for n, score in enumerate(scores):
        if n in bad:
            assert score.scores == (None,)
            assert score.error.startswith(f"row {n}: ")
            assert "0x" not in score.error
        else:
            assert score == RowScore((expected("a cat", encoded(n)),))


def test_one_bad_side_leaves_the_other_its_score():
    row = Row("a", (encoded(1), b"no image"), ("left", "right"), (), ("1", "2"))
    (score,) = score_rows(Hashing(), [row])
    assert score.scores == (expected("a", encoded(1)), None)
    assert score.error.startswith("right: ")
    assert scores_by_key([row], [score]) == {("a", "1"): score.scores[0]}


class Picky(Hashing):
    """Refuses what every image library can open."""

    def score(self, prompts, images):
        if encoded(3) in images:
            self.calls.append(len(images))
            raise InputError("the image: has too few pixels for me")
        return super().score(prompts, images)


def test_what_the_scorer_alone_refuses_is_found_image_by_image():
    scores = score_rows(Picky(), [single(n, b"" if n == 1 else encoded(n)) for n in range(5)])
    assert [score.error for score in scores][3] == "row 3: has too few pixels for me"
    assert [score.scores[0] is None for score in scores] == [False, True, False, True, False]


def test_a_scorer_that_refuses_everything_blames_no_row():
    class Refusing(Hashing):
        def score(self, prompts, images):
            raise InputError("the licence has run out")

    with pytest.raises(InputError, match="licence"):
        score_rows(Refusing(), [single(n, encoded(n)) for n in range(3)])


def test_what_is_no_number_is_no_score():
    class Lost(Hashing):
        def score(self, prompts, images):
            return np.array([np.nan, 1.0, -np.inf], np.float32)

    scores = score_rows(Lost(), [single(n, encoded(n)) for n in range(3)])
    assert [score.scores for score in scores] == [(None,), (1.0,), (None,)]
    assert scores[0].error == "row 0: hashing gave no number but nan"


def test_a_missing_prompt_matters_to_scorers_that_read_it():
    rows = [single(0, encoded(0), None), single(1, encoded(1))]
    assert [score.error for score in score_rows(Hashing(), rows)] == ["row 0: has no prompt", None]
    assert [score.error for score in score_rows(Hashing(needs_prompt=False), rows)] == [None, None]
