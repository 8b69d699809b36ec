"""The place in the queue and the estimate of time, against a queue that is served by the clock."""

import heapq

import pytest
from handing_over import Desk, made, settings, unavailable
from sqlalchemy import select, update

from pickapic.collect.queue import places, workers
from pickapic.collect.tables import duels
from pickapic.collect.tables import jobs as jobs_table
from pickapic.settings import GeneratorChoice

LIMITS = {"prompts_per_minute": 10_000, "jobs_per_user": 10_000, "images_ahead": 1}
# The estimate may be wrong by so much of the true time, and by the time of so many images of the model waited for.
SHARE = 0.2
IMAGES = 1.0

SCENES = {
    "one worker that draws": ({"aurora": 0.2, "dune": 0.4}, [(("aurora", "dune"), 1)]),
    "two of them": ({"aurora": 0.2, "dune": 0.4}, [(("aurora", "dune"), 1)] * 2),
    "a slow provider beside": (
        {"aurora": 0.2, "cloud": 8.0},
        [(("aurora",), 1), (("cloud",), 4)],
    ),
    "a machine that has some": (
        {"xl": 5.0, "flux": 12.0, "aurora": 0.1},
        [(("xl", "flux"), 1), (("xl",), 1), (("aurora",), 1)],
    ),
}


def prepare(hands, seconds: dict[str, float], rooms) -> None:
    """Let workers be known, and images of each generator have taken their seconds."""
    choices = tuple(GeneratorChoice(name, name) for name in seconds)
    hands.settings = hands.settings.model_copy(update={"generators": choices, **LIMITS})
    hands.start(hands.guest(), "before")

    def work(connection):
        for number, room in enumerate(rooms):
            workers.note(connection, f"w{number}", room[0], None, hands.now)
            workers.note_rooms(connection, f"w{number}", [room])
        ids = connection.execute(select(jobs_table.c.id).order_by(jobs_table.c.id)).scalars().all()
        for key, name in zip(ids, [*seconds, *seconds, *seconds], strict=False):
            connection.execute(
                update(jobs_table)
                .where(jobs_table.c.id == key)
                .values(
                    state="done", generator=name, seconds=seconds[name], finished_at=hands.now, worker="w0"
                )
            )

    hands.write(work)


def serve(rows, seconds: dict[str, float], rooms) -> dict[int, float]:
    """Return when each job is done, if every free hand takes the first job that it can make."""
    waiting = sorted(rows, key=lambda row: (row.priority, row.virtual_time, row.id))
    hands = [(0.0, number) for number in range(len([room for room in rooms for _ in range(room[1])]))]
    names = [room[0] for room in rooms for _ in range(room[1])]
    done: dict[int, float] = {}
    heapq.heapify(hands)
    while hands:
        at, number = heapq.heappop(hands)
        job = next((row for row in waiting if row.generator in names[number]), None)
        if job is not None:
            waiting.remove(job)
            done[job.id] = at + seconds[job.generator]
            heapq.heappush(hands, (done[job.id], number))
    return done


@pytest.mark.parametrize("scene", SCENES)
def test_the_estimate_is_near_the_time_that_a_simulated_queue_takes(hands, scene):
    seconds, rooms = SCENES[scene]
    prepare(hands, seconds, rooms)
    uids = [hands.start(hands.guest(), f"prompt {number}") for number in range(25)]
    rows = [row for row in hands.rows(jobs_table) if row.state == "queued"]
    done = serve(rows, seconds, rooms)
    wrong = []
    for duel in hands.rows(duels):
        if duel.uid not in uids:
            continue
        mine = sorted(
            (row for row in rows if row.duel_id == duel.id),
            key=lambda row: (row.priority, row.virtual_time, row.id),
        )
        for needed in (1, 2):
            awaited = mine[needed - 1]
            place = hands.read(places.place, duel.id, needed, hands.now)
            true = done[awaited.id]
            bound = SHARE * true + IMAGES * seconds[awaited.generator]
            if abs(place.eta_s - true) > bound:
                wrong.append((awaited.generator, place.position, place.eta_s, round(true, 2)))
    assert not wrong


def test_who_waits_for_a_quick_model_does_not_wait_for_the_slow_ones_ahead(hands):
    prepare(hands, {"aurora": 0.2, "cloud": 8.0}, [(("aurora",), 1), (("cloud",), 4)])
    uids = [hands.start(hands.guest(), f"prompt {number}") for number in range(10)]
    last = hands.rows(duels)[-1]
    assert last.uid == uids[-1]

    def give(connection, name):
        connection.execute(
            update(jobs_table)
            .where(jobs_table.c.state == "queued", jobs_table.c.duel_id != last.id)
            .values(generator="cloud")
        )
        connection.execute(update(jobs_table).where(jobs_table.c.duel_id == last.id).values(generator=name))

    hands.write(give, "aurora")
    quick = hands.read(places.place, last.id, 1, hands.now)
    hands.write(give, "cloud")
    slow = hands.read(places.place, last.id, 1, hands.now)
    assert quick.position == slow.position > 0
    assert quick.eta_s == 0.2
    assert slow.eta_s > 16


def test_of_what_is_benched_the_wait_is_part_of_the_estimate(hands):
    settings(hands, "a", breaker_failures=1, breaker_seconds=30.0)
    hands.start(hands.guest())
    desk = Desk(hands, "a", at_once=2)
    desk.sweep()
    first, second = desk.turn()
    desk.turn(made(first), unavailable(second), want=0)
    hands.write(workers.note_rooms, "w", [(("a",), 1)])
    duel = hands.rows(duels)[0]
    hands.later(1)
    place = hands.read(places.place, duel.id, 1, hands.now)
    assert 29.5 <= place.eta_s <= 32


def test_workers_that_fell_silent_are_not_counted_on(hands):
    prepare(hands, {"aurora": 0.5}, [(("aurora",), 1)] * 4)
    hands.start(hands.guest(), "waits")
    duel = hands.rows(duels)[-1]
    alive = hands.read(places.place, duel.id, 2, hands.now).eta_s
    hands.later(200)
    hands.write(workers.note, "w0", ("aurora",), None, hands.now)
    alone = hands.read(places.place, duel.id, 2, hands.now).eta_s
    assert alone > alive


def test_a_free_hand_means_no_wait(hands):
    prepare(hands, {"cloud": 8.0}, [(("cloud",), 4)])
    hands.start(hands.guest(), "alone")
    duel = hands.rows(duels)[-1]
    assert {hands.read(places.place, duel.id, needed, hands.now).eta_s for needed in (1, 2)} == {8.0}


def test_rooms_that_share_a_generator_are_one(hands):
    rooms = [(frozenset("ab"), 1), (frozenset("bc"), 2), (frozenset("d"), 4)]
    assert places._sharing(rooms, "a") == (frozenset("abc"), 3)
    assert places._sharing(rooms, "d") == (frozenset("d"), 4)
    assert places._sharing(rooms, "e") == (frozenset("e"), 0)
