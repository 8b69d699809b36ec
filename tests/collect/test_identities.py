"""Who vouches for whom: new and known identities, addresses that two share, offers to link, admins, bans."""

import pytest

from pickapic.collect.people import bans, forgetting, identities, links, sessions, sign_ins
from pickapic.collect.people import users as accounts
from pickapic.collect.people.identities import Vouched
from pickapic.collect.refusals import ConflictError, ForbiddenError, NotFoundError
from pickapic.collect.tables import decisions, users
from pickapic.collect.tables import identities as table

SECRET = "a secret that is long enough for this"
ADA = Vouched("google", "ada-1", "Ada@example.org")
ADA_ELSEWHERE = Vouched("discord", "77", "ada@example.org")
BROWSER = "the browser's secret"


def arrive(hands, vouched, who=None, admins=()):
    return hands.write(identities.arrive, vouched, who, SECRET, admins, hands.now)


def signed_in(hands, user):
    token = hands.write(sessions.open_session, user, 30, hands.now)
    return hands.read(sessions.signed_in, token, hands.now)


def offer(hands, vouched, user, browser=BROWSER):
    return hands.write(links.offer, vouched, SECRET, user, browser, "/gallery", hands.now)


def test_a_new_identity_is_a_new_account_and_a_known_one_is_its_user(hands):
    first = arrive(hands, ADA)
    assert first.outcome == "signed_in"
    assert arrive(hands, ADA) == first
    assert arrive(hands, Vouched("google", "bob", "bob@example.org")).user_id != first.user_id
    # The same number at another provider is somebody else.
    assert arrive(hands, Vouched("discord", "ada-1", None)).user_id != first.user_id
    assert {row.kind for row in hands.rows(users)} == {"account"}
    stored = hands.rows(table)[0]
    assert stored.email_hash == identities.email_hash(SECRET, " ada@EXAMPLE.org ")
    assert stored.email_hash != identities.email_hash("another secret", "ada@example.org")
    assert b"ada" not in stored.email_hash


def test_a_guest_becomes_the_account_and_keeps_the_number_and_the_picks(hands):
    guest = hands.guest()
    uid = hands.start(guest)
    hands.make()
    hands.pick(guest, hands.view(guest, uid).round.round_uid, "left")
    assert arrive(hands, ADA, signed_in(hands, guest)).user_id == guest
    assert hands.rows(users)[0].kind == "account"
    assert hands.rows()[0].user_id == guest


def test_a_guest_who_turns_out_to_be_known_leaves_their_picks_behind(hands):
    known = arrive(hands, ADA).user_id
    guest = hands.guest()
    uid = hands.start(guest)
    hands.make()
    hands.pick(guest, hands.view(guest, uid).round.round_uid, "left")
    assert arrive(hands, ADA, signed_in(hands, guest)).user_id == known
    assert hands.rows()[0].user_id == guest
    assert {row.id: row.kind for row in hands.rows(users)} == {known: "account", guest: "guest"}


def test_a_shared_address_is_an_offer_and_nobody_is_signed_in_by_it(hands):
    ada = arrive(hands, ADA).user_id
    assert arrive(hands, ADA_ELSEWHERE) == identities.Arrival("offered", ada)
    assert len(hands.rows(table)) == 1
    # Unverified it would have been no address at all.
    unverified = Vouched("discord", "78", None)
    assert arrive(hands, unverified).outcome == "signed_in"


def test_only_the_owner_can_accept_and_only_once_and_in_the_same_browser(hands):
    ada, guest = arrive(hands, ADA).user_id, hands.guest()
    token = offer(hands, ADA_ELSEWHERE, ada)
    with pytest.raises(NotFoundError):
        hands.write(links.accept, token, "another browser", signed_in(hands, ada), hands.now)
    for stranger in (None, signed_in(hands, guest)):
        with pytest.raises(ForbiddenError, match="sign in first"):
            hands.write(links.accept, token, BROWSER, stranger, hands.now)
    accepted = hands.write(links.accept, token, BROWSER, signed_in(hands, ada), hands.now)
    assert accepted.next_path == "/gallery"
    assert arrive(hands, ADA_ELSEWHERE) == identities.Arrival("signed_in", ada)
    assert [one.provider for one in hands.read(identities.of_user, ada)] == ["google", "discord"]
    with pytest.raises(NotFoundError):
        hands.write(links.accept, token, BROWSER, signed_in(hands, ada), hands.now)


def test_an_offer_has_its_time_and_is_swept(hands):
    ada = arrive(hands, ADA).user_id
    token = offer(hands, ADA_ELSEWHERE, ada)
    hands.later(1800)
    with pytest.raises(NotFoundError, match="had its time"):
        hands.write(links.accept, token, BROWSER, signed_in(hands, ada), hands.now)
    assert hands.write(links.sweep, hands.now) == 1


def test_kept_apart_it_is_an_account_of_its_own_from_then_on(hands):
    ada = arrive(hands, ADA).user_id
    guest = hands.guest()
    token = offer(hands, ADA_ELSEWHERE, ada)
    user, _ = hands.write(links.keep_apart, token, BROWSER, signed_in(hands, guest), hands.now)
    assert user == guest
    assert arrive(hands, ADA_ELSEWHERE) == identities.Arrival("signed_in", guest)
    assert arrive(hands, ADA) == identities.Arrival("signed_in", ada)


def test_an_identity_that_became_somebodys_meanwhile_is_not_taken_away(hands):
    ada = arrive(hands, ADA).user_id
    first, second = offer(hands, ADA_ELSEWHERE, ada), offer(hands, ADA_ELSEWHERE, ada)
    bob, _ = hands.write(links.keep_apart, first, BROWSER, None, hands.now)
    with pytest.raises(ConflictError, match="another account"):
        hands.write(links.accept, second, BROWSER, signed_in(hands, ada), hands.now)
    assert arrive(hands, ADA_ELSEWHERE).user_id == bob


def test_whoever_is_signed_in_is_asked_before_an_identity_is_added(hands):
    ada = arrive(hands, ADA).user_id
    stranger = Vouched("discord", "9", "work@example.org")
    assert arrive(hands, stranger, signed_in(hands, ada)) == identities.Arrival("offered", ada)
    # One that is known already is who it is, whoever sits there.
    bob = arrive(hands, Vouched("discord", "10", None)).user_id
    assert arrive(hands, Vouched("discord", "10", None), signed_in(hands, ada)).user_id == bob


def test_a_verified_address_of_the_settings_makes_an_admin_and_that_is_written_down(hands):
    arrive(hands, Vouched("google", "x", None), admins=("ada@example.org",))
    ada = arrive(hands, ADA, admins=("ada@example.org",)).user_id
    assert {row.id: row.role for row in hands.rows(users)}[ada] == "admin"
    (decision,) = hands.rows(decisions)
    assert (decision.action, decision.target, decision.actor_id) == ("role admin", str(ada), None)
    arrive(hands, ADA, admins=("ada@example.org",))
    assert len(hands.rows(decisions)) == 1


def test_a_banned_admin_does_not_come_back_as_admin(hands):
    ada = arrive(hands, ADA).user_id
    hands.write(bans.ban, None, ada, "spoils", hands.now)
    arrive(hands, ADA, admins=("ada@example.org",))
    assert hands.rows(users)[0].role == "person"


def test_a_ban_outlives_the_account_without_a_tie_to_it(hands):
    ada = arrive(hands, ADA).user_id
    hands.write(bans.ban, None, ada, "spoils", hands.now)
    hands.write(forgetting.forget, ada, "anonymise", SECRET, hands.now)
    with pytest.raises(ForbiddenError) as refused:
        arrive(hands, ADA)
    assert refused.value.code == "banned"
    (left,) = hands.rows(table)
    assert left.user_id != ada
    assert "ada-1" not in left.subject
    assert left.email_hash is None
    # Whoever was not banned may begin anew.
    bob = Vouched("google", "bob", None)
    hands.write(forgetting.forget, arrive(hands, bob).user_id, "anonymise", SECRET, hands.now)
    assert arrive(hands, bob).outcome == "signed_in"


def test_a_state_is_good_once_for_its_browser_its_provider_and_ten_minutes(hands):
    def begin():
        return hands.write(sign_ins.begin, "google", BROWSER, "/me", None, hands.now)

    def take(state, provider="google", browser=BROWSER):
        return hands.write(sign_ins.take, provider, state, browser, hands.now)

    departure = begin()
    taken = take(departure.state)
    assert (taken.code_verifier, taken.nonce) == (departure.code_verifier, departure.nonce)
    assert (taken.next_path, taken.user_id) == ("/me", None)
    assert take(departure.state) is None
    assert take("unknown") is None
    assert take(begin().state, provider="discord") is None
    assert take(begin().state, browser="another") is None
    late = begin()
    hands.later(600)
    assert take(late.state) is None
    begin()
    hands.later(600)
    assert hands.write(sign_ins.sweep, hands.now) == 1
    assert 43 <= len(departure.code_verifier) <= 128


@pytest.mark.parametrize(("what", "code"), [("ban", "banned"), ("forget", "sign_in")])
def test_nothing_begins_for_somebody_who_was_just_banned_or_forgotten(hands, what, code):
    guest = hands.guest()
    hands.write(accounts.hold, guest)
    if what == "ban":
        hands.write(bans.ban, None, guest, "spoils", hands.now)
    else:
        hands.write(forgetting.forget, guest, "anonymise", SECRET, hands.now)
    with pytest.raises(ForbiddenError) as refused:
        hands.write(accounts.hold, guest)
    assert refused.value.code == code
