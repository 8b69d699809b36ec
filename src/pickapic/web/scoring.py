"""The scorer behind POST /score: loaded by name, called in one thread, for many requests at once.

A request's images wait a few milliseconds for those of others, or for as long as the scorer is busy with earlier
ones; then one call scores them all.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from pickapic import plugins
from pickapic.collect.refusals import LimitError
from pickapic.records import InputError
from pickapic.settings import Settings
from pickapic.web.metrics import Metrics
from pickapic.web.score_calls import Asked, Scored, Scorer, score_apart, score_together

READY = "ok"
_LONGEST_RETRY_AFTER = 60


class ScorerUnavailableError(Exception):
    """There is no scorer, or it cannot be loaded; the message is fit to be shown."""


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    prompt: str
    images: Sequence[bytes]
    since: float
    answer: asyncio.Future[Scored]


class Scoring:
    """Scores images with the scorer that the settings name, if any."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._scorer: Scorer | None = None
        self._state = "is being loaded"
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scorer")
        self._waiting: deque[_Request] = deque()
        self._arrival = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._seconds_per_image = 0.05

    @property
    def configured(self) -> bool:
        """Whether the settings name a scorer."""
        return self._settings.scorer is not None

    @property
    def state(self) -> str:
        """`READY`, or why the scorer cannot be used yet."""
        return self._state

    @property
    def images_waiting(self) -> int:
        """How many images no call of the scorer has been made for yet."""
        return sum(len(request.images) for request in self._waiting)

    def warm_up(self) -> None:
        """Begin to load the scorer, so that the first request need not wait for it."""
        if self.configured:
            self._thread.submit(self._try_to_load)

    def refuse_if_full(self, more: int) -> None:
        """Raise `LimitError` if so many more images cannot wait; a request alone always can."""
        waiting = self.images_waiting
        if waiting and waiting + more > self._settings.scorer_queue:
            seconds = math.ceil(waiting * self._seconds_per_image)
            raise LimitError(
                "{count} images wait to be scored already; try again later.",
                min(max(1, seconds), _LONGEST_RETRY_AFTER),
                count=waiting,
            )

    async def score(self, prompt: str, images: Sequence[bytes]) -> Scored:
        """Return one score an image.

        Raises:
            LimitError: too many images wait already.
            InputError: an image of this request cannot be read.
            ScorerUnavailableError: no such scorer, or its libraries or weights are missing.
        """
        self.refuse_if_full(len(images))
        loop = asyncio.get_running_loop()
        request = _Request(prompt, images, time.monotonic(), loop.create_future())
        self._waiting.append(request)
        self._arrival.set()
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())
        try:
            return await request.answer
        finally:
            with contextlib.suppress(ValueError):  # still waiting: whoever asked has gone
                self._waiting.remove(request)

    def close(self) -> None:
        """Let the thread end; who still waits is told that there is no scorer."""
        if self._runner is not None:
            self._runner.cancel()
        for request in self._waiting:
            _deliver(request, ScorerUnavailableError("The server is stopping."))
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        """Score what waits, group after group, until nothing does."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            await self._collect()
            group = self._take()
            if not group:
                continue
            try:
                answers = await loop.run_in_executor(self._thread, self._answers, group)
            except Exception as error:  # the thread has ended: nobody may be left waiting
                answers = [error] * len(group)
            for request, answer in zip(group, answers, strict=True):
                _deliver(request, answer)

    async def _collect(self) -> None:
        """Wait until there are images for a whole batch, or the first request has waited long enough."""
        deadline = self._waiting[0].since + self._settings.scorer_wait_ms / 1000
        while 0 < self.images_waiting < self._settings.scorer_batch:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self._arrival.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrival.wait(), left)

    def _take(self) -> list[_Request]:
        """Take requests in the order of their arrival: as many as fit into a batch, and always one."""
        group: list[_Request] = []
        images = 0
        while self._waiting and (
            not group or images + len(self._waiting[0].images) <= self._settings.scorer_batch
        ):
            group.append(self._waiting.popleft())
            images += len(group[-1].images)
        now = time.monotonic()
        for request in group:
            self._metrics.scorer_wait.observe(now - request.since)
        return group

    # What follows runs in the scorer's thread.

    def _answers(self, group: Sequence[_Request]) -> Sequence[Scored | Exception]:
        scorer = self._try_to_load()
        if scorer is None:
            return [ScorerUnavailableError(f"The scorer cannot be used: {self._state}.")] * len(group)
        answers = score_apart(lambda together: self._call(scorer, together), group)
        # A scorer elsewhere that is away is no fault of the images.
        return [
            ScorerUnavailableError("The scorer does not answer; try again later.")
            if isinstance(answer, ConnectionError)
            else answer
            for answer in answers
        ]

    def _call(self, scorer: Scorer, group: Sequence[Asked]) -> list[Scored]:
        images = sum(len(request.images) for request in group)
        start = time.perf_counter()
        answers = score_together(scorer, group)
        seconds = time.perf_counter() - start
        self._metrics.scorer_images.observe(images)
        self._metrics.scorer_seconds.observe(seconds)
        self._seconds_per_image += 0.2 * (seconds / images - self._seconds_per_image)
        return answers

    def _try_to_load(self) -> Scorer | None:
        """Return the scorer; None if it cannot be loaded, and `state` says why. The next request tries again."""
        if self._scorer is None:
            try:
                factory: Callable[..., Scorer] = plugins.load(plugins.SCORERS, str(self._settings.scorer))
                self._scorer = factory(**self._options())
                self._state = READY
            except Exception as error:
                self._state = str(error).rstrip(".") if isinstance(error, InputError) else repr(error)
                structlog.get_logger("pickapic.web").error("scorer", error=self._state)
        return self._scorer

    def _options(self) -> dict[str, str]:
        precision = self._settings.scorer_precision
        options = {
            "model": self._settings.scorer_model,
            "device": self._settings.scorer_device,
            "precision" if precision == "int8" else "dtype": precision,
        }
        return {name: value for name, value in options.items() if value is not None}


def _deliver(request: _Request, answer: Scored | Exception) -> None:
    if request.answer.done():  # whoever asked has gone
        return
    if isinstance(answer, Exception):
        request.answer.set_exception(answer)
    else:
        request.answer.set_result(answer)
