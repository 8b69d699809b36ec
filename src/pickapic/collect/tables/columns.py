"""What all tables share: names of constraints, times in UTC, keys."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Dialect, ForeignKey, Integer, MetaData, TypeDecorator

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime; SQLite, which has no time zones, stores it without one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return `value` in UTC, naive on SQLite."""
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return `value` as an aware UTC datetime."""
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


# SQLite gives a row id by itself only to a column of type INTEGER.
Key = BigInteger().with_variant(Integer(), "sqlite")


def key() -> Column[Any]:
    """Return the integer primary key that every table has; it stays inside the server."""
    return Column("id", Key, primary_key=True, autoincrement=True)


def reference(name: str, target: str, nullable: bool = False) -> Column[Any]:
    """Return a foreign key to `target`."""
    return Column(name, Key, ForeignKey(f"{target}.id"), nullable=nullable)
