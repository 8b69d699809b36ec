from collections import Counter
from datetime import datetime, timedelta

import pyarrow as pa
import pytest
from dataset_examples import make, replace
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from pickapic.dataset.clean import clean, with_example_counts
from pickapic.dataset.manifest import LeftOut
from pickapic.dataset.schema import check
from pickapic.dataset.stats import Counting, stats, wilson
from pickapic.records import InputError

rows = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 4), st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=40
)


@given(rows)
def test_stats_count_what_a_loop_counts(rows):
    table = make([f"p{p}" for p, _, _ in rows], [u for _, u, _ in rows], labels=[label for *_, label in rows])
    found = stats(table)
    labels = [label for *_, label in rows]
    assert (found.rows, found.ties) == (len(rows), labels.count(0.5))
    assert found.prompts == len({p for p, *_ in rows})
    assert found.users == len({u for _, u, _ in rows})
    assert found.picks_per_prompt_max == max(Counter(p for p, *_ in rows).values())
    assert found.picks_per_user_max == max(Counter(u for _, u, _ in rows).values())
    decided = [label for label in labels if label != 0.5]
    assert found.left_share == (sum(decided) / len(decided) if decided else None)
    wins, duels, shown = Counter(), Counter(), Counter()
    for row in table.to_pylist():
        for model, other, label in (
            (row["model_0"], row["model_1"], row["label_0"]),
            (row["model_1"], row["model_0"], row["label_1"]),
        ):
            shown[model] += 1
            if model != other:
                wins[model] += label
                duels[model] += 1
    assert {m.model: m.shown for m in found.models} == dict(shown)
    for model in found.models:
        expected = wins[model.model] / duels[model.model] if duels[model.model] else None
        assert model.win_rate == pytest.approx(expected) if expected is not None else model.win_rate is None


def test_stats_of_nothing_and_of_a_day():
    empty = stats(make(["a"], [1]).slice(0, 0))
    assert (empty.rows, empty.left_share, empty.first, empty.models) == (0, None, None, ())
    table = make(["a", "b"], [1, 1], minutes=[0, 90])
    assert (stats(table).first, stats(table).last) == ("2023-03-01T12:00:00Z", "2023-03-01T13:30:00Z")
    with pytest.raises(InputError, match="needs the column label_0"):
        stats(table.drop_columns(["label_0"]))


@given(st.integers(1, 300), st.floats(0, 1))
def test_wilson_interval_is_scipys(trials, share):
    successes = round(share * trials)
    interval = binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson(successes, trials) == pytest.approx((interval.low, interval.high), abs=1e-6)


def test_cleaning_counts_each_row_once_and_recounts_examples():
    table = make(["a", "nsfw", "a", "b", "nsfw", "b"], [1, 2, 3, 3, 3, 4])
    table = replace(table, "has_label", [True, True, True, True, True, False])
    cleaned = clean(table, banned_users={3}, is_blocked=lambda prompt: "nsfw" in prompt)
    assert cleaned.table["ranking_id"].to_pylist() == [1]
    assert cleaned.table["num_example_per_prompt"].to_pylist() == [1]
    assert cleaned.left_out == (
        LeftOut("banned user", 3),
        LeftOut("blocked prompt", 1),
        LeftOut("no judgement", 1),
    )


def test_cleaning_a_clean_table_changes_nothing():
    table = make(["a", "b", "a"], [1, 2, 3])
    cleaned = clean(table)
    assert cleaned.table.equals(table)
    assert cleaned.left_out == ()


def test_prompts_are_asked_about_once():
    asked = []
    clean(make(["a", "b", "a"], [1, 2, 3]), is_blocked=lambda prompt: bool(asked.append(prompt)))
    assert sorted(asked) == ["a", "b"]


@given(st.lists(st.sampled_from(["a", "b", "c", "A", "a "])))
def test_example_counts(captions):
    table = with_example_counts(make(captions, [1] * len(captions)))
    assert table["num_example_per_prompt"].to_pylist() == [Counter(captions)[c] for c in captions]
    assert check(table) == []


def test_rows_without_a_judgement_are_no_picks():
    """The releases mark them by has_label; elsewhere they have no label, or NaN."""
    table = make(["a", "a", "b", "c", "d"], [1, 1, 2, 3, 3], labels=[1.0, 0.0, 0.5, 1.0, 1.0])
    table = replace(table, "has_label", [True, True, True, False, None])
    found = stats(table)
    assert (found.rows, found.unlabelled, found.ties) == (5, 2, 1)
    assert (found.left_share, found.tie_share) == (0.5, pytest.approx(1 / 3))
    nameless = replace(
        table.drop_columns(["has_label"]), "label_0", [1.0, 0.0, None, float("nan"), 0.5], pa.float64()
    )
    assert (stats(nameless).unlabelled, stats(nameless).left_share) == (2, 0.5)


def test_nulls_are_no_prompt_no_person_and_no_model():
    table = make(["a", "a", "b"], [1, 2, 2])
    table = replace(replace(table, "caption", ["a", None, None]), "user_id", [None, None, 2])
    found = stats(replace(table, "model_0", [None, "x", None]))
    assert (found.prompts, found.picks_per_prompt, found.users, found.picks_per_user_max) == (1, 1, 1, 1)
    assert None not in [model.model for model in found.models]
    nothing = stats(replace(table, "caption", [None] * 3))
    assert (nothing.prompts, nothing.picks_per_prompt, nothing.picks_per_prompt_max) == (0, None, 0)


def test_cleaning_survives_nulls():
    table = replace(make(["a", "b", "c"], [1, 2, 3]), "has_label", [True, None, True])
    table = replace(replace(table, "caption", ["a", "b", None]), "user_id", [None, 2, 3])
    cleaned = clean(table, banned_users=[3], is_blocked=lambda text: text.startswith("z"))
    assert cleaned.table["caption"].to_pylist() == ["a"]
    assert cleaned.left_out == (LeftOut("banned user", 1), LeftOut("no judgement", 1))


def test_rows_counted_piece_by_piece_give_the_counts_of_the_whole():
    table = pa.Table.from_pylist(
        [
            {
                "caption": f"prompt {number % 7}" if number % 11 else None,
                "created_at": datetime(2024, 1, 1) + timedelta(hours=number * 37 % 100),
                "label_0": [0.0, 0.5, 1.0, None][number % 4],
                "model_0": f"model-{number % 3}",
                "model_1": f"model-{number % 5}",
                "user_id": number % 6,
            }
            for number in range(60)
        ]
    )
    counting = Counting()
    for start in range(0, 60, 13):
        counting.add(table.slice(start, 13))
    assert counting.result() == stats(table)
    assert stats(table).prompts == 7
    assert Counting().result().first is None
