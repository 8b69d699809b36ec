"""The pure rules: which images meet, who stays, what a prompt says."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pickapic.collect.duels.duel import draw_order
from pickapic.collect.duels.pairing import Candidate, kept_side, missing, next_round
from pickapic.collect.prompts import parse_prompt
from pickapic.collect.refusals import PromptError
from pickapic.settings import GeneratorChoice


def candidate(number: int, content: str = "") -> Candidate:
    return Candidate(number, content or f"{number:064x}", f"token{number}")


@given(st.integers(0, 6), st.booleans(), st.randoms(use_true_random=False))
def test_a_round_takes_the_kept_image_and_the_first_of_the_pool(size, has_kept, rng):
    kept = candidate(99) if has_kept else None
    pool = [candidate(number) for number in range(size)]
    pair = next_round(kept, pool, rng)
    assert (pair is None) == (missing(has_kept, size) > 0)
    if pair is None:
        return
    shown = {pair.left.image_id, pair.right.image_id}
    assert shown == ({99, 0} if has_kept else {0, 1})
    sides = {"left": pair.left, "right": pair.right}
    assert (sides[pair.incumbent] is kept) if has_kept else pair.incumbent is None


def test_sides_are_drawn_anew_every_round():
    rng = random.Random(1)
    kept = candidate(1)
    sides = Counter(next_round(kept, [candidate(2)], rng).incumbent for _ in range(4000))
    # 4,000 fair coins: five standard deviations are 158.
    assert abs(sides["left"] - 2000) < 158


def test_after_a_tie_either_stays_and_after_a_pick_the_picked_one():
    rng = random.Random(1)
    ties = Counter(kept_side("tie", rng) for _ in range(4000))
    assert abs(ties["left"] - 2000) < 158
    assert {kept_side("left", rng) for _ in range(20)} == {"left"}
    assert {kept_side("right", rng) for _ in range(20)} == {"right"}


def test_the_same_file_is_shown_twice_only_when_there_is_nothing_else():
    rng = random.Random(1)
    twin, other = candidate(2, "a" * 64), candidate(3)
    pair = next_round(candidate(1, "a" * 64), [twin, other], rng)
    assert {pair.left.image_id, pair.right.image_id} == {1, 3}
    pair = next_round(candidate(1, "a" * 64), [twin], rng)
    assert {pair.left.image_id, pair.right.image_id} == {1, 2}


def test_models_are_drawn_by_weight_and_guidance_from_their_range():
    rng = random.Random(2)
    choices = (
        GeneratorChoice("often", "p", weight=3.0, guidance_min=2.0, guidance_max=4.0, negative_prompt="ugly"),
        GeneratorChoice("seldom", "p", weight=1.0, guidance_min=8.0, guidance_max=8.0),
        GeneratorChoice("never", "p", weight=0.0),
    )
    orders = [draw_order(parse_prompt("a cat", 100), choices, rng) for _ in range(4000)]
    count = Counter(order.generator for order in orders)
    assert set(count) == {"often", "seldom"}
    # Binomial(4000, 3/4): five standard deviations are 137.
    assert abs(count["often"] - 3000) < 137
    often = [order for order in orders if order.generator == "often"]
    assert min(order.guidance_scale for order in often) < 2.1
    assert max(order.guidance_scale for order in often) > 3.9
    assert all(2 <= order.guidance_scale <= 4 for order in often)
    assert {order.negative_prompt for order in orders if order.generator == "often"} == {"ugly"}
    assert len({order.seed for order in orders}) == len(orders)
    assert all(0 <= order.seed < 2**32 for order in orders)


@pytest.mark.parametrize(
    ("typed", "caption", "negative"),
    [
        ("a cat", "a cat", ""),
        ("  a cat [blurry]", "a cat", "blurry"),
        ("a cat [blurry] on a mat [dark, grainy]", "a cat on a mat", "blurry, dark, grainy"),
        ("a cat [blurry], sitting", "a cat, sitting", "blurry"),
        ("a [very [deep] thought] cat", "a cat", "very [deep] thought"),
        ("a cat]", "a cat]", ""),
        ("a [cat", "a [cat", ""),
        ("a [ [x] cat", "a [ cat", "x"),
        ("[x] a cat []", "a cat", "x"),
        ("it's \"quoted\" and 'kept' / (so) _too_", "it's \"quoted\" and 'kept' / (so) _too_", ""),
        ("猫 [暗い]", "猫", "暗い"),
        ("two\nlines  and   spaces", "two\nlines  and   spaces", ""),
    ],
)
def test_what_is_in_brackets_is_not_wanted(typed, caption, negative):
    prompt = parse_prompt(typed, 500)
    assert (prompt.caption, prompt.negative, prompt.typed) == (caption, negative, typed)


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("", "empty"),
        (" \n ", "empty"),
        ("x" * 501, "501 characters; at most 500"),
        ("[blurry]", "only says what is not wanted"),
        ("a\x00b", "not text"),
        ("a \ud800 b", "not text"),
    ],
)
def test_a_prompt_that_cannot_be_used_says_why(typed, reason):
    with pytest.raises(PromptError, match=reason):
        parse_prompt(typed, 500)


@given(st.text(alphabet="[]ab ,", max_size=40))
def test_no_arrangement_of_brackets_loses_a_letter(typed):
    try:
        prompt = parse_prompt(typed, 500)
    except PromptError:
        return
    letters = Counter(typed) - Counter("".join(c for c in typed if c not in "ab"))
    parts = Counter(prompt.caption) + Counter(prompt.negative)
    assert all(parts[letter] == letters[letter] for letter in "ab")
