"""Generators and scorers by name: entry points, imported only when asked for.

Built-ins and a stranger's plugin come through the same door: an entry point in the group
`pickapic.generators` or `pickapic.scorers` that names a callable which makes the object.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pickapic.records import InputError

GENERATORS = "pickapic.generators"
SCORERS = "pickapic.scorers"
GROUPS = (GENERATORS, SCORERS)


def installed(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of `group` by name, sorted; nothing is imported."""
    return {point.name: point for point in sorted(entry_points(group=group), key=lambda point: point.name)}


def names(group: str) -> list[str]:
    """Return the names registered in `group`, sorted; nothing is imported."""
    return list(installed(group))


def load(group: str, name: str) -> Callable[..., Any]:
    """Import and return the factory called `name`.

    Raises:
        InputError: no such name (the nearest is suggested), or its libraries are not installed.
    """
    points = installed(group)
    if name not in points:
        raise InputError(
            f"no {kind(group)} is called {name!r}{nearest(name, points)}; installed: {', '.join(points)}"
        )
    try:
        return points[name].load()
    except ModuleNotFoundError as error:
        raise InputError(
            f"the {kind(group)} {name!r} needs the package {error.name!r}, which is not installed "
            f"(for torch and transformers: pip install 'pickapic[models]')"
        ) from error


def kind(group: str) -> str:
    """Return the singular noun of a group: `generator` or `scorer`."""
    return group.rpartition(".")[2].removesuffix("s")


def nearest(name: str, known: object) -> str:
    """Return `; did you mean 'x'?` for the closest of `known`, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)  # type: ignore[call-overload]
    return f"; did you mean {close[0]!r}?" if close else ""
