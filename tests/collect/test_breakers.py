"""Generators whose provider fails: benched, passed over, tried again."""

from collections import Counter
from datetime import timedelta

import pytest
from handing_over import Desk, all_of, error, failing, made, refused, row_of, settings, unavailable

from pickapic.collect import decisions
from pickapic.collect.queue import breakers, generator_states
from pickapic.collect.refusals import NotFoundError
from pickapic.collect.tables import jobs as jobs_table

RULES = {"breaker_failures": 3, "breaker_seconds": 30.0, "breaker_max_seconds": 100.0}


def generators(hands, state="queued") -> Counter:
    return Counter(row.generator for row in hands.rows(jobs_table) if row.state == state)


def drawn(hands) -> set[str]:
    choices = hands.read(generator_states.effective, hands.settings.generators, hands.now)
    return {choice.name for choice in choices}


def begin(hands, *names: str, **rules) -> Desk:
    """One duel, whose six jobs are all for the first generator."""
    settings(hands, *names, **{**RULES, **rules})
    hands.start(hands.guest())
    all_of(hands, names[0])
    return Desk(hands, *names)


def bench(hands, desk: Desk) -> list:
    leased = desk.turn(want=3)
    desk.turn(*(unavailable(job) for job in leased), want=0)
    return leased


def test_success_writes_nothing_and_wipes_out_what_was_counted(hands):
    desk = begin(hands, "a", "b")
    first, second, third, fourth, *_ = desk.turn()
    desk.turn(made(first), want=0)
    assert failing(hands) == {}
    desk.turn(unavailable(second), unavailable(third), want=0)
    assert failing(hands)["a"].failures == 2
    assert drawn(hands) == {"a", "b"}
    desk.turn(made(fourth), want=0)
    assert failing(hands) == {}


def test_to_refuse_is_to_answer_and_an_error_of_one_image_benches_nobody(hands):
    desk = begin(hands, "a", "b")
    first, second, third, *others = desk.turn()
    desk.turn(unavailable(first), unavailable(second), want=0)
    desk.turn(refused(third), want=0)
    assert failing(hands) == {}
    desk.turn(*(error(job) for job in others), want=0)
    assert failing(hands) == {}


def test_what_fails_in_a_row_is_benched_and_what_waits_for_it_goes_to_the_others(hands):
    desk = begin(hands, "a", "b")
    failed = bench(hands, desk)
    breaker = failing(hands)["a"]
    assert (breaker.failures, breaker.error) == (3, "status 503")
    assert breaker.benched_until == hands.now + timedelta(seconds=30)
    assert drawn(hands) == {"b"}
    assert generators(hands) == {"b": 6}
    assert {row_of(hands, job).attempts for job in failed} == {0}
    leased = desk.turn()
    assert {job.order.generator for job in leased} == {"b"}
    assert [job.attempts for job in leased] == [1] * 6


def test_what_was_asked_before_it_was_benched_and_fails_later_counts_no_more(hands):
    desk = begin(hands, "a", "b")
    leased = desk.turn()
    desk.turn(*(unavailable(job) for job in leased[:3]), want=0)
    hands.later(5)
    desk.turn(*(unavailable(job) for job in leased[3:]), want=0)
    assert failing(hands)["a"].failures == 3


def test_after_its_time_one_job_tries_it_and_success_resets_all(hands):
    desk = begin(hands, "a", "b")
    bench(hands, desk)
    desk.turn(*(made(job) for job in desk.turn()), want=0)
    hands.later(31)
    assert drawn(hands) == {"a", "b"}
    hands.start(hands.guest(), "another")
    all_of(hands, "a")
    leased = desk.turn()
    by_name = Counter(job.order.generator for job in leased)
    assert (by_name["a"], by_name["b"]) == (1, 5)
    (trial,) = [job for job in leased if job.order.generator == "a"]
    assert trial.priority == 1, "nobody's screen waits for a trial"
    assert drawn(hands) == {"b"}, "while it is being tried"
    desk.turn(made(trial), want=0)
    assert failing(hands) == {}
    assert drawn(hands) == {"a", "b"}


def test_each_failed_trial_doubles_the_time_up_to_a_limit(hands):
    desk = begin(hands, "a")
    bench(hands, desk)
    lengths = []
    for _ in range(4):
        breaker = failing(hands)["a"]
        lengths.append((breaker.benched_until - breaker.failed_at).total_seconds())
        assert desk.turn() == []
        hands.later(lengths[-1] + 1)
        (trial,) = desk.turn()
        assert desk.turn() == [], "one trial at a time"
        desk.turn(unavailable(trial), want=0)
    assert lengths == [30, 60, 100, 100]


def test_without_another_generator_jobs_wait_for_the_trial_and_wear_out_nothing(hands):
    desk = begin(hands, "a", max_attempts=1)
    for _ in range(3):
        bench(hands, desk)
        hands.later(40)
    assert drawn(hands) == {"a"}, "a person may still start a prompt"
    assert {row.attempts for row in hands.rows(jobs_table)} == {0}
    hands.later(60)
    (trial,) = desk.turn()
    desk.turn(made(trial), want=0)
    leased = desk.turn()
    assert len(leased) == 5
    assert {job.attempts for job in leased} == {1}


def test_what_waited_too_long_for_it_is_given_up_with_the_reason(hands):
    desk = begin(hands, "a", job_max_seconds=50.0)
    user = hands.guest()
    uid = hands.start(user, "another")
    bench(hands, desk)
    hands.later(20)
    desk.sweep()
    assert generators(hands) == {"a": 12}
    hands.later(31)
    desk.sweep()
    assert generators(hands) == {}
    dead = [row for row in hands.rows(jobs_table) if row.state == "dead"]
    assert len(dead) >= 2
    assert {row.error for row in dead} == {"a could not be reached for too long: status 503"}
    view = hands.view(user, uid)
    assert view.state == "failed"
    assert "No images could be made" in view.message


def test_an_old_job_dies_of_a_long_failure_and_not_of_a_short_one(hands):
    desk = begin(hands, "a", job_max_seconds=50.0)
    hands.later(1000)
    (job, *_) = desk.turn(want=1)
    desk.turn(unavailable(job), want=0)
    desk.sweep()
    assert row_of(hands, job).state == "queued"
    hands.later(51)
    (again,) = desk.turn(want=1)
    desk.turn(unavailable(again), want=0)
    row = row_of(hands, again)
    assert (row.state, row.error) == ("dead", "a could not be reached for too long: status 503")


def test_what_is_ordered_of_it_all_the_same_is_passed_on_at_the_next_look(hands):
    desk = begin(hands, "a", "b")
    bench(hands, desk)
    desk.turn(*(made(job) for job in desk.turn()), want=0)
    assert not desk.is_due()
    hands.start(hands.guest(), "ordered by what was known a second ago")
    all_of(hands, "a")
    assert desk.is_due()
    assert {job.order.generator for job in desk.turn()} == {"b"}


def test_a_worker_of_the_benched_one_alone_has_nothing_to_do(hands):
    desk = begin(hands, "a")
    bench(hands, desk)
    assert not desk.is_due()
    hands.later(31)
    assert desk.is_due()
    assert len(desk.turn()) == 1
    assert not desk.is_due()


def test_an_admin_may_have_it_tried_at_once(hands):
    desk = begin(hands, "a", "b")
    bench(hands, desk)
    names = ["a", "b"]
    assert hands.write(breakers.try_now, names, "a", None, hands.now)
    assert drawn(hands) == {"a", "b"}
    assert not hands.write(breakers.try_now, names, "b", None, hands.now)
    (decision,) = hands.read(decisions.recent)
    assert (decision.action, decision.target) == ("try now", "a")
    with pytest.raises(NotFoundError):
        hands.write(breakers.try_now, names, "nobody", None, hands.now)


def test_what_no_worker_makes_goes_to_those_that_are_made(hands):
    begin(hands, "a", "b")
    desk = Desk(hands, "b")
    desk.sweep()
    assert generators(hands) == {"a": 6}
    hands.later(61)
    desk.sweep()
    assert generators(hands) == {"b": 6}


def test_what_no_worker_makes_waits_where_nothing_else_is_made_either(hands):
    begin(hands, "a", "b")
    hands.later(61)
    Desk(hands, "c").sweep()
    assert generators(hands) == {"a": 6}
