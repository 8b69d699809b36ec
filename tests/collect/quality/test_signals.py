"""Each signal: what it doubts, what it leaves alone, and that more of the same never lowers the doubt."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pickapic.collect.quality import signals
from pickapic.collect.quality.answers import Answers, sides
from pickapic.collect.quality.bounds import ramp, share_at_least
from pickapic.collect.quality.norms import STAGES, Norms
from pickapic.collect.quality.policy import Policy
from pickapic.collect.quality.risk import assess, combined, from_json, to_json
from pickapic.collect.quality.signals import SIGNALS, Reason

POLICY = Policy()
LOOKING = Norms((1.0,) * len(STAGES), (("a", 0.5), ("b", -0.5)), 20_000)
"""Norms under which the kept image and model a mostly win."""


def answers(picks, seconds=3.0, gold=None, incumbent=None, models=None, at=None, **known):
    """Return answers that nothing is wrong with, but for what is given."""
    n = len(picks)
    pick = sides(picks)
    spent = np.broadcast_to(np.asarray(seconds, float), (n,)).copy()
    left, right = models or ([0] * n, [0] * n)
    return Answers(
        picked_at=np.cumsum(spent) + 2.0 * np.arange(n) if at is None else np.asarray(at, float),
        seconds=spent,
        pick=pick,
        incumbent=np.zeros(n, np.int8) if incumbent is None else sides(incumbent),
        gold=np.zeros(n, np.int8) if gold is None else sides(gold),
        number=np.arange(n, dtype=np.int64) % 8 + 1,
        session=np.ones(n, np.int64) if "session" not in known else np.asarray(known.pop("session")),
        left_model=np.asarray(left, np.int64),
        right_model=np.asarray(right, np.int64),
        models=("a", "b"),
        **known,
    )


def points(signal, some, policy=POLICY, norms=LOOKING):
    reason = signal(some, norms, policy)
    return reason.points if reason else 0.0


MIXED = ["left", "right", "left", "tie", "right", "left", "right", "right", "left", "right"]


@pytest.mark.parametrize("picks", [[], ["left"], ["tie"] * 3, ["right"] * 9])
def test_few_answers_say_nothing(picks):
    risk = assess(answers(picks, seconds=0.2, at=100.0 * np.arange(len(picks))), LOOKING, POLICY)
    assert (risk.score, risk.reasons, risk.answers) == (0.0, (), len(picks))


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("picks", [[], ["left"], ["tie"], ["tie"] * 60, MIXED * 6])
def test_every_signal_takes_any_length(signal, picks):
    assert 0 <= points(signal, answers(picks)) <= 100


def test_too_fast():
    assert points(signals.too_fast, answers(MIXED * 6, 0.5)) == POLICY.fast_points
    assert points(signals.too_fast, answers(MIXED * 6, 1.0)) == 0
    fast = signals.too_fast(answers(MIXED, 0.5), LOOKING, POLICY)
    assert fast.detail == "10 of 10 answers in under 1 s"
    assert points(signals.too_fast, answers(MIXED * 6, np.nan)) == 0


def test_an_honest_very_fast_reader_is_left_alone():
    """Median 1.3 s, one answer in ten under a second, all gold right."""
    seconds = np.tile([0.95, 1.1, 1.2, 1.2, 1.3, 1.3, 1.4, 1.5, 1.7, 2.0], 20)
    gold = (["left"] + [None] * 9) * 20
    reader = answers(MIXED * 20, seconds, gold)
    assert assess(reader, Norms(), POLICY).score < POLICY.flag
    assert points(signals.too_fast, reader) == 0


def test_who_is_quick_but_right_is_mostly_cleared():
    """0.9 s an answer: with a dozen gold rounds right, and with as many guessed."""
    gold = [None] * 48 + ["left"] * 12
    right = answers((MIXED * 5)[:48] + ["left"] * 12, 0.9, gold)
    guessed = answers((MIXED * 5)[:48] + ["left", "right"] * 6, 0.9, gold)
    assert points(signals.too_fast, right) == pytest.approx(
        POLICY.fast_points * (1 - POLICY.fast_cleared), abs=0.1
    )
    assert points(signals.too_fast, guessed) == POLICY.fast_points
    assert "60 of 60 answers in under 1 s, but odds" in signals.too_fast(right, Norms(), POLICY).detail
    # Nobody looks at two a second, whatever they get right.
    hurried = answers((MIXED * 5)[:48] + ["left"] * 12, 0.2, gold, at=0.25 * np.arange(60))
    assert assess(hurried, Norms(), POLICY).score >= POLICY.flag


def test_one_sided():
    assert points(signals.one_sided, answers(["left"] * 55 + ["right"] * 5)) > POLICY.exclude
    assert points(signals.one_sided, answers(["right"] * 55 + ["left"] * 5)) > POLICY.exclude
    assert points(signals.one_sided, answers(MIXED * 6)) == 0
    reason = signals.one_sided(answers(["right"] * 12 + ["tie"] * 3), LOOKING, POLICY)
    assert reason.detail == "right in 12 of 12 decided answers"


def test_a_left_handed_tie_lover_is_left_alone():
    """Half of the answers are ties; of the others 60 % are left."""
    assert points(signals.one_sided, answers((["tie"] * 5 + ["left"] * 3 + ["right"] * 2) * 10)) == 0


def test_nothing_but_ties():
    reason = signals.one_sided(answers(["tie"] * 60), LOOKING, POLICY)
    assert reason.points == POLICY.tie_points
    assert reason.detail == "a tie in 60 of 60 answers"
    assert points(signals.one_sided, answers((["tie"] * 3 + ["left", "right"]) * 12)) == 0


def test_random_by_gold_alone():
    gold = ["left"] * 8
    missed = answers(["right"] * 8, gold=gold)
    assert points(signals.random, missed, norms=Norms()) == POLICY.random_points
    assert points(signals.random, answers(["left"] * 8, gold=gold), norms=Norms()) == 0
    half = answers(["left", "right"] * 4, gold=gold)
    assert points(signals.random, half, norms=Norms()) > POLICY.flag
    # One slip in twenty is what people who look make.
    assert points(signals.random, answers(["left"] * 19 + ["tie"], gold=["left"] * 20), norms=Norms()) == 0
    assert "0 of 8 gold rounds right; odds" in signals.random(missed, Norms(), POLICY).detail


def test_random_without_gold():
    incumbent = ["left", "right"] * 40
    models = ([0, 1] * 40, [1, 0] * 40)
    consistent = answers(["left", "right"] * 40, incumbent=incumbent, models=models)
    assert points(signals.random, consistent) == 0
    shuffled = answers(["left", "right", "right", "left"] * 20, incumbent=incumbent, models=models)
    assert points(signals.random, shuffled) == POLICY.random_points
    assert points(signals.random, shuffled, norms=Norms()) == 0  # nothing is known to compare with
    assert "40 of 80 picks as" in signals.random(shuffled, LOOKING, POLICY).detail


def test_gold_clears_whose_taste_is_unlike_others():
    """Picks as unlike everybody's as chance, but all of 15 gold rounds right: somebody who looks."""
    odd = ["left", "right", "right", "left"] * 10
    some = answers(
        odd + ["left"] * 15,
        gold=[None] * 40 + ["left"] * 15,
        incumbent=["left", "right"] * 20 + [None] * 15,
    )
    without = replace(some, gold=np.zeros(55, np.int8), incumbent=some.incumbent)
    assert points(signals.random, some) == 0 < points(signals.random, without)


def test_parallel_sessions():
    back_and_forth = answers(MIXED * 2, session=[1, 2] * 10, at=2.0 * np.arange(20))
    assert points(signals.parallel_sessions, back_and_forth) == POLICY.parallel_points
    slow = answers(MIXED * 2, session=[1, 2] * 10, at=60.0 * np.arange(20))
    assert points(signals.parallel_sessions, slow) == 0
    moved = answers(MIXED * 2, session=[1] * 10 + [2] * 10, at=2.0 * np.arange(20))
    assert points(signals.parallel_sessions, moved) == 0  # from the phone to the laptop
    unknown = answers(MIXED * 2, session=[0, 2] * 10, at=2.0 * np.arange(20))
    assert points(signals.parallel_sessions, unknown) == 0
    three = answers(MIXED * 2, session=[1, 2, 3, 1] * 5, at=1.0 * np.arange(20))
    assert "of 3 sessions" in signals.parallel_sessions(three, LOOKING, POLICY).detail


def test_velocity():
    assert points(signals.velocity, answers(MIXED * 6, at=0.5 * np.arange(60))) == POLICY.velocity_points
    assert points(signals.velocity, answers(MIXED * 6, at=1.6 * np.arange(60))) == 0
    hour = answers(["left", "right"] * 950, at=1.6 * np.arange(1900))
    reason = signals.velocity(hour, LOOKING, POLICY)
    assert 0 < reason.points < POLICY.velocity_points
    assert reason.detail == "1900 answers within an hour"


@given(st.lists(st.floats(0, 100), max_size=40), st.floats(0.1, 50))
def test_most_within_is_what_counting_gives(times, seconds):
    slow = max((sum(start - seconds < other <= start for other in times) for start in times), default=0)
    assert signals.most_within(np.array(times), seconds) == slow


@pytest.mark.parametrize(
    ("device", "address", "flagged"), [(0, 0, False), (1, 1, False), (4, 0, True), (0, 500, False)]
)
def test_duplicate_accounts(device, address, flagged):
    some = answers(MIXED, same_device=device, same_address=address)
    assert (points(signals.duplicate_accounts, some) >= POLICY.flag) is flagged


def test_prompt_spam():
    same = tuple(f"Win a PRIZE now, number {n}!" for n in range(40))
    reason = signals.prompt_spam(answers(MIXED, prompts=same), LOOKING, POLICY)
    assert reason.points == POLICY.spam_points
    assert reason.detail.startswith("40 of 40 prompts like 'Win a PRIZE")
    tries = tuple(
        f"a castle, {style}" for style in ("dusk", "dawn", "noon", "oil", "ink", "neon", "fog", "rain")
    )
    assert points(signals.prompt_spam, answers(MIXED, prompts=tries)) == 0
    assert points(signals.prompt_spam, answers(MIXED, prompts=("",) * 40)) == POLICY.spam_points
    assert points(signals.prompt_spam, answers(MIXED, prompts=("🦊 🦊",) * 8)) == 0


def jaccard(first, second):
    one, other = set(first.split()), set(second.split())
    return len(one & other) / len(one | other)


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6).map(" ".join), max_size=12))
def test_alike_prompts_are_counted_as_by_hand(prompts):
    slow = max((sum(jaccard(one, other) >= 0.7 for other in prompts) for one in prompts), default=0)
    assert signals.most_alike(prompts, 0.7)[0] == slow


def test_one_model_bias():
    left = [0, 1] * 30
    models = (left, [1, 0] * 30)
    for_b = answers(["right", "left"] * 30, models=models)  # b is weak by its record
    reason = signals.one_model_bias(for_b, LOOKING, POLICY)
    assert reason.points == POLICY.model_points
    assert reason.detail.startswith("b picked in 60 of 60 rounds with it")
    assert (
        points(signals.one_model_bias, answers(["right", "left"] * 9, models=(left[:18], models[1][:18])))
        == 0
    )
    # The best model wins nearly always: that alone is no bias.
    best = Norms((0.0,) * len(STAGES), (("a", 2.0), ("b", -2.0)), 20_000)
    assert points(signals.one_model_bias, answers(["left", "right"] * 30, models=models), norms=best) == 0
    assert points(signals.one_model_bias, answers(["left"] * 60, models=([0] * 60, [1] * 60))) > 0
    against_itself = answers(["left"] * 60, models=([0] * 60, [0] * 60))
    assert points(signals.one_model_bias, against_itself) == 0


@given(st.integers(0, 60), st.integers(0, 60), st.sampled_from([0.9, 0.95, 0.99]))
def test_the_bound_is_scipys(hits, misses, confidence):
    of = hits + misses
    if of:
        test = stats.binomtest(hits, of, alternative="greater").proportion_ci(confidence, method="exact")
        assert share_at_least(hits, of, confidence) == pytest.approx(test.low, abs=1e-9)
    else:
        assert share_at_least(hits, of, confidence) == 0


@given(st.floats(-10, 10), st.floats(-10, 10))
def test_a_ramp_never_falls(one, other):
    low, high = sorted((one, other))
    assert 0 <= ramp(low, -1, 2, 60) <= ramp(high, -1, 2, 60) <= 60


# Whatever somebody answers, more of what is doubted never makes their risk smaller.


@st.composite
def anybody(draw):
    n = draw(st.integers(10, 50))
    picks = draw(st.lists(st.sampled_from(["left", "right", "tie"]), min_size=n, max_size=n))
    gold = draw(st.lists(st.sampled_from([None, None, None, "left", "right"]), min_size=n, max_size=n))
    incumbent = draw(st.lists(st.sampled_from([None, "left", "right"]), min_size=n, max_size=n))
    seconds = draw(st.lists(st.floats(0.1, 10), min_size=n, max_size=n))
    return answers(picks, np.array(seconds), gold, incumbent, same_device=draw(st.integers(0, 3)))


def risk_of(some, norms=LOOKING):
    return assess(some, norms, POLICY).score


@settings(max_examples=60, deadline=None)
@given(anybody(), st.floats(0.05, 1.0))
def test_faster_is_never_less_doubtful(some, factor):
    quicker = replace(some, seconds=some.seconds * factor, picked_at=some.picked_at * factor)
    assert risk_of(quicker) >= risk_of(some)


@settings(max_examples=60, deadline=None)
@given(anybody())
def test_missing_a_gold_round_is_never_less_doubtful(some):
    right = np.flatnonzero((some.gold != 0) & (some.pick == some.gold))
    pick = some.pick.copy()
    pick[right[:1]] *= -1
    if len(right):
        missed = replace(some, pick=pick)
        assert points(signals.random, missed) >= points(signals.random, some)
        assert points(signals.too_fast, missed) >= points(signals.too_fast, some)


@settings(max_examples=60, deadline=None)
@given(anybody(), st.integers(1, 5))
def test_more_accounts_are_never_less_doubtful(some, more):
    assert risk_of(replace(some, same_device=some.same_device + more)) >= risk_of(some)


@settings(max_examples=60, deadline=None)
@given(anybody())
def test_only_the_order_in_time_matters_not_which_side_or_model_is_named_first(some):
    mirrored = replace(
        some,
        pick=-some.pick,
        incumbent=-some.incumbent,
        gold=-some.gold,
        left_model=some.right_model,
        right_model=some.left_model,
    )
    assert risk_of(mirrored) == risk_of(some)
    renamed = replace(
        some, models=("b", "a"), left_model=1 - some.left_model, right_model=1 - some.right_model
    )
    assert risk_of(renamed) == risk_of(some)
    later = replace(some, picked_at=some.picked_at + 1000.0, session=some.session + 7)
    assert risk_of(later) == pytest.approx(risk_of(some), abs=1e-6)


@given(st.lists(st.floats(0, 100), max_size=8), st.randoms(use_true_random=False), st.floats(0, 100))
def test_the_combination_is_monotone_bounded_and_orderless(some, random, more):
    mixed = list(some)
    random.shuffle(mixed)
    assert 0 <= combined(some) <= 100
    assert combined(mixed) == combined(some)
    assert combined([*some, more]) >= combined(some)
    assert combined([]) == 0
    assert combined([more]) == pytest.approx(more, abs=0.051)


def test_two_doubts_make_a_greater_one():
    assert combined([30, 30]) == 51
    assert combined([90, 60]) == 96


def test_reasons_survive_being_stored():
    reasons = (Reason("too_fast", 90.0, "9 of 9"), Reason("prompt_spam", 1.5, "'ק' & <b>"))
    assert from_json(to_json(reasons)) == reasons


def test_a_signal_is_switched_off_by_its_points():
    assert points(signals.too_fast, answers(MIXED, 0.1), replace(POLICY, fast_points=0)) == 0
