"""The paper's split against its own words, written as a slow checker and a slow second implementation."""

import hashlib
import random
import resource
import subprocess
import sys
import time
from collections import defaultdict

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_examples import make, replace
from hypothesis import given
from hypothesis import strategies as st

from pickapic.dataset.schema import SPLITS
from pickapic.dataset.split import assign, paper_split
from pickapic.records import InputError


def creators_of(rows):
    """The user of each prompt's earliest example, the slow way."""
    creators = {}
    for row in sorted(rows, key=lambda row: (row["created_at"], row["ranking_id"])):
        creators.setdefault(row["caption"], row["user_id"])
    return creators


def check_by_the_rule(table, splits, n_prompts):
    """Assert every sentence of the rule on plain Python rows."""
    rows = table.to_pylist()
    parts = {name: splits[name].to_pylist() for name in SPLITS}
    prompts = {name: {row["caption"] for row in part} for name, part in parts.items()}
    creators = creators_of(rows)
    # 1,000 prompts, each created by a different user, in two halves
    held_out = prompts["validation"] | prompts["test"]
    assert len(held_out) == n_prompts
    assert len(prompts["validation"]) == n_prompts // 2
    assert len({creators[prompt] for prompt in held_out}) == n_prompts
    # validation and test hold all examples of their prompts; train every example of the others
    for name in ("validation", "test"):
        assert parts[name] == [row for row in rows if row["caption"] in prompts[name]]
    assert parts["train"] == [row for row in rows if row["caption"] not in held_out]
    assert not prompts["validation"] & prompts["test"]
    # exactly one example of each prompt
    for name in ("validation", "test"):
        unique = parts[f"{name}_unique"]
        assert sorted(row["caption"] for row in unique) == sorted(prompts[name])
        assert all(row in parts[name] for row in unique)


picks = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 8), st.integers(0, 5)), min_size=1, max_size=60)


def table_of(picks):
    return make([f"p{prompt}" for prompt, _, _ in picks], [u for _, u, _ in picks], [t for _, _, t in picks])


@given(picks, st.integers(2, 10), st.integers(0, 1000))
def test_the_rule_holds_for_any_dataset(picks, n_prompts, seed):
    table = table_of(picks)
    distinct = len(set(creators_of(table.to_pylist()).values()))
    if distinct < n_prompts:
        with pytest.raises(InputError, match=f"there are {distinct} "):
            paper_split(table, n_prompts, seed)
    else:
        check_by_the_rule(table, paper_split(table, n_prompts, seed), n_prompts)


@given(picks, st.integers(0, 1000), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(picks, seed, rng):
    table = table_of(picks)
    if len(set(creators_of(table.to_pylist()).values())) < 2:
        return
    order = list(range(table.num_rows))
    rng.shuffle(order)
    straight, shuffled = paper_split(table, 2, seed), paper_split(table.take(order), 2, seed)
    for name in SPLITS:
        assert set(straight[name]["ranking_id"].to_pylist()) == set(shuffled[name]["ranking_id"].to_pylist())


@given(picks, st.integers(2, 8), st.integers(0, 1000))
def test_user_disjoint_splits_share_no_user_and_lose_no_prompt(picks, n_prompts, seed):
    table = table_of(picks)
    if len(set(creators_of(table.to_pylist()).values())) < n_prompts:
        return
    splits = paper_split(table, n_prompts, seed, user_disjoint=True)
    users = {name: set(splits[name]["user_id"].to_pylist()) for name in SPLITS}
    assert not users["train"] & users["validation"]
    assert not users["train"] & users["test"]
    assert not users["validation"] & users["test"]
    captions = {name: set(splits[name]["caption"].to_pylist()) for name in SPLITS}
    assert len(captions["validation"]) + len(captions["test"]) == n_prompts
    assert not captions["train"] & (captions["validation"] | captions["test"])
    assert splits["test_unique"].num_rows == len(captions["test"])
    # Without the option the same prompts are held out: it only drops rows.
    plain = paper_split(table, n_prompts, seed)
    assert captions["test"] == set(plain["test"]["caption"].to_pylist())
    dropped = assign(table, n_prompts, seed, user_disjoint=True).dropped
    kept = sum(splits[name].num_rows for name in ("train", "validation", "test"))
    assert kept + dropped.sum() == table.num_rows


def test_same_seed_same_split_other_seed_another():
    table = make([f"p{i // 3}" for i in range(300)], [i // 3 % 60 for i in range(300)])
    first, again, other = (paper_split(table, 20, seed) for seed in (7, 7, 8))
    assert all(first[name].equals(again[name]) for name in SPLITS)
    assert not first["test"].equals(other["test"])


@pytest.mark.parametrize(
    ("user_disjoint", "digest"), [(False, "c74890cb9eb33964"), (True, "02af1e7435e6733d")]
)
def test_a_seed_gives_the_split_it_always_gave(user_disjoint, digest):
    """Published splits can be made again: these digests are of the first version of the rule.

    Of 600 rows only 40 times are different, so that ties in time are decided too.
    """
    n = 600
    table = make(
        [f"p{i * 7919 % 97}" for i in range(n)],
        [i * 31 % 97 % 61 for i in range(n)],
        [i * 13 % 40 for i in range(n)],
    )
    encoded = table.set_column(2, "caption", table["caption"].dictionary_encode())
    pieces = pa.concat_tables([table.slice(0, 200), table.slice(200)])
    for given_table in (table, encoded, pieces):
        splits = paper_split(given_table, 20, 3, user_disjoint)
        rankings = {name: splits[name]["ranking_id"].to_pylist() for name in SPLITS}
        assert hashlib.sha256(repr(rankings).encode()).hexdigest()[:16] == digest


def test_a_dictionary_with_unused_values_is_no_prompt():
    table = make(["unused", "a", "b", "a"], [9, 1, 2, 3])
    encoded = table.set_column(2, "caption", table["caption"].dictionary_encode()).slice(1)
    check_by_the_rule(table.slice(1), paper_split(encoded, 2), 2)


@pytest.mark.slow
def test_choices_are_fair():
    """Held-out prompts are a random sample of prompts, halves are exchangeable, unique rows uniform.

    Ann made 30 of 40 prompts, so most of the time she is drawn early; her prompt must still be as often in
    validation as in test. The second opinion draws the same way with Python's random and plain loops.
    """
    captions = [f"p{i % 40}" for i in range(120)]
    users = [0 if i % 40 < 30 else i % 40 for i in range(120)]
    table = make(captions, users)
    runs = 600
    halves = {"validation": 0, "test": 0}
    drawn, expected = 0, 0
    position = defaultdict(int)
    for seed in range(runs):
        splits = paper_split(table, 4, seed)
        for name in halves:
            halves[name] += 0 in splits[name]["user_id"].to_pylist()
            for ranking in splits[f"{name}_unique"]["ranking_id"].to_pylist():
                position[(ranking - 1) // 40] += 1
        drawn += splits["train"]["user_id"].to_pylist().count(0) < 90
        rng = random.Random(seed)
        prompts, seen = list(range(40)), []
        rng.shuffle(prompts)
        for prompt in prompts:
            creator = 0 if prompt < 30 else prompt
            if len(seen) < 4 and creator not in seen:
                seen.append(creator)
        expected += 0 in seen
    sigma = (runs * 0.25) ** 0.5
    assert abs(halves["validation"] - halves["test"]) < 4 * 2 * sigma
    assert abs(drawn - expected) < 4 * sigma
    third = 4 * runs / 3
    assert all(abs(position[i] - third) < 4 * (4 * runs * 2 / 9) ** 0.5 for i in range(3))


def test_a_prompt_belongs_to_whoever_typed_it_first():
    # bob's example of "shared" stands first in the file, ann's is earlier in time
    table = make(["shared", "shared", "bob's"], [2, 1, 2], minutes=[9, 1, 20])
    splits = paper_split(table, 2)
    assert {*splits["validation"]["caption"].to_pylist(), *splits["test"]["caption"].to_pylist()} == {
        "shared",
        "bob's",
    }
    with pytest.raises(InputError, match="there are 1 "):
        paper_split(make(["shared", "shared", "bob's"], [2, 1, 2], minutes=[1, 9, 20]), 2)


def test_bad_input_is_explained():
    table = make(["a", "b"], [1, 2])
    with pytest.raises(InputError, match="at least 2 prompts"):
        paper_split(table, 1)
    with pytest.raises(InputError, match="needs the column created_at"):
        paper_split(table.drop_columns(["created_at"]))
    nulls = replace(table, "caption", ["a", None])
    with pytest.raises(InputError, match="splitting needs a value in every row of 'caption'"):
        paper_split(nulls, 2)
    with pytest.raises(InputError, match="there are 0 "):
        paper_split(table.slice(0, 0), 2)


@pytest.mark.slow
def test_splitting_imports_no_pandas(tmp_path):
    """It would take longer than the splitting of a million rows, and 40 MiB."""
    pq.write_table(make(["a", "b", "c"], [1, 2, 3]), tmp_path / "picks.parquet")
    code = (
        "import sys\n"
        "from pickapic.dataset.read import read\n"
        "from pickapic.dataset.split import paper_split\n"
        "paper_split(read(sys.argv[1]), 2)\n"
        "assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "picks.parquet")], check=True)


@pytest.mark.slow
def test_a_million_rows_are_split_fast_and_lean():
    n = 1_000_000
    rng = np.random.default_rng(0)
    prompt = np.minimum(rng.geometric(1 / 15_000, n), 70_000)
    table = pa.table(
        {
            "caption": [f"a painting of thing number {p}, highly detailed" for p in prompt.tolist()],
            "created_at": pa.array(rng.integers(0, 10**9, n) * 1000, pa.timestamp("ns")),
            "user_id": (prompt * 7919) % 6000,
            "ranking_id": np.arange(n),
        }
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    splits = paper_split(table)
    seconds = time.perf_counter() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    frame = pl.DataFrame(splits["test"])
    assert frame["caption"].n_unique() == 500
    assert sum(splits[name].num_rows for name in ("train", "validation", "test")) == n
    assert seconds < 10
    assert grown < 400
