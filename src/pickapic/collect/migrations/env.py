"""Alembic's door: it runs on the connection that `collect.schema` hands over."""

from __future__ import annotations

from alembic import context

from pickapic.collect.tables import METADATA

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=METADATA,
    render_as_batch=connection.dialect.name == "sqlite",
    transaction_per_migration=False,
)
# The transaction is the caller's: all migrations apply, or none.
context.run_migrations()
