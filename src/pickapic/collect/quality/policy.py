"""Every parameter by which answers are doubted: what it means, its unit, and where its default comes from.

docs/quality.md prints the same table, and a test compares the two.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any

from pickapic.records import InputError
from pickapic.settings import Settings
from pickapic.settings.names import nearest

FINGERPRINT_DIGITS = 16
VERSION = 1
"""Part of the fingerprint: raised when a signal computes something else from the same parameters."""

SHARE, SECONDS, COUNT, POINTS, ODDS, DAYS = "share", "seconds", "count", "points", "nats", "days"


def _parameter(default: float, unit: str, meaning: str, source: str) -> Any:
    return field(default=default, metadata={"unit": unit, "meaning": meaning, "source": source})


@dataclass(frozen=True, slots=True)
class Policy:
    """What counts as careless. Pairs `*_low`, `*_high`: no doubt up to the first, the whole doubt from the second on.

    The whole doubt is `*_points`; 0 points switch a signal off. A setting `quality = {fast_high = 0.5}` changes a
    parameter (see `policy_from`).
    """

    flag: float = _parameter(
        50, POINTS, "risk from which a person is shown to admins as doubtful", "vote platforms flag at 50"
    )
    exclude: float = _parameter(
        75,
        POINTS,
        "risk from which a person's answers are left out of exports and leaderboards",
        "between the peers' 50 to flag and 100 to block: one clear reason, or two doubtful ones",
    )
    answers: int = _parameter(
        2000,
        COUNT,
        "latest answers that are looked at",
        "keeps the work a person bounded; nobody's habits last longer",
    )
    min_answers: int = _parameter(
        10,
        COUNT,
        "answers below which shares say nothing yet",
        "at 10 a bound of 99 % can first tell habit from chance",
    )
    confidence: float = _parameter(
        0.99, SHARE, "confidence of the lower bounds of shares (Clopper-Pearson, one-sided)", "ours"
    )
    fast_seconds: float = _parameter(
        1.0, SECONDS, "an answer given sooner was given without looking", "TTS-Arena: below 1 s weighs most"
    )
    fast_low: float = _parameter(
        0.10,
        SHARE,
        "lower bound of the share of too fast answers",
        "half of the 20 % that peers flag at: ours is a bound",
    )
    fast_high: float = _parameter(0.40, SHARE, "see fast_low", "ours")
    fast_points: float = _parameter(
        90, POINTS, "the whole doubt of too fast answers", "one clear reason excludes"
    )
    fast_cleared: float = _parameter(
        0.75,
        SHARE,
        "share of that doubt which answers that fit looking take away, from odds of random_low to random_high",
        "ours: whoever is quick and right does look",
    )
    side_low: float = _parameter(
        0.55,
        SHARE,
        "lower bound of the share of one side among decided answers",
        "the server draws sides: 50 % expected",
    )
    side_high: float = _parameter(0.75, SHARE, "see side_low", "ours")
    side_points: float = _parameter(90, POINTS, "the whole doubt of one side", "one clear reason excludes")
    tie_low: float = _parameter(
        0.75, SHARE, "lower bound of the share of ties", "13.6 % of the paper's test examples are ties"
    )
    tie_high: float = _parameter(0.90, SHARE, "see tie_low", "ours")
    tie_points: float = _parameter(
        80, POINTS, "the whole doubt of nothing but ties", "one clear reason excludes"
    )
    gold_lookers: float = _parameter(
        0.95,
        SHARE,
        "share of gold rounds that people who look get right",
        "ours; recalibrate on your own rounds",
    )
    gold_guessers: float = _parameter(
        0.45, SHARE, "share that people who do not look get right", "half, less the ties"
    )
    random_low: float = _parameter(
        2.3,
        ODDS,
        "evidence for guessing against looking, log of the odds",
        "10 to 1; FastChat's product of p-values: 20 to 1",
    )
    random_high: float = _parameter(6.9, ODDS, "see random_low", "1,000 to 1")
    random_points: float = _parameter(95, POINTS, "the whole doubt of guessing", "one clear reason excludes")
    consistency_trust: float = _parameter(
        0.75,
        SHARE,
        "how much of the evidence from rounds without a known answer counts",
        "people differ more than the model knows",
    )
    parallel_seconds: float = _parameter(
        10,
        SECONDS,
        "answers from two sessions within this time are interleaved",
        "ours: one person changes devices slower",
    )
    parallel_low: float = _parameter(2, COUNT, "returns to a session within parallel_seconds", "ours")
    parallel_high: float = _parameter(12, COUNT, "see parallel_low", "ours")
    parallel_points: float = _parameter(
        60, POINTS, "the whole doubt of parallel sessions", "flags, but does not exclude alone"
    )
    ten_seconds_low: float = _parameter(
        10, COUNT, "answers within 10 s", "TTS-Arena 3 soft, 6 hard; ours takes a key and no reload"
    )
    ten_seconds_high: float = _parameter(20, COUNT, "see ten_seconds_low", "two a second")
    minute_low: float = _parameter(50, COUNT, "answers within a minute", "TTS-Arena 12 soft, 25 hard")
    minute_high: float = _parameter(100, COUNT, "see minute_low", "a second and less, for a minute")
    hour_low: float = _parameter(1200, COUNT, "answers within an hour", "TTS-Arena 120 soft, 300 hard")
    hour_high: float = _parameter(2000, COUNT, "see hour_low", "faster than one looks, for an hour")
    velocity_points: float = _parameter(
        70, POINTS, "the whole doubt of any of the three rates", "flags, but does not exclude alone"
    )
    device_low: float = _parameter(
        0, COUNT, "other accounts seen in the same browser", "TTS-Arena: 2 accounts soft, 4 hard"
    )
    device_high: float = _parameter(4, COUNT, "see device_low", "as above")
    device_points: float = _parameter(
        60, POINTS, "the whole doubt of a shared device", "flags, but does not exclude alone"
    )
    address_low: float = _parameter(
        2, COUNT, "other accounts seen at the same network address", "TTS-Arena: 3 accounts soft, 6 hard"
    )
    address_high: float = _parameter(
        20, COUNT, "see address_low", "wider than the peers': offices and schools share an address"
    )
    address_points: float = _parameter(30, POINTS, "the whole doubt of a shared address", "never flags alone")
    account_days: float = _parameter(
        30,
        DAYS,
        "accounts seen at the same device or address within this time count",
        "as long as mark_days keeps them",
    )
    spam_prompts: int = _parameter(100, COUNT, "latest prompts that are compared", "ours")
    spam_near: float = _parameter(
        0.9,
        SHARE,
        "prompts that share this much of their words count as the same",
        "ours: one word changed in ten",
    )
    spam_low: float = _parameter(
        8,
        COUNT,
        "times that the most frequent prompt was started",
        "a quarter of a day's prompts was seen before, by others",
    )
    spam_high: float = _parameter(30, COUNT, "see spam_low", "ours")
    spam_points: float = _parameter(
        60, POINTS, "the whole doubt of one prompt again and again", "flags, but does not exclude alone"
    )
    model_votes: int = _parameter(
        20, COUNT, "decided answers with a model below which one-model bias is not judged", "peers: 20 votes"
    )
    model_share: float = _parameter(0.95, SHARE, "share of these that went to the model", "peers: 95 %")
    model_low: float = _parameter(
        4.6,
        ODDS,
        "evidence for voting by model against looking, log of the odds",
        "100 to 1, for there are several models",
    )
    model_high: float = _parameter(11.5, ODDS, "see model_low", "100,000 to 1")
    model_points: float = _parameter(
        90, POINTS, "the whole doubt of one-model bias", "one clear reason excludes"
    )
    standing_gold: int = _parameter(
        5, COUNT, "gold rounds below which standing does not depend on them", "ours: less says little"
    )
    standing_share: float = _parameter(
        0.75, SHARE, "share of gold rounds to get right for a higher allowance", "Rapidata: 75 % of 10"
    )


def parameters() -> tuple[Field[Any], ...]:
    """Return the parameters in order; `metadata` has `unit`, `meaning` and `source`."""
    return fields(Policy)


def policy_from(settings: Settings) -> Policy:
    """Return the policy of an instance: the defaults with the changes in its setting `quality`.

    Raises:
        InputError: an unknown parameter (the nearest is named), or a value that cannot be.
    """
    return changed(settings.quality)


def changed(changes: Mapping[str, float]) -> Policy:
    """Return the default policy with `changes` by parameter. Raises as `policy_from`."""
    known = {parameter.name: parameter for parameter in parameters()}
    values: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in known:
            raise InputError(f"setting 'quality': parameter {name!r} is unknown{nearest(name, list(known))}")
        values[name] = _fitting(known[name], value)
    policy = Policy(**values)
    for name in known:
        low, high = getattr(policy, name), getattr(policy, name.removesuffix("_low") + "_high", None)
        if name.endswith("_low") and not low < high:
            raise InputError(f"setting 'quality': {name} is {low:g} and must be below its *_high, {high:g}")
    if not policy.gold_guessers < policy.gold_lookers:
        raise InputError("setting 'quality': gold_guessers must be below gold_lookers")
    return policy


def _fitting(parameter: Field[Any], value: float) -> float:
    unit = parameter.metadata["unit"]
    inside = 0 < value < 1 if unit == SHARE else value >= 0
    if not (math.isfinite(value) and inside):
        wanted = "between 0 and 1" if unit == SHARE else "0 or more"
        raise InputError(f"setting 'quality': {parameter.name} is {value:g} and must be {wanted}")
    if parameter.type == "int":  # annotations are kept as text here
        if value != int(value) or value < 1:
            raise InputError(f"setting 'quality': {parameter.name} is {value:g} and must be whole, 1 or more")
        return int(value)
    return float(value)


def fingerprint(policy: Policy) -> str:
    """Return 16 hex digits that change when any parameter, or what a signal computes, does."""
    values = {name: float(value) for name, value in asdict(policy).items()}
    text = json.dumps({"version": VERSION, **values}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_DIGITS]
