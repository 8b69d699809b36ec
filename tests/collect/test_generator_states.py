"""Generators switched on and off, and weighed, while the collection runs."""

import random

import pytest
from sqlalchemy import select

from pickapic.collect import decisions
from pickapic.collect.queue import generator_states, jobs
from pickapic.collect.refusals import ConflictError, NotFoundError
from pickapic.collect.tables import jobs as jobs_table
from pickapic.records import InputError
from pickapic.settings import GeneratorChoice

CHOICES = (
    GeneratorChoice("a", "a", weight=1.0),
    GeneratorChoice("b", "b", weight=2.0, guidance_min=5, guidance_max=5, steps=7, negative_prompt="grey"),
    GeneratorChoice("c", "c", weight=0.0),
)


def switch(hands, name, enabled, reason="because"):
    return hands.write(
        generator_states.switch, CHOICES, name, enabled, None, reason, hands.now, random.Random(0)
    )


def weigh(hands, name, weight):
    hands.write(generator_states.set_weight, CHOICES, name, weight, None, "", hands.now)


def drawn(hands):
    return {
        choice.name: choice.weight for choice in hands.read(generator_states.effective, CHOICES, hands.now)
    }


def test_without_changes_the_settings_hold(hands):
    assert drawn(hands) == {"a": 1.0, "b": 2.0}


def test_what_is_switched_off_is_not_drawn_until_it_is_on_again(hands):
    switch(hands, "b", False)
    assert drawn(hands) == {"a": 1.0}
    switch(hands, "b", True)
    assert drawn(hands) == {"a": 1.0, "b": 2.0}


def test_a_weight_holds_over_a_switch_and_can_be_given_up(hands):
    weigh(hands, "b", 0.5)
    weigh(hands, "c", 3.0)
    switch(hands, "b", False)
    switch(hands, "b", True)
    assert drawn(hands) == {"a": 1.0, "b": 0.5, "c": 3.0}
    weigh(hands, "b", None)
    weigh(hands, "c", 0.0)
    assert drawn(hands) == {"a": 1.0, "b": 2.0}
    state = hands.read(generator_states.states, CHOICES)[1]
    assert (state.weight, state.settings_weight, state.changed_at) == (2.0, 2.0, hands.now)


def test_all_off_is_a_clear_refusal(hands):
    for choice in CHOICES:
        switch(hands, choice.name, False)
    assert drawn(hands) == {}
    hands.settings = hands.settings.model_copy(update={"generators": ()})
    with pytest.raises(ConflictError, match="all models are switched off"):
        hands.start(hands.guest())


def test_an_unknown_name_and_an_impossible_weight_are_refused(hands):
    with pytest.raises(NotFoundError):
        switch(hands, "nobody", False)
    for weight in (-1.0, float("inf"), float("nan")):
        with pytest.raises(InputError):
            weigh(hands, "a", weight)
    assert hands.read(decisions.recent) == []


def test_what_was_queued_for_it_goes_to_the_others(hands):
    user = hands.guest()
    uid = hands.start(user)
    duel_id = hands.view(user, uid).duel_id

    def order(connection):
        wanted = jobs.Order("a", "a cat", "", 9.0, 25, 1)
        jobs.enqueue(connection, duel_id, user, [(wanted, 0)] * 3, hands.now)

    hands.write(order)
    assert switch(hands, "a", False) == 3
    rows = hands.read(
        lambda connection: connection.execute(
            select(jobs_table).where(jobs_table.c.generator.in_(["a", "b"]))
        ).all()
    )
    assert {(row.generator, row.guidance_scale, row.steps, row.negative_prompt) for row in rows} == {
        ("b", 5.0, 7, "grey")
    }
    # Nobody is left to take them over.
    assert switch(hands, "b", False) == 0


def test_every_change_is_in_the_log(hands):
    switch(hands, "a", False, "draws hands with six fingers")
    weigh(hands, "a", 2.5)
    latest, first = hands.read(decisions.recent)
    assert (first.action, first.target_kind, first.target) == ("switch off", "generator", "a")
    assert (first.actor_id, first.at, first.reason) == (None, hands.now, "draws hands with six fingers")
    assert latest.action == "set weight 2.5"
    assert hands.read(decisions.recent, 1) == [latest]
    assert hands.read(decisions.recent, 5, latest.id) == [first]
