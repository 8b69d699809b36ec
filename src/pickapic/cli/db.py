"""`pickapic db`: the tables of the collection's database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pickapic.storage.copying import Copied

db = typer.Typer(help="The database of a collection.", no_args_is_help=True)

Url = Annotated[str | None, typer.Option("--database", help="Database URL; default: the settings'.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@db.command()
def upgrade(database: Url = None, json_output: Json = False) -> None:
    """Bring the tables to the version of this program; an empty database gets all of them.

    Make a backup first. The web app does this by itself for an empty database only. On PostgreSQL servers of the
    version before may go on meanwhile: people wait for a moment at most.

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
def downgrade(
    to: Annotated[
        str, typer.Argument(metavar="REVISION", help="For instance 0002; `base` removes all tables.")
    ],
    database: Url = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json_output: Json = False,
) -> None:
    """Go back to an older revision, for an older version of this program. What the newer tables held is lost.

    Stop the servers of this version first: they need what is taken away.

    Example: `pickapic db downgrade 0002 --yes`
    """
    import asyncio

    from pickapic.cli import output
    from pickapic.collect import schema
    from pickapic.settings import load_settings

    if not yes:
        typer.confirm(f"Everything that revisions after {to} added is lost. Go on?", abort=True)
    revision = asyncio.run(schema.downgrade(database or load_settings().database_url, to))
    if json_output:
        output.show_json({"revision": revision})
    else:
        output.say(f"the database has revision {revision or 'none: it is empty'}")


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


Images = Annotated[
    str | None,
    typer.Option("--images", help="Folder or bucket for the images; without it only the database."),
]


@db.command()
def backup(
    file: Annotated[Path, typer.Argument(help="Where the database is written to; replaced if it is there.")],
    images: Images = None,
    database: Url = None,
    json_output: Json = False,
) -> None:
    """Write the database to one file, while it is in use; then copy the images that are not yet in --images.

    SQLite by its online backup, PostgreSQL by pg_dump. The file holds everything about everybody: keep it so.

    Example: `pickapic db backup backup.db --images backup-images`
    """
    from pickapic.cli import output
    from pickapic.collect.upkeep.backup import backup as write
    from pickapic.settings import load_settings

    settings = load_settings()
    write(database or settings.database_url, file)
    copied = _copy(settings.images_url, images) if images else None
    _say_copied({"file": str(file), "bytes": file.stat().st_size}, copied, json_output)
    if copied is not None and copied.damaged:
        output.fail(
            f"{len(copied.damaged)} images are damaged here and were not copied: {copied.damaged[0]}, ..."
        )


@db.command()
def restore(
    file: Annotated[Path, typer.Argument(help="What `pickapic db backup` wrote.")],
    images: Images = None,
    replace: Annotated[
        bool, typer.Option(help="Also if the database is not empty: what it holds is lost.")
    ] = False,
    database: Url = None,
    json_output: Json = False,
) -> None:
    """Bring the database back from a backup, then the images that are missing; nothing else may use it meanwhile.

    Afterwards `pickapic db check` says whether all is there.

    Example: `pickapic db restore backup.db --images backup-images`
    """
    import asyncio

    from pickapic.cli import output
    from pickapic.collect.upkeep.backup import restore as bring_back
    from pickapic.settings import load_settings

    settings = load_settings()
    asyncio.run(bring_back(database or settings.database_url, file, replace))
    copied = _copy(images, settings.images_url) if images else None
    _say_copied({"file": str(file), "bytes": file.stat().st_size}, copied, json_output)
    if copied is not None and copied.damaged:
        output.fail(f"{len(copied.damaged)} images of the backup are damaged: {copied.damaged[0]}, ...")


@db.command()
def check(
    read: Annotated[
        bool, typer.Option(help="Also read every image, and compare it with its SHA-256.")
    ] = False,
    images: Annotated[str | None, typer.Option(help="Image store; default: the settings'.")] = None,
    database: Url = None,
    json_output: Json = False,
) -> None:
    """Say whether a collection is whole: tables of this version, and a file for every image. Exit 1 if not.

    Example: `pickapic db check --read`
    """
    import asyncio

    from pickapic.cli import output
    from pickapic.collect.database import open_database
    from pickapic.collect.upkeep import wholeness
    from pickapic.settings import load_settings
    from pickapic.storage.blobs import open_store

    settings = load_settings()

    async def run() -> wholeness.Wholeness:
        opened = open_database(database or settings.database_url)
        try:
            with output.progress("looking for the images", 16) as advance:
                return await wholeness.check(opened, open_store(images or settings.images_url), read, advance)
        finally:
            await opened.close()

    found = asyncio.run(run())
    if json_output:
        output.show_json({"whole": found.whole} | output.plain(found))
    else:
        rows = [
            ("revision", found.revision, "" if found.revision == found.newest else "pickapic db upgrade"),
            ("images named", found.named, ""),
            ("missing", found.missing, ", ".join(found.missing_keys[:3])),
            ("damaged", found.damaged if read else None, ", ".join(found.damaged_keys[:3])),
        ]
        output.show_table(("what", "found", ""), rows)
    if not found.whole:
        raise typer.Exit(output.BAD_DATA)


def _copy(source: str, target: str) -> Copied:
    import asyncio

    from pickapic.cli import output
    from pickapic.storage.blobs import open_store
    from pickapic.storage.copying import copy_missing

    with output.progress("copying images", 256) as advance:
        return asyncio.run(copy_missing(open_store(source), open_store(target), advance))


def _say_copied(database: dict[str, object], copied: Copied | None, json_output: bool) -> None:
    from pickapic.cli import output

    if json_output:
        output.show_json({"database": database, "images": copied})
        return
    output.say(f"database: {database['file']}, {database['bytes']:,} bytes")
    if copied is not None:
        output.say(
            f"images: {copied.files:,} copied ({copied.bytes:,} bytes), {copied.there:,} were there already"
        )
