"""Work on a collection's database from the command line: one transaction, then the database is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import typer

Url = Annotated[str | None, typer.Option("--database", help="Database URL; default: the settings'.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Why = Annotated[str, typer.Option("--reason", help="Why; it is kept with the decision.")]


def read(url: str | None, work: Callable[..., Any], *arguments: Any) -> Any:
    """Run `work(connection, ...)` on the database of `url` (None: the settings'), which it only reads."""
    return _run(url, "read", work, *arguments)


def write(url: str | None, work: Callable[..., Any], *arguments: Any) -> Any:
    """Run `work(connection, ...)` on the database of `url` (None: the settings'), committed when it returns.

    Raises:
        InputError: what was wished is refused; the message says why.
    """
    return _run(url, "write", work, *arguments)


def _run(url: str | None, way: str, work: Callable[..., Any], *arguments: Any) -> Any:
    from pickapic.collect import schema
    from pickapic.collect.database import open_database
    from pickapic.collect.refusals import RefusalError
    from pickapic.records import InputError
    from pickapic.settings import load_settings

    async def run() -> Any:
        database = open_database(url or load_settings().database_url)
        try:
            await schema.upgrade_if_empty(database)
            return await getattr(database, way)(work, *arguments)
        except RefusalError as error:
            raise InputError(str(error)) from error
        finally:
            await database.close()

    return asyncio.run(run())
