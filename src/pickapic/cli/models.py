"""Loading models for a command: errors as they should be, and no progress bars but ours."""

from __future__ import annotations

from typing import Any

from pickapic.plugins import SCORERS, load
from pickapic.scorers.load import load_scorer
from pickapic.scorers.scorer import Scorer


def scorer_for(name: str, model: str | None = None, **options: Any) -> Scorer:
    """Return a scorer by name, from `model` where one is given."""
    load(SCORERS, name)  # says which package is missing before transformers is imported
    quiet_transformers()
    return load_scorer(name, **options, **({"model": model} if model else {}))


def quiet_transformers() -> None:
    """Turn off the progress bars that transformers draws for loading and saving weights."""
    from transformers.utils import logging

    logging.disable_progress_bar()
