"""A prompt as typed: what it asks for, and what it does not want (in square brackets)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pickapic.collect.refusals import PromptError

# Control characters would break CSV, terminals and PostgreSQL (NUL); half a surrogate pair is not text at
# all.
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Prompt:
    """`caption` is the typed text without its bracketed parts; `negative` joins those by a comma."""

    typed: str
    caption: str
    negative: str


def parse_prompt(typed: str, max_length: int) -> Prompt:
    """Split `typed` into caption and negative prompt: `a cat [blurry]` wants a cat and nothing blurry.

    Several bracketed parts are joined; brackets inside brackets are kept as text; a bracket without its
    partner is an ordinary character.

    Raises:
        PromptError: empty, longer than `max_length` characters, only negative, or not text.
    """
    text = checked_text(typed, max_length)
    caption, negatives = _split_brackets(text)
    if not caption:
        raise PromptError("The prompt only says what is not wanted: add what the images should show.")
    return Prompt(typed=typed, caption=caption, negative=", ".join(negatives))


def checked_text(typed: str, max_length: int) -> str:
    """Return `typed` without space around it.

    Raises:
        PromptError: empty, longer than `max_length` characters, or not text.
    """
    text = typed.strip()
    if not text:
        raise PromptError("The prompt is empty: write what the images should show.")
    if len(text) > max_length:
        raise PromptError(
            "The prompt has {count} characters; at most {most} are possible.",
            count=len(text),
            most=max_length,
        )
    if _UNFIT.search(text):
        raise PromptError("The prompt contains characters that are not text.")
    return text


def _split_brackets(text: str) -> tuple[str, list[str]]:
    kept: list[str] = []
    negatives: list[str] = []
    position = 0
    for start, end in _outer_brackets(text):
        kept.append(text[position:start])
        inside = text[start + 1 : end].strip()
        if inside:
            negatives.append(inside)
        position = end + 1
    kept.append(text[position:])
    caption = kept[0]
    for piece in kept[1:]:
        caption = _join(caption, piece)
    return caption.strip(), negatives


def _join(left: str, right: str) -> str:
    """Close the seam that a removed part leaves: one space, and none before a comma or full stop."""
    bare = right.lstrip()
    spaced = left[-1:].isspace() or right[:1].isspace()
    gap = " " if spaced and bare[:1] not in tuple(",.;:!?") else ""
    return left.rstrip() + gap + bare if bare else left


def _outer_brackets(text: str) -> list[tuple[int, int]]:
    """Return (start, end) of each outermost balanced pair of square brackets."""
    stack: list[int] = []
    pairs: list[tuple[int, int]] = []
    for index, character in enumerate(text):
        if character == "[":
            stack.append(index)
        elif character == "]" and stack:
            start = stack.pop()
            while pairs and pairs[-1][0] > start:
                pairs.pop()
            pairs.append((start, index))
    return pairs
