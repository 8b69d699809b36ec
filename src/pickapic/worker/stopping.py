"""Stopping a worker by signals: in order at the first, at once at the second."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
import threading
import time

# A terminal signals all processes of a command at once: that is one signal.
SAME_SIGNAL_SECONDS = 1.0
# After `stop_seconds` jobs are given back, which has so long; a generator that still draws then is not waited for.
REST_SECONDS = 10.0


def leave() -> None:
    """End the process now, if a generator still draws in a thread: Python itself would wait for it."""
    threads = [one for one in threading.enumerate() if not one.daemon and one is not threading.main_thread()]
    if threads:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def stop_on_signals(stop_seconds: float) -> asyncio.Event:
    """Return an event that SIGTERM and Ctrl-C set; the process ends at the second, and some time after the first.

    What was leased and not given back then is made by others once its lease is over.
    """
    stop = asyncio.Event()
    asked: list[float] = []

    def handle(number: int) -> None:
        now = time.monotonic()
        if not asked:
            asked.append(now)
            stop.set()
            signal.alarm(math.ceil(stop_seconds + REST_SECONDS))  # the system itself ends the process then
        elif now - asked[0] > SAME_SIGNAL_SECONDS:
            os._exit(128 + number)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle, number)
    return stop
