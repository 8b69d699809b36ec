"""Migrations make exactly the tables that the code uses."""

import asyncio

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, select, text

from pickapic.collect import schema
from pickapic.collect.database import open_database
from pickapic.collect.tables import METADATA, queue, users
from pickapic.records import InputError


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
