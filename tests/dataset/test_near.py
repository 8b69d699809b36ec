"""Near-duplicates against comparing all with all, in plain Python."""

import random
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pickapic.dataset.near import (
    near_bits,
    near_texts,
    normalised,
    rows_of_a_band,
)
from pickapic.records import InputError

WORDS = [
    "castle", "misty", "dragon", "oil", "painting", "of", "a", "golden", "retriever", "in", "neon", "city", "at",
    "night", "8k", "portrait", "highly", "detailed", "owl", "wearing", "hat", "by", "the", "sea", "robot", "garden",
]  # fmt: skip


def shingles(text):
    text = text.ljust(4)
    return {text[i : i + 4] for i in range(len(text) - 3)}


def jaccard(a, b):
    a, b = shingles(a), shingles(b)
    return len(a & b) / len(a | b)


def prompts(n, seed):
    rng = random.Random(seed)
    return sorted({" ".join(rng.choices(WORDS, k=rng.randint(1, 14))) for _ in range(n)})


def edited(texts, seed):
    """Return texts with a word or two exchanged, added or lost; some unchanged, some of their own."""
    rng = random.Random(seed)
    changed = []
    for text in texts:
        words = text.split()
        for _ in range(rng.randint(0, 2)):
            place = rng.randrange(len(words))
            words[place : place + rng.randint(0, 1)] = rng.choices(WORDS, k=rng.randint(0, 1)) or ["owl"]
        changed.append(" ".join(words))
    return sorted({*changed, *prompts(100, seed + 1)})


@pytest.fixture(scope="module")
def compared():
    a = prompts(200, 0)
    b = edited(a, 1)
    return a, b, np.array([[jaccard(x, y) for y in b] for x in a])


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.7, 0.8, 0.9, 1.0])
def test_near_texts_are_those_of_comparing_all_with_all(threshold, compared):
    a, b, similarity = compared
    expected = similarity >= threshold
    assert expected.any()
    assert not expected.all()
    pairs = near_texts(a, b, threshold)
    assert set(pairs.a.tolist()) == set(np.flatnonzero(expected.any(axis=1)).tolist())
    assert set(pairs.b.tolist()) == set(np.flatnonzero(expected.any(axis=0)).tolist())
    np.testing.assert_allclose(pairs.measure, similarity[pairs.a, pairs.b])
    assert (pairs.measure >= threshold).all()


@given(st.lists(st.text(max_size=12), max_size=8), st.lists(st.text(max_size=12), max_size=8))
def test_any_text_at_all_has_shingles(a, b):
    pairs = near_texts(a, b, 0.5)
    for i, j, measure in zip(pairs.a, pairs.b, pairs.measure, strict=True):
        assert measure == pytest.approx(jaccard(a[i], b[j]))
    assert {i for i, text in enumerate(a) if text in b} <= set(pairs.a.tolist())


def test_a_thousand_variants_of_one_text_do_not_cost_a_million_pairs():
    a = [f"a painting of thing number {i}, highly detailed, trending" for i in range(1000)]
    b = [f"a painting of thing number {i}, highly detailed, trending" for i in range(1000, 2000)]
    pairs = near_texts(a, b, 0.7)
    assert set(pairs.a.tolist()) == set(pairs.b.tolist()) == set(range(1000))
    assert len(pairs.a) <= 2000


@pytest.mark.parametrize("distance", [0, 1, 4, 9, 15])
def test_near_bits_are_those_of_comparing_all_with_all(distance):
    rng = np.random.default_rng(distance)
    a = rng.integers(0, 2**64, 300, dtype=np.uint64)
    b = rng.integers(0, 2**64, 300, dtype=np.uint64)
    # Planted: b[k] differs from a[k] in k % 20 bits, for the first 200.
    for k in range(200):
        mask = sum(1 << int(bit) for bit in rng.choice(64, k % 20, replace=False))
        b[k] = a[k] ^ np.uint64(mask)
    apart = np.array([[int(x ^ y).bit_count() for y in b] for x in a])
    pairs = near_bits(a, b, distance)
    expected = apart <= distance
    assert set(pairs.a.tolist()) == set(np.flatnonzero(expected.any(axis=1)).tolist())
    assert set(pairs.b.tolist()) == set(np.flatnonzero(expected.any(axis=0)).tolist())
    assert pairs.measure.tolist() == apart[pairs.a, pairs.b].tolist()
    assert len(pairs.a) >= 10 * (distance + 1)


def test_a_band_is_as_long_as_what_may_be_missed_allows():
    for threshold in np.linspace(0.2, 1, 17):
        rows = rows_of_a_band(threshold)
        bands = 128 // rows
        assert (1 - threshold**rows) ** bands <= 1e-3 or rows == 1
    assert rows_of_a_band(0.8) > rows_of_a_band(0.5)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A cat", "a  cat "),
        ("a cat, 8k!", "a cat 8k"),
        ("ａ ｃａｔ", "a cat"),  # full width
        ("e\u0301clair", "\u00e9clair"),  # composed or not
        ("STRASSE", "straße"),
        ("a\u200b cat", "a cat"),  # invisible
        ("(a cat:1.2)", "a cat 1.2"),
        ("a_cat", "a cat"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
    ],
)
def test_what_does_not_count(one, other):
    assert normalised(one) == normalised(other)
    assert one != other


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a cat", "a car"),
        ("🐱", "🐶"),
        ("!", "?"),
        ("हिंदी", "हद"),
        ("$5", "5"),
        ("a cat", "acat"),
        ("1.2", "12"),
    ],
)
def test_what_counts(one, other):
    assert normalised(one) != normalised(other)


@given(st.text())
def test_normalised_twice_is_normalised_once(text):
    once = normalised(text)
    assert normalised(once) == once
    assert not re.search(r"\s\s|^\s|\s$", once)


def test_bad_thresholds_are_explained():
    with pytest.raises(InputError, match=r"from 0\.2 to 1, not 0\.1"):
        near_texts(["a"], ["b"], 0.1)
    with pytest.raises(InputError, match="0 to 15 bits, not 16"):
        near_bits(np.zeros(1, np.uint64), np.zeros(1, np.uint64), 16)
