"""`pickapic admin sweep`: files that no row names, and rows whose file is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pickapic.cli.collection import Json, Url

if TYPE_CHECKING:
    from pickapic.collect.upkeep.sweep import Found


def sweep(
    delete: Annotated[
        bool, typer.Option("--delete", help="Also clear up; without it nothing changes.")
    ] = False,
    hours: Annotated[
        float, typer.Option(min=1, help="Age from which a file without a row is an orphan.")
    ] = 24.0,
    images: Annotated[str | None, typer.Option(help="Image store; default: the settings'.")] = None,
    database: Url = None,
    json_output: Json = False,
) -> None:
    """Find stored files that no row names, and rows whose file is missing.

    With --delete orphans are moved aside, to swept/, where they are still found; another sweep deletes them a day
    later, or puts back what has a row by then. May run while the server does.

    Example: `pickapic admin sweep --delete`
    """
    import asyncio
    from datetime import UTC, datetime, timedelta

    from pickapic.cli import output
    from pickapic.collect.database import open_database
    from pickapic.collect.upkeep import sweep as sweeping
    from pickapic.settings import load_settings
    from pickapic.storage.blobs import open_store

    settings = load_settings()

    async def run() -> Found:
        opened = open_database(database or settings.database_url)
        store = open_store(images or settings.images_url)
        try:
            with output.progress("looking through the images", 256) as advance:
                return await sweeping.sweep(
                    opened, store, datetime.now(UTC), delete, timedelta(hours=hours), advance
                )
        finally:
            await opened.close()

    found = asyncio.run(run())
    if json_output:
        output.show_json(found)
        return
    rows = [
        ("files", found.files, f"{found.bytes / 1e6:,.1f} MB"),
        ("files that rows name", found.named, ""),
        ("orphans", found.orphans, f"{found.orphan_bytes / 1e6:,.1f} MB, {found.moved:,} moved aside"),
        ("aside", found.aside, f"{found.deleted:,} deleted, {found.restored:,} put back"),
        ("half-written", found.unfinished, "deleted" if delete and found.unfinished else ""),
        ("missing", found.gaps, ", ".join(found.gap_keys[:3])),
    ]
    note = None if delete else "nothing was changed; --delete clears up"
    output.show_table(("what", "count", ""), rows, note=note)
