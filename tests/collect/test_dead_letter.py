"""Jobs given up and refused: listed with why, queued again, or given up for good."""

from handing_over import Desk, all_of, error, made, refused, row_of, settings

from pickapic.collect.queue import dead_letter


def ended(hands, **changes):
    """One dead job and one refused one, of an open duel."""
    settings(hands, "a", "b", max_attempts=1, **changes)
    user = hands.guest()
    uid = hands.start(user)
    all_of(hands, "a")
    desk = Desk(hands, "a", "b")
    first, second, *others = desk.turn()
    desk.turn(error(first), refused(second), *(made(job) for job in others), want=0)
    return user, uid, desk, first, second


def test_both_are_listed_with_their_reasons_the_latest_first(hands):
    *_, first, second = ended(hands)
    listed = hands.read(dead_letter.dead_jobs, 100, True)
    expected = [
        (second.id, "refused", "it would be unsafe", True),
        (first.id, "dead", "out of memory", True),
    ]
    found = [(one.id, one.state, one.error, one.is_open) for one in listed]
    assert found == sorted(expected, reverse=True)
    assert [one.id for one in hands.read(dead_letter.dead_jobs)] == [first.id]


def test_all_that_died_is_queued_again_and_what_was_refused_by_name_alone(hands):
    _, _, desk, first, second = ended(hands)
    hands.later(5)
    assert hands.write(dead_letter.retry, hands.now) == 1
    assert (row_of(hands, first).state, row_of(hands, second).state) == ("queued", "refused")
    assert hands.write(dead_letter.retry, hands.now, [second.id]) == 1
    again = {job.id: job for job in desk.turn()}
    assert {first.id, second.id} <= again.keys()
    assert again[first.id].attempts == 1


def test_of_a_duel_that_has_ended_nothing_is_made_again(hands):
    user, uid, _, first, _ = ended(hands)
    hands.close(user, uid)
    assert hands.write(dead_letter.retry, hands.now, [first.id]) == 0
    assert {one.is_open for one in hands.read(dead_letter.dead_jobs, 100, True)} == {False}


def test_what_is_given_up_is_off_the_list_and_keeps_its_reason(hands):
    *_, first, second = ended(hands)
    assert hands.write(dead_letter.give_up, [first.id]) == 1
    assert [one.id for one in hands.read(dead_letter.dead_jobs, 100, True)] == [second.id]
    assert (row_of(hands, first).state, row_of(hands, first).error) == ("cancelled", "out of memory")
    assert hands.write(dead_letter.give_up) == 1
    assert hands.read(dead_letter.dead_jobs, 100, True) == []
