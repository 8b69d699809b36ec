"""`pickapic admin tokens` and `workers`: which machines may come without a session, and which have come."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pickapic.cli import collection, output
from pickapic.cli.collection import Json, Url

if TYPE_CHECKING:
    from pickapic.collect.people.tokens import Created

tokens = typer.Typer(
    help="Tokens by which machines are known: workers, and programs that want scores.", no_args_is_help=True
)


@tokens.command()
def create(
    kind: Annotated[Literal["worker", "score"], typer.Argument(help="What it opens, and nothing else.")],
    label: Annotated[str, typer.Argument(help="Which machine it is for, to know it again.")],
    days: Annotated[
        int | None, typer.Option(min=1, max=3650, help="It lasts so long; default: until it is revoked.")
    ] = None,
    database: Url = None,
    json_output: Json = False,
) -> None:
    """Make a token and print it, this once: only its SHA-256 is kept.

    Example: `pickapic admin tokens create worker "gpu 1" --days 90 > worker-token`
    """
    from pickapic.collect.people import tokens as kept

    made: Created = collection.write(database, kept.create, kind, label, days, None, datetime.now(UTC))
    if json_output:
        output.show_json(made)
        return
    output.show(made.token)
    until = f"until {made.expires_at:%Y-%m-%d %H:%M} UTC" if made.expires_at else "until it is revoked"
    output.say(f"token {made.uid} opens {made.kind} calls {until}; it is not shown again")


@tokens.command("list")
def list_tokens(database: Url = None, json_output: Json = False) -> None:
    """List the tokens, the latest first; what they are is nowhere.

    Example: `pickapic admin tokens list`
    """
    from pickapic.collect.people import tokens as kept

    found = collection.read(database, kept.listed, datetime.now(UTC))
    if json_output:
        output.show_json(found)
        return
    output.show_table(
        ("token", "kind", "label", "state", "made", "by", "until", "last used"),
        [
            (
                one.uid,
                one.kind,
                one.label,
                one.state,
                f"{one.created_at:%Y-%m-%d}",
                "command line" if one.created_by is None else f"user {one.created_by}",
                one.expires_at and f"{one.expires_at:%Y-%m-%d}",
                one.used_at and f"{one.used_at:%Y-%m-%d %H:%M}",
            )
            for one in found
        ],
    )


@tokens.command()
def revoke(
    token: Annotated[str, typer.Argument(help="The short name of the token, as `list` shows it.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept with the decision.")] = "",
    database: Url = None,
    json_output: Json = False,
) -> None:
    """Let a token open nothing any more; what its workers hold goes back to the queue.

    Running servers notice within two seconds.

    Example: `pickapic admin tokens revoke 3f9c2a71b0de --reason "the machine is gone"`
    """
    from pickapic.collect.people import tokens as kept

    freed = collection.write(database, kept.revoke, token, None, reason, datetime.now(UTC))
    if json_output:
        output.show_json({"uid": token, "state": "revoked", "jobs_given_back": freed})
    else:
        output.show(f"token {token} is revoked" + (f"; {freed} jobs are queued again" if freed else ""))


def workers(database: Url = None, json_output: Json = False) -> None:
    """List the workers that were heard of within ten minutes, with what they make.

    Example: `pickapic admin workers`
    """
    from pickapic.collect.queue import workers as kept

    found = collection.read(database, kept.seen, datetime.now(UTC))
    if json_output:
        output.show_json(found)
        return
    output.show_table(
        ("worker", "token", "jobs", "started", "heard of", "makes"),
        [
            (
                one.name,
                one.token_label,
                one.leased,
                f"{one.started_at:%Y-%m-%d %H:%M}",
                f"{one.seen_at:%H:%M:%S}",
                ", ".join(one.generators),
            )
            for one in found
        ],
    )
