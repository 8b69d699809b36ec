"""The queue: order, fairness, leases that survive their workers."""

import asyncio
from collections import Counter

from pickapic.collect.database import open_database
from pickapic.collect.queue import jobs
from pickapic.collect.tables import jobs as jobs_table

ON_BOTH_QUICKLY = True


def prompts_of(hands, leased) -> list[str]:
    return [job.order.prompt for job in leased]


def test_the_screen_comes_before_what_is_made_ahead(hands):
    one, other = hands.guest(), hands.guest()
    hands.start(one, "first")
    hands.start(other, "second")
    assert Counter(prompts_of(hands, hands.lease(4))) == {"first": 2, "second": 2}
    assert Counter(row.priority for row in hands.rows(jobs_table) if row.state == "queued") == {1: 8}


def test_one_user_with_a_hundred_prompts_does_not_hold_back_another(hands):
    hands.settings = hands.settings.model_copy(update={"prompts_per_minute": 1000, "jobs_per_user": 1000})
    greedy, modest = hands.guest(), hands.guest()
    for number in range(100):
        hands.start(greedy, f"greedy {number}")
    for _ in range(3):
        hands.finish(hands.lease(8))
    for number in range(5):
        hands.start(modest, f"modest {number}")
    served = 0
    modest_left = 10  # two images for the screen of each of five prompts
    while modest_left:
        (job,) = hands.lease(1)
        served += 1
        modest_left -= job.order.prompt.startswith("modest")
    # Alone, ten jobs; beside one other user no more than every second is somebody else's.
    assert served <= 21


def test_credit_does_not_pile_up_while_somebody_is_away(hands):
    hands.settings = hands.settings.model_copy(update={"prompts_per_minute": 1000, "jobs_per_user": 1000})
    early, late = hands.guest(), hands.guest()
    for _ in range(20):
        hands.start(early, "early")
        hands.make()
    hands.start(early, "early")
    hands.start(late, "late")
    hands.start(late, "late")
    assert Counter(prompts_of(hands, hands.lease(4))) == {"early": 2, "late": 2}


def test_no_job_is_leased_twice_by_workers_that_ask_at_once(hands, database_url):
    user = hands.guest()
    for _ in range(10):
        hands.start(user)

    async def race() -> list[int]:
        others = [open_database(database_url) for _ in range(4)]
        try:
            taken = await asyncio.gather(
                *(
                    other.write(jobs.lease, f"w{index}", 2, 60.0, hands.now)
                    for _ in range(6)
                    for index, other in enumerate(others)
                )
            )
        finally:
            for other in others:
                await other.close()
        return [job.id for leased in taken for job in leased]

    ids = hands.runner.run(race())
    assert len(ids) == 48
    assert len(set(ids)) == 48


def test_a_silent_workers_jobs_are_queued_again_and_its_late_result_is_dropped(hands):
    user = hands.guest()
    uid = hands.start(user)
    leased = hands.lease(2, worker="silent")
    hands.later(59)
    assert hands.write(jobs.requeue_expired, 3, hands.now) == []
    assert len(hands.write(jobs.heartbeat, "silent", [job.id for job in leased], 60.0, hands.now)) == 2
    hands.later(59)
    assert hands.write(jobs.requeue_expired, 3, hands.now) == []
    hands.later(2)
    hands.write(jobs.requeue_expired, 3, hands.now)
    again = hands.lease(2, worker="awake")
    assert [job.id for job in again] == [job.id for job in leased]
    assert [job.attempts for job in again] == [2, 2]
    hands.finish(leased, worker="silent")
    assert hands.view(user, uid).standing.pool == 0
    hands.finish(again, worker="awake")
    assert hands.view(user, uid).state == "ready"


def test_a_job_that_keeps_failing_is_put_aside(hands):
    hands.start(hands.guest())
    for attempt in (1, 2, 3):
        (job,) = [job for job in hands.lease() if job.id == 1]
        assert job.attempts == attempt
        state = hands.fail(job, "out of memory", 3)
        assert state == (jobs.DEAD if attempt == 3 else jobs.QUEUED)
        assert 1 not in [other.id for other in hands.lease()], "a failed job waits before its next try"
        hands.later(10)
    row = hands.rows(jobs_table)[0]
    assert (row.state, row.error) == ("dead", "out of memory")
    assert hands.read(jobs.depths)["dead"] == 1


def test_a_job_that_kills_its_worker_dies_too(hands):
    hands.start(hands.guest())
    died = []
    for _ in range(3):
        assert len(hands.lease(6)) == 6
        hands.later(61)
        died += hands.write(jobs.requeue_expired, 3, hands.now)
    assert died == [1] * 6
    assert hands.lease() == []


def test_jobs_given_back_count_as_never_leased(hands):
    hands.start(hands.guest())
    leased = hands.lease(3)
    hands.write(jobs.release, "w", [job.id for job in leased])
    assert [job.attempts for job in hands.lease(3, worker="next")] == [1, 1, 1]
    hands.write(jobs.release, "w", [job.id for job in leased])
    assert hands.lease(3, worker="third")[0].id not in [job.id for job in leased]


def test_what_is_cancelled_in_the_making_is_dropped(hands):
    user = hands.guest()
    uid = hands.start(user)
    leased = hands.lease(2)
    hands.close(user, uid)
    assert hands.lease() == []
    hands.finish(leased)
    assert Counter(row.state for row in hands.rows(jobs_table)) == {"cancelled": 6}
    assert hands.view(user, uid).standing.pool == 0


def test_place_and_time_are_those_of_the_image_that_is_waited_for(hands):
    one, other = hands.guest(), hands.guest()
    hands.start(one)
    uid = hands.start(other)
    before = hands.view(other, uid)
    assert before.position == 3
    hands.finish(hands.lease(1))  # half a second's work, see conftest
    after = hands.view(other, uid)
    assert (after.position, after.eta_s) == (2, 1.5)
    hands.lease(3)
    making = hands.view(other, uid)
    assert (making.position, making.state, making.progress) == (0, "generating", 0.5)
