"""Reported images: hidden from the reporter at once, removed or left by a moderator."""

import pytest
from sqlalchemy import insert, select, update

from pickapic.collect import decisions
from pickapic.collect.oversight import reports
from pickapic.collect.refusals import NotFoundError
from pickapic.collect.tables import images, rounds, shares
from pickapic.collect.tables import reports as reports_table
from pickapic.records import InputError


@pytest.fixture
def played(hands):
    """A user with a round on screen that kept an image from the round before, and the pool behind it."""
    user = hands.guest()
    uid = hands.start(user)
    hands.make()
    hands.pick(user, hands.view(user, uid).round.round_uid, "left")
    hands.make()
    return user, uid


def report(hands, user, token, reason="nudity", note=""):
    hands.write(reports.report, user, token, reason, note, hands.settings.generators, hands.now, hands.rng)


def uphold(hands, token, reason="", actor=None):
    return hands.write(reports.uphold, actor, token, reason, hands.settings.generators, hands.now, hands.rng)


def image(hands, token):
    return hands.read(
        lambda connection: connection.execute(select(images).where(images.c.token == token)).one()
    )


def share(hands, token, user):
    row = image(hands, token)
    hands.write(
        lambda connection: connection.execute(
            insert(shares).values(token=f"s-{token}", image_id=row.id, user_id=user, created_at=hands.now)
        )
    )
    return f"s-{token}"


def on_screen(hands, user, uid):
    view = hands.view(user, uid)
    return {view.round.left.token, view.round.right.token}


def test_a_reported_image_is_in_no_later_round_of_its_reporter(hands, played):
    user, uid = played
    view = hands.view(user, uid)
    waiting_in_pool = view.ahead[0].token
    report(hands, user, waiting_in_pool)
    report(hands, user, view.round.left.token)
    hands.skip(user, view.round.round_uid)
    seen = set()
    for answer in ("left", "tie", "right"):
        hands.make()
        view = hands.view(user, uid)
        seen |= {view.round.left.token, view.round.right.token}
        hands.pick(user, view.round.round_uid, answer)
    assert not seen & {waiting_in_pool, view.round.left.token} - seen
    assert waiting_in_pool not in seen
    assert image(hands, waiting_in_pool).state == "flagged"


def test_an_image_that_was_kept_is_kept_no_longer_once_reported(hands):
    user = hands.guest()
    uid = hands.start(user)
    hands.finish(hands.lease(2))
    view = hands.view(user, uid)
    kept = view.round.left.token
    hands.pick(user, view.round.round_uid, "left")
    assert hands.view(user, uid).needed == 1
    report(hands, user, kept)
    assert hands.view(user, uid).needed == 2
    hands.make()
    assert kept not in on_screen(hands, user, uid)


def test_the_same_report_twice_is_one(hands, played):
    user, uid = played
    token = hands.view(user, uid).round.left.token
    report(hands, user, token, "nudity", "bare")
    report(hands, user, token, "other", "again")
    (row,) = hands.rows(reports_table)
    assert (row.reason, row.note, row.state, row.user_id) == ("nudity", "bare", "open", user)


def test_only_what_one_was_shown_or_what_is_shared_can_be_reported(hands, played):
    user, uid = played
    stranger = hands.guest()
    token = hands.view(user, uid).round.left.token
    for wrong in (token, "nothing", ""):
        with pytest.raises(NotFoundError):
            report(hands, stranger, wrong)
    public = share(hands, token, user)
    report(hands, stranger, public)
    report(hands, hands.guest(), token)
    (found,) = hands.read(reports.waiting)
    assert (found.token, found.count, found.shared, found.user_id) == (token, 2, True, user)
    # What strangers find changes nothing for the one who goes on with it, until a moderator decides.
    assert image(hands, token).state == "shown"
    assert token in on_screen(hands, user, uid)


def test_a_note_has_an_end(hands, played):
    user, uid = played
    token = hands.view(user, uid).round.left.token
    report(hands, user, token, "other", "x" * 500)
    with pytest.raises(InputError, match="501 characters"):
        report(hands, user, hands.view(user, uid).round.right.token, "other", "x" * 501)


def test_the_queue_shows_each_image_once_the_most_reported_first(hands, played):
    user, uid = played
    view = hands.view(user, uid)
    left, right = view.round.left.token, view.round.right.token
    for token in (left, right):
        share(hands, token, user)
    report(hands, hands.guest(), left, "person", "that is me")
    for reason in ("violence", "nudity", "violence"):
        report(hands, hands.guest(), right, reason)
    first, second = hands.read(reports.waiting)
    assert (first.token, first.count, first.reasons) == (right, 3, (("violence", 2), ("nudity", 1)))
    assert (second.token, second.notes, second.prompt) == (left, ("that is me",), "a cat")
    assert hands.read(reports.count_waiting) == 2
    assert len(first.reporters) == 3
    assert hands.read(reports.waiting, 1) == [first]


@pytest.mark.parametrize("side", ["left", "right"])
def test_an_upheld_image_goes_from_the_screen_the_share_and_every_later_round(hands, played, side):
    user, uid = played
    moderator = hands.guest()
    view = hands.view(user, uid)
    bad = getattr(view.round, side).token
    other = (on_screen(hands, user, uid) - {bad}).pop()
    kept_row = image(hands, other)
    share(hands, bad, user)
    report(hands, hands.guest(), bad)
    assert uphold(hands, bad, "bare", moderator).user_id == user
    assert (image(hands, bad).state, image(hands, bad).flag) == ("removed", "reported")
    assert hands.rows(shares) == []
    assert hands.read(reports.waiting) == []
    hands.make()
    after = hands.view(user, uid)
    assert after.round.round_uid != view.round.round_uid
    assert bad not in {after.round.left.token, after.round.right.token}
    # The one that stood beside it is not lost.
    assert other in {after.round.left.token, after.round.right.token}
    assert image(hands, other).id == kept_row.id
    withdrawn = [row.uid for row in hands.rows(rounds) if row.state == "withdrawn"]
    assert withdrawn == [view.round.round_uid]
    (row,) = hands.rows(reports_table)
    assert (row.state, row.decided_by, row.decided_at) == ("upheld", moderator, hands.now)
    (logged,) = hands.read(decisions.recent)
    assert (logged.action, logged.target, logged.reason) == ("remove image", bad, "bare")
    with pytest.raises(NotFoundError):
        report(hands, user, bad)


def test_a_dismissed_image_is_as_it_was_but_for_the_reporters_rounds(hands, played):
    user, uid = played
    token = hands.view(user, uid).ahead[0].token
    report(hands, user, token)
    hands.write(reports.dismiss, None, token, "a cat", hands.now)
    assert (image(hands, token).state, image(hands, token).flag) == ("shown", None)
    assert hands.read(reports.count_waiting) == 0
    # Reported again by the same person: it was looked at already.
    report(hands, user, token)
    assert hands.read(reports.count_waiting) == 0


def test_a_dismissal_leaves_what_the_classifier_flagged(hands, played):
    user, uid = played
    token = hands.view(user, uid).ahead[0].token
    hands.write(
        lambda connection: connection.execute(
            update(images).where(images.c.token == token).values(state="flagged", flag="classifier")
        )
    )
    report(hands, user, token)
    hands.write(reports.dismiss, None, token, "", hands.now)
    assert (image(hands, token).state, image(hands, token).flag) == ("flagged", "classifier")


def test_an_image_that_nobody_reported_can_be_removed_too(hands, played):
    user, uid = played
    token = hands.view(user, uid).ahead[0].token
    uphold(hands, token)
    assert image(hands, token).state == "removed"
    with pytest.raises(NotFoundError):
        uphold(hands, "nothing")


@pytest.mark.parametrize("act", [report, uphold])
def test_with_nothing_made_ahead_what_is_taken_away_is_made_anew(hands, act):
    hands.settings = hands.settings.model_copy(update={"images_ahead": 1})
    user = hands.guest()
    uid = hands.start(user)
    hands.finish(hands.lease(2))
    view = hands.view(user, uid)
    hands.pick(user, view.round.round_uid, "right")
    # One image is to come, one was to stay; without it the next round needs two.
    act(hands, *([user] if act is report else []), view.round.right.token)
    for _ in range(3):
        hands.make()
    after = hands.view(user, uid)
    assert after.round is not None
    assert view.round.right.token not in on_screen(hands, user, uid)


def test_spoiled_copies_go_with_what_they_were_made_from(hands, played):
    user, uid = played
    view = hands.view(user, uid)
    original, copy = image(hands, view.round.left.token), image(hands, view.ahead[0].token)
    hands.write(
        lambda connection: connection.execute(
            update(images)
            .where(images.c.id == copy.id)
            .values(state="aside", origin="corrupted", role="worse", source_image_id=original.id)
        )
    )
    report(hands, user, original.token)
    assert {image(hands, one.token).state for one in (original, copy)} == {"flagged"}
    hands.write(reports.dismiss, None, original.token, "", hands.now)
    uphold(hands, copy.token)
    assert {image(hands, one.token).state for one in (original, copy)} == {"removed"}
