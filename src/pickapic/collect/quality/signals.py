"""The signals: pure functions from a person's answers to a reason for doubt, or None.

Each weighs 0 to its `*_points`, rising on a straight line between its `*_low` and `*_high` (policy.py). Shares
enter by their lower confidence bound, so that few answers are doubted less than many of the same kind.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from pickapic.collect.quality.answers import LEFT, NEITHER, RIGHT, Answers, Numbers
from pickapic.collect.quality.bounds import ramp, share_at_least
from pickapic.collect.quality.norms import Norms
from pickapic.collect.quality.policy import Policy

LEAST_POINTS = 0.5
"""Doubt too small to be worth a line."""
VOTES_FOR = 0.97
"""How often somebody who votes by model is taken to do so."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why somebody's answers are doubted: which signal, how much (0 to 100), and what was seen, in words."""

    signal: str
    points: float
    detail: str


Signal: TypeAlias = Callable[[Answers, Norms, Policy], "Reason | None"]


def too_fast(answers: Answers, norms: Norms, policy: Policy) -> Reason | None:
    """Doubt answers that came before anybody could have looked: their share below `fast_seconds`.

    Somebody who is merely quick is cleared, for the most part, by answers that fit looking far better than guessing.
    """
    timed = answers.seconds[~np.isnan(answers.seconds)]
    fast, of = int((timed < policy.fast_seconds).sum()), len(timed)
    if of < policy.min_answers:
        return None
    least = share_at_least(fast, of, policy.confidence)
    points = ramp(least, policy.fast_low, policy.fast_high, policy.fast_points)
    detail = f"{fast} of {of} answers in under {policy.fast_seconds:g} s"
    looks = -guessing_evidence(answers, norms, policy)
    if cleared := ramp(looks, policy.random_low, policy.random_high, policy.fast_cleared):
        detail += f", but odds {_odds(looks)} for looking take {100 * cleared:.0f} % of this doubt"
    return _reason("too_fast", points * (1 - cleared), detail)


def one_sided(answers: Answers, norms: Norms, policy: Policy) -> Reason | None:
    """Doubt one side picked far more often than half the time, though sides are drawn; or nothing but ties."""
    found = {side: int((answers.pick == side).sum()) for side in (LEFT, RIGHT, NEITHER)}
    decided, everything = found[LEFT] + found[RIGHT], len(answers)
    side, name = (LEFT, "left") if found[LEFT] >= found[RIGHT] else (RIGHT, "right")
    reasons: list[Reason | None] = []
    if decided >= policy.min_answers:
        least = share_at_least(found[side], decided, policy.confidence)
        points = ramp(least, policy.side_low, policy.side_high, policy.side_points)
        reasons.append(_reason("one_sided", points, f"{name} in {found[side]} of {decided} decided answers"))
    if everything >= policy.min_answers:
        least = share_at_least(found[NEITHER], everything, policy.confidence)
        points = ramp(least, policy.tie_low, policy.tie_high, policy.tie_points)
        reasons.append(_reason("one_sided", points, f"a tie in {found[NEITHER]} of {everything} answers"))
    return max((reason for reason in reasons if reason), key=lambda reason: reason.points, default=None)


def random(answers: Answers, norms: Norms, policy: Policy) -> Reason | None:
    """Doubt answers that fit guessing better than looking: log-odds from gold rounds and from all others.

    Of people who look as often as the policy and the norms say, at most one in e^x ever reaches x nats, however
    often it is computed: a likelihood ratio is a martingale under them (Ville 1939).
    """
    seen, right = gold_rounds(answers)
    evidence = guessing_evidence(answers, norms, policy)
    expected, met, _ = consistency_evidence(answers, norms)
    points = ramp(evidence, policy.random_low, policy.random_high, policy.random_points)
    detail = f"{right} of {seen} gold rounds right"
    decided = int(answers.decided.sum())
    if norms.rounds and decided:
        detail += (
            f"; {met} of {decided} picks as the person's own earlier picks and the models' records suggest, "
            f"where people who look have {expected:.0f}"
        )
    return _reason("random", points, f"{detail}; odds {_odds(evidence)} for guessing")


def guessing_evidence(answers: Answers, norms: Norms, policy: Policy) -> float:
    """Return the log of the odds for guessing against looking, of all answers; below 0 they speak for looking."""
    return gold_evidence(*gold_rounds(answers), policy) + (
        policy.consistency_trust * consistency_evidence(answers, norms)[2]
    )


def gold_rounds(answers: Answers) -> tuple[int, int]:
    """Return how many gold rounds were seen, and how many of them were right."""
    gold = answers.gold != NEITHER
    return int(gold.sum()), int((answers.pick[gold] == answers.gold[gold]).sum())


def gold_evidence(seen: int, right: int, policy: Policy) -> float:
    """Return the log of the odds for guessing from gold rounds; a tie counts as not right."""
    looks, guesses = policy.gold_lookers, policy.gold_guessers
    return float(right * np.log(guesses / looks) + (seen - right) * np.log((1 - guesses) / (1 - looks)))


def consistency_evidence(answers: Answers, norms: Norms) -> tuple[float, int, float]:
    """Return what decided rounds without a known answer tell.

    That is: how many likelier outcomes people who look would have, how many there were, and the log of the odds
    for guessing.
    """
    rounds = answers.decided
    left = norms.left_chance(answers)[rounds]
    picked_left = answers.pick[rounds] == LEFT
    likelier = np.where(picked_left, left > 0.5, left < 0.5)
    known = left != 0.5
    expected = float(np.maximum(left, 1 - left)[known].sum())
    evidence = float(-np.log(2 * np.where(picked_left, left, 1 - left)).sum())
    return expected, int(likelier[known].sum()), evidence


def parallel_sessions(answers: Answers, norms: Norms, policy: Policy) -> Reason | None:
    """Doubt answers that go back and forth between signed-in browsers within seconds."""
    known = answers.session != 0
    session, at = answers.session[known], answers.picked_at[known]
    last_seen: dict[int, float] = {}
    returns = 0
    for change in np.flatnonzero(session[1:] != session[:-1]) + 1:
        last_seen[int(session[change - 1])] = float(at[change - 1])
        before = last_seen.get(int(session[change]))
        returns += before is not None and at[change] - before <= policy.parallel_seconds
    points = ramp(returns, policy.parallel_low, policy.parallel_high, policy.parallel_points)
    browsers = len(set(session.tolist()))
    return _reason(
        "parallel_sessions",
        points,
        f"{returns} times back to another of {browsers} sessions within {policy.parallel_seconds:g} s",
    )


def velocity(answers: Answers, norms: Norms, policy: Policy) -> Reason | None:
    """Doubt more answers within 10 s, a minute or an hour than anybody gives who looks."""
    windows = (
        (10.0, "10 s", policy.ten_seconds_low, policy.ten_seconds_high),
        (60.0, "a minute", policy.minute_low, policy.minute_high),
        (3600.0, "an hour", policy.hour_low, policy.hour_high),
    )
    reasons: list[Reason] = []
    for seconds, name, low, high in windows:
        most = most_within(answers.picked_at, seconds)
        reason = _reason(
            "velocity", ramp(most, low, high, policy.velocity_points), f"{most} answers within {name}"
        )
        reasons += [reason] if reason else []
    return max(reasons, key=lambda reason: reason.points, default=None)


def most_within(times: Numbers, seconds: float) -> int:
    """Return the most of `times` (n,), in any order, that lie within `seconds` of each other."""
    times = np.sort(times)
    ends = np.arange(1, len(times) + 1)
    return int((ends - np.searchsorted(times, times - seconds, side="right")).max(initial=0))


def duplicate_accounts(answers: Answers, norms: Norms, policy: Policy) -> Reason | None:
    """Doubt a person whose browser or network address was seen with other accounts as well."""
    device = ramp(answers.same_device, policy.device_low, policy.device_high, policy.device_points)
    address = ramp(answers.same_address, policy.address_low, policy.address_high, policy.address_points)
    detail = (
        f"{answers.same_device} other accounts in the same browser, {answers.same_address} at the same address, "
        f"within {policy.account_days:g} days"
    )
    return _reason("duplicate_accounts", max(device, address), detail)


def prompt_spam(answers: Answers, norms: Norms, policy: Policy) -> Reason | None:
    """Doubt a person who starts the same prompt, or nearly the same, again and again."""
    prompts = answers.prompts[-policy.spam_prompts :]
    most, example = most_alike(prompts, policy.spam_near)
    points = ramp(most, policy.spam_low, policy.spam_high, policy.spam_points)
    return _reason("prompt_spam", points, f"{most} of {len(prompts)} prompts like {example[:80]!r}")


def most_alike(prompts: Sequence[str], near: float) -> tuple[int, str]:
    """Return how many prompts are most like one of them, and that one; alike is a Jaccard index of words >= `near`."""
    if not prompts:
        return 0, ""
    bags = [_words(prompt) for prompt in prompts]
    codes = {word: code for code, word in enumerate(sorted(set().union(*bags)))}
    has = np.zeros((len(bags), len(codes)), np.float32)
    for row, bag in enumerate(bags):
        has[row, [codes[word] for word in bag]] = 1
    shared, size = has @ has.T, has.sum(axis=1)
    alike = (shared >= near * (size[:, None] + size[None, :] - shared) - 1e-6).sum(axis=1)
    most = int(np.argmax(alike))
    return int(alike[most]), prompts[most]


def _words(prompt: str) -> set[str]:
    """Return a prompt's words without case, width, digits and punctuation; of one without words, the text itself."""
    text = unicodedata.normalize("NFKC", prompt).casefold().strip()
    return set(re.findall(r"[^\W\d_]+", text)) or {text}


def one_model_bias(answers: Answers, norms: Norms, policy: Policy) -> Reason | None:
    """Doubt a person who picks one model whatever it drew: nearly always, and more than its record explains."""
    rounds = answers.decided & (answers.left_model != answers.right_model)
    left_chance = norms.left_chance(answers)
    reasons: list[Reason] = []
    for code, model in enumerate(answers.models):
        on_left, on_right = rounds & (answers.left_model == code), rounds & (answers.right_model == code)
        votes = int(on_left.sum() + on_right.sum())
        won = int((answers.pick[on_left] == LEFT).sum() + (answers.pick[on_right] == RIGHT).sum())
        if votes < policy.model_votes or won < policy.model_share * votes:
            continue
        wins = np.concatenate([answers.pick[on_left] == LEFT, answers.pick[on_right] == RIGHT])
        chance = np.concatenate([left_chance[on_left], 1 - left_chance[on_right]])
        evidence = float(np.log(np.where(wins, VOTES_FOR / chance, (1 - VOTES_FOR) / (1 - chance))).sum())
        points = ramp(evidence, policy.model_low, policy.model_high, policy.model_points)
        reason = _reason(
            "one_model_bias",
            points,
            f"{model} picked in {won} of {votes} rounds with it, where people who look have {chance.sum():.0f}",
        )
        reasons += [reason] if reason else []
    return max(reasons, key=lambda reason: reason.points, default=None)


SIGNALS: tuple[Signal, ...] = (
    too_fast,
    one_sided,
    random,
    parallel_sessions,
    velocity,
    duplicate_accounts,
    prompt_spam,
    one_model_bias,
)


def _reason(signal: str, points: float, detail: str) -> Reason | None:
    return Reason(signal, round(points, 1), detail) if points >= LEAST_POINTS else None


def _odds(evidence: float) -> str:
    return f"{np.exp(min(evidence, 14.0)):,.0f} to 1"
