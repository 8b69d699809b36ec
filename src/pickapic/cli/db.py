"""`pickapic db`: the tables of the collection's database."""

from __future__ import annotations

from typing import Annotated

import typer

db = typer.Typer(help="The database of a collection.", no_args_is_help=True)

Url = Annotated[str | None, typer.Option("--database", help="Database URL; default: the settings'.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@db.command()
def upgrade(database: Url = None, json_output: Json = False) -> None:
    """Bring the tables to the version of this program; an empty database gets all of them.

    Make a backup first. The web app does this by itself for an empty database only.

    Example: `pickapic db upgrade`
    """
    import asyncio

    from pickapic.cli import output
    from pickapic.collect import schema
    from pickapic.settings import load_settings

    revision = asyncio.run(schema.upgrade(database or load_settings().database_url))
    if json_output:
        output.show_json({"revision": revision})
    else:
        output.say(f"the database has revision {revision}, the newest")


@db.command()
def revision(database: Url = None, json_output: Json = False) -> None:
    """Print the revision of the database and the one that this program needs.

    Example: `pickapic db revision`
    """
    import asyncio

    from pickapic.cli import output
    from pickapic.collect import schema
    from pickapic.collect.database import open_database
    from pickapic.settings import load_settings

    async def read() -> str | None:
        opened = open_database(database or load_settings().database_url)
        try:
            return await opened.read(schema.revision)
        finally:
            await opened.close()

    present = asyncio.run(read())
    if json_output:
        output.show_json({"database": present, "program": schema.newest()})
    else:
        output.show(f"database {present or 'empty'}, program {schema.newest()}")
