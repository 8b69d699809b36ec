"""Signed-in browsers: their tokens, renewed without losing anybody, listed, ended."""

import pytest

from pickapic.collect.people import consents, sessions
from pickapic.collect.refusals import ConflictError, NotFoundError
from pickapic.collect.tables import sessions as table

DAYS = 30
HOUR = 3600


def sign_in(hands, user, label="Firefox on Linux"):
    return hands.write(sessions.open_session, user, DAYS, hands.now, label)


def who(hands, token):
    return hands.read(sessions.signed_in, token, hands.now)


def renew(hands, token):
    return hands.write(sessions.renew, token, hands.now)


def settle(hands, token):
    return hands.write(sessions.settle, token, DAYS, hands.now)


def test_a_session_is_known_by_its_token_until_it_ends(hands):
    user = hands.guest()
    token = sign_in(hands, user)
    person = who(hands, token)
    assert (person.user_id, person.kind, person.role, person.status) == (user, "guest", "person", "active")
    assert (person.standing, person.renewed_at, person.seen_at) == ("own", hands.now, hands.now)
    assert who(hands, token[:-1] + ("x" if token[-1] != "x" else "y")) is None
    assert token.encode() not in hands.rows(table)[0].token_hash
    hands.later(DAYS * 86400 - 1)
    assert who(hands, token) is not None
    hands.later(1)
    assert who(hands, token) is None
    other = sign_in(hands, user)
    hands.write(sessions.close_session, other)
    assert who(hands, other) is None


def test_consent_is_the_version_agreed_to_last(hands):
    user = hands.guest()
    token = sign_in(hands, user)
    assert who(hands, token).consent is None
    for version in ("1", "2", "1"):
        hands.later(1)
        hands.write(consents.agree, user, version, hands.now)
        assert who(hands, token).consent == version
    assert [one.version for one in hands.read(consents.given, user)] == ["2", "1"]
    with pytest.raises(ConflictError, match="read them again"):
        hands.write(consents.agree_to_present, user, "1", "2", hands.now)
    assert who(hands, token).consent == "1"


def test_the_old_token_works_until_the_new_one_has_arrived_and_a_minute_more(hands):
    user = hands.guest()
    old = sign_in(hands, user)
    key = who(hands, old).session_key
    hands.later(24 * HOUR)
    new = renew(hands, old)
    assert new != old
    assert new[: sessions.STABLE] == old[: sessions.STABLE]
    assert (who(hands, old).standing, who(hands, new).standing) == ("own", "new")
    assert who(hands, new).session_key == key
    # The answer that brought it may be long under way.
    hands.later(HOUR)
    assert who(hands, old).user_id == user
    assert settle(hands, new)
    assert (who(hands, old).standing, who(hands, new).standing) == ("old", "own")
    assert who(hands, old).session_key == who(hands, new).session_key == key
    assert not settle(hands, new)
    assert renew(hands, old) is None
    hands.later(61)
    assert who(hands, old) is None
    assert who(hands, new).renewed_at < hands.now
    hands.later(DAYS * 86400 - 62)
    assert who(hands, new) is not None


def test_a_new_token_that_got_lost_is_followed_by_another(hands):
    old = sign_in(hands, hands.guest())
    lost = renew(hands, old)
    assert renew(hands, old) is None, "requests at the same time get one new token between them"
    hands.later(61)
    new = renew(hands, old)
    assert new not in (None, lost)
    assert settle(hands, new)
    hands.later(61)
    assert who(hands, new).standing == "own"
    assert who(hands, old) is None


def test_signing_out_ends_every_token_of_the_browser_and_no_other(hands):
    user = hands.guest()
    old, elsewhere = sign_in(hands, user), sign_in(hands, user)
    new = renew(hands, old)
    settle(hands, new)
    hands.write(sessions.close_session, old)
    assert [who(hands, token) for token in (old, new)] == [None, None]
    assert who(hands, elsewhere).user_id == user
    hands.write(sessions.close_all, user)
    assert hands.rows(table) == []


def test_ones_browsers_are_listed_once_each_and_can_be_signed_out(hands):
    user, stranger = hands.guest(), hands.guest()
    first = sign_in(hands, user, "Firefox on Linux")
    hands.later(10)
    second = sign_in(hands, user, "Safari on iPhone" + "x" * 100)
    sign_in(hands, stranger)
    settle(hands, renew(hands, first))
    renew(hands, second)
    hands.write(sessions.touch, who(hands, second).session_key, "Safari on iPhone", hands.now)
    found = hands.read(sessions.browsers, user, hands.now)
    assert sorted(one.label for one in found) == ["Firefox on Linux", "Safari on iPhone"]
    assert len({one.uid for one in found}) == 2
    phone = next(one for one in found if one.label.startswith("Safari"))
    with pytest.raises(NotFoundError):
        hands.write(sessions.close_browser, stranger, phone.uid)
    assert hands.write(sessions.close_browser, user, phone.uid) == phone.session_key
    assert who(hands, second) is None
    assert who(hands, first) is not None
    with pytest.raises(NotFoundError):
        hands.write(sessions.close_browser, user, phone.uid)


def test_what_has_expired_is_swept(hands):
    user = hands.guest()
    sign_in(hands, user)
    hands.later(DAYS * 86400)
    kept = sign_in(hands, user)
    assert hands.write(sessions.sweep, hands.now) == 1
    assert who(hands, kept) is not None
    assert len(hands.rows(table)) == 1
