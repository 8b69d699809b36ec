"""`pickapic admin check-prompt`: what the filter makes of a prompt, and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pickapic.collect.moderation.words import Verdict


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
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what the filter makes of a prompt, and which words it found: allow, review or refuse.

    The lists that come along are read, and the file of the setting prompt_words. No database is asked, so that a
    prompt which a moderator has approved is still shown as one to review.

    Example: `pickapic admin check-prompt "a naked mole rat [blurry]"`
    """
    import sys

    from pickapic.cli import output
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
