"""Changes that are sent together do what they would do one by one, on PostgreSQL in one statement."""

from sqlalchemy import bindparam, event, insert, update

from pickapic.collect.duels import duel
from pickapic.collect.tables import jobs, users
from pickapic.collect.writes import Writes

_insert = insert(users)
_rename = update(users).where(users.c.id == bindparam("key")).values(kind=bindparam("new_kind"))
_promote = (
    update(users).where(users.c.id.in_(bindparam("ids", expanding=True))).values(role=bindparam("role"))
)

ON_BOTH_QUICKLY = True


def test_changes_of_one_kind_and_of_several_arrive(hands):
    people = [hands.guest() for _ in range(4)]

    def work(connection):
        writes = Writes(connection)
        for name in ("guest", "visitor"):
            writes.add(_insert, kind=name, created_at=hands.now)
        writes.add(_rename, key=people[0], new_kind="account")
        writes.add(_rename, key=people[1], new_kind="visitor")
        writes.add(_promote, ids=people[2:], role="admin")
        writes.send()
        writes.send()  # nothing is left to send

    hands.write(work)
    rows = [(row.kind, row.role) for row in hands.rows(users)]
    assert rows[:4] == [("account", "person"), ("visitor", "person"), ("guest", "admin"), ("guest", "admin")]
    assert sorted(rows[4:]) == [("guest", "person"), ("visitor", "person")]  # in no order that counts


def test_a_change_alone_needs_no_bundle(hands):
    def work(connection):
        writes = Writes(connection)
        writes.add(_insert, kind="guest", created_at=hands.now)
        writes.send()

    hands.write(work)
    assert len(hands.rows(users)) == 1


def test_a_pick_takes_few_statements(hands):
    """A bound, so that nobody adds one to what 200 people do at once without noticing."""
    user = hands.guest()
    uid = hands.start(user)
    hands.make()
    shown = hands.view(user, uid).round
    seen = []

    def work(connection):
        event.listen(connection, "before_cursor_execute", lambda *call: seen.append(call[2]))
        fetched = (shown.left.token, shown.right.token)
        duel.pick(
            connection, hands.settings, user, shown.round_uid, "left", hands.now, hands.rng, None, fetched
        )

    hands.write(work)
    assert len(seen) <= (3 if hands.database.dialect == "postgresql" else 7), "\n".join(seen)
    assert [row.state for row in hands.rows(jobs)].count("queued") == 1
