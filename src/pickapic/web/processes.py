"""Several server processes on one address, for machines with more cores than one process can use.

They share nothing but the listening socket and the database, which decides between them; what each remembers for
itself (see `service`) is at most two seconds old. One that dies is replaced. Their metrics are added up, through a
folder into which each writes its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from pickapic.records import InputError

SECONDS_BETWEEN_SNAPSHOTS = 1.0
# A process that dies sooner than this after its start is not replaced at once, and after so many not at all.
EARLY_SECONDS = 5.0
EARLY_DEATHS = 5


@dataclass(frozen=True, slots=True)
class Exchange:
    """Where processes find one another's metrics; `number` is this one's, from 0, `parent` who started them all."""

    folder: Path
    number: int
    parent: int

    def write(self, snapshot: bytes) -> None:
        """Let the others know this process's metrics; readers see all of it or the one before."""
        path = self.folder / f"{self.number}.prom"
        new = path.with_suffix(".new")
        new.write_bytes(snapshot)
        new.replace(path)

    def others(self) -> list[str]:
        """Return what the other processes wrote last."""
        mine = f"{self.number}.prom"
        return [path.read_text() for path in sorted(self.folder.glob("*.prom")) if path.name != mine]

    async def run(self, snapshot: Callable[[], bytes]) -> None:
        """Write a snapshot now and then, until cancelled; end this process if the one that started it is gone."""
        # Asking for the parent only here would be late: it may have been killed while this process started.
        while os.getppid() == self.parent:
            with contextlib.suppress(OSError):  # a full disk makes metrics late; this process is watched on
                self.write(snapshot())
            await asyncio.sleep(SECONDS_BETWEEN_SNAPSHOTS)
        os.kill(os.getpid(), signal.SIGTERM)


def run_processes(count: int, serve: Callable[[int, Exchange], None]) -> None:
    """Run `serve(number, exchange)` in `count` processes until SIGTERM or Ctrl-C; replace those that die.

    Raises:
        InputError: processes die again and again as soon as they have started.
    """
    with tempfile.TemporaryDirectory(prefix="pickapic-processes-") as folder:
        started: dict[int, tuple[int, float]] = {}
        stopping = False

        def stop(*_: object) -> None:
            nonlocal stopping
            stopping = True
            for child in list(started):
                with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                    os.kill(child, signal.SIGTERM)

        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, stop)
        early = 0
        missing = list(range(count))
        while missing or started:
            for number in missing:
                exchange = Exchange(Path(folder), number, os.getpid())
                started[_fork(lambda number=number, exchange=exchange: serve(number, exchange))] = (
                    number,
                    time.monotonic(),
                )
            missing = []
            child, status = os.wait()
            number, since = started.pop(child)
            if stopping:
                continue
            early = early + 1 if time.monotonic() - since < EARLY_SECONDS else 0
            if early > EARLY_DEATHS:
                stop()
                continue
            print(f"server process {number} ended ({status}); another takes its place", file=sys.stderr)  # noqa: T201
            time.sleep(min(early, 1))
            missing = [number]
    if early > EARLY_DEATHS:
        raise InputError("the server's processes end as soon as they start; the lines above say why")


def _fork(work: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return child
    _become(work)


def _become(work: Callable[[], None]) -> NoReturn:
    """Run `work` and end, whatever happens: nothing of the parent goes on in a child."""
    code = 1
    try:
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, signal.SIG_DFL)
        work()
        code = 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
