"""How many careless people are flagged, and how many honest ones: the miniature population, by habit and seed.

Target (after 60 answers each, 70 % honest): at least 90 % of the careless flagged, at most 2 % of the honest. People
judge the depictions that a pick loop would show them, without server or pixels; the norms that answers are
compared with come from the same people's rounds, as in a running collection. A check round ("gold") shows a
clean image and a spoiled copy: an honest person is taken to get `--gold-pass` of them right, the others do as
with any round. "one model" are honest people turned: they pick one model wherever it stands (5 for each of six).

    python benchmarks/quality.py --people 400 --seeds 0 1 2 3 4
    python benchmarks/quality.py --people 300 --noise 2        # honest people who waver twice as much
    python benchmarks/quality.py --people 300 --haste 0.6      # honest people who take 60 % of the time
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from typing import Any

import numpy as np

from pickapic.collect.quality.answers import Answers, sides
from pickapic.collect.quality.norms import Kind, Norms, fit, stage_of
from pickapic.collect.quality.policy import Policy
from pickapic.collect.quality.risk import Risk, assess
from pickapic.miniature.models import MODELS
from pickapic.miniature.people import SLIPS, Person, Population
from pickapic.records import ImageFacts, Pick

CARELESS = 0.30
GOLD_SHARE = 0.07
GOLD_PASS = 1 - SLIPS
BETWEEN_SECONDS = 0.2
VOTERS_A_MODEL = 5
NAMES = tuple(model.name for model in MODELS)


@dataclass(frozen=True)
class Round:
    """One answered round, as the tables of a collection hold it."""

    picked_at: float
    seconds: float
    pick: Pick
    incumbent: str | None
    gold: str | None
    number: int
    left: str
    right: str
    prompt: str


def sitting(
    person: Person,
    answers: int,
    gold_share: float,
    gold_pass: float,
    haste: float = 1.0,
    votes_for: str | None = None,
) -> list[Round]:
    """Return the first `answers` rounds of a person, over as many prompts as they need.

    Honest people take `haste` times their time; with `votes_for` the person picks that model where it can be picked.
    """
    random = Random(f"{person.seed} {person.index} sitting")
    rounds: list[Round] = []
    clock, prompt_number = 0.0, 0
    while len(rounds) < answers:
        prompt = person.prompt(prompt_number)
        kept: ImageFacts | None = None
        for number in range(1, person.picks_per_prompt(prompt_number) + 1):
            is_gold = kept is not None and random.random() < gold_share
            first, second = kept or _image(prompt, random), _image(prompt, random)
            left, right = (first, second) if random.random() < 0.5 else (second, first)
            judgement = person.judge(left, right, number)
            pick, better = judgement.pick, None
            seconds = judgement.seconds * (haste if person.habit == "honest" else 1.0)
            if votes_for in (left.model, right.model) and left.model != right.model:
                pick = "left" if left.model == votes_for else "right"
            if is_gold:
                better = "left" if left is first else "right"
                if person.habit == "honest":
                    wrong = random.choice(["tie", "right" if better == "left" else "left"])
                    pick = better if random.random() < gold_pass else wrong
            clock += seconds + BETWEEN_SECONDS
            incumbent = None if kept is None else "left" if left is kept else "right"
            rounds.append(
                Round(clock, seconds, pick, incumbent, better, number, left.model, right.model, prompt)
            )
            if not is_gold:
                kept = {"left": left, "right": right}.get(pick) or random.choice([left, right])
        prompt_number += 1
    return rounds[:answers]


def _image(prompt: str, random: Random) -> ImageFacts:
    return ImageFacts(
        uid="",
        prompt=prompt,
        negative_prompt="",
        model=random.choice(NAMES),
        seed=random.getrandbits(32),
        guidance_scale=random.uniform(3, 12),
        steps=None,
        scheduler=None,
        width=256,
        height=256,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def columns(rounds: Sequence[Round]) -> Answers:
    """Return rounds as the signals read them."""
    code = {name: index for index, name in enumerate(NAMES)}
    return Answers(
        picked_at=np.array([one.picked_at for one in rounds], float),
        seconds=np.array([one.seconds for one in rounds], float),
        pick=sides([one.pick for one in rounds]),
        incumbent=sides([one.incumbent for one in rounds]),
        gold=sides([one.gold for one in rounds]),
        number=np.array([one.number for one in rounds], np.int64),
        session=np.ones(len(rounds), np.int64),
        left_model=np.array([code[one.left] for one in rounds], np.int64),
        right_model=np.array([code[one.right] for one in rounds], np.int64),
        models=NAMES,
        prompts=tuple(one.prompt for one in rounds if one.number == 1),
    )


def norms_of(people: Iterable[Answers]) -> Norms:
    """Return the norms of what these people answered."""
    count: Counter[tuple[str, str, int, int]] = Counter()
    left: Counter[tuple[str, str, int, int]] = Counter()
    for answers in people:
        decided = answers.decided
        rows = zip(
            answers.left_model[decided],
            answers.right_model[decided],
            answers.incumbent[decided],
            stage_of(answers.number)[decided],
            answers.pick[decided],
            strict=True,
        )
        for left_model, right_model, incumbent, stage, pick in rows:
            key = (answers.models[left_model], answers.models[right_model], int(incumbent), int(stage))
            count[key] += 1
            left[key] += pick == 1
    return fit([Kind(*key, count=number, left=left[key]) for key, number in count.items()])


def assess_all(people: Sequence[Answers], policy: Policy) -> tuple[list[Risk], Norms]:
    """Return everybody's risk as a collection comes to it: norms of all, then of those who are not flagged."""
    norms = norms_of(people)
    for _ in range(2):
        risks = [assess(answers, norms, policy) for answers in people]
        norms = norms_of(
            answers for answers, risk in zip(people, risks, strict=True) if risk.score < policy.flag
        )
    return [assess(answers, norms, policy) for answers in people], norms


def measure(
    seed: int,
    people: int,
    answers: int,
    policy: Policy,
    gold_share: float = GOLD_SHARE,
    gold_pass: float = GOLD_PASS,
    noise: float = 1.0,
    haste: float = 1.0,
) -> dict[str, Any]:
    """Return, by habit: people, share flagged, share excluded; and the same of all the careless together.

    `noise` multiplies how much the judgements of people waver.
    """
    population = Population(seed, people, careless=CARELESS)
    persons = [population.person(index) for index in range(people)]
    persons = [replace(person, noise=noise * person.noise) for person in persons]
    crowd = [columns(sitting(person, answers, gold_share, gold_pass, haste)) for person in persons]
    habits: list[str] = [person.habit for person in persons]
    honest = [person for person in persons if person.habit == "honest"]
    for number, person in enumerate(honest[: VOTERS_A_MODEL * len(NAMES)]):
        model = NAMES[number % len(NAMES)]
        crowd.append(columns(sitting(person, answers, gold_share, gold_pass, haste, model)))
        habits.append("one model")
    started = time.perf_counter()
    risks, norms = assess_all(crowd, policy)
    seconds = (time.perf_counter() - started) / (3 * len(crowd))
    members = {habit: {habit} for habit in ("honest", "fast", "left", "random", "one model")}
    members["careless"] = {"fast", "left", "random"}
    rows: dict[str, Any] = {}
    for name, which in members.items():
        mine = [risk.score for risk, habit in zip(risks, habits, strict=True) if habit in which]
        rows[name] = {
            "people": len(mine),
            "flagged": sum(score >= policy.flag for score in mine) / max(1, len(mine)),
            "excluded": sum(score >= policy.exclude for score in mine) / max(1, len(mine)),
        }
    return {
        "seed": seed,
        "habits": rows,
        "ms_a_person": 1000 * seconds,
        "stages": norms.stages,
        "risks": risks,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=400)
    parser.add_argument("--answers", type=int, default=60)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--gold-share", type=float, default=GOLD_SHARE)
    parser.add_argument("--gold-pass", type=float, default=GOLD_PASS)
    parser.add_argument("--noise", type=float, default=1.0)
    parser.add_argument("--haste", type=float, default=1.0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    policy = Policy()
    found = [
        measure(
            seed,
            given.people,
            given.answers,
            policy,
            given.gold_share,
            given.gold_pass,
            given.noise,
            given.haste,
        )
        for seed in given.seeds
    ]
    if given.json:
        print(json.dumps([{name: one[name] for name in one if name != "risks"} for one in found]))
        return
    print(f"{given.people} people, {given.answers} answers each, gold share {given.gold_share:g}", end="; ")
    print(f"{platform.machine()}, Python {platform.python_version()}\n")
    print("Percent flagged (excluded):\n")
    print("| seed | honest | fast | left | random | one model | all careless | ms a person |")
    print("|---|---|---|---|---|---|---|---|")
    for one in found:
        cells = [
            f"{100 * row['flagged']:.1f} ({100 * row['excluded']:.1f})" for row in one["habits"].values()
        ]
        print(f"| {one['seed']} | {' | '.join(cells)} | {one['ms_a_person']:.2f} |")


if __name__ == "__main__":
    main()
