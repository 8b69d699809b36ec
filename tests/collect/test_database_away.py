"""A PostgreSQL server that is not there: one kind of error, whichever layer finds out."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from pickapic.collect.database import open_database


def test_a_server_that_is_not_there_is_an_operational_error():
    async def play():
        database = open_database("postgresql://nobody:secret@127.0.0.1:9/nothing")
        try:
            for work in (database.read, database.write, database.write_together):
                with pytest.raises(OperationalError):
                    await work(lambda connection: connection.execute(text("SELECT 1")))
        finally:
            await database.close()

    asyncio.run(play())
