"""The scorer behind POST /score: loaded by name at its first use, called in one thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from pickapic import plugins
from pickapic.settings import Settings


class _Scorer(Protocol):
    """What is needed here of `pickapic.scorers.scorer.Scorer`."""

    @property
    def name(self) -> str: ...

    def score(self, prompts: str, images: Sequence[bytes]) -> Any: ...


class Scoring:
    """Scores images with the scorer that the settings name, if any."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._scorer: _Scorer | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scorer")

    @property
    def configured(self) -> bool:
        """Whether the settings name a scorer."""
        return self._settings.scorer is not None

    async def score(self, prompt: str, images: Sequence[bytes]) -> tuple[str, list[float]]:
        """Return the scorer's name and one score an image.

        Raises:
            InputError: no such scorer, its libraries are missing, or an image cannot be read.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, prompt, images)

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _run(self, prompt: str, images: Sequence[bytes]) -> tuple[str, list[float]]:
        if self._scorer is None:
            factory: Callable[..., _Scorer] = plugins.load(plugins.SCORERS, str(self._settings.scorer))
            model = self._settings.scorer_model
            self._scorer = factory(model=model) if model else factory()
        return self._scorer.name, [float(score) for score in self._scorer.score(prompt, images)]
