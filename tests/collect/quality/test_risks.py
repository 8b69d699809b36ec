"""Risks in a real database: computed when there is something new, by the present policy, from what is stored."""

from dataclasses import replace
from datetime import timedelta

import obstore
import pytest
from sqlalchemy import insert, select, update

from crowd import START, add_duel, add_images, add_rounds, add_user
from pickapic.collect.export import Rules, export
from pickapic.collect.quality import Policy, fingerprint, risks
from pickapic.collect.quality.counting import standing_picks
from pickapic.collect.tables import images, marks, rounds, users
from pickapic.collect.tables import risks as risks_table
from pickapic.dataset.read import read
from pickapic.storage.blobs import open_store, path_of

PEOPLE, ANSWERS = 40, 60
POLICY = Policy()
LATER = START + timedelta(hours=1)


@pytest.fixture(scope="session")
def played(quality):
    """People and what they answered."""
    population = quality.Population(5, PEOPLE, careless=quality.CARELESS)
    persons = [population.person(index) for index in range(PEOPLE)]
    return [(person, quality.sitting(person, ANSWERS, 0.07, 0.97)) for person in persons]


@pytest.fixture
def filled(hands, played, quality):
    """Users 1, 2, ... of a database are those people."""

    def fill(connection):
        image_of = {}
        for _, sitting in played:
            user = add_user(connection)
            duel = add_duel(connection, user)
            image_of = image_of or add_images(connection, duel, user, quality.NAMES)
            add_rounds(connection, user, duel, sitting, image_of)

    hands.write(fill)
    hands.now = LATER
    return hands


def refresh_all(hands, policy=POLICY, everybody=False):
    return hands.runner.run(risks.refresh_all(hands.database, policy, hands.now, everybody))


def stored(hands):
    return hands.read(lambda c: {row.user_id: row for row in c.execute(select(risks_table))})


def test_what_is_stored_is_what_the_pure_functions_give(filled, played, quality):
    assert refresh_all(filled, everybody=True) == PEOPLE
    found = stored(filled)
    crowd = [quality.columns(sitting) for _, sitting in played]
    norms = filled.read(risks.norms, POLICY)
    # The database tells prompts and times apart as the crowd does, to the millisecond.
    for user, (answers, (person, _)) in enumerate(zip(crowd, played, strict=True), start=1):
        expected = risks.assess(answers, norms, POLICY)
        read = filled.read(risks.answers_of, user, POLICY, filled.now)
        assert risks.assess(read, norms, POLICY).score == expected.score
        assert (found[user].score >= POLICY.flag) == (person.habit != "honest"), person.habit
    row = found[1]
    assert (row.picks, row.policy) == (ANSWERS, fingerprint(POLICY))
    assert [reason.points for reason in risks.from_json(row.reasons)] == sorted(
        (reason.points for reason in risks.from_json(row.reasons)), reverse=True
    )


def test_norms_are_those_of_the_benchmark(filled, played, quality):
    expected = quality.norms_of([quality.columns(sitting) for _, sitting in played])
    found = filled.read(risks.norms, POLICY)
    assert found.stages == pytest.approx(expected.stages, abs=1e-6)
    assert dict(found.strengths) == pytest.approx(dict(expected.strengths), abs=1e-6)
    refresh_all(filled)
    assert filled.read(risks.norms, POLICY).rounds < found.rounds  # without those who are doubted now


def test_only_what_is_new_is_computed(filled):
    assert filled.read(risks.due, POLICY) == list(range(1, PEOPLE + 1))
    assert refresh_all(filled) == PEOPLE
    assert filled.read(risks.due, POLICY) == []
    assert refresh_all(filled) == 0
    filled.write(lambda c: c.execute(update(rounds).where(rounds.c.id == 61).values(picked_at=filled.now)))
    assert filled.read(risks.due, POLICY) == [2]
    assert filled.read(risks.due, POLICY, filled.now - timedelta(seconds=1)) == [2]
    assert filled.read(risks.due, POLICY, filled.now) == []
    filled.later(60)
    assert filled.write(risks.refresh, POLICY, filled.now) == 1
    assert filled.write(risks.refresh, POLICY, filled.now) == 0


def test_a_batch_takes_the_never_seen_first_and_then_the_oldest(filled):
    assert filled.write(risks.refresh, POLICY, filled.now, 4) == 4
    assert sorted(stored(filled)) == [1, 2, 3, 4]
    assert filled.read(risks.due, POLICY, None, 3) == [5, 6, 7]


def test_another_policy_computes_everybody_anew(filled):
    refresh_all(filled)
    before = stored(filled)
    strict = replace(POLICY, fast_seconds=30.0, fast_cleared=0.001)
    assert len(filled.read(risks.due, strict)) == PEOPLE
    assert refresh_all(filled, strict) == PEOPLE
    after = stored(filled)
    assert {row.policy for row in after.values()} == {fingerprint(strict)}
    assert all(after[user].score > POLICY.exclude for user in after)
    assert refresh_all(filled) == PEOPLE
    again = stored(filled)
    assert {user: row.score for user, row in again.items()} == {
        user: row.score for user, row in before.items()
    }


def test_another_account_in_the_same_browser_is_something_new(filled):
    refresh_all(filled)

    def mark(connection, user, at, kind="device"):
        connection.execute(
            insert(marks).values(user_id=user, kind=kind, digest=b"d" * 32, first_at=at, last_at=at)
        )

    filled.write(mark, 1, LATER - timedelta(days=1))
    assert filled.read(risks.due, POLICY) == []  # nobody else there
    filled.later(60)
    filled.write(mark, 2, filled.now)
    since = filled.now - timedelta(seconds=1)
    assert filled.read(risks.due, POLICY) == filled.read(risks.due, POLICY, since) == [1]
    assert refresh_all(filled) == 1
    assert filled.read(risks.answers_of, 1, POLICY, filled.now).same_device == 1
    assert filled.read(risks.answers_of, 2, POLICY, filled.now).same_device == 1
    filled.later(31 * 86_400)
    assert filled.read(risks.answers_of, 1, POLICY, filled.now).same_device == 0


def test_nobody_is_looked_at_without_answers_or_before_signing_in(hands):
    def fill(connection):
        add_user(connection)
        visitor = add_user(connection, "visitor")
        duel = add_duel(connection, visitor)
        image_of = add_images(connection, duel, visitor, ["m"])
        connection.execute(
            insert(rounds).values(
                uid="r",
                duel_id=duel,
                user_id=visitor,
                number=1,
                left_image_id=image_of["m"],
                right_image_id=image_of["m"],
                state="answered",
                pick="left",
                shown_at=START,
                picked_at=START,
            )
        )

    hands.write(fill)
    assert hands.read(risks.due, POLICY) == []
    assert refresh_all(hands, everybody=True) == 0
    assert hands.read(risks.listed, POLICY) == []
    assert hands.read(risks.norms, POLICY).rounds == 1


def counted(hands, policy):
    query = select(rounds.c.user_id).where(standing_picks(policy)).distinct()
    return set(hands.read(lambda c: c.execute(query).scalars().all()))


def test_whose_answers_count(filled, played):
    refresh_all(filled, everybody=True)
    found = stored(filled)
    doubted = {user for user, row in found.items() if row.score >= POLICY.exclude}
    everybody = set(found)
    assert doubted
    assert counted(filled, POLICY) == everybody - doubted
    assert counted(filled, None) == everybody
    one, other, third = sorted(doubted)[0], *sorted(everybody - doubted)[:2]

    def decide(connection):
        for user, status in ((one, "trusted"), (other, "banned"), (third, "excluded")):
            connection.execute(update(users).where(users.c.id == user).values(status=status))

    filled.write(decide)
    assert counted(filled, POLICY) == everybody - doubted - {other, third} | {one}
    assert counted(filled, None) == everybody
    filled.write(lambda c: c.execute(update(users).where(users.c.id == third).values(kind="visitor")))
    assert third not in counted(filled, None)
    listed = filled.read(risks.listed, POLICY, 0.0, PEOPLE)
    assert {row.user_id for row in listed if row.counts} == counted(filled, POLICY)
    assert [row.score for row in listed] == sorted((row.score for row in listed), reverse=True)
    assert {row.user_id for row in listed if row.flagged} == {
        user for user, row in found.items() if row.score >= POLICY.flag
    }


def test_gold_rounds_do_not_count(filled, played):
    gold = sum(one.gold is not None for _, sitting in played for one in sitting)
    answered = filled.read(lambda c: len(c.execute(select(rounds.c.id).where(standing_picks(None))).all()))
    assert answered == PEOPLE * ANSWERS - gold < PEOPLE * ANSWERS


def test_an_export_follows_the_policy(filled, played, database_url, tmp_path):
    store = open_store(str(tmp_path / "images"))
    for image in filled.rows(images):
        obstore.put(store, path_of(image.sha256), b"\xff\xd8" + image.sha256.encode())

    def run(policy):
        return export(
            database_url,
            str(tmp_path / "images"),
            tmp_path / "out",
            secret="a secret of forty characters, more or less",
            rules=Rules(policy),
        )

    gold = sum(one.gold is not None for _, sitting in played for one in sitting)
    everybody = run(None)
    assert everybody.rows == PEOPLE * ANSWERS - gold
    assert [item.count for item in everybody.left_out] == [gold]
    judged = run(POLICY)
    doubted = {user for user, row in stored(filled).items() if row.score >= POLICY.exclude}
    assert (judged.added, judged.removed) == (0, everybody.rows - judged.rows)
    assert len(set(read(tmp_path / "out", ["user_id"])["user_id"].to_pylist())) == PEOPLE - len(doubted)
    assert judged.rows + sum(item.count for item in judged.left_out) == PEOPLE * ANSWERS
    lenient = run(replace(POLICY, exclude=101.0))
    assert (lenient.rows, lenient.removed) == (everybody.rows, 0)
    assert run(POLICY).rows == judged.rows
