"""Something that does not answer: said in the log when it begins and when it ends, not at each try."""

from __future__ import annotations

import time
from random import Random, SystemRandom
from typing import Any

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 15.0


class Trouble:
    """Whether `what` answers; `log` is structlog's."""

    def __init__(self, log: Any, what: str, rng: Random | None = None) -> None:
        self._log = log
        self._what = what
        self._rng = rng or SystemRandom()
        self._since: float | None = None

    @property
    def is_on(self) -> bool:
        """Whether the last try failed."""
        return self._since is not None

    def failed(self, error: Exception, tries: int) -> float:
        """Note a failure, the `tries`-th in a row, and return the seconds to wait before the next try."""
        if self._since is None:
            self._since = time.monotonic()
            self._log.error(
                f"{self._what} does not answer; what is made is kept, and tried again", error=str(error)
            )
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(tries - 1, 10))
        return pause * self._rng.uniform(0.5, 1.5)

    def over(self) -> None:
        """Note a success."""
        if self._since is not None:
            self._log.warning(f"{self._what} answers again", seconds=round(time.monotonic() - self._since, 1))
            self._since = None
