"""Changes that are sent together: on PostgreSQL in one statement, so that a pick waits for few messages.

    writes = Writes(connection)
    writes.add(set_answer, key=7, pick="left")
    writes.add(insert(rounds), uid="...", number=2)
    writes.send()

PostgreSQL runs them as parts of one `WITH` (https://www.postgresql.org/docs/current/queries-with.html, "Data-
Modifying Statements in WITH"): all see the data as it was before, they run in no order that counts, and no row may be
changed twice. So what is added must not need what was added before it, and nothing is read in between that it would
change. SQLite knows no such statement, and no messages: there each change is made when it is added.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import BindParameter, Connection, Insert, Select, Update, bindparam, literal_column, select
from sqlalchemy.sql import visitors

Change = Insert | Update
BUNDLES_KEPT = 64


class Writes:
    """Changes of one transaction, added one by one and sent together."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._together = connection.dialect.name == "postgresql"
        self.at_once = not self._together
        """Whether a change is made when it is added, so that what is added next sees it."""
        self._waiting: list[tuple[Change, Mapping[str, Any]]] = []

    def add(self, change: Change, **values: Any) -> None:
        """Add an insert of `values`, or an update whose parameters they are; the statement is one of a module's own."""
        if self._together:
            self._waiting.append((change, values))
        else:
            self.connection.execute(change, values)

    def send(self) -> None:
        """Make the changes that wait."""
        waiting, self._waiting = self._waiting, []
        if len(waiting) == 1:
            ((change, values),) = waiting
            self.connection.execute(change, values)
        elif waiting:
            statement = _bundle(tuple((change, tuple(values)) for change, values in waiting))
            named = {
                _name(number, name): value
                for number, (_, values) in enumerate(waiting)
                for name, value in values.items()
            }
            self.connection.execute(statement, named)


def _name(number: int, name: str) -> str:
    return f"w{number}_{name}"


@lru_cache(BUNDLES_KEPT)
def _bundle(changes: tuple[tuple[Change, tuple[str, ...]], ...]) -> Select[Any]:
    """Return one statement of all changes, each with the names of its values; a value is named after its change too."""
    parts = [
        _numbered(_complete(change, names), number).cte(f"w{number}")
        for number, (change, names) in enumerate(changes)
    ]
    return select(literal_column("1")).add_cte(*parts)


def _complete(change: Change, names: tuple[str, ...]) -> Change:
    """Return an insert with its columns written out, as SQLAlchemy does by itself outside of a `WITH`."""
    if not isinstance(change, Insert):
        return change
    used = {part.key for part in visitors.iterate(change) if isinstance(part, BindParameter)}
    columns = [change.table.c[name] for name in names if name not in used]
    return change.values({column.name: bindparam(column.name, type_=column.type) for column in columns})


def _numbered(change: Change, number: int) -> Change:
    def renamed(element: Any, **kw: Any) -> BindParameter[Any] | None:
        # Constants of the statement are parameters too; SQLAlchemy gives those a name of their own.
        if not isinstance(element, BindParameter) or element.key.startswith("%") or element.key in done:
            return None
        done.add(_name(number, element.key))
        return bindparam(_name(number, element.key), type_=element.type, expanding=element.expanding)

    done: set[str] = set()
    return cast(Change, visitors.replacement_traverse(change, {}, renamed))
