"""`pickapic admin gold`: pairs of images whose better one is known."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pickapic.cli import collection, output
from pickapic.cli.collection import Json, Url

if TYPE_CHECKING:
    from sqlalchemy import Connection

gold = typer.Typer(
    help="Pairs of images of which everybody who looks finds one better: they show who looks.",
    no_args_is_help=True,
)


@gold.command("list")
def list_pairs(database: Url = None, json_output: Json = False) -> None:
    """List the pairs with how they were answered, the latest first.

    Example: `pickapic admin gold list`
    """
    from pickapic.collect.duels import gold as collected

    found = collection.read(database, collected.pairs)
    if json_output:
        output.show_json(found)
        return
    output.show_table(
        ("pair", "state", "answered", "right", "added", "words"),
        [
            (
                one.uid,
                one.state,
                one.answered,
                f"{one.right / one.answered:.0%}" if one.answered else None,
                f"{one.added_at:%Y-%m-%d}",
                one.caption,
            )
            for one in found
        ],
    )


@gold.command()
def add(
    better: Annotated[
        Path, typer.Argument(help="The better image: PNG, JPEG or WebP.", exists=True, dir_okay=False)
    ],
    worse: Annotated[Path, typer.Argument(help="The worse image.", exists=True, dir_okay=False)],
    caption: Annotated[str, typer.Option(help="The words that both were made for.")],
    database: Url = None,
    json_output: Json = False,
) -> None:
    """Add a pair; the images are stored upright, without metadata, and the files stay untouched.

    Example: `pickapic admin gold add good.png bad.png --caption "two red apples on a table"`
    """
    import asyncio

    from pickapic.collect import decisions
    from pickapic.collect.duels import gold as collected
    from pickapic.collect.duels.gold_images import normal
    from pickapic.settings import load_settings
    from pickapic.storage import blobs

    settings = load_settings()
    store = blobs.open_store(settings.images_url)
    plain = [normal(path.read_bytes(), settings.scorer_max_pixels) for path in (better, worse)]

    async def put() -> list[str]:
        return [await blobs.put(store, data) for data in plain]

    def work(connection: Connection, good: str, bad: str) -> str:
        now = datetime.now(UTC)
        uid = collected.add_pair(connection, caption, good, bad, None, now)
        decisions.record(connection, None, "add gold pair", "gold pair", uid, caption, now)
        return uid

    uid = collection.write(database, work, *asyncio.run(put()))
    if json_output:
        output.show_json({"pair": uid})
    else:
        output.show(f"pair {uid} is added")


@gold.command()
def retire(
    pair: Annotated[str, typer.Argument(help="The pair, as `list` names it.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept with the decision.")] = "",
    database: Url = None,
    json_output: Json = False,
) -> None:
    """Show a pair to nobody any more; what was answered stays.

    Example: `pickapic admin gold retire Vb1m --reason "half of the people choose the other one"`
    """
    from pickapic.collect import decisions
    from pickapic.collect.duels import gold as collected

    def work(connection: Connection) -> None:
        collected.retire(connection, pair)
        now = datetime.now(UTC)
        decisions.record(connection, None, "retire gold pair", "gold pair", pair, reason, now)

    collection.write(database, work)
    if json_output:
        output.show_json({"pair": pair, "state": "retired"})
    else:
        output.show(f"pair {pair} is retired")
