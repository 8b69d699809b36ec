"""`pickapic admin risks`: whose answers are doubted, and why."""

from __future__ import annotations

from typing import Annotated

import typer

Url = Annotated[str | None, typer.Option("--database", help="Database URL; default: the settings'.")]


def risks(
    database: Url = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Compute everybody's anew first, not only what has changed.")
    ] = False,
    least: Annotated[float, typer.Option(help="Only risks of at least this much, 0 to 100.")] = 0.0,
    limit: Annotated[int, typer.Option(min=1, help="At most this many people.")] = 100,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List people by risk, with the reasons: what their answers are doubted for. Nothing is decided by it.

    The parameters are those of the setting `quality` (docs/quality.md).

    Example: `pickapic admin risks --least 50`
    """
    import asyncio
    from datetime import UTC, datetime

    from pickapic.cli import output
    from pickapic.collect import schema
    from pickapic.collect.database import open_database
    from pickapic.collect.quality import policy_from
    from pickapic.collect.quality import risks as collected
    from pickapic.settings import load_settings

    settings = load_settings()
    policy = policy_from(settings)

    async def run() -> tuple[int, list[collected.Listed]]:
        opened = open_database(database or settings.database_url)
        try:
            await schema.upgrade_if_empty(opened)
            count = await collected.refresh_all(opened, policy, datetime.now(UTC), everybody=recompute)
            return count, await opened.read(collected.listed, policy, least, limit)
        finally:
            await opened.close()

    computed, found = asyncio.run(run())
    if json_output:
        output.show_json(found)
        return
    output.say(f"{computed} computed")
    output.show_table(
        ("user", "kind", "status", "risk", "answers", "counts", "reasons"),
        [
            (
                one.user_id,
                one.kind,
                one.status,
                f"{one.score:.1f}" + (" flagged" if one.flagged else ""),
                one.answers,
                "yes" if one.counts else "no",
                "; ".join(f"{reason.signal} {reason.points:.0f}: {reason.detail}" for reason in one.reasons),
            )
            for one in found
        ],
    )
