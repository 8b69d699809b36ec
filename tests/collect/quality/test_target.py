"""The target: of the careless 90 % flagged after 60 answers, of the honest 2 % at most."""

import pytest

from pickapic.collect.quality.policy import Policy

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(quality):
    return quality.measure(seed=11, people=120, answers=60, policy=Policy())


def test_the_careless_are_flagged_and_the_honest_are_not(found):
    habits = found["habits"]
    assert habits["careless"]["people"] >= 30
    assert habits["careless"]["flagged"] >= 0.9
    assert habits["honest"]["flagged"] <= 0.02
    assert habits["fast"]["excluded"] == habits["left"]["excluded"] == 1


def test_reasons_name_the_habit(quality, found):
    population = quality.Population(11, 120, careless=quality.CARELESS)
    signal = {"fast": "too_fast", "left": "one_sided", "random": "random"}
    for index, risk in enumerate(found["risks"][:120]):  # those after them are "one model"
        habit = population.person(index).habit
        if habit != "honest" and risk.score >= Policy().flag:
            assert signal[habit] in {reason.signal for reason in risk.reasons}


@pytest.mark.parametrize("seed", [0, 1])
def test_the_target_holds_on_other_populations(quality, seed):
    habits = quality.measure(seed=seed, people=300, answers=60, policy=Policy())["habits"]
    assert habits["careless"]["flagged"] >= 0.9
    assert habits["honest"]["flagged"] <= 0.02
