"""`pickapic admin users`, `ban`, `unban`, `exclude`, `trust`, `role`, `allow`: who takes part, and as what."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pickapic.cli import collection, output
from pickapic.cli.collection import Json, Url, Why

if TYPE_CHECKING:
    from pickapic.collect.people.bans import Change

User = Annotated[int, typer.Argument(min=1, help="The user's number.")]


def users(
    user: Annotated[int | None, typer.Argument(min=1, help="Everything about this one.")] = None,
    show: Annotated[
        Literal["all", "doubtful", "banned", "excluded", "trusted", "staff"], typer.Option(help="Only these.")
    ] = "all",
    order: Annotated[Literal["risk", "picks", "newest"], typer.Option(help="The first come first.")] = "risk",
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 50,
    database: Url = None,
    json_output: Json = False,
) -> None:
    """List users with their risk, or tell all that is known of one.

    Examples: `pickapic admin users --show doubtful`, `pickapic admin users 17`
    """
    from pickapic.collect.people import profiles
    from pickapic.collect.quality import policy_from
    from pickapic.settings import load_settings

    policy = policy_from(load_settings())
    if user is not None:
        profile = collection.read(database, profiles.profile, user, round(policy.fast_seconds * 1000))
        # A profile is a tree, not a table: JSON shows it best to people, too.
        output.show_json(profile)
        return
    found, total = collection.read(database, profiles.listed, order, show, policy.flag, limit)
    if json_output:
        output.show_json(found)
        return
    output.show_table(
        ("user", "kind", "role", "status", "risk", "picks", "reasons"),
        [
            (
                one.user_id,
                one.kind,
                one.role,
                "deleted" if one.deleted else one.status,
                one.risk,
                one.picks,
                "; ".join(reason.detail for reason in one.reasons),
            )
            for one in found
        ],
        note=f"{len(found):,} of {total:,}",
    )


def ban(user: User, reason: Why, database: Url = None, json_output: Json = False) -> None:
    """Ban a user: open prompts end, what is queued for them is cancelled, a role is taken back.

    A running server notices within two seconds.

    Example: `pickapic admin ban 17 --reason "answers by a script"`
    """
    from pickapic.collect.people import bans

    _say(collection.write(database, bans.ban, None, user, reason, _now()), json_output)


def unban(user: User, reason: Why, database: Url = None, json_output: Json = False) -> None:
    """Make a user as any other again: no longer banned, excluded or trusted.

    Example: `pickapic admin unban 17 --reason "was a colleague's test"`
    """
    from pickapic.collect.people import bans

    _say(collection.write(database, bans.unban, None, user, reason, _now()), json_output)


def exclude(user: User, reason: Why, database: Url = None, json_output: Json = False) -> None:
    """Leave a user's picks out of exports and of the leaderboard; the user notices nothing.

    Example: `pickapic admin exclude 17 --reason "always left"`
    """
    from pickapic.collect.people import bans

    _say(collection.write(database, bans.exclude, None, user, reason, _now()), json_output)


def trust(user: User, reason: Why, database: Url = None, json_output: Json = False) -> None:
    """Let a user's picks count whatever their habits look like.

    Example: `pickapic admin trust 17 --reason "our own rater, quick by practice"`
    """
    from pickapic.collect.people import bans

    _say(collection.write(database, bans.trust, None, user, reason, _now()), json_output)


def role(
    user: User,
    role: Annotated[
        Literal["person", "moderator", "admin"], typer.Argument(help="What they are from now on.")
    ],
    reason: Why = "by the command line",
    database: Url = None,
    json_output: Json = False,
) -> None:
    """Give a user a role; this is how the first admin is made where nobody signs in by a provider.

    People find their number on their own page, at /me.

    Example: `pickapic admin role 1 admin`
    """
    from pickapic.collect.people import bans

    _say(collection.write(database, bans.set_role, None, user, role, reason, _now()), json_output)


def allow(
    user: User,
    answers: Annotated[int | None, typer.Argument(min=0, help="Picks in all; none: by standing.")] = None,
    reason: Why = "by the command line",
    database: Url = None,
    json_output: Json = False,
) -> None:
    """Set how many picks a user may make in all, or leave it to their standing again.

    Example: `pickapic admin allow 17 20000`
    """
    from pickapic.collect.people import bans

    collection.write(database, bans.set_allowance, None, user, answers, reason, _now())
    if json_output:
        output.show_json({"user_id": user, "allowance": answers})
    else:
        output.show(f"user {user}: {'by standing' if answers is None else f'{answers:,} picks'}")


def _say(change: Change, json_output: bool) -> None:
    if json_output:
        output.show_json(change)
        return
    ended = ""
    if change.duels_closed or change.jobs_cancelled:
        ended = f"; {change.duels_closed} prompts ended, {change.jobs_cancelled} queued images cancelled"
    output.show(f"user {change.user_id}: {change.status}, {change.role}{ended}")


def _now() -> datetime:
    return datetime.now(UTC)
