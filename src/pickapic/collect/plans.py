"""How PostgreSQL plans a statement."""

from __future__ import annotations

from sqlalchemy import Connection, text

_ANEW = text("SET LOCAL plan_cache_mode = force_custom_plan")


def plan_for_values(connection: Connection) -> None:
    """Have the statements of this transaction planned for the values that they come with.

    Those of the pick loop are planned once, whatever their values (`database.PostgresDatabase`). That is quick, but
    it takes "since an hour ago" for a third of the table and "the last 5,000" for a tenth: what asks for a stretch
    of a large table would read all of it. SQLite plans by the statement alone.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_ANEW)
