"""The list of blocked images: what is near to one goes, wherever it is, and duels go on without it."""

import pytest
from sqlalchemy import select, update

from pickapic.collect import decisions
from pickapic.collect.moderation.hashes import NEAR_BITS
from pickapic.collect.oversight import blocked
from pickapic.collect.refusals import NotFoundError
from pickapic.collect.tables import blocked_images, images, jobs, rounds

PHASH = 0x0F0F_1234_5678_9ABC
NEAR = PHASH ^ (2**NEAR_BITS - 1)
FAR = PHASH ^ (2 ** (NEAR_BITS + 1) - 1)


@pytest.fixture
def played(hands):
    """A user with one round on screen, and four images in the pool."""
    user = hands.guest()
    uid = hands.start(user)
    hands.make()
    return user, uid, hands.view(user, uid)


def mark(hands, image_id, phash):
    hands.write(
        lambda connection: connection.execute(
            update(images).where(images.c.id == image_id).values(phash=phash)
        )
    )


def block(hands, phash=PHASH, actor=None):
    return hands.write(
        blocked.block_image, phash, "unfit", actor, hands.now, hands.settings.generators, hands.rng
    )


def image(hands, image_id):
    return hands.read(
        lambda connection: connection.execute(select(images).where(images.c.id == image_id)).one()
    )


def with_token(hands, token):
    return next(row for row in hands.rows(images) if row.token == token)


def test_what_nobody_has_seen_is_flagged(hands, played):
    waiting = [row for row in hands.rows(images) if row.state == "ready"]
    mark(hands, waiting[0].id, NEAR)
    mark(hands, waiting[1].id, FAR)
    assert block(hands) == 1
    assert (image(hands, waiting[0].id).state, image(hands, waiting[0].id).flag) == ("flagged", "blocked")
    assert image(hands, waiting[1].id).state == "ready"


def test_what_was_shown_is_removed_and_its_round_withdrawn(hands, played):
    user, uid, view = played
    shown = with_token(hands, view.round.left.token)
    mark(hands, shown.id, PHASH)
    assert block(hands) == 1
    assert (image(hands, shown.id).state, image(hands, shown.id).flag) == ("removed", "blocked")
    after = hands.view(user, uid)
    assert shown.token not in (after.round.left.token, after.round.right.token)


def test_a_duel_that_loses_its_images_gets_new_ones(hands):
    user = hands.guest()
    uid = hands.start(user)
    hands.finish(hands.lease(1))
    (only,) = hands.rows(images)
    hands.write(lambda connection: connection.execute(update(jobs).values(state="done")))
    mark(hands, only.id, PHASH)
    block(hands)
    hands.make()
    assert hands.view(user, uid).state == "ready"


def test_blocking_again_finds_what_came_since(hands, played):
    assert block(hands) == 0
    assert block(hands) == 0
    assert hands.read(blocked.hashes) == [PHASH]
    waiting = [row for row in hands.rows(images) if row.state == "ready"]
    mark(hands, waiting[0].id, PHASH)
    assert block(hands) == 1
    assert block(hands) == 0


def test_answers_that_were_given_stay_but_their_image_is_gone(hands, played):
    user, uid, view = played
    hands.pick(user, view.round.round_uid, "left")
    loser = with_token(hands, view.round.right.token)
    mark(hands, loser.id, PHASH)
    assert block(hands) == 1
    assert image(hands, loser.id).state == "removed"
    assert hands.rows(rounds)[0].state == "answered"
    assert hands.view(user, uid).round is not None


def test_negative_hashes_are_hashes_too(hands, played):
    waiting = [row for row in hands.rows(images) if row.state == "ready"]
    mark(hands, waiting[0].id, -1)
    assert block(hands, -4) == 1


def test_many_images_are_searched_block_by_block(hands, played, monkeypatch):
    monkeypatch.setattr(blocked, "ROWS_AT_ONCE", 2)
    monkeypatch.setattr(blocked, "KEYS_AT_ONCE", 2)
    for row in hands.rows(images):
        mark(hands, row.id, PHASH)
    assert block(hands) == len(hands.rows(images))
    assert {row.state for row in hands.rows(images)} <= {"flagged", "removed"}


def test_the_list_and_its_log(hands):
    moderator = hands.guest()
    block(hands, actor=moderator)
    (entry,) = hands.read(blocked.listed)
    assert (entry.phash, entry.reason, entry.added_by, entry.added_at) == (
        PHASH,
        "unfit",
        moderator,
        hands.now,
    )
    hands.write(blocked.unblock_image, entry.id, "a mistake", moderator, hands.now)
    assert hands.rows(blocked_images) == []
    assert [one.action for one in hands.read(decisions.recent)] == ["unblock image", "block image"]
    with pytest.raises(NotFoundError):
        hands.write(blocked.unblock_image, entry.id, "", moderator, hands.now)
