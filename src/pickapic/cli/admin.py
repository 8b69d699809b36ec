"""`pickapic admin`: looking after a collection from the terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from pickapic.cli import admin_tokens, admin_users, collection
from pickapic.cli.admin_generators import generators
from pickapic.cli.admin_gold import gold
from pickapic.cli.admin_queues import reports, reviews
from pickapic.cli.admin_sweep import sweep
from pickapic.cli.collection import Json, Url
from pickapic.cli.moderation import blocked, check_prompt
from pickapic.cli.risks import risks

admin = typer.Typer(help="Look after a collection.", no_args_is_help=True)
admin.command()(risks)
admin.command()(sweep)
admin.command("check-prompt")(check_prompt)
for _command in (
    admin_users.users,
    admin_users.ban,
    admin_users.unban,
    admin_users.exclude,
    admin_users.trust,
    admin_users.role,
    admin_users.allow,
    admin_tokens.workers,
):
    admin.command()(_command)
admin.add_typer(reports, name="reports")
admin.add_typer(reviews, name="reviews")
admin.add_typer(blocked, name="blocked")
admin.add_typer(gold, name="gold")
admin.add_typer(generators, name="generators")
admin.add_typer(admin_tokens.tokens, name="tokens")


@admin.command()
def stats(database: Url = None, json_output: Json = False) -> None:
    """Print how many users, prompts, images, picks and queued jobs there are.

    Example: `pickapic admin stats`
    """
    from dataclasses import asdict

    from pickapic.cli import output
    from pickapic.collect.oversight import overview

    counted = collection.read(database, overview.stats)
    if json_output:
        output.show_json(counted)
    else:
        output.show_table(("what", "count"), asdict(counted).items())


@admin.command()
def jobs(
    database: Url = None,
    retry: Annotated[bool, typer.Option(help="Queue the dead again, where the duel is still open.")] = False,
    give_up: Annotated[bool, typer.Option(help="Take all off the list.")] = False,
    json_output: Json = False,
) -> None:
    """List the jobs that were given up (dead) and those that a generator would not draw (refused), and why.

    Example: `pickapic admin jobs --retry`
    """
    from datetime import UTC, datetime

    from pickapic.cli import output
    from pickapic.collect.queue import dead_letter

    dead = collection.read(database, dead_letter.dead_jobs, 100, True)
    if json_output:
        output.show_json(dead)
    else:
        output.show_table(
            ("job", "state", "generator", "attempts", "when", "why", "prompt"),
            [
                (one.id, one.state, one.generator, one.attempts, one.finished_at, one.error, one.prompt)
                for one in dead
            ],
        )
    if retry:
        count = collection.write(database, dead_letter.retry, datetime.now(UTC))
        output.say(f"{count} queued again")
    if give_up:
        output.say(f"{collection.write(database, dead_letter.give_up)} given up")


@admin.command()
def decisions(
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 50,
    user: Annotated[int | None, typer.Option(min=1, help="Only those about this user.")] = None,
    database: Url = None,
    json_output: Json = False,
) -> None:
    """List what was decided, the latest first: who, when, what and why.

    Example: `pickapic admin decisions --user 17`
    """
    from pickapic.cli import output
    from pickapic.collect import decisions as log

    kind = None if user is None else "user"
    found = collection.read(database, log.recent, limit, None, kind, user)
    if json_output:
        output.show_json(found)
        return
    output.show_table(
        ("when", "who", "what", "about", "why"),
        [
            (
                f"{one.at:%Y-%m-%d %H:%M:%S}",
                "command line" if one.actor_id is None else f"user {one.actor_id}",
                one.action,
                f"{one.target_kind} {one.target}",
                one.reason,
            )
            for one in found
        ],
    )
