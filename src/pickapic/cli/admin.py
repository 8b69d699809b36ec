"""`pickapic admin`: looking after a collection from the terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from pickapic.cli.moderation import check_prompt
from pickapic.cli.risks import risks

admin = typer.Typer(help="Look after a collection.", no_args_is_help=True)
admin.command()(risks)
admin.command("check-prompt")(check_prompt)

Url = Annotated[str | None, typer.Option("--database", help="Database URL; default: the settings'.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@admin.command()
def stats(database: Url = None, json_output: Json = False) -> None:
    """Print how many users, prompts, images, picks and queued jobs there are.

    Example: `pickapic admin stats`
    """
    from dataclasses import asdict

    from pickapic.cli import output
    from pickapic.collect import overview

    counted = _read(database, overview.stats)
    if json_output:
        output.show_json(counted)
    else:
        output.show_table(("what", "count"), asdict(counted).items())


@admin.command()
def jobs(
    database: Url = None,
    retry: Annotated[bool, typer.Option(help="Queue them again, where the duel is still open.")] = False,
    json_output: Json = False,
) -> None:
    """List the jobs that were given up after too many attempts, and why.

    Example: `pickapic admin jobs --retry`
    """
    from datetime import UTC, datetime

    from pickapic.cli import output
    from pickapic.collect import overview

    dead = _read(database, overview.dead_jobs)
    if json_output:
        output.show_json(dead)
    else:
        output.show_table(
            ("job", "generator", "attempts", "given up", "error", "prompt"),
            [(job.id, job.generator, job.attempts, job.finished_at, job.error, job.prompt) for job in dead],
        )
    if retry:
        count = _write(database, overview.retry, datetime.now(UTC))
        output.say(f"{count} queued again")


def _read(url: str | None, work: Callable[..., Any], *arguments: Any) -> Any:
    return _run(url, "read", work, *arguments)


def _write(url: str | None, work: Callable[..., Any], *arguments: Any) -> Any:
    return _run(url, "write", work, *arguments)


def _run(url: str | None, way: str, work: Callable[..., Any], *arguments: Any) -> Any:
    import asyncio

    from pickapic.collect import schema
    from pickapic.collect.database import open_database
    from pickapic.settings import load_settings

    async def run() -> Any:
        database = open_database(url or load_settings().database_url)
        try:
            await schema.upgrade_if_empty(database)
            return await getattr(database, way)(work, *arguments)
        finally:
            await database.close()

    return asyncio.run(run())
