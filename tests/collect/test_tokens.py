"""Tokens of machines: made, found, run out, revoked; and the workers that are heard of."""

from datetime import timedelta

import pytest

from pickapic.collect import decisions
from pickapic.collect.people import tokens
from pickapic.collect.queue import workers
from pickapic.collect.refusals import NotFoundError
from pickapic.collect.tables import jobs
from pickapic.collect.tables import tokens as table
from pickapic.collect.tables import workers as workers_table
from pickapic.records import InputError


def create(hands, kind="worker", label="gpu 1", days=None, actor=None):
    return hands.write(tokens.create, kind, label, days, actor, hands.now)


def who(hands, token):
    return hands.read(tokens.machine, token, hands.now)


def test_a_token_is_found_by_its_hash_and_is_nowhere_itself(hands):
    chief = hands.guest()
    made = create(hands, label="  gpu   one ", actor=chief)
    found = who(hands, made.token)
    assert (found.uid, found.kind, found.label, found.used_at) == (made.uid, "worker", "gpu one", None)
    (row,) = hands.rows(table)
    assert made.token not in repr(tuple(row))
    assert made.token.encode() not in row.token_hash
    assert (row.created_by, len(row.token_hash)) == (chief, 32)
    assert made.token not in repr(hands.read(tokens.listed, hands.now))
    other = made.token[:-1] + ("x" if made.token[-1] != "x" else "y")
    for guess in (other, "", "x" * 5000, made.token + " ", made.token.upper(), made.uid, "\ud800"):
        assert who(hands, guess) is None
    log = hands.read(decisions.recent)
    assert [(one.action, one.target, one.reason) for one in log] == [
        ("create worker token", made.uid, "gpu one")
    ]


def test_a_token_runs_out_and_can_be_revoked(hands):
    week, forever = create(hands, days=7), create(hands, kind="score")
    hands.later(7 * 86400 - 1)
    assert who(hands, week.token)
    assert who(hands, forever.token).kind == "score"
    hands.later(1)
    assert who(hands, week.token) is None
    assert who(hands, forever.token) is not None
    hands.write(tokens.revoke, forever.uid, None, "lost", hands.now)
    assert who(hands, forever.token) is None
    hands.later(1)
    assert hands.write(tokens.revoke, forever.uid, None, "again", hands.now) == 0
    states = {one.uid: (one.state, one.revoked_at) for one in hands.read(tokens.listed, hands.now)}
    assert states[week.uid] == ("expired", None)
    assert states[forever.uid] == ("revoked", hands.now - timedelta(seconds=1))
    assert [one.action for one in hands.read(decisions.recent)].count("revoke score token") == 1
    with pytest.raises(NotFoundError):
        hands.write(tokens.revoke, "nothing", None, "", hands.now)


@pytest.mark.parametrize(
    ("purpose", "label", "days"),
    [("worker", " ", None), ("worker", "x" * 65, None), ("worker", "a\x00b", None), ("root", "x", None)]
    + [("worker", "x", days) for days in (0, -1, 3651)],
)
def test_what_is_no_token_is_refused(hands, purpose, label, days):
    with pytest.raises(InputError):
        create(hands, purpose, label, days)
    assert hands.rows(table) == []


def test_the_last_use_is_written_at_most_once_a_minute(hands):
    made = create(hands)
    machine = who(hands, made.token)
    first = hands.now
    for seconds, expected in ((0, first), (59, first), (1, first + timedelta(seconds=60))):
        hands.later(seconds)
        hands.write(tokens.note_use, machine.token_id, hands.now)
        assert hands.rows(table)[0].used_at == expected


def test_revoking_gives_back_what_its_workers_hold(hands):
    made, other = create(hands), create(hands)
    hands.start(hands.guest())
    names = [workers.remote_name(one.uid, "box") for one in (made, other)]
    for token, name in zip((made, other), names, strict=True):
        key = who(hands, token.token).token_id
        hands.write(workers.note, name, ("a",), key, hands.now)
        hands.lease(2, name)
    assert hands.write(tokens.revoke, made.uid, None, "stolen", hands.now) == 2
    held = [(row.state, row.worker, row.attempts) for row in hands.rows(jobs)]
    assert held[:2] == [("queued", None, 0)] * 2
    assert held[2:4] == [("leased", names[1], 1)] * 2


def test_workers_are_heard_of_and_forgotten(hands):
    key = who(hands, create(hands, label="rack 2").token).token_id
    start = hands.now
    hands.write(workers.note, "local-1", ("b", "a"), None, hands.now)
    hands.write(workers.note, "abc:box", ("a",), key, hands.now)
    hands.later(5)  # too soon to be written again
    hands.write(workers.note, "local-1", ("a", "b"), None, hands.now)
    by_name = {one.name: one for one in hands.read(workers.seen, hands.now)}
    assert by_name["local-1"].generators == ("a", "b")
    assert (by_name["local-1"].seen_at, by_name["local-1"].token_label) == (start, None)
    assert by_name["abc:box"].token_label == "rack 2"
    hands.write(workers.note, "local-1", ("c",), None, hands.now)  # what it makes has changed
    hands.later(10)
    hands.write(workers.note, "abc:box", ("a",), key, hands.now)
    by_name = {one.name: one for one in hands.read(workers.seen, hands.now)}
    assert by_name["local-1"].generators == ("c",)
    assert (by_name["abc:box"].started_at, by_name["abc:box"].seen_at) == (start, hands.now)
    hands.later(workers.GONE_AFTER.total_seconds() - 1)
    assert [one.name for one in hands.read(workers.seen, hands.now)] == ["abc:box"]
    hands.write(workers.note, "new", (), None, hands.now)
    assert [
        row.name for row in hands.read(lambda c: c.execute(workers_table.select().order_by("name")).all())
    ] == [
        "abc:box",
        "new",
    ]
    hands.write(workers.forget, "abc:box")
    assert [one.name for one in hands.read(workers.seen, hands.now)] == ["new"]


@pytest.mark.parametrize("name", ["", "a:b", "a/b", "-a", "a" * 52, "a b", "ä", "a\n"])
def test_a_worker_cannot_take_a_name_that_is_another_s(name):
    with pytest.raises(ValueError, match="no name of a worker"):
        workers.remote_name("abc", name)
    assert len(workers.remote_name("a" * 12, "b" * 51)) == 64
