"""Results handed over and jobs leased in one step: once only, whatever is lost on the way."""

from collections import Counter

from handing_over import Desk, all_of, count_images, error, made, refused, row_of, settings, unmade

from pickapic.collect.duels import losses
from pickapic.collect.tables import duels
from pickapic.collect.tables import images as images_table
from pickapic.collect.tables import jobs as jobs_table

ON_BOTH_QUICKLY = True


def states(hands) -> Counter:
    return Counter(row.state for row in hands.rows(jobs_table))


def test_the_same_report_again_changes_nothing(hands):
    settings(hands, "a", max_attempts=3)
    hands.start(hands.guest())
    desk = Desk(hands, "a")
    first, second, third, *others = desk.turn()
    report = (made(first), error(second), unmade(third))
    desk.turn(*report, want=0)
    before = hands.rows(jobs_table)
    desk.turn(*report, want=0)
    assert hands.rows(jobs_table) == before
    assert count_images(hands) == 1
    assert [row_of(hands, job).attempts for job in (first, second, third)] == [1, 1, 0]
    assert {row_of(hands, job).state for job in others} == {"leased"}


def test_an_old_report_says_nothing_about_a_later_try(hands):
    settings(hands, "a")
    hands.start(hands.guest())
    desk = Desk(hands, "a")
    first = desk.turn()[0]
    late = error(first)
    desk.turn(late, want=0)
    hands.later(5)
    desk.turn()
    desk.turn(late, want=0, holding=[first.id])
    row = row_of(hands, first)
    assert (row.attempts, row.state) == (2, "leased")


def test_what_an_answer_named_that_was_lost_goes_back_to_the_queue(hands):
    settings(hands, "a")
    hands.start(hands.guest())
    desk = Desk(hands, "a")
    lost = desk.turn()
    desk.held.clear()
    again = desk.turn()
    assert [job.id for job in again] == [job.id for job in lost]
    assert [job.attempts for job in again] == [1] * 6


def test_a_worker_leases_only_what_it_makes_and_copies_only_where_it_says_so(hands):
    settings(hands, "a", "b")
    hands.start(hands.guest())
    wanted = Counter(row.generator for row in hands.rows(jobs_table))
    assert len(wanted) == 2
    assert {job.order.generator for job in Desk(hands, "b").turn()} == {"b"}
    assert Desk(hands, "c").is_due() is False
    leased = Desk(hands, "a", worker="other").turn()
    assert len(leased) == wanted["a"]
    assert states(hands) == {"leased": 6}


def test_what_was_made_while_its_lease_ran_out_counts_unless_another_has_it(hands):
    settings(hands, "a")
    hands.start(hands.guest())
    slow, quick = Desk(hands, "a"), Desk(hands, "a", worker="quick", at_once=3)
    leased = slow.turn()
    hands.later(61)
    slow.sweep()
    assert states(hands) == {"queued": 6}
    taken = {job.id for job in quick.turn()}
    slow.turn(*(made(job) for job in leased), want=0)
    assert count_images(hands) == 3
    assert {row.state for row in hands.rows(jobs_table) if row.id in taken} == {"leased"}


def test_what_is_cancelled_leaves_no_image(hands):
    settings(hands, "a")
    user = hands.guest()
    uid = hands.start(user)
    desk = Desk(hands, "a")
    leased = desk.turn()
    hands.close(user, uid)
    desk.turn(*(made(job) for job in leased), want=0)
    assert count_images(hands) == 0
    assert states(hands) == {"cancelled": 6}


# Refusals.


def test_a_refusal_is_kept_with_its_reason_and_another_generator_draws_the_image(hands):
    settings(hands, "a", "b")
    hands.start(hands.guest())
    all_of(hands, "a")
    desk = Desk(hands, "a", "b")
    first = desk.turn()[0]
    desk.turn(refused(first), want=0)
    row = row_of(hands, first)
    assert (row.state, row.error, row.finished_at) == ("refused", "it would be unsafe", hands.now)
    another = hands.rows(jobs_table)[-1]
    assert (another.generator, another.state, another.priority) == ("b", "queued", first.priority)
    assert count_images(hands) == 0


def test_a_duel_that_every_model_refuses_ends_with_a_message_and_keeps_its_prompt(hands):
    settings(hands, "a", "b")
    user = hands.guest()
    uid = hands.start(user, "a cat")
    desk = Desk(hands, "a", "b")
    count = 0
    while leased := desk.turn():
        desk.turn(*(refused(job) for job in leased), want=0)
        count += len(leased)
    assert losses.MOST_REFUSED <= count <= losses.MOST_REFUSED + 6
    view = hands.view(user, uid)
    assert (view.state, view.message) == ("failed", losses.REFUSED_MESSAGE)
    assert hands.rows(duels)[0].typed == "a cat"
    assert states(hands).keys() <= {"refused", "cancelled"}


def test_what_some_models_refuse_goes_on_with_the_others(hands):
    settings(hands, "a", "b")
    user = hands.guest()
    uid = hands.start(user)
    desk = Desk(hands, "a", "b")
    while leased := desk.turn():
        desk.turn(*((refused if job.order.generator == "a" else made)(job) for job in leased), want=0)
    assert hands.view(user, uid).state == "ready"
    assert {row.model for row in hands.rows(images_table)} == {"b"}
    assert states(hands)["done"] == 6


# The same picture twice.


def test_the_second_of_two_equal_pictures_is_drawn_again_with_another_seed(hands):
    settings(hands, "a")
    hands.start(hands.guest())
    desk = Desk(hands, "a")
    first, second, third, *_ = desk.turn()
    desk.turn(made(first, source_sha256="e" * 64), made(second, source_sha256="e" * 64), want=0)
    desk.turn(made(third, sha256=f"{first.id:064x}"), want=0)
    assert count_images(hands) == 1
    for job in (second, third):
        row = row_of(hands, job)
        assert (row.state, row.generator, row.attempts) == ("queued", "a", 1)
        assert row.seed != job.order.seed
        assert "same picture" in row.error


def test_a_model_that_knows_one_picture_only_is_left_to_itself_in_the_end(hands):
    settings(hands, "a", "b", max_attempts=2)
    user = hands.guest()
    uid = hands.start(user)
    all_of(hands, "a")
    desk = Desk(hands, "a", "b")
    for _ in range(20):
        leased = desk.turn()
        if not leased:
            break
        desk.turn(
            *(made(job, **({"sha256": "a" * 64} if job.order.generator == "a" else {})) for job in leased),
            want=0,
        )
    models = Counter(row.model for row in hands.rows(images_table))
    assert models == {"a": 1, "b": 5}
    assert hands.view(user, uid).state == "ready"


def test_one_model_with_one_picture_ends_and_does_not_draw_for_ever(hands):
    settings(hands, "a", max_attempts=2)
    user = hands.guest()
    uid = hands.start(user)
    desk = Desk(hands, "a")
    turns = 0
    while leased := desk.turn():
        desk.turn(*(made(job, sha256="a" * 64) for job in leased), want=0)
        turns += 1
    assert turns == 2
    assert states(hands) == {"done": 1, "dead": 5}
    assert hands.view(user, uid).state == "failed"


# Rooms.


def test_a_quick_model_that_runs_ahead_lets_nobody_wait_behind_a_slow_ones_queue(hands):
    settings(hands, "slow", "quick", prompts_per_minute=1000, jobs_per_user=10_000)
    many, few = hands.guest(), hands.guest()
    for number in range(40):
        hands.start(many, f"many {number}")
    quick = Desk(hands, "quick", worker="quick", at_once=4)
    while leased := quick.turn():
        quick.turn(*(made(job) for job in leased), want=0)
    for number in range(5):
        hands.start(few, f"few {number}")
    slow = Desk(hands, "slow", worker="slow", at_once=1)
    served = []
    for _ in range(20):
        (job,) = slow.turn()
        served.append(job.order.prompt.split()[0])
        slow.turn(made(job), want=0)
    theirs = served.count("few")
    assert theirs >= 4
    last = len(served) - served[::-1].index("few")
    assert last <= 2 * theirs + 3, "they take turns, though the other's quick images are long made"
