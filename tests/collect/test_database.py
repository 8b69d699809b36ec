"""Transactions as the rest relies on them: all or nothing, and run again where PostgreSQL had to end one."""

import asyncio
import threading

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from pickapic.collect.database import open_database
from pickapic.collect.tables import users
from pickapic.records import InputError

ON_BOTH_QUICKLY = True


def test_a_transaction_that_fails_leaves_nothing(hands):
    def fail(connection):
        connection.execute(insert(users).values(kind="guest", created_at=hands.now))
        raise InputError("half way")

    with pytest.raises(InputError):
        hands.write(fail)
    assert hands.rows(users) == []


def test_what_only_reads_cannot_write(hands):
    with pytest.raises(Exception, match=r"read-?only"):
        hands.read(lambda connection: connection.execute(update(users).values(kind="admin")))


def test_of_two_transactions_that_wait_for_one_another_both_end_well(hands, database_url):
    if hands.database.dialect == "sqlite":
        pytest.skip("one writer at a time cannot wait for another")
    ids = [hands.guest(), hands.guest()]
    # Each holds one user when it asks for the other's; the one that is ended and run again meets nobody.
    meeting = [threading.Event(), threading.Event()]

    def give(connection, mine, other):
        add(connection, ids[mine])
        meeting[mine].set()
        meeting[other].wait(10)
        add(connection, ids[other])

    async def alone(mine, other):
        database = open_database(database_url)
        try:
            await database.write(give, mine, other)
        finally:
            await database.close()

    async def both():
        await asyncio.gather(*(asyncio.to_thread(asyncio.run, alone(mine, 1 - mine)) for mine in (0, 1)))

    hands.runner.run(both())
    assert [row.virtual_time for row in hands.rows(users)] == [2.0, 2.0]


def add(connection, user_id):
    more = users.c.virtual_time + 1
    connection.execute(update(users).where(users.c.id == user_id).values(virtual_time=more))


def test_a_zero_character_is_told_and_not_a_fault_of_the_server(hands):
    if hands.database.dialect == "sqlite":
        pytest.skip("SQLite stores it")
    with pytest.raises(InputError, match="zero character"):
        hands.write(
            lambda connection: connection.execute(insert(users).values(kind="a\0b", created_at=hands.now))
        )
    with pytest.raises(InputError, match="zero character"):
        hands.read(lambda connection: connection.execute(select(users).where(users.c.kind == "a\0b")).all())


def test_a_lost_connection_is_noticed_by_nobody(hands, database_url):
    """As after a restart of PostgreSQL, or a firewall that forgets idle connections."""
    if hands.database.dialect == "sqlite":
        pytest.skip("SQLite has no connection to lose")
    user = hands.guest()

    async def cut():
        other = open_database(database_url)
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        end = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {others}"
        try:
            return await other.write(lambda connection: connection.exec_driver_sql(end).scalar())
        finally:
            await other.close()

    for work in (hands.read, hands.write):
        assert hands.runner.run(cut()) >= 1
        assert work(lambda connection: connection.execute(select(users.c.id)).scalar()) == user


def test_what_is_written_together_succeeds_and_fails_alone(hands):
    """Forty at once: each gets its own result; refusals and faults of some are not felt by the others."""

    def work(connection, number):
        if number % 10 == 3:
            raise InputError(f"{number} may not")
        new = insert(users).values(kind=f"person {number}", created_at=hands.now)
        key = connection.execute(new.returning(users.c.id)).scalar_one()
        if number == 25:
            connection.execute(insert(users).values(id=key, kind="twin", created_at=hands.now))
        return number

    async def all_at_once():
        writes = [hands.database.write_together(work, number) for number in range(40)]
        return await asyncio.gather(*writes, return_exceptions=True)

    results = hands.runner.run(all_at_once())
    for number, result in enumerate(results):
        if number % 10 == 3:
            assert isinstance(result, InputError)
            assert str(result) == f"{number} may not"
        elif number == 25:
            assert isinstance(result, IntegrityError)
        else:
            assert result == number
    stored = {row.kind for row in hands.rows(users)}
    assert stored == {f"person {number}" for number in range(40) if number % 10 != 3 and number != 25}


def test_who_leaves_before_the_result_disturbs_nobody(hands):
    def work(connection, name):
        connection.execute(insert(users).values(kind=name, created_at=hands.now))
        return name

    async def one_leaves():
        tasks = [asyncio.create_task(hands.database.write_together(work, name)) for name in ("a", "b", "c")]
        await asyncio.sleep(0)
        tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, left, last = hands.runner.run(one_leaves())
    assert (first, last) == ("a", "c")
    assert isinstance(left, asyncio.CancelledError)
    assert {"a", "c"} <= {row.kind for row in hands.rows(users)}
