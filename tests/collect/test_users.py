"""Sessions, accounts, being forgotten; and images by their token."""

from pickapic.collect import images, sessions, users
from pickapic.collect.tables import sessions as sessions_table
from pickapic.collect.tables import users as users_table


def test_a_session_is_known_by_its_token_until_it_ends(hands):
    user = hands.guest()
    token = hands.write(sessions.open_session, user, 1, hands.now)
    assert hands.read(sessions.signed_in, token, hands.now).user_id == user
    assert hands.read(sessions.signed_in, token[:-1] + "x", hands.now) is None
    assert token.encode() not in hands.rows(sessions_table)[0].token_hash
    hands.later(86401)
    assert hands.read(sessions.signed_in, token, hands.now) is None
    other = hands.write(sessions.open_session, user, 1, hands.now)
    hands.write(sessions.close_session, other)
    assert hands.read(sessions.signed_in, other, hands.now) is None


def test_forgetting_signs_out_everywhere_and_keeps_the_picks(hands):
    user = hands.guest()
    tokens = [hands.write(sessions.open_session, user, 1, hands.now) for _ in range(2)]
    uid = hands.start(user, "my secret [ugly]")
    hands.make()
    hands.pick(user, hands.view(user, uid).round.round_uid, "left")
    assert hands.read(users.account, user).open_duel_uid == uid
    hands.write(users.forget, user, hands.now)
    assert [hands.read(sessions.signed_in, token, hands.now) for token in tokens] == [None, None]
    assert hands.rows(users_table)[0].deleted_at == hands.now
    assert [row.state for row in hands.rows()] == ["answered", "open"]
    assert hands.view(user, uid).state == "closed"


def test_history_tells_each_answer_once(hands):
    user = hands.guest()
    uid = hands.start(user)
    hands.make()
    for answer in ("left", "tie"):
        hands.pick(user, hands.view(user, uid).round.round_uid, answer)
    hands.skip(user, hands.view(user, uid).round.round_uid)
    history = hands.read(users.history, user)
    assert [(row.number, row.pick) for row in history] == [(1, "left"), (2, "tie")]
    assert all(len(row.left_sha256) == 64 for row in history)


def test_facts_are_found_by_the_token_in_an_address(hands):
    user = hands.guest()
    uid = hands.start(user, "a cat")
    leased = hands.lease()
    hands.finish(leased)
    shown = hands.view(user, uid).round
    url = "http://host:1" + images.url_of(shown.left.token) + "?x=1"
    assert images.token_of(url) == shown.left.token
    found = hands.read(images.facts, [shown.left.token, "unknown"])
    fact = found[shown.left.token]
    job = next(job for job in leased if f"{job.id:064x}" == shown.left.sha256)
    assert (fact.model, fact.seed, fact.prompt) == (job.order.generator, job.order.seed, "a cat")
    assert fact.guidance_scale == job.order.guidance_scale
    assert list(found) == [shown.left.token]
