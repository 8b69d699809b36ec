"""How a picture looks, apart from what it shows: light, colour, composition, clutter, hand.

Every attribute is visible at 64 pixels: that is where a small model can learn from it. Values are in units a
photographer would use; `PLEASING` is where people like them best (see docs/miniature.md).
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from random import Random


@dataclass(frozen=True, slots=True)
class Look:
    """One picture's look.

    exposure: stops of light, 0 = right; saturation: 1 = the artwork's own; contrast: 1 = its own;
    cast: -1 cold .. 1 warm tint; subject: scale of the subject, 1 = fills the frame well; off_center: shift as
    a share of the frame (beyond 0.2 things are cut off); clutter: stray shapes; style_strength: 0 .. 1, how far the
    drawing style is carried out; relief: 0 flat .. 1 shadows and soft light that make things stand out.
    """

    exposure: float = 0.0
    saturation: float = 1.1
    contrast: float = 1.1
    cast: float = 0.0
    subject: float = 1.0
    off_center: float = 0.0
    clutter: float = 0.0
    style_strength: float = 1.0
    relief: float = 0.6


PLEASING = Look(exposure=0.45, saturation=1.60, contrast=1.45, cast=0.35, subject=1.2, relief=1.0)
"""The look that people like best on average: bright, vivid, warm, with depth and a large subject (docs/miniature.md).

It lies above what the models draw on average, so that more is mostly better; too much of it costs as well.
Individuals differ (`people.py`).
"""

TOLERANCE = Look(
    exposure=0.45,
    saturation=0.35,
    contrast=0.28,
    cast=0.45,
    subject=0.30,
    off_center=0.14,
    clutter=5.0,
    style_strength=0.5,
    relief=0.7,
)
"""How far from pleasing costs one unit of displeasure, attribute by attribute."""

_BOUNDS = Look(
    exposure=0.9,
    saturation=2.2,
    contrast=1.9,
    cast=1.0,
    subject=1.9,
    off_center=0.42,
    clutter=16.0,
    style_strength=1.0,
    relief=1.0,
)
_FLOORS = Look(
    exposure=-1.1,
    saturation=0.05,
    contrast=0.45,
    cast=-1.0,
    subject=0.35,
    off_center=0.0,
    clutter=0.0,
    style_strength=0.0,
    relief=0.0,
)
ATTRIBUTES = tuple(field.name for field in fields(Look))


def vary(center: Look, spread: Look, random: Random) -> Look:
    """Draw a look around `center`: a normal deviate of `spread` in each attribute, kept within what can be drawn."""
    values = (
        min(high, max(low, random.gauss(mean, sigma)))
        for mean, sigma, low, high in zip(
            astuple(center), astuple(spread), astuple(_FLOORS), astuple(_BOUNDS), strict=True
        )
    )
    return Look(*values)


def displeasure(look: Look, pleasing: Look = PLEASING) -> tuple[float, ...]:
    """Return each attribute's cost, in the order of `ATTRIBUTES`: quadratic near pleasing, linear far from it."""
    costs: list[float] = []
    for value, best, tolerance in zip(astuple(look), astuple(pleasing), astuple(TOLERANCE), strict=True):
        distance = abs(value - best) / tolerance
        costs.append(0.5 * distance * distance if distance < 1 else distance - 0.5)
    return tuple(costs)
