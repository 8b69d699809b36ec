"""Simulated people: the same answers every time, a shared taste, and the careless ones as they should be."""

import statistics
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from random import Random

import pytest

from pickapic.miniature.models import MODELS
from pickapic.miniature.people import CARELESS, MEAN_PICKS, Population
from pickapic.miniature.taste import depiction_of, quality
from pickapic.records import ImageFacts


def images(n, prompt="a red fox next to a blue car in the snow, neon", seed=0):
    random = Random(seed)
    return [
        ImageFacts(
            uid=str(number),
            prompt=prompt,
            negative_prompt="",
            model=random.choice(MODELS).name,
            seed=random.getrandbits(32),
            guidance_scale=random.uniform(3, 12),
            steps=None,
            scheduler=None,
            width=256,
            height=256,
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
        for number in range(n)
    ]


@pytest.fixture(scope="module")
def population():
    return Population(seed=3, size=2500)


def people(population, habit, n=40):
    return [p for p in map(population.person, range(population.size)) if p.habit == habit][:n]


def answers(person, n=60):
    return [person.judge(left, right, number) for number, (left, right) in enumerate(pairwise(images(n)))]


def test_a_person_is_the_same_person_every_time(population):
    twin = Population(seed=3, size=2500).person(17)
    assert twin == population.person(17)
    assert [twin.prompt(n) for n in range(5)] == [population.person(17).prompt(n) for n in range(5)]
    assert answers(twin) == answers(population.person(17))
    assert population.person(18) != population.person(17)
    assert Population(seed=4, size=2500).person(17) != twin


def test_the_careless_are_a_known_share(population):
    habits = [population.person(index).habit for index in range(population.size)]
    assert habits.count("honest") / len(habits) == pytest.approx(1 - CARELESS, abs=0.02)
    assert all(
        habits.count(habit) / len(habits) == pytest.approx(CARELESS / 3, abs=0.012)
        for habit in ("fast", "left", "random")
    )


def test_the_careless_behave_as_named(population):
    fast = [a for p in people(population, "fast", 20) for a in answers(p)]
    assert statistics.mean(a.seconds < 1 for a in fast) == 1
    left = [a for p in people(population, "left", 20) for a in answers(p)]
    assert statistics.mean(a.pick == "left" for a in left) == pytest.approx(0.92, abs=0.03)
    honest = [a for p in people(population, "honest", 20) for a in answers(p)]
    assert statistics.mean(a.seconds < 1 for a in honest) < 0.05
    assert 0.08 < statistics.mean(a.pick == "tie" for a in honest) < 0.25


def accuracy(some, pairs):
    """Return how often people's picks go to the image that people at large like better."""
    right = []
    for person in some:
        for number, (left, right_image) in enumerate(pairs):
            pick = person.judge(left, right_image, number).pick
            if pick != "tie":
                better = [quality(image.prompt, depiction_of(image)).overall for image in (left, right_image)]
                right.append((pick == "left") == (better[0] > better[1]))
    return statistics.mean(right)


def test_honest_people_share_a_taste_and_random_ones_do_not(population):
    pairs = list(pairwise(images(60)))
    assert accuracy(people(population, "honest"), pairs) > 0.75
    assert accuracy(people(population, "random"), pairs) == pytest.approx(0.5, abs=0.05)
    assert accuracy(people(population, "fast"), pairs) == pytest.approx(0.5, abs=0.05)


def test_swapping_sides_swaps_what_honest_people_like_not_who_they_are(population):
    person = people(population, "honest", 1)[0]
    left, right = images(2)
    assert person.liking(left.prompt, depiction_of(left)) != person.liking(right.prompt, depiction_of(right))


def test_picks_a_prompt(population):
    picks = [population.person(index).picks_per_prompt(0) for index in range(population.size)]
    assert min(picks) >= 3
    assert statistics.mean(picks) == pytest.approx(MEAN_PICKS, abs=1.0)


def test_nobody_outside_the_population(population):
    with pytest.raises(IndexError, match="person 2500"):
        population.person(2500)


def test_whoever_looks_sees_which_image_is_spoiled(population):
    def share_right(habit):
        judged = []
        for number, person in enumerate(people(population, habit, n=30)):
            for clean in images(20, seed=number):
                # Nobody has to know how the copy was drawn to see that it is one.
                copy = replace(clean, model="corrupted-blur", spoiled=True)
                judged += [
                    person.judge(clean, copy, 0).pick == "left",
                    person.judge(copy, clean, 0).pick == "right",
                ]
        return sum(judged) / len(judged)

    # 1,200 answers: four standard deviations are .02 for the honest, .06 for the others.
    assert share_right("honest") == pytest.approx(0.97, abs=0.02)
    for habit in ("fast", "left", "random"):
        assert share_right(habit) == pytest.approx(0.46, abs=0.08)
