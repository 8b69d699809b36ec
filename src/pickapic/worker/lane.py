"""Generators that take turns, and the threads that call them: what is slow in one lane holds up no other."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TypeVar

from pickapic.collect.duels.handover import Room
from pickapic.collect.queue.jobs import Job

T = TypeVar("T")

# A lease takes as many jobs as are made in about this time, so that a slow model holds back nobody's first
# images.
SECONDS_OF_WORK = 0.15
SECONDS_OF_QUICK_WORK = 0.05


class Lane:
    """A lane of a worker: what waits in it, what is being made, and how long an image takes.

    In the lane of this process (`asides`) one thread makes whole batches, since drawing is work for this machine. In
    the lane of a provider as many threads as it takes requests at once each wait for one image.
    """

    def __init__(self, generators: Sequence[str], at_once: int = 1, asides: bool = False) -> None:
        self.generators = tuple(generators)
        self.at_once = at_once
        self.asides = asides
        self.waiting: deque[Job] = deque()
        self.running = 0
        self.seconds_per_job = SECONDS_OF_WORK / 2
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def room(self, batch: int) -> Room:
        """Return what the lane would take now; `batch`: at most so many jobs at a time, 0: none."""
        return Room(self.generators, self._wanted(batch), self.at_once, self.asides)

    def _wanted(self, batch: int) -> int:
        if not batch:
            return 0
        if not self.asides:
            return max(0, self.at_once - self.running - len(self.waiting))
        # While a quick model draws, what comes next is asked for; with a slow one a job leased ahead would lie
        # here while another worker is free.
        is_free = not self.running or self.seconds_per_job < SECONDS_OF_QUICK_WORK
        if self.waiting or not is_free:
            return 0
        return max(1, min(batch, round(SECONDS_OF_WORK / self.seconds_per_job)))

    def next_batch(self) -> list[Job]:
        """Take out what a thread makes next; nothing if all are busy."""
        if not self.waiting or self.running >= self.at_once:
            return []
        count = len(self.waiting) if self.asides else 1
        return [self.waiting.popleft() for _ in range(count)]

    def took(self, seconds: float, count: int) -> None:
        """Learn that `count` images were made one after the other in so many seconds."""
        self.seconds_per_job += 0.3 * (seconds / count - self.seconds_per_job)

    def call(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Have `work` done in a thread of this lane."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def run() -> None:
            # After a worker has given up waiting, its loop may be gone.
            with contextlib.suppress(RuntimeError):
                try:
                    result = work()
                except Exception as error:
                    loop.call_soon_threadsafe(_fail, future, error)
                else:
                    loop.call_soon_threadsafe(_set, future, result)

        if len(self._threads) < self.at_once:
            # Daemons: a provider that does not answer must not keep the process from ending.
            self._threads.append(threading.Thread(target=self._work, name="generator", daemon=True))
            self._threads[-1].start()
        self._calls.put(run)
        return future

    def close(self) -> None:
        """Let the threads end after what they are at."""
        for _ in self._threads:
            self._calls.put(None)

    def _work(self) -> None:
        while (run := self._calls.get()) is not None:
            run()


def _set(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[T], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
