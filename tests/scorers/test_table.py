"""A table of scores: stopped at any point and begun again, it is the same byte for byte."""

import os
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from duel_tables import duels
from fake_scorers import Hashing, expected
from hostile_images import encoded
from pickapic import __version__
from pickapic.evaluate.scores import COLUMNS, score_examples
from pickapic.records import InputError
from pickapic.scorers.sources import Wanted, open_source
from pickapic.scorers.table import ScoreTable, identify


@pytest.fixture
def picks(tmp_path) -> Path:
    path = tmp_path / "picks.parquet"
    pq.write_table(duels(60), path, row_group_size=17)
    return path


def table_of(path: Path, out: Path, scorer=None, scale="logit", model=None, size=16) -> ScoreTable:
    source = open_source([str(path)], Wanted())
    scorer = scorer or Hashing()
    return ScoreTable(out, source, scorer, identify(source, scorer, model, images_a_part=size), scale)


def make(path: Path, out: Path, scorer=None, on_error="fail", fresh=False, **options):
    table = table_of(path, out, scorer, **options)
    table.begin(fresh)
    table.fill(on_error)
    return table.finish()


def test_the_scores_are_those_of_the_evaluation(picks, tmp_path):
    scorer = Hashing()
    summary = make(picks, tmp_path / "scores.parquet", scorer)
    assert (summary.rows, summary.failed, summary.kept) == (60, 0, 0)
    found = pq.read_table(tmp_path / "scores.parquet")
    assert found.column_names == [
        "ranking_id",
        "image_0_uid",
        "image_1_uid",
        "score_0",
        "score_1",
        "prob_0",
    ]
    examples = pq.read_table(picks, columns=["ranking_id", *COLUMNS])
    known = score_examples(Hashing(), examples)
    for name in ("ranking_id", "image_0_uid", "image_1_uid"):
        assert found[name].to_pylist() == examples[name].to_pylist()
    for name in ("score_0", "score_1", "prob_0"):
        np.testing.assert_array_equal(found[name].to_numpy(), getattr(known, name))
    assert not (tmp_path / "scores.parquet.parts").exists()


def test_an_image_that_stays_for_the_next_round_is_scored_once(picks, tmp_path):
    for size in (2, 16, 1000):
        scorer = Hashing()
        make(picks, tmp_path / f"{size}.parquet", scorer, size=size)
        assert len(scorer.seen) == len(set(scorer.seen)), size
        assert sum(scorer.calls) < 120 * 0.7


def test_the_table_says_what_it_holds(picks, tmp_path):
    make(picks, tmp_path / "scores.parquet", model="some/model")
    metadata = pq.read_schema(tmp_path / "scores.parquet").metadata
    said = {key.decode().removeprefix("pickapic."): value.decode() for key, value in metadata.items()}
    del said["identity"]
    assert said == {
        "scorer": "hashing",
        "model": "some/model",
        "precision": "auto",
        "scale": "logit",
        "higher_is_better": "true",
        "logit_scale": "10.0",
        "dataset": str(picks),
        "version": __version__,
    }


class Swayed(Hashing):
    """Its scores depend a little on what is scored in the same call, as those of real models do."""

    def score(self, prompts, images):
        return super().score(prompts, images) + np.float32(len(images) / 1000)


class Stopped(BaseException):
    """As if the process had been killed here."""


@pytest.mark.parametrize("size", [10, 26])
@pytest.mark.slow
def test_killed_at_any_step_on_disk_it_goes_on_and_ends_in_the_same_bytes(picks, tmp_path, monkeypatch, size):
    pq.write_table(duels(24), picks, row_group_size=7)
    whole, out = tmp_path / "whole.parquet", tmp_path / "out.parquet"
    make(picks, whole, Swayed(), size=size)
    steps, stop_at = 0, 0.0

    def step(real, by_half, *arguments):
        """Do one thing on disk; stop in the middle of it (n) or after it (n + 0.5)."""
        nonlocal steps
        steps += 1
        if steps == stop_at:
            by_half(*arguments)
            raise Stopped
        real(*arguments)
        if steps + 0.5 == stop_at:
            raise Stopped

    def nothing(*paths):
        pass

    def half_written(table, path):
        Path(path).write_bytes(b"PAR1 and no more")

    replace, unlink, rmdir, write_table = os.replace, Path.unlink, Path.rmdir, pq.write_table
    monkeypatch.setattr(os, "replace", partial(step, replace, nothing))
    monkeypatch.setattr(Path, "unlink", lambda path: step(unlink, nothing, path))
    monkeypatch.setattr(Path, "rmdir", lambda path: step(rmdir, nothing, path))
    monkeypatch.setattr(pq, "write_table", partial(step, write_table, half_written))
    stops = 0
    for point in range(2, 400):
        out.write_bytes(b"")
        unlink(out)
        steps, stop_at = 0, point / 2
        first, again = Swayed(), Swayed()
        try:
            make(picks, out, first, size=size)
        except Stopped:
            stops += 1
        else:
            break
        stop_at = 0.0
        summary = make(picks, out, again, size=size)
        assert out.read_bytes() == whole.read_bytes(), point
        assert not list(tmp_path.glob("out.parquet.*"))
        # What was in memory when it stopped is scored again: one part at most.
        assert sum(first.calls) + sum(again.calls) <= len(set(first.seen + again.seen)) + size
        assert summary.kept >= 24 - size // 2 - len(again.seen)
    assert stops > 4 * 48 / size


def test_what_was_scored_for_something_else_is_never_used(picks, tmp_path):
    out = tmp_path / "scores.parquet"
    stopped = table_of(picks, out)
    stopped.begin()
    with pytest.raises(InputError):
        stopped.fill(on_progress=stop_after(2))
    assert table_of(picks, out).begin() == 16
    weights = tmp_path / "weights"
    weights.mkdir()
    for change in ({"model": "other"}, {"size": 8}, {"model": str(weights)}):
        with pytest.raises(InputError, match=r"something else .* give --fresh"):
            table_of(picks, out, **change).begin()
    other = Hashing()
    other.name = "other"
    with pytest.raises(InputError, match="scorer: hashing there, other now"):
        table_of(picks, out, other).begin()
    pq.write_table(duels(61), picks)
    with pytest.raises(InputError, match="the dataset has changed; rows: 60 there, 61 now"):
        table_of(picks, out).begin()
    assert make(picks, out, fresh=True).kept == 0
    assert pq.read_table(out).num_rows == 61


def stop_after(parts: int):
    def on_progress(images: int) -> None:
        nonlocal parts
        parts -= 1
        if not parts:
            raise InputError("stopped")

    return on_progress


def test_weights_trained_again_in_the_same_folder_are_others(picks, tmp_path):
    out, weights = tmp_path / "scores.parquet", tmp_path / "weights"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"one")
    make(picks, out, model=str(weights))
    again = Hashing()
    assert make(picks, out, again, model=str(weights)).kept == 60
    assert again.calls == [], "a finished table is left as it is"
    (weights / "model.safetensors").write_bytes(b"another")
    with pytest.raises(InputError, match="model: "):
        make(picks, out, model=str(weights))


def test_a_finished_table_of_something_else_stays_until_the_new_one_takes_its_place(picks, tmp_path):
    out = tmp_path / "scores.parquet"
    make(picks, out)
    old = out.read_bytes()
    with pytest.raises(InputError, match=r"scale: logit there, cosine now.*--fresh"):
        make(picks, out, scale="cosine")
    table = table_of(picks, out, scale="cosine")
    table.begin(fresh=True)
    assert out.read_bytes() == old
    table.fill()
    table.finish()
    assert out.read_bytes() != old


@pytest.mark.parametrize("content", [b"a letter", b""])
def test_a_file_that_is_no_table_of_scores_is_never_replaced(picks, tmp_path, content):
    out = tmp_path / "letter.txt"
    out.write_bytes(content)
    for fresh in (False, True):
        with pytest.raises(InputError, match="no table of scores"):
            make(picks, out, fresh=fresh)
        with pytest.raises(InputError, match="no table of scores"):
            make(picks, picks, fresh=fresh)
    assert out.read_bytes() == content
    parts = tmp_path / "scores.parquet.parts"
    parts.mkdir()
    (parts / "mine").write_text("mine")
    for fresh in (False, True):
        with pytest.raises(InputError, match="in the way"):
            make(picks, tmp_path / "scores.parquet", fresh=fresh)
    assert (parts / "mine").exists()
    with pytest.raises(InputError, match="no folder"):
        make(picks, tmp_path / "nowhere" / "scores.parquet")


def broken(path: Path) -> None:
    """Break the right image of row 21 and take that of row 33."""
    table = pq.read_table(path)
    for name, rows in (("jpg_0", {33: b""}), ("jpg_1", {21: encoded(1)[:100], 33: None})):
        column = [rows.get(i, value) for i, value in enumerate(table[name].to_pylist())]
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(column, pa.binary()))
    pq.write_table(table, path)


def test_a_bad_image_stops_the_run_or_is_told_of_in_the_table(picks, tmp_path):
    whole = tmp_path / "whole.parquet"
    make(picks, whole)
    broken(picks)
    out = tmp_path / "scores.parquet"
    table = table_of(picks, out)
    table.begin()
    with pytest.raises(InputError, match=r"picks.parquet, row 21, jpg_1: .*The scores of 16 rows are kept"):
        table.fill()
    scorer = Hashing()
    summary = make(picks, out, scorer, "skip")
    assert (summary.rows, summary.failed, summary.kept) == (60, 2, 16)
    found, good = pq.read_table(out).to_pylist(), pq.read_table(whole).to_pylist()
    for number, (row, known) in enumerate(zip(found, good, strict=True)):
        error = row.pop("error")
        if number == 21:
            assert "row 21, jpg_1: " in error
            assert (row["score_0"], row["score_1"], row["prob_0"]) == (known["score_0"], None, None)
        elif number == 33:
            assert "row 33: no jpg_1" in error
            assert (row["score_0"], row["score_1"], row["prob_0"]) == (None, None, None)
        else:
            assert (error, row) == (None, known)
    assert make(picks, out, scorer, "skip").failed == 2, "the finished table tells it again"


def test_scales(picks, tmp_path):
    tables = {}
    for scale in ("logit", "cosine", "probability"):
        make(picks, tmp_path / scale, scale=scale)
        tables[scale] = pq.read_table(tmp_path / scale)
        assert pq.read_schema(tmp_path / scale).metadata[b"pickapic.scale"].decode() == scale
    logit = np.stack([tables["logit"][name].to_numpy() for name in ("score_0", "score_1")])
    for side, name in enumerate(("score_0", "score_1")):
        np.testing.assert_allclose(tables["cosine"][name].to_numpy(), logit[side] / 10, rtol=1e-6)
        chance = 1 / (1 + np.exp(logit[1 - side] - logit[side]))
        np.testing.assert_allclose(tables["probability"][name].to_numpy(), chance, rtol=1e-5)
    np.testing.assert_allclose(
        tables["probability"]["prob_0"].to_numpy(), tables["logit"]["prob_0"].to_numpy()
    )
    with pytest.raises(InputError, match="no cosines"):
        table_of(picks, tmp_path / "x", Hashing(logit_scale=None), "cosine")
    images = tmp_path / "images.parquet"
    pq.write_table(pa.table({"image": [encoded(1)], "text": ["a"]}), images)
    with pytest.raises(InputError, match="one of two images"):
        table_of(images, tmp_path / "x", scale="probability")


def test_lower_may_be_better(picks, tmp_path):
    scorer = Hashing()
    scorer.higher_is_better = False
    make(picks, tmp_path / "lower", scorer)
    make(picks, tmp_path / "higher")
    lower, higher = pq.read_table(tmp_path / "lower"), pq.read_table(tmp_path / "higher")
    assert lower["score_0"].equals(higher["score_0"]), "as the scorer gives them"
    np.testing.assert_allclose(lower["prob_0"].to_numpy(), 1 - higher["prob_0"].to_numpy(), atol=1e-6)


def test_images_with_captions_and_none_at_all(tmp_path):
    images = tmp_path / "images.parquet"
    pq.write_table(pa.table({"image": [encoded(n) for n in range(5)], "text": list("abcde")}), images)
    make(images, tmp_path / "scores", size=2)
    assert pq.read_table(tmp_path / "scores").to_pylist() == [
        {"row": n, "caption": letter, "score": expected(letter, encoded(n))}
        for n, letter in enumerate("abcde")
    ]
    pq.write_table(pq.read_table(images).slice(0, 0), images)
    assert make(images, tmp_path / "none").rows == 0
    assert pq.read_table(tmp_path / "none").schema.names == ["row", "caption", "score"]
    pq.write_table(pa.table({"image": [encoded(1)]}), images)
    with pytest.raises(InputError, match="--prompt"):
        make(images, tmp_path / "unprompted")
    assert make(images, tmp_path / "unprompted", Hashing(needs_prompt=False)).rows == 1
