"""The models that rounds draw from, as the settings name them: how often each, and with which parameters."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from pickapic.settings.names import nearest

MINIATURE_GENERATORS = (
    "miniature-aurora",
    "miniature-bramble",
    "miniature-cobalt",
    "miniature-dune",
    "miniature-ember",
    "miniature-fjord",
)


@dataclass(frozen=True, slots=True)
class GeneratorChoice:
    """One model that rounds may draw: how often, and with which parameters.

    `name` is what is stored with the image and published; `plugin` is the entry point that makes the
    generator (the same, unless models share a plugin); `parameters` are keyword arguments of its factory.
    The guidance scale of each image is drawn from U(guidance_min, guidance_max).
    """

    name: str
    plugin: str
    weight: float = 1.0
    guidance_min: float = 3.0
    guidance_max: float = 12.0
    steps: int = 25
    negative_prompt: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])


def parse_generators(value: object) -> tuple[GeneratorChoice, ...]:
    """Return the models that rounds draw from.

    `value` is a list of names, a comma-separated string of names, a table of name -> entries, or such a table
    as text (JSON or an inline TOML table, for the environment).

    Raises:
        ValueError: none at all, one twice, an unknown entry, or an entry that does not fit.
    """
    if isinstance(value, str):
        text = value.strip()
        value = (
            _parse_table(text)
            if text.startswith("{")
            else [name for name in re.split(r"[,\s]+", text) if name]
        )
    if isinstance(value, Mapping):
        table = cast(Mapping[str, object], value)
        choices = tuple(_parse_choice(name, entries) for name, entries in table.items())
    elif isinstance(value, Sequence):
        items = cast(Sequence[object], value)
        choices = tuple(
            item if isinstance(item, GeneratorChoice) else _parse_choice(item, {}) for item in items
        )
    else:
        raise ValueError(
            "generators: give a list of names, or a table of name -> weight, guidance, steps, ..."
        )
    repeated = {choice.name for choice in choices if sum(other.name == choice.name for other in choices) > 1}
    if repeated:
        raise ValueError(f"generators: {', '.join(sorted(repeated))} is named twice")
    if not any(choice.weight > 0 for choice in choices):
        raise ValueError("generators: at least one must have a weight above 0")
    return choices


def _parse_table(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        pass
    try:
        return tomllib.loads(f"generators = {text}")["generators"]
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"generators: neither JSON nor an inline TOML table: {error}") from error


_ENTRIES = ("plugin", "weight", "guidance", "steps", "negative_prompt", "parameters")


def _parse_choice(name: object, entries: object) -> GeneratorChoice:
    if not isinstance(name, str) or not name:
        raise ValueError(f"generators: {name!r} is no name")
    where = f"generators.{name}"
    if not isinstance(entries, Mapping):
        raise ValueError(f"{where}: give a table with {', '.join(_ENTRIES)}")
    table = cast(Mapping[str, object], entries)
    for key in table:
        if key not in _ENTRIES:
            raise ValueError(f"{where}: no entry is called {key!r}{nearest(key, _ENTRIES)}")
    low, high = _parse_guidance(table.get("guidance", (3.0, 12.0)), where)
    weight = _number(table.get("weight", 1.0), f"{where}.weight")
    steps = table.get("steps", 25)
    if weight < 0:
        raise ValueError(f"{where}.weight: {weight} is below 0")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"{where}.steps: {steps!r} is no whole number above 0")
    plugin, negative = table.get("plugin", name), table.get("negative_prompt", "")
    if not isinstance(plugin, str) or not isinstance(negative, str):
        raise ValueError(f"{where}: plugin and negative_prompt are texts")
    parameters = table.get("parameters", {})
    if not isinstance(parameters, Mapping):
        raise ValueError(f"{where}.parameters: give a table of keyword arguments")
    return GeneratorChoice(
        name=name,
        plugin=plugin,
        weight=weight,
        guidance_min=low,
        guidance_max=high,
        steps=steps,
        negative_prompt=negative,
        parameters=dict(cast(Mapping[str, Any], parameters)),
    )


def _parse_guidance(value: object, where: str) -> tuple[float, float]:
    pair = (
        cast(Sequence[object], value)
        if isinstance(value, Sequence) and not isinstance(value, str)
        else (value, value)
    )
    if len(pair) != 2:
        raise ValueError(f"{where}.guidance: give one number, or [lowest, highest]")
    low, high = (_number(end, f"{where}.guidance") for end in pair)
    if low > high:
        raise ValueError(f"{where}.guidance: {low} is above {high}")
    return low, high


def _number(value: object, where: str) -> float:
    # NaN passes every comparison below as false, so it is refused here.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
        raise ValueError(f"{where}: {value!r} is no number")
    return float(value)
