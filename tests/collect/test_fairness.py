"""Whose image is made next: a queue of many users, served one job after the other."""

import random
from collections import Counter

import pytest

from pickapic.collect.queue import clocks, jobs
from pickapic.collect.tables import duels

LIMITS = {"prompts_per_minute": 10_000, "jobs_per_user": 10_000, "images_per_week": 100_000}


@pytest.fixture
def desk(hands):
    hands.settings = hands.settings.model_copy(update=LIMITS)
    return hands


def queue_up(hands, prompts: int, name: str) -> int:
    user = hands.guest()
    for number in range(prompts):
        hands.start(user, f"{name} {number}")
    return user


def serve(hands, count: int, batch: int = 1) -> list[tuple[str, int]]:
    """Make up to `count` images; return of each whose it was (the prompt's first word) and how urgent."""
    order = []
    while len(order) < count and (leased := hands.lease(min(batch, count - len(order)))):
        hands.finish(leased)
        order += [(job.order.prompt.split()[0], job.priority) for job in leased]
    return order


def last_of(order, name: str) -> int:
    """Return how many images for screens were made until the last of `name`."""
    screens = [who for who, priority in order if priority == jobs.ON_SCREEN]
    return len(screens) - screens[::-1].index(name)


@pytest.mark.parametrize("batch", [1, 4])
def test_five_prompts_beside_a_hundred_wait_as_in_a_queue_of_ten(desk, batch):
    queue_up(desk, 100, "many")
    serve(desk, 24, batch)
    queue_up(desk, 5, "few")
    order = serve(desk, 80, batch)
    # Ten images for their five screens; with as many of the other's, a queue of ten prompts has twenty.
    assert last_of(order, "few") <= 20 + batch
    assert Counter(order)["few", jobs.ON_SCREEN] == 10


def test_what_is_made_ahead_is_fair_too(desk):
    queue_up(desk, 60, "many")
    serve(desk, 160)  # all for screens, and some ahead
    queue_up(desk, 2, "few")
    order = serve(desk, 40)
    ahead = [who for who, priority in order if priority == jobs.AHEAD]
    assert ahead.count("few") == 8
    assert len(ahead) - ahead[::-1].index("few") <= 17


def test_users_share_alike_however_much_they_asked_for(desk):
    sizes = {f"user{number}": prompts for number, prompts in enumerate((100, 40, 20, 10, 10, 10))}
    for name, prompts in sizes.items():
        queue_up(desk, prompts, name)
    served = Counter(who for who, priority in serve(desk, 120) if priority == jobs.ON_SCREEN)
    # Six users, each with twenty or more to be made: nobody has more than a job more than another.
    assert max(served.values()) - min(served.values()) <= 1


def test_what_was_prefetched_does_not_count_against_a_screen(desk):
    reader = queue_up(desk, 20, "reader")
    serve(desk, 40 + 4)
    queue_up(desk, 30, "crowd")
    desk.start(reader, "again 1")
    order = serve(desk, 12)
    assert last_of(order, "again") <= 4


def test_who_cancels_is_in_nobodys_debt(desk):
    user = desk.guest()
    uids = [desk.start(user, f"gone {number}") for number in range(100)]
    queue_up(desk, 30, "other")
    serve(desk, 6)
    for uid in uids:
        desk.close(user, uid)
    desk.start(user, "back 1")
    order = serve(desk, 40)
    assert last_of(order, "back") <= 5
    assert "gone" not in [who for who, _ in order]


def test_who_was_away_has_no_credit(desk):
    early = queue_up(desk, 1, "early")
    serve(desk, 100)
    for number in range(20):
        queue_up(desk, 1, f"guest{number}")
    serve(desk, 1000)
    queue_up(desk, 10, "late")
    for number in range(10):
        desk.start(early, f"early {number}")
    order = [who for who, _ in serve(desk, 12)]
    assert abs(order.count("early") - order.count("late")) <= 2


def test_a_screen_that_waits_comes_before_everything_made_ahead(desk):
    queue_up(desk, 10, "first")
    serve(desk, 22)
    queue_up(desk, 1, "screen")
    assert serve(desk, 2) == [("screen", jobs.ON_SCREEN)] * 2


def test_an_image_made_ahead_that_a_screen_waits_for_takes_its_turn(desk):
    queue_up(desk, 30, "crowd")
    user = queue_up(desk, 1, "waits")
    serve(desk, 8)
    (uid,) = (row.uid for row in desk.rows(duels) if row.user_id == user)
    desk.pick(user, desk.view(user, uid).round.round_uid, "left")  # the pool is empty: one ahead is promoted
    order = serve(desk, 6)
    assert ("waits", jobs.ON_SCREEN) in order[:3]


def test_prefetching_goes_on_beside_screens_that_never_stop(desk):
    queue_up(desk, 4, "first")
    serve(desk, 8)
    made_ahead = Counter()
    for number in range(40):
        queue_up(desk, 2, f"crowd{number}")
        made_ahead.update(who for who, priority in serve(desk, 4) if priority == jobs.AHEAD)
    assert sum(made_ahead.values()) >= 160 // (clocks.AHEAD_EVERY + 1)
    assert made_ahead["first"] >= 2


@pytest.mark.slow
def test_over_a_long_run_everybody_who_waits_is_served_alike(desk):
    rng = random.Random(1)
    users = [desk.guest() for _ in range(8)]
    appetite = {0: 6, 1: 3}  # how many prompts they write where others write one
    served = Counter()
    for turn in range(60):
        for number, user in enumerate(users):
            if turn < 4 or rng.random() < 0.6:
                for _ in range(appetite.get(number, 1)):
                    desk.start(user, f"user{number} {turn}")
        served.update(who for who, priority in serve(desk, 6) if priority == jobs.ON_SCREEN)
    assert max(served.values()) <= 1.35 * min(served.values())
