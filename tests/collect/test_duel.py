"""The pick loop on a real database."""

from collections import Counter

import pytest

from pickapic.collect.duels import duel, losses
from pickapic.collect.queue import jobs
from pickapic.collect.refusals import ConflictError, LimitError, NotFoundError, PromptError
from pickapic.collect.tables import duels, images
from pickapic.collect.tables import jobs as jobs_table


@pytest.fixture
def playing(hands):
    """A user with a round on screen and four images ahead."""
    user = hands.guest()
    uid = hands.start(user, "a cat [blurry]")
    hands.make()
    return hands, user, uid, hands.view(user, uid)


def states(hands) -> Counter:
    return Counter(row.state for row in hands.rows(jobs_table))


def test_a_duel_starts_with_two_images_for_the_screen_and_four_ahead(hands):
    user = hands.guest()
    uid = hands.start(user)
    assert Counter(row.priority for row in hands.rows(jobs_table)) == {jobs.ON_SCREEN: 2, jobs.AHEAD: 4}
    view = hands.view(user, uid)
    assert (view.state, view.round, view.needed) == ("queued", None, 2)
    hands.finish(hands.lease(2))
    view = hands.view(user, uid)
    assert view.state == "ready"
    assert view.round is not None
    assert hands.rows()[0].incumbent is None


def test_a_pick_keeps_the_winner_and_has_one_more_image_made(playing):
    hands, user, uid, view = playing
    first = hands.rows()[0]
    hands.later(2.5)
    hands.pick(user, view.round.round_uid, "left")
    answered, following = hands.rows()
    assert (answered.state, answered.pick, answered.kept_image_id) == (
        "answered",
        "left",
        first.left_image_id,
    )
    assert answered.response_ms == 2500
    assert answered.picked_at == hands.now
    kept_on = {"left": following.left_image_id, "right": following.right_image_id}[following.incumbent]
    assert kept_on == first.left_image_id
    assert following.shown_at == hands.now
    assert states(hands) == {"done": 6, "queued": 1}
    after = hands.view(user, uid)
    assert after.round.round_uid == following.uid
    assert after.picks == 1
    assert len(after.ahead) == 2  # of three


def test_a_tie_stores_which_image_stayed(playing):
    hands, user, _uid, view = playing
    hands.pick(user, view.round.round_uid, "tie")
    answered, following = hands.rows()
    assert answered.kept_image_id in (answered.left_image_id, answered.right_image_id)
    assert answered.kept_image_id in (following.left_image_id, following.right_image_id)


def test_the_same_pick_again_is_counted_once_and_a_different_one_refused(playing):
    hands, user, uid, view = playing
    hands.pick(user, view.round.round_uid, "left")
    before = hands.view(user, uid)
    hands.later(1)
    hands.pick(user, view.round.round_uid, "left")
    assert hands.view(user, uid) == before
    for other in ("right", "tie"):
        with pytest.raises(ConflictError):
            hands.pick(user, view.round.round_uid, other)
    assert [row.state for row in hands.rows()] == ["answered", "open"]
    assert states(hands) == {"done": 6, "queued": 1}


def test_somebody_elses_round_does_not_exist(playing):
    hands, _user, uid, view = playing
    stranger = hands.guest()
    for attempt in (
        lambda: hands.pick(stranger, view.round.round_uid, "left"),
        lambda: hands.skip(stranger, view.round.round_uid),
        lambda: hands.undo(stranger, view.round.round_uid),
        lambda: hands.close(stranger, uid),
        lambda: hands.view(stranger, uid),
        lambda: hands.pick(stranger, "no-such-round", "left"),
    ):
        with pytest.raises(NotFoundError):
            attempt()
    assert [row.state for row in hands.rows()] == ["open"]


def test_a_skip_replaces_both_images_and_leaves_no_label(playing):
    hands, user, _uid, view = playing
    hands.skip(user, view.round.round_uid)
    hands.skip(user, view.round.round_uid)
    skipped, following = hands.rows()
    assert (skipped.state, skipped.pick, skipped.kept_image_id) == ("skipped", None, None)
    assert following.incumbent is None
    assert not {skipped.left_image_id, skipped.right_image_id} & {
        following.left_image_id,
        following.right_image_id,
    }
    with pytest.raises(ConflictError):
        hands.pick(user, view.round.round_uid, "left")


def test_when_no_image_is_ready_the_missing_one_moves_to_the_front(playing):
    hands, user, uid, view = playing
    for _ in range(4):
        hands.pick(user, hands.view(user, uid).round.round_uid, "left")
    hands.pick(user, hands.view(user, uid).round.round_uid, "right")
    waiting = hands.view(user, uid)
    assert (waiting.round, waiting.needed, waiting.state) == (None, 1, "queued")
    queued = [row for row in hands.rows(jobs_table) if row.state == "queued"]
    assert sorted(row.priority for row in queued) == [0, 1, 1, 1, 1]
    hands.finish(hands.lease(1))
    shown = hands.view(user, uid)
    last = hands.rows()[-1]
    assert shown.round.round_uid == last.uid
    assert hands.rows()[-2].kept_image_id in (last.left_image_id, last.right_image_id)
    assert view.round.round_uid != shown.round.round_uid


def test_no_image_is_shown_as_new_twice(playing):
    hands, user, uid, _ = playing
    for number in range(30):
        view = hands.view(user, uid)
        if number % 5 == 4:
            hands.skip(user, view.round.round_uid)
        else:
            hands.pick(user, view.round.round_uid, ("left", "right", "tie")[number % 3])
        hands.make()
    new = []
    for row in hands.rows():
        kept = {"left": row.left_image_id, "right": row.right_image_id}.get(row.incumbent)
        new += [image for image in (row.left_image_id, row.right_image_id) if image != kept]
    assert len(new) == len(set(new))
    assert [row.number for row in hands.rows()] == list(range(1, 32))


def test_undo_shows_the_round_again_and_then_the_one_before(playing):
    hands, user, uid, first = playing
    hands.pick(user, first.round.round_uid, "left")
    second = hands.view(user, uid)
    hands.pick(user, second.round.round_uid, "right")
    third = hands.view(user, uid)
    assert third.undo_round_uid == second.round.round_uid

    hands.later(5)
    hands.undo(user, second.round.round_uid)
    hands.undo(user, second.round.round_uid)  # an answer that got lost on its way is asked for again
    back = hands.view(user, uid)
    assert back.round == second.round
    assert (back.picks, back.undo_round_uid) == (1, first.round.round_uid)
    with pytest.raises(ConflictError, match="taken back"):
        hands.pick(user, third.round.round_uid, "left")

    hands.undo(user, first.round.round_uid)
    assert hands.view(user, uid).round == first.round
    hands.later(1)
    hands.pick(user, first.round.round_uid, "tie")
    rows = hands.rows()
    assert (rows[0].state, rows[0].pick, rows[0].undos, rows[0].response_ms) == ("answered", "tie", 1, 1000)
    assert Counter(row.state for row in rows) == {"answered": 1, "withdrawn": 2, "open": 1}


def test_undo_gives_the_images_of_the_withdrawn_round_back_to_the_pool(playing):
    hands, user, _uid, first = playing
    before = states(hands)
    pool = {row.id for row in hands.rows(images) if row.state == "ready"}
    hands.skip(user, first.round.round_uid)
    hands.undo(user, first.round.round_uid)
    assert {row.id for row in hands.rows(images) if row.state == "ready"} == pool
    hands.skip(user, first.round.round_uid)
    assert hands.rows()[-1].number == 2
    assert states(hands)["queued"] == 2  # what the first skip had ordered is enough for the second
    assert before["queued"] == 0


def test_what_undo_refuses(playing):
    hands, user, uid, first = playing
    with pytest.raises(ConflictError, match="no answer"):
        hands.undo(user, first.round.round_uid)
    hands.pick(user, first.round.round_uid, "left")
    second = hands.view(user, uid)
    hands.pick(user, second.round.round_uid, "left")
    with pytest.raises(ConflictError, match="Only the last"):
        hands.undo(user, first.round.round_uid)
    hands.later(duel.UNDO_WINDOW.total_seconds() + 1)
    with pytest.raises(ConflictError, match="ten minutes"):
        hands.undo(user, second.round.round_uid)
    hands.close(user, uid)
    with pytest.raises(ConflictError, match="over"):
        hands.undo(user, second.round.round_uid)


def test_closing_cancels_what_is_queued_and_names_the_models(playing):
    hands, user, uid, view = playing
    hands.pick(user, view.round.round_uid, "left")
    hands.close(user, uid)
    hands.close(user, uid)
    over = hands.view(user, uid)
    assert (over.state, over.round, over.ahead, over.undo_round_uid) == ("closed", None, (), None)
    (revealed,) = over.revealed
    assert revealed.pick == "left"
    models = {row.id: row.model for row in hands.rows(images)}
    answered = hands.rows()[0]
    assert [image.model for image in revealed.images] == [
        models[answered.left_image_id],
        models[answered.right_image_id],
    ]
    assert states(hands) == {"done": 6, "cancelled": 1}
    with pytest.raises(ConflictError, match="over"):
        hands.pick(user, hands.rows()[-1].uid, "left")


def test_nothing_is_revealed_while_a_duel_is_open(playing):
    _, _, _, view = playing
    assert view.revealed == ()
    assert "miniature" not in repr(view)


def test_a_refused_prompt_queues_nothing(hands):
    user = hands.guest()
    for prompt in ("", "x" * 501, "[only negative]"):
        with pytest.raises(PromptError):
            hands.start(user, prompt)
    assert hands.rows(duels) == []
    assert hands.rows(jobs_table) == []


def test_too_many_prompts_a_minute_are_refused_until_the_minute_is_over(hands):
    user = hands.guest()
    hands.settings = hands.settings.model_copy(update={"prompts_per_minute": 3})
    for _ in range(3):
        hands.start(user)
        hands.later(10)
    with pytest.raises(LimitError) as refused:
        hands.start(user)
    assert refused.value.retry_after == 30
    hands.start(hands.guest())
    hands.later(refused.value.retry_after)
    hands.start(user)


def test_a_duel_fails_only_when_it_can_never_show_another_round(playing):
    hands, user, uid, view = playing
    hands.write(losses.fail_if_stuck, [1], hands.now)
    assert hands.view(user, uid).state == "ready"
    for _ in range(5):
        hands.pick(user, hands.view(user, uid).round.round_uid, "left")
    hands.write(losses.fail_if_stuck, [1], hands.now)
    assert hands.view(user, uid).state == "queued"
    hands.write(lambda connection: connection.execute(jobs_table.update().values(state="dead")))
    hands.write(losses.fail_if_stuck, [1], hands.now)
    failed = hands.view(user, uid)
    assert failed.state == "failed"
    assert "Picks made before are kept" in failed.message
    assert len([row for row in hands.rows() if row.state == "answered"]) == 5
    assert view.state == "ready"


def test_two_identical_images_do_not_meet(hands):
    user = hands.guest()
    uid = hands.start(user)
    leased = hands.lease()
    hands.finish(leased[:3], same=True)
    hands.finish(leased[3:])
    view = hands.view(user, uid)
    assert view.round.left.sha256 != view.round.right.sha256
    ids = [row.id for row in hands.rows(images)]
    assert {hands.rows()[0].left_image_id, hands.rows()[0].right_image_id} == {ids[0], ids[3]}
