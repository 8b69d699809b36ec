"""`pickapic settings`: every setting, its value, and where that comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pickapic.settings import Settings


def settings(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    check: Annotated[
        bool, typer.Option(help="Try whether the database and the image store can be used; exit 1 if not.")
    ] = False,
) -> None:
    """Print every setting with its source; secrets are hidden.

    The environment (`PICKAPIC_<NAME>`) wins over `pickapic.toml` (here, or where `PICKAPIC_CONFIG` points),
    and that over the defaults.

    Example: `PICKAPIC_PORT=9000 pickapic settings`, and before a first start: `pickapic settings --check`
    """
    from pickapic.cli import output
    from pickapic.settings import load_settings

    loaded = load_settings()
    if check:
        found = _check(loaded)
        if json:
            output.show_json(found)
        else:
            output.show_table(("part", "state"), found.items())
        if any(state != "ok" for state in found.values()):
            raise typer.Exit(1)
        return
    values = loaded.shown()
    if json:
        output.show_json(
            {name: {"value": values[name], "source": source} for name, source in loaded.sources.items()}
        )
        return
    values["generators"] = ", ".join(f"{choice.name} x {choice.weight:g}" for choice in loaded.generators)
    rows = [
        (name, None if values[name] is None else str(values[name]), source)
        for name, source in loaded.sources.items()
    ]
    output.show_table(("setting", "value", "source"), rows)


def _check(loaded: Settings) -> dict[str, str]:
    """Return `ok`, or what is wrong, for each part."""
    import asyncio

    from pickapic.collect import schema
    from pickapic.collect.database import open_database
    from pickapic.storage.blobs import open_store
    from pickapic.storage.health import START_SECONDS, trouble

    async def look() -> dict[str, str]:
        database = open_database(loaded.database_url)
        try:
            revision = await database.read(schema.revision)
            state = (
                "ok" if revision in (None, schema.newest()) else f"revision {revision}: pickapic db upgrade"
            )
        except Exception as error:  # a driver may raise anything; a person is told what
            state = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        finally:
            await database.close()
        wrong = await trouble(open_store(loaded.images_url), START_SECONDS)
        return {"database": state, "images": "ok" if wrong is None else str(wrong)}

    return asyncio.run(look())
