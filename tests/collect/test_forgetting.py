"""Being forgotten, both ways: what goes, what stays, which files nobody needs any more."""

import json

import pytest

from pickapic.collect.people import belongings, consents, forgetting, identities, marks, sessions, sign_ins
from pickapic.collect.people.identities import Vouched
from pickapic.collect.tables import (
    METADATA,
    downloads,
    duels,
    gold_pairs,
    images,
    jobs,
    prompt_reviews,
    reports,
    risks,
    rounds,
    shares,
    users,
)

SECRET = "a secret that is long enough for this"


@pytest.fixture
def person(hands):
    """Somebody who left something in every table that has people in it."""
    user = hands.write(
        identities.arrive, Vouched("google", "ada", "a@b.c"), None, SECRET, (), hands.now
    ).user_id
    hands.write(consents.agree, user, "1", hands.now)
    hands.write(sessions.open_session, user, 30, hands.now, "Firefox on Linux")
    hands.write(sign_ins.begin, "google", "browser", "/", user, hands.now)
    hands.write(marks.note, user, (marks.device_mark(SECRET, "abc"),), hands.now)
    uid = hands.start(user, "my secret [ugly]")
    hands.make()
    hands.pick(user, hands.view(user, uid).round.round_uid, "left")
    hands.skip(user, hands.view(user, uid).round.round_uid)
    hands.make()
    hands.view(user, uid)
    hands.start(user, "another")  # still queued
    mark(hands, user, hands.rows(images)[0].id)
    return user


def mark(hands, user, image):
    def insert(connection):
        at = {"user_id": user, "created_at": hands.now}
        connection.execute(
            reports.insert().values(
                uid="r", image_id=image, reason="other", note="I, Ada", state="open", **at
            )
        )
        connection.execute(shares.insert().values(token="s", image_id=image, **at))
        connection.execute(downloads.insert().values(image_id=image, user_id=user, at=hands.now))
        connection.execute(
            risks.insert().values(
                user_id=user, score=7, reasons='["fast"]', picks=1, policy="p", computed_at=hands.now
            )
        )
        for number, state in enumerate(("waiting", "approved")):
            connection.execute(
                prompt_reviews.insert().values(
                    uid=f"p{number}", typed="I, Ada", digest=b"x" * 32, reasons="[]", state=state, **at
                )
            )

    hands.write(insert)


def forget(hands, user, how):
    return hands.write(forgetting.forget, user, how, SECRET, hands.now)


def rows_of(hands, user):
    """Return how many rows of each table refer to a user."""
    found = {}
    for table in METADATA.sorted_tables:
        for column in table.columns:
            if any(key.column.table is users for key in column.foreign_keys) or column.name == "user_id":
                count = hands.read(
                    lambda connection, column=column, table=table: len(
                        connection.execute(table.select().where(column == user)).all()
                    )
                )
                found[table.name] = found.get(table.name, 0) + count
    return {name: count for name, count in found.items() if count}


def test_anonymise_keeps_the_answers_with_their_images_and_cuts_every_tie(hands, person):
    answered = next(row for row in hands.rows() if row.state == "answered")
    files = forget(hands, person, "anonymise")
    assert rows_of(hands, person) == {"duels": 2, "jobs": 2, "rounds": 1, "prompt_reviews": 1, "reports": 1}
    assert {row.id for row in hands.rows(images)} == {answered.left_image_id, answered.right_image_id}
    assert {row.state for row in hands.rows(jobs)} == {"done"}
    assert [(row.typed, row.state) for row in hands.rows(duels)] == [
        ("my secret", "closed"),
        ("another", "closed"),
    ]
    assert hands.rows(reports)[0].note == ""
    assert [(row.typed, row.state) for row in hands.rows(prompt_reviews)] == [("", "approved")]
    assert hands.rows()[0].session_key is None
    user = hands.rows(users)[0]
    assert (user.deleted_at, user.role) == (hands.now, "person")
    kept = {row.sha256 for row in hands.rows(images)}
    assert files
    assert not files & kept
    assert hands.read(forgetting.unused, files | kept) == files


def test_remove_leaves_nothing_but_the_number(hands, person):
    everything = {row.sha256 for row in hands.rows(images)}
    files = forget(hands, person, "remove")
    assert files == everything
    assert rows_of(hands, person) == {"prompt_reviews": 1}
    assert [hands.rows(table) for table in (rounds, images, jobs, duels, reports, shares)] == [[]] * 6
    assert hands.rows(users)[0].deleted_at == hands.now
    assert hands.read(forgetting.unused, files) == files


@pytest.mark.parametrize("how", ["anonymise", "remove"])
def test_other_people_lose_nothing(hands, person, how):
    other = hands.guest()
    uid = hands.start(other)
    hands.make()
    hands.pick(other, hands.view(other, uid).round.round_uid, "tie")
    token = hands.write(sessions.open_session, other, 30, hands.now)
    before = rows_of(hands, other)
    forget(hands, person, how)
    assert rows_of(hands, other) == before
    assert hands.read(sessions.signed_in, token, hands.now).user_id == other
    assert hands.view(other, uid).round is not None


def test_a_file_that_another_row_needs_is_not_unused(hands):
    first, second = hands.guest(), hands.guest()
    for user in (first, second):
        uid = hands.start(user)
        hands.finish(hands.lease(), same=True)
        hands.view(user, uid)
    (shared,) = forget(hands, first, "remove")
    assert hands.read(forgetting.unused, {shared}) == set()
    forget(hands, second, "remove")
    assert hands.read(forgetting.unused, {shared}) == {shared}
    hands.write(
        lambda connection: connection.execute(
            gold_pairs.insert().values(
                uid="g",
                caption="c",
                better_sha256=shared,
                worse_sha256="0" * 64,
                state="active",
                added_at=hands.now,
            )
        )
    )
    assert hands.read(forgetting.unused, {shared}) == set()


def test_many_files_are_asked_for_in_parts(hands):
    many = {f"{number:064x}" for number in range(2 * forgetting.KEYS_AT_ONCE + 1)}
    assert hands.read(forgetting.unused, many) == many


def test_what_is_kept_of_me_is_all_told_with_its_purpose(hands, person):
    kept = {one.name: one for one in hands.read(belongings.belongings, person, hands.now)}
    assert all(one.purpose.endswith(".") for one in kept.values())
    counts = {name: len(one.entries) for name, one in kept.items()}
    assert counts == {
        "account": 1,
        "identities": 1,
        "consents": 1,
        "sessions": 1,
        "marks": 1,
        "prompts": 2,
        "reviews": 2,
        "picks": 2,
        "images": counts["images"],
        "reports": 1,
        "downloads": 1,
        "shares": 1,
        "trust": 1,
    }
    assert [pick["pick"] for pick in kept["picks"].entries] == ["left", "skipped"]
    everything = "\n".join(one.json() for one in kept.values())
    assert json.loads(kept["picks"].json())["picks"][0]["prompt"] == "my secret [ugly]"
    assert "2026-01-01T" in everything
    # No hash, and nothing that would name a model, or a round whose answer is known, while a duel is open.
    for word in ("hash", "miniature", "model", "gold", "seed"):
        assert word not in everything.replace("a hash is kept", "").replace("Hashes of", "").replace(
            "rank models", ""
        )
    shown = hands.read(belongings.image_files, person)
    assert len(shown) == counts["images"] > 2
    for table in ("sign_ins", "links"):
        assert table not in kept  # minutes old at most, and of no meaning afterwards
