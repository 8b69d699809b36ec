"""Bans, exclusions, trust and roles: who may decide about whom, and what a ban does at once."""

import pytest
from sqlalchemy import select, update

from pickapic.collect import decisions
from pickapic.collect.people import bans
from pickapic.collect.people import users as holding
from pickapic.collect.queue import jobs
from pickapic.collect.refusals import ForbiddenError, NotFoundError
from pickapic.collect.tables import duels, users
from pickapic.collect.tables import jobs as jobs_table
from pickapic.records import InputError


@pytest.fixture
def people(hands):
    """A user of each role, and a second admin."""
    found = {}
    for name, role in (
        ("person", "person"),
        ("moderator", "moderator"),
        ("admin", "admin"),
        ("peer", "admin"),
    ):
        found[name] = hands.guest()
        hands.write(bans.set_role, None, found[name], role, "first admins", hands.now)
    return found


def status(hands, user):
    row = hands.read(lambda connection: connection.execute(select(users).where(users.c.id == user)).one())
    return row.status, row.role


def states(hands, table, user):
    rows = hands.read(
        lambda connection: connection.execute(
            select(table.c.state).where(table.c.user_id == user).order_by(table.c.id)
        ).scalars()
    )
    return list(rows)


def test_a_ban_ends_duels_and_cancels_what_is_queued_of_this_user_alone(hands, people):
    person, other = people["person"], hands.guest()
    first, second = hands.start(person), hands.start(person, "a dog")
    hands.start(other)
    leased = hands.lease(3)
    change = hands.write(bans.ban, people["moderator"], person, "a script", hands.now)
    assert (change.duels_closed, change.jobs_cancelled, change.status) == (2, 12, "banned")
    assert states(hands, duels, person) == ["closed", "closed"]
    assert set(states(hands, jobs_table, person)) == {"cancelled"}
    assert set(states(hands, duels, other)) == {"open"}
    assert "cancelled" not in states(hands, jobs_table, other)
    # What a worker was making for them comes too late.
    mine = [job for job in leased if job.duel_id in (hands.view(person, first).duel_id,)]
    assert mine
    hands.finish(mine)
    assert hands.view(person, first).state == hands.view(person, second).state == "closed"
    assert hands.read(jobs.depths)["leased"] == len(leased) - len(mine)
    # Once more changes nothing.
    again = hands.write(bans.ban, people["moderator"], person, "still", hands.now)
    assert (again.duels_closed, again.jobs_cancelled) == (0, 0)


def test_nothing_is_begun_for_who_is_banned_whatever_their_session_remembers(hands, people):
    person = people["person"]
    hands.write(holding.hold, person)
    hands.write(bans.ban, people["admin"], person, "a script", hands.now)
    with pytest.raises(ForbiddenError) as refused:
        hands.write(holding.hold, person)
    assert refused.value.code == "banned"


def test_exclude_trust_and_unban_only_change_the_mark(hands, people):
    person = people["person"]
    uid = hands.start(person)
    for action, expected in (("exclude", "excluded"), ("trust", "trusted"), ("unban", "active")):
        hands.write(bans.ACTIONS[action], people["admin"], person, "looked at", hands.now)
        assert status(hands, person) == (expected, "person")
    assert hands.view(person, uid).state == "queued"


@pytest.mark.parametrize("action", sorted(bans.ACTIONS))
@pytest.mark.parametrize(
    ("actor", "user", "allowed"),
    [
        ("person", "person", False),
        ("person", "admin", False),
        ("moderator", "person", True),
        ("moderator", "moderator", False),
        ("moderator", "admin", False),
        ("admin", "person", True),
        ("admin", "moderator", True),
        ("admin", "admin", False),
        ("admin", "peer", False),
        (None, "peer", True),
    ],
)
def test_only_somebody_above_decides(hands, people, action, actor, user, allowed):
    before = status(hands, people[user])
    logged = hands.read(decisions.recent)
    act = lambda: hands.write(  # noqa: E731
        bans.ACTIONS[action], people.get(actor), people[user], "because", hands.now
    )
    if allowed:
        act()
        assert status(hands, people[user])[0] == bans.STATUS[action]
        assert hands.read(decisions.recent)[0].actor_id == people.get(actor)
    else:
        with pytest.raises(ForbiddenError) as refused:
            act()
        assert refused.value.code == "role"
        assert status(hands, people[user]) == before
        assert hands.read(decisions.recent) == logged


def test_a_banned_moderator_is_none_any_more(hands, people):
    hands.write(bans.ban, people["admin"], people["moderator"], "sold votes", hands.now)
    assert status(hands, people["moderator"]) == ("banned", "person")
    with pytest.raises(ForbiddenError):
        hands.write(bans.ban, people["moderator"], people["person"], "revenge", hands.now)
    latest, before = hands.read(decisions.recent, 2)
    assert [latest.action, before.action] == ["ban", "role person"]


def test_roles_are_given_by_admins_and_nobody_changes_their_own(hands, people):
    hands.write(bans.set_role, people["admin"], people["person"], "moderator", "helps", hands.now)
    assert status(hands, people["person"])[1] == "moderator"
    hands.write(bans.set_role, people["admin"], people["peer"], "person", "left", hands.now)
    assert status(hands, people["peer"])[1] == "person"
    for actor, user in (("moderator", "person"), ("peer", "person"), ("admin", "admin")):
        with pytest.raises(ForbiddenError):
            hands.write(bans.set_role, people[actor], people[user], "person", "no", hands.now)


def test_no_role_for_who_is_banned_gone_or_only_looks_around(hands, people):
    banned, gone, visitor = hands.guest(), hands.guest(), hands.guest()
    hands.write(bans.ban, None, banned, "spam", hands.now)
    for user, values in ((gone, {"deleted_at": hands.now}), (visitor, {"kind": "visitor"})):
        hands.write(
            lambda connection, user=user, values=values: connection.execute(
                update(users).where(users.c.id == user).values(**values)
            )
        )
    for user in (banned, gone, visitor):
        with pytest.raises(InputError, match="cannot be admin"):
            hands.write(bans.set_role, None, user, "admin", "no", hands.now)


def test_a_reason_is_wanted_and_the_user_must_exist(hands, people):
    with pytest.raises(InputError, match="Say why"):
        hands.write(bans.ban, people["admin"], people["person"], "  ", hands.now)
    with pytest.raises(NotFoundError):
        hands.write(bans.ban, people["admin"], 12345, "who", hands.now)
    assert status(hands, people["person"]) == ("active", "person")


def test_an_allowance_is_set_and_given_up_by_admins_alone(hands, people):
    def allowance():
        return hands.read(
            lambda connection: connection.execute(
                select(users.c.allowance).where(users.c.id == people["person"])
            ).scalar_one()
        )

    for answers in (0, 250, None):
        hands.write(bans.set_allowance, people["admin"], people["person"], answers, "asked", hands.now)
        assert allowance() == answers
    with pytest.raises(ForbiddenError):
        hands.write(bans.set_allowance, people["moderator"], people["person"], 5, "asked", hands.now)
    with pytest.raises(InputError, match="from 0 to"):
        hands.write(bans.set_allowance, people["admin"], people["person"], -1, "asked", hands.now)
    actions = [decision.action for decision in hands.read(decisions.recent, 3)]
    assert actions == ["reset allowance", "allow 250", "allow 0"]
