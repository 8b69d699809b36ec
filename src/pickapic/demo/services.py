"""The server and the worker of a demo: two processes of their own, as in a real deployment."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pickapic.records import InputError

START_SECONDS = 60.0
STOP_SECONDS = 15.0
_PR_SET_PDEATHSIG = 1

TIMELESS = {"fast_points": 0.0, "velocity_points": 0.0}
"""The quality policy of a demo: its people answer as fast as the machine can, so their times say nothing."""


@contextmanager
def running(home: Path, host: str, port: int, logs: Path) -> Generator[str]:
    """Start server and worker on the collection in `home`; yield the page's address; stop both at the end.

    Raises:
        InputError: the server did not come up; its log is named.
    """
    logs.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "PICKAPIC_HOME": str(home),
        "PICKAPIC_ALLOW_GUESTS": "true",
        "PICKAPIC_QUALITY": json.dumps(TIMELESS),
        # One thread each: two processes share two cores with the people.
        "OMP_NUM_THREADS": "1",
    }
    serve = ["serve", "--no-worker", "--host", host, "--port", str(port)]
    url = f"http://{host}:{port}"
    _refuse_taken_port(url)
    with ExitStack() as stack:
        server = stack.enter_context(_process(serve, environment, logs / "server.log"))
        _wait_until_ready(server, url, logs / "server.log")
        stack.enter_context(_process(["worker"], environment, logs / "worker.log"))
        yield url


@contextmanager
def _process(
    command: list[str], environment: dict[str, str], log: Path
) -> Generator[subprocess.Popen[bytes]]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pickapic", *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C at the terminal is for the demo, which stops its services in order.
            start_new_session=True,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_with_parent() -> None:
    """Let the kernel stop this process when the demo is killed, so that no server is left behind on its port."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait_until_ready(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise InputError(
                f"the server stopped while starting; its last words:\n{_tail(log)}\n(all of them: {log})"
            )
        if _answers(f"{url}/readyz"):
            return
        time.sleep(0.1)
    raise InputError(f"the server did not answer at {url} within {START_SECONDS:.0f} s; its log is {log}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # our own server on this machine
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _refuse_taken_port(url: str) -> None:
    if _answers(f"{url}/healthz"):
        raise InputError(f"something answers at {url} already: stop it, or choose another port with --port")


def _tail(log: Path, lines: int = 8) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
