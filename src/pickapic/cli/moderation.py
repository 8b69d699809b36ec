"""`pickapic admin check-prompt`: what the filter makes of a prompt, and why; `pickapic admin blocked`: images."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pickapic.cli import collection, output
from pickapic.cli.collection import Json, Url, Why

if TYPE_CHECKING:
    from pickapic.collect.moderation.words import Verdict


blocked = typer.Typer(help="Images whose like is never shown.", no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class Checked:
    """A prompt and its verdict, as they are printed."""

    prompt: str
    verdict: Verdict


def check_prompt(
    prompt: Annotated[str, typer.Argument(help="A prompt; - reads them from standard input, one a line.")],
    words: Annotated[
        Path | None, typer.Option(help="File of words to try; default: that of the setting prompt_words.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Print what the filter makes of a prompt, and which words it found: allow, review or refuse.

    The lists that come along are read, and the file of the setting prompt_words. No database is asked, so that a
    prompt which a moderator has approved is still shown as one to review.

    Example: `pickapic admin check-prompt "a naked mole rat [blurry]"`
    """
    import sys

    from pickapic.collect.moderation.words import judge, open_index
    from pickapic.collect.prompts import parse_prompt
    from pickapic.settings import load_settings

    index = open_index(words or load_settings().prompt_words)
    checked: list[Checked] = []
    for line in (line.rstrip("\n") for line in sys.stdin if line.strip()) if prompt == "-" else (prompt,):
        parsed = parse_prompt(line, max_length=len(line))
        checked.append(Checked(line, judge(parsed.caption, index, parsed.negative)))
    if json_output:
        output.show_json(checked if prompt == "-" else checked[0])
        return
    output.show_table(
        ("decision", "why", "prompt"),
        [(one.verdict.decision, _why(one.verdict), one.prompt) for one in checked],
    )


def _why(verdict: Verdict) -> str:
    return "; ".join(
        f"{reason.category} ({reason.decision}): {reason.found}"
        + (" [to leave out]" if reason.part == "negative" else "")
        for reason in verdict.reasons
    )


@blocked.command("list")
def list_blocked(
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 100,
    database: Url = None,
    json_output: Json = False,
) -> None:
    """List what is blocked, the latest first; `pickapic admin reports remove --block` adds to it.

    Example: `pickapic admin blocked list`
    """
    from pickapic.collect.oversight import blocked as collected

    found = collection.read(database, collected.listed, limit)
    if json_output:
        output.show_json(found)
        return
    output.show_table(
        ("number", "hash", "since", "by", "why"),
        [
            (
                str(one.id),
                f"{one.phash % 2**64:016x}",
                f"{one.added_at:%Y-%m-%d %H:%M}",
                one.added_by,
                one.reason,
            )
            for one in found
        ],
    )


@blocked.command()
def remove(
    number: Annotated[int, typer.Argument(help="The number that `list` gives it.")],
    reason: Why = "",
    database: Url = None,
    json_output: Json = False,
) -> None:
    """Take an entry off the list. Images that went because of it stay gone.

    Example: `pickapic admin blocked remove 3 --reason "a grey square"`
    """
    from pickapic.collect.oversight import blocked as collected

    collection.write(database, collected.unblock_image, number, reason, None, datetime.now(UTC))
    if json_output:
        output.show_json({"removed": number})
    else:
        output.show(f"number {number} is no longer blocked")
