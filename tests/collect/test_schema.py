"""Migrations make exactly the tables that the code uses."""

import asyncio
from datetime import UTC, datetime

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import MetaData, insert, inspect, select, text

from databases import KINDS
from pickapic.collect import schema
from pickapic.collect.database import open_database
from pickapic.collect.tables import METADATA, queue, users
from pickapic.records import InputError

ON_BOTH_QUICKLY = True


def test_the_migrations_make_the_tables_of_the_code(hands):
    def differences(connection):
        return compare_metadata(MigrationContext.configure(connection), METADATA)

    assert hands.read(differences) == []
    assert hands.read(schema.revision) == schema.newest()


def test_upgrading_again_changes_nothing_and_keeps_the_data(hands):
    user = hands.guest()
    hands.write(schema.upgrade_connection)
    assert [row.id for row in hands.rows(users)] == [user]
    assert hands.read(lambda connection: len(connection.execute(select(queue)).all())) == 1


def test_down_to_nothing_and_up_again(hands):
    hands.write(schema.downgrade_connection, "base")
    tables = hands.read(lambda connection: inspect(connection).get_table_names())
    assert tables == ["alembic_version"]
    hands.write(schema.upgrade_connection)
    assert hands.guest() == 1


def test_what_an_older_version_stored_survives_the_way_up_down_and_up_again(hands):
    hands.write(schema.downgrade_connection, "0001")
    before = hands.write(fill_first_revision)
    hands.write(schema.upgrade_connection)
    assert with_columns(hands.read(contents), before) == before
    hands.write(schema.downgrade_connection, "0001")
    assert hands.read(contents) == before
    hands.write(schema.upgrade_connection)
    assert with_columns(hands.read(contents), before) == before
    # What was begun before goes on, with the defaults of the new columns.
    hands.pick(1, "round-1", "left")
    (row,) = hands.rows()
    assert (row.state, row.pick, row.gold, row.session_key) == ("answered", "left", None, None)
    assert [user.status for user in hands.rows(users)] == ["active"]
    hands.guest()


def fill_first_revision(connection):
    """Insert a row into every table of revision 0001, by what the database itself says it has."""
    old = MetaData()
    old.reflect(connection)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    image = {"duel_id": 1, "state": "shown", "width": 8, "height": 8, "model": "m", "prompt": "a cat"}
    image |= {"negative_prompt": "", "seed": 2**32 - 1, "created_at": at}
    order = {
        "duel_id": 1,
        "user_id": 1,
        "state": "done",
        "priority": 0,
        "virtual_time": 1.5,
        "generator": "m",
    }
    order |= {"prompt": "a cat", "negative_prompt": "", "guidance_scale": 7.5, "steps": 25, "seed": 1}
    order |= {"not_before": at, "created_at": at, "seconds": 0.25}
    for name, rows in {
        "users": [{"kind": "guest", "created_at": at}],
        "sessions": [{"token_hash": b"x" * 32, "user_id": 1, "created_at": at, "expires_at": at}],
        "duels": [
            {"uid": "duel-1", "user_id": 1, "typed": "a 'cat' 🐈 [dog]", "caption": "a 'cat' 🐈"}
            | {"negative_prompt": "dog", "state": "open", "created_at": at}
        ],
        "jobs": [order, order],
        "images": [
            image | {"uid": f"image-{job}", "token": f"token-{job}", "job_id": job, "sha256": f"{job:064x}"}
            for job in (1, 2)
        ],
        "rounds": [
            {"uid": "round-1", "duel_id": 1, "user_id": 1, "number": 1, "left_image_id": 1}
            | {"right_image_id": 2, "state": "open", "shown_at": at}
        ],
    }.items():
        # Typed as the code types them: SQLite's reflection knows no time zones.
        table = METADATA.tables[name]
        for row in rows:
            assert set(row) <= set(old.tables[name].columns.keys())
            connection.execute(insert(table).values(row))
    return contents(connection)


def contents(connection):
    """Return every row of every table, as the database holds them."""
    present = MetaData()
    present.reflect(connection)
    return {
        table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
        for table in present.sorted_tables
        if table.name != "alembic_version"
    }


def with_columns(present, like):
    """Return `present`, with only the tables and columns that `like` has."""
    return {
        table: [{name: row[name] for name in old} for row, old in zip(present[table], rows, strict=True)]
        for table, rows in like.items()
    }


def test_two_processes_may_upgrade_at_once(empty_url):

    async def both():
        return await asyncio.gather(schema.upgrade(empty_url), schema.upgrade(empty_url))

    assert asyncio.run(both()) == [schema.newest()] * 2


def test_a_database_of_a_newer_version_is_left_alone(hands):
    hands.write(
        lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    )
    with pytest.raises(InputError, match="only a newer version knows"):
        hands.write(schema.upgrade_connection)
    with pytest.raises(InputError, match="pickapic db upgrade"):
        hands.runner.run(schema.upgrade_if_empty(hands.database))


def test_an_upgrade_that_fails_half_way_leaves_nothing(empty_url):
    database = open_database(empty_url)

    def fail(connection):
        schema.upgrade_connection(connection)
        raise RuntimeError("power cut")

    with asyncio.Runner() as runner:
        with pytest.raises(RuntimeError):
            runner.run(database.write(fail))
        tables = runner.run(database.read(lambda connection: inspect(connection).get_table_names()))
        runner.run(database.close())
    assert tables == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "cannot be read"),
        ("mysql://host/name", "mysql"),
        ("sqlite://", "must be a file"),
    ],
)
def test_a_database_url_that_cannot_be_used_says_so(url, message):
    with pytest.raises(InputError, match=message):
        open_database(url)


def test_down_by_name_says_what_names_there_are(database_url):
    assert asyncio.run(schema.downgrade(database_url, "0002")) == "0002"
    assert asyncio.run(schema.upgrade(database_url)) == schema.newest()
    with pytest.raises(InputError, match="no revision '7'; known are base, 0001"):
        asyncio.run(schema.downgrade(database_url, "7"))
    assert asyncio.run(schema.downgrade(database_url, "base")) is None


@pytest.mark.skipif("postgresql" not in KINDS, reason="of PostgreSQL alone")
def test_an_index_that_was_left_half_made_is_made_anew(databases, tmp_path):
    url = databases.migrated("postgresql", tmp_path)
    asyncio.run(schema.downgrade(url, "0002"))
    database = open_database(url)

    def leave_half(connection):
        connection.execute(text("CREATE INDEX ix_images_sha256 ON images (sha256)"))
        connection.execute(
            text("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_images_sha256'::regclass")
        )

    valid = text("SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_images_sha256'::regclass")
    with asyncio.Runner() as runner:
        runner.run(database.write(leave_half))
        assert runner.run(database.read(lambda connection: connection.execute(valid).scalar())) is False
        runner.run(schema.upgrade(url))
        assert runner.run(database.read(lambda connection: connection.execute(valid).scalar())) is True
        runner.run(database.close())
    databases.drop(url)
