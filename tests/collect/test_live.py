"""What admins see change: live numbers, generators' figures, users and their profiles."""

from datetime import timedelta

import pytest
from sqlalchemy import insert, update

from pickapic.collect.oversight import live
from pickapic.collect.people import bans, profiles
from pickapic.collect.refusals import NotFoundError
from pickapic.collect.tables import images, jobs, marks, risks, rounds, users


@pytest.fixture
def played(hands):
    """A user with five answers, one a minute, as soon as the next round is there."""
    user = hands.guest()
    uid = hands.start(user)
    for answer in ("left", "left", "right", "tie", "left"):
        hands.make()
        hands.later(58)
        view = hands.view(user, uid)
        hands.later(2)
        hands.pick(user, view.round.round_uid, answer)
    return user, uid


def numbers(hands, doubtful=50.0):
    return hands.read(live.live, doubtful, hands.now)


def change(hands, table, condition, **values):
    hands.write(lambda connection: connection.execute(update(table).where(condition).values(**values)))


def test_an_empty_collection_has_nothing_to_show(hands):
    found = numbers(hands)
    assert (found.users, found.active, found.picks_day, found.queued, found.workers) == (0, 0, 0, 0, 0)
    assert (found.flagged, found.gold, found.waited_s) == (None, None, 0.0)
    assert found.minutes == (0,) * 60


def test_picks_are_counted_by_the_minute(hands, played):
    found = numbers(hands)
    assert found.minutes[-5:] == (1, 1, 1, 1, 1)
    assert sum(found.minutes) == 5
    assert (found.users, found.active, found.picks_day) == (1, 1, 5)
    hands.later(30 * 60)
    later = numbers(hands)
    assert later.minutes[-35:-30] == (1, 1, 1, 1, 1)
    assert (later.active, later.picks_day) == (0, 5)
    hands.later(24 * 3600)
    assert numbers(hands).picks_day == 0


def test_the_queue_its_age_its_workers_and_what_was_given_up(hands, played):
    hands.make()
    user = hands.guest()
    hands.start(user)
    hands.later(42)
    leased = hands.lease(2, "one") + hands.lease(1, "two")
    found = numbers(hands)
    assert (found.leased, found.workers) == (3, 3)
    assert found.queued == 2 + hands.settings.images_ahead - 3
    assert found.waited_s == 42.0
    change(hands, jobs, jobs.c.id == leased[0].id, state="dead", finished_at=hands.now)
    found = numbers(hands)
    assert (found.dead, found.failures, found.leased) == (1, 1, 2)
    hands.later(25 * 3600)
    assert numbers(hands).failures == 0


def test_shares_of_gold_passed_and_of_images_flagged(hands, played):
    answered = hands.rows(rounds)[:4]
    for row, side in zip(answered, ("left", "right", "right", "left"), strict=True):
        change(hands, rounds, rounds.c.id == row.id, gold=side)
    made = hands.rows(images)
    change(hands, images, images.c.id == made[-1].id, state="flagged")
    found = numbers(hands)
    assert found.gold == 0.5
    assert found.flagged == pytest.approx(1 / len(made))


def risk(hands, user, score, reasons="[]", picks=5):
    hands.write(
        lambda connection: connection.execute(
            insert(risks).values(
                user_id=user, score=score, reasons=reasons, picks=picks, policy="p", computed_at=hands.now
            )
        )
    )


def test_doubtful_are_those_about_whom_nobody_decided_yet(hands):
    people = [hands.guest() for _ in range(3)]
    for user, score in zip(people, (90.0, 49.0, 60.0), strict=True):
        risk(hands, user, score)
    assert numbers(hands).doubtful == 2
    hands.write(bans.exclude, None, people[0], "seen", hands.now)
    assert numbers(hands).doubtful == 1
    assert numbers(hands, 45.0).doubtful == 2


def test_a_generator_is_shown_with_what_became_of_its_images(hands, played):
    first, second = (choice.name for choice in hands.settings.generators[:2])
    for row in hands.rows(images):
        change(hands, images, images.c.id == row.id, model=first)
    change(hands, jobs, jobs.c.state == "done", generator=first)
    kept = hands.rows(rounds)[0].left_image_id
    change(hands, images, images.c.id == kept, model=second)
    change(hands, jobs, jobs.c.id == hands.rows(jobs)[0].id, state="dead")
    figures = {
        one.state.name: one
        for one in hands.read(live.generator_figures, hands.settings.generators, hands.now)
    }
    assert len(figures) == 6
    done = sum(row.state == "done" for row in hands.rows(jobs))
    assert (figures[first].made, figures[first].failed, figures[first].seconds) == (done, 1, 0.5)
    met = [
        row
        for row in hands.rows(rounds)
        if row.state == "answered" and kept in (row.left_image_id, row.right_image_id)
    ]
    points = sum(
        0.5
        if row.pick == "tie"
        else float((row.left_image_id if row.pick == "left" else row.right_image_id) == kept)
        for row in met
    )
    assert (figures[second].rounds, figures[second].won) == (len(met), points / len(met))
    assert figures[first].won == 1 - points / len(met)
    assert (figures["miniature-dune"].made, figures["miniature-dune"].won) == (0, None)


def test_users_are_listed_by_risk_by_picks_and_by_age(hands):
    first, second, third, visitor = (hands.guest() for _ in range(4))
    change(hands, users, users.c.id == visitor, kind="visitor")
    reason = '[{"signal": "too_fast", "points": 80.0, "detail": "9 of 10 answers in under 1 s"}]'
    risk(hands, second, 80.0, reason, picks=3)
    risk(hands, first, 20.0, picks=7)
    listed = lambda *args: [one.user_id for one in hands.read(profiles.listed, *args)[0]]  # noqa: E731
    assert listed() == [second, first, third]
    assert listed("picks") == [first, second, third]
    assert listed("newest") == [third, second, first]
    assert listed("risk", "doubtful") == [second]
    hands.write(bans.ban, None, third, "spam", hands.now)
    hands.write(bans.set_role, None, first, "admin", "first", hands.now)
    assert listed("risk", "banned") == [third]
    assert listed("risk", "staff") == [first]
    assert listed("risk", "trusted") == listed("risk", "excluded") == []
    page, total = hands.read(profiles.listed, "risk", "all", 50.0, 1, 1)
    assert ([one.user_id for one in page], total) == ([first], 3)
    (worst,), _ = hands.read(profiles.listed, "risk", "doubtful")
    assert worst.reasons[0].detail == "9 of 10 answers in under 1 s"


def test_a_profile_tells_habits_and_who_shares_a_mark(hands, played):
    user, uid = played
    hands.make()
    hands.skip(user, hands.view(user, uid).round.round_uid)
    other, stranger = hands.guest(), hands.guest()
    for who, kind, digest in (
        (user, "device", b"d"),
        (other, "device", b"d"),
        (other, "address", b"a"),
        (user, "address", b"b"),
        (stranger, "address", b"d"),
    ):
        hands.write(
            lambda connection, who=who, kind=kind, digest=digest: connection.execute(
                insert(marks).values(
                    user_id=who, kind=kind, digest=digest, first_at=hands.now, last_at=hands.now
                )
            )
        )
    found = hands.read(profiles.profile, user)
    assert found.together == ((other, "device", hands.now),)
    habits = found.habits
    assert (habits.answers, habits.skipped, habits.duels, habits.median_ms) == (5, 1, 1, 60_000)
    assert (habits.left, habits.tie, habits.fast) == (0.6, 0.2, 0.0)
    assert hands.read(profiles.profile, user, 60_001).habits.fast == 1.0
    assert habits.last_at - habits.first_at == timedelta(minutes=4)
    last = hands.read(profiles.last_rounds, user)
    assert [row.pick for row in last] == [None, "left", "tie", "right", "left", "left"]
    assert last[0].state == "skipped"
    assert last[1].prompt == "a cat"
    assert len(hands.read(profiles.last_rounds, user, 2)) == 2


def test_a_user_who_did_nothing_has_a_profile_and_nobody_has_none(hands):
    habits = hands.read(profiles.profile, hands.guest()).habits
    assert (habits.answers, habits.left, habits.median_ms, habits.last_at) == (0, None, None, None)
    with pytest.raises(NotFoundError):
        hands.read(profiles.profile, 99)
