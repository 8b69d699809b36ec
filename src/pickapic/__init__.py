"""Pick-a-Pic: collect preferences between images, publish them, train a PickScore, evaluate models with it.

`import pickapic` is instant: a name is imported when it is first used, and only then its libraries.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pickapic.ranking import rank
    from pickapic.scorers.load import load_scorer
    from pickapic.scorers.scale import probabilities

__version__ = "0.1.0"
__all__ = ["__version__", "load_scorer", "probabilities", "rank"]

# No home may be a module called like its name (pickapic.rank): importing it would hide the function.
_HOMES = {
    "load_scorer": "pickapic.scorers.load",
    "probabilities": "pickapic.scorers.scale",
    "rank": "pickapic.ranking",
}


def __getattr__(name: str) -> Any:
    """Import `name` from its home on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pickapic' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
