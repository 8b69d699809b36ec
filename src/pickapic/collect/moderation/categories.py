"""What prompts are refused or reviewed for, in plain words. Nothing else about the lists is ever told on a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pickapic.collect.refusals import translatable

Decision = Literal["allow", "review", "refuse"]
Weight = Literal["note", "review", "refuse"]
"""What a listed word does: `note` nothing by itself, only together with another."""


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of unfit prompt.

    Attributes:
        weight: what its words do where the list does not say otherwise.
        reason: the sentence for a person whose prompt is refused for it.
        strict: refused even where the prompt asks to leave it out: after `no`, or in [brackets].
    """

    name: str
    weight: Weight
    reason: str = ""
    strict: bool = False


SEXUAL_MINORS = "sexual-minors"

CATEGORIES: Mapping[str, Category] = {
    category.name: category
    for category in (
        Category(
            SEXUAL_MINORS,
            "refuse",
            translatable("This prompt is refused: it brings minors together with sexual content or nudity."),
            strict=True,
        ),
        Category(
            "sexual", "refuse", translatable("This prompt is refused: it asks for sexually explicit images.")
        ),
        Category(
            "real-person",
            "refuse",
            translatable("This prompt is refused: it asks for nude or sexual images of a real person."),
        ),
        Category(
            "hate",
            "refuse",
            translatable("This prompt is refused: it has words of hatred against a group of people."),
            strict=True,
        ),
        Category("nudity", "review", translatable("This prompt is refused: it asks for nudity.")),
        Category("violence", "review", translatable("This prompt is refused: it asks for cruelty or gore.")),
        Category("self-harm", "review", translatable("This prompt is refused: it is about self-harm.")),
        Category("profanity", "review", translatable("This prompt is refused for its coarse language.")),
        Category("other", "refuse", translatable("This prompt is refused by a rule of this site.")),
        # These say nothing by themselves: rules bring them together with others.
        Category("minor", "note"),
        Category("person", "note"),
        Category("suggestive", "note"),
        Category("clothing", "note"),
    )
}
"""All there are, the gravest first: it is the one that a refusal names."""
