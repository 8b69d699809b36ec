"""`pickapic admin reports` and `pickapic admin reviews`: what waits for a decision."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from pickapic.cli import collection, output
from pickapic.cli.collection import Json, Url

if TYPE_CHECKING:
    from sqlalchemy import Connection

Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept with the decision.")]
Limit = Annotated[int, typer.Option(min=1, help="At most this many.")]

reports = typer.Typer(help="Images that people reported.", no_args_is_help=True)
reviews = typer.Typer(
    help="Prompts in the grey zone, which wait for somebody to decide.", no_args_is_help=True
)


@reports.command("list")
def list_reports(limit: Limit = 50, database: Url = None, json_output: Json = False) -> None:
    """List the images with open reports, the most reported first.

    Example: `pickapic admin reports list`
    """
    from pickapic.collect.oversight import reports as collected

    found = collection.read(database, collected.waiting, limit)
    if json_output:
        output.show_json(found)
        return
    output.show_table(
        ("image", "reports", "reasons", "user", "model", "prompt", "notes"),
        [
            (
                one.token,
                one.count,
                ", ".join(f"{reason} {n}" for reason, n in one.reasons),
                one.user_id,
                one.model,
                one.prompt,
                "; ".join(one.notes),
            )
            for one in found
        ],
    )


@reports.command()
def remove(
    image: Annotated[str, typer.Argument(help="The image, as `list` names it.")],
    reason: Reason = "reported",
    block: Annotated[bool, typer.Option("--block", help="Never show its like again, either.")] = False,
    ban: Annotated[bool, typer.Option("--ban", help="Ban the user it was made for, too.")] = False,
    database: Url = None,
    json_output: Json = False,
) -> None:
    """Remove an image for good, reported or not: from rounds, shared pages and exports.

    Example: `pickapic admin reports remove q4iTtCvy0Xs9 --reason "shows somebody real"`
    """
    from random import SystemRandom

    from pickapic.collect.oversight import reports as collected
    from pickapic.settings import load_settings

    choices = load_settings().generators

    def work(connection: Connection) -> collected.Decided:
        now, rng = datetime.now(UTC), SystemRandom()
        return collected.uphold(connection, None, image, reason, choices, now, rng, block=block, ban=ban)

    decided = collection.write(database, work)
    if json_output:
        output.show_json(decided)
    else:
        output.show(f"image {image} of user {decided.user_id} is removed")


@reports.command()
def dismiss(
    image: Annotated[str, typer.Argument(help="The image, as `list` names it.")],
    reason: Reason = "",
    database: Url = None,
    json_output: Json = False,
) -> None:
    """Leave a reported image as it is.

    Example: `pickapic admin reports dismiss q4iTtCvy0Xs9`
    """
    from pickapic.collect.oversight import reports as collected

    decided = collection.write(database, collected.dismiss, None, image, reason, datetime.now(UTC))
    if json_output:
        output.show_json(decided)
    else:
        output.show(f"image {image} of user {decided.user_id} stays")


@reviews.command("list")
def list_reviews(limit: Limit = 50, database: Url = None, json_output: Json = False) -> None:
    """List the prompts that wait, the oldest first.

    Example: `pickapic admin reviews list --json`
    """
    from pickapic.collect.moderation import reviews as collected

    found = collection.read(database, collected.waiting, limit)
    if json_output:
        output.show_json(found)
        return
    output.show_table(
        ("prompt", "since", "user", "people", "why", "text"),
        [
            (
                one.uid,
                f"{one.created_at:%Y-%m-%d %H:%M}",
                one.user_id,
                one.users,
                ", ".join(reason.category for reason in one.reasons),
                one.typed,
            )
            for one in found
        ],
    )


@reviews.command()
def approve(
    prompt: Annotated[str, typer.Argument(help="The prompt, as `list` names it.")],
    reason: Reason = "",
    database: Url = None,
    json_output: Json = False,
) -> None:
    """Free a prompt for everybody, now and later.

    Example: `pickapic admin reviews approve 8bC0dRjW`
    """
    _decide(database, prompt, True, reason, json_output)


@reviews.command()
def refuse(
    prompt: Annotated[str, typer.Argument(help="The prompt, as `list` names it.")],
    reason: Reason = "",
    database: Url = None,
    json_output: Json = False,
) -> None:
    """Refuse a prompt to everybody, now and later.

    Example: `pickapic admin reviews refuse 8bC0dRjW --reason "asks for a real person"`
    """
    _decide(database, prompt, False, reason, json_output)


def _decide(url: str | None, uid: str, approve: bool, reason: str, json_output: bool) -> None:
    from pickapic.collect.moderation import reviews as collected

    count = collection.write(url, collected.decide, uid, approve, None, reason, datetime.now(UTC))
    if json_output:
        output.show_json({"prompt": uid, "approved": approve, "settled": count})
    else:
        output.show(f"{'approved' if approve else 'refused'}; {count} waited for it")
