"""How much one person may ask for, and what they are told when it is too much."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, insert, update

from pickapic.collect.duels import limits
from pickapic.collect.duels.limits import Allowance, Record, allowance
from pickapic.collect.people import marks
from pickapic.collect.people.marks import address_mark, device_mark
from pickapic.collect.quality import Policy
from pickapic.collect.refusals import LimitError
from pickapic.collect.tables import risks, rounds, users
from pickapic.settings import load_settings

NOW = datetime(2026, 6, 1, tzinfo=UTC)
POLICY = Policy()


def record(age_days=0, answers=0, seen=0, passed=0, risk=0.0, granted=None):
    return Record(NOW - timedelta(days=age_days), answers, seen, passed, risk, granted)


@pytest.mark.parametrize(
    ("who", "answers"),
    [
        (record(), 1000),
        (record(age_days=6.9), 1000),
        (record(age_days=7), 2000),
        (record(age_days=30, seen=20, passed=19), 5000),
        (record(age_days=30, seen=20, passed=14), 1000),  # gold is mostly missed
        (record(age_days=30, seen=4, passed=0), 5000),  # too few to say
        (record(age_days=30, risk=50), 1000),
        (record(age_days=30, risk=49.9), 5000),
        (record(age_days=-1), 1000),  # a clock that was set back
        (record(age_days=300, granted=12), 12),
    ],
)
def test_standing_raises_what_is_allowed(who, answers):
    assert allowance(who, 1000, POLICY, NOW).answers == answers


def test_an_allowance_says_when_it_is_raised():
    assert allowance(record(age_days=3), 10, POLICY, NOW) == Allowance(10, NOW + timedelta(days=4))
    assert allowance(record(age_days=3, risk=80), 10, POLICY, NOW).raised_at is None
    assert allowance(record(granted=7), 10, POLICY, NOW).raised_at is None


def start(hands, user, **settings):
    hands.settings = load_settings(home=hands.settings.home, **settings)
    hands.read(limits.check_start, hands.settings, user, hands.now)


def test_prompts_a_minute(hands):
    user, other = hands.guest(), hands.guest()
    for second in range(3):
        hands.start(user)
        hands.later(10 + second)
    with pytest.raises(LimitError, match="More than 3 prompts a minute") as refused:
        start(hands, user, prompts_per_minute=3)
    assert refused.value.retry_after == 60 - 33
    start(hands, other, prompts_per_minute=3)
    hands.later(refused.value.retry_after)
    start(hands, user, prompts_per_minute=3)


def test_images_waiting(hands):
    user, other = hands.guest(), hands.guest()
    for _ in range(2):
        hands.start(user)  # six images each
    with pytest.raises(LimitError, match="12 of your images are still waiting") as refused:
        start(hands, user, jobs_per_user=12)
    assert refused.value.retry_after >= 1
    start(hands, other, jobs_per_user=12)
    start(hands, user, jobs_per_user=18)
    hands.make()
    start(hands, user, jobs_per_user=12)


def test_guests_from_one_address_within_an_hour(hands):
    office, elsewhere = address_mark("key", "93.184.216.34"), address_mark("key", "93.184.216.35")
    settings = hands.settings.model_copy(update={"guests_per_hour": 3})
    for _ in range(3):
        hands.write(limits.check_guest, settings, [office], hands.now)
        hands.write(marks.note, hands.guest(), (office,), hands.now)
        hands.later(60)
    with pytest.raises(LimitError, match="3 new people came") as refused:
        hands.write(limits.check_guest, settings, [office], hands.now)
    assert refused.value.retry_after == 3600 - 180
    hands.write(limits.check_guest, settings, [elsewhere], hands.now)
    hands.write(limits.check_guest, settings, [device_mark("key", "a browser")], hands.now)
    hands.later(refused.value.retry_after)
    hands.write(limits.check_guest, settings, [office], hands.now)


def test_what_was_cancelled_does_not_wait(hands):
    user = hands.guest()
    hands.close(user, hands.start(user))
    start(hands, user, jobs_per_user=6, images_per_week=6)


def test_images_a_week(hands):
    user, other = hands.guest(), hands.guest()
    hands.start(user)
    hands.later(3600)
    hands.start(user)
    hands.make()
    with pytest.raises(LimitError, match="12 images made within seven days") as refused:
        start(hands, user, images_per_week=17)
    assert refused.value.retry_after == 7 * 86_400 - 3600
    start(hands, user, images_per_week=18)
    start(hands, other, images_per_week=17)
    hands.later(refused.value.retry_after)
    start(hands, user, images_per_week=17)


def answer(hands, user, rounds_answered=5):
    uid = hands.start(user)
    hands.make()
    for _ in range(rounds_answered):
        view = hands.view(user, uid)
        hands.pick(user, view.round.round_uid, "tie")
        hands.make()


def test_answers_in_all(hands):
    user = hands.guest()
    hands.later(86_400)
    answer(hands, user, 5)
    start(hands, user, picks_first=6)
    with pytest.raises(LimitError, match="You have given 5 answers") as refused:
        start(hands, user, picks_first=5)
    assert refused.value.retry_after == 6 * 86_400
    hands.later(refused.value.retry_after)
    start(hands, user, picks_first=5)  # a week in good standing
    hands.write(
        lambda c: c.execute(
            insert(risks).values(
                user_id=user, score=99, reasons="[]", picks=5, policy="p", computed_at=hands.now
            )
        )
    )
    with pytest.raises(LimitError, match="You have given 5 answers") as refused:
        start(hands, user, picks_first=5)
    assert refused.value.retry_after == limits.REVIEW_SECONDS
    hands.write(lambda c: c.execute(update(users).values(allowance=9)))
    start(hands, user, picks_first=5)


def test_gold_counts_towards_standing(hands):
    user = hands.guest()
    answer(hands, user, 6)
    hands.write(
        lambda c: c.execute(update(rounds).where(rounds.c.number < 6).values(gold="left", pick="right"))
    )
    found = hands.read(limits.record_of, user)
    assert (found.answers, found.gold_seen, found.gold_passed) == (6, 5, 0)
    hands.write(lambda c: c.execute(update(rounds).where(rounds.c.number < 4).values(pick="left")))
    assert hands.read(limits.record_of, user).gold_passed == 3


def test_an_answer_costs_a_statement_only_at_every_tenth_round(hands):
    user = hands.guest()
    answer(hands, user, 3)
    settings = load_settings(home=hands.settings.home, picks_first=3)

    def statements(connection, number):
        seen = []

        def note(*arguments):
            seen.append(arguments[2])

        event.listen(connection, "before_cursor_execute", note)
        try:
            limits.check_pick(connection, settings, user, number, hands.now)
        except LimitError:
            seen.append("refused")
        finally:
            event.remove(connection, "before_cursor_execute", note)
        return len(seen)

    assert [hands.read(statements, number) for number in (1, 5, 9, 11, 10)] == [0, 0, 0, 0, 2]
