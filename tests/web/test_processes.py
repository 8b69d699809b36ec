"""What processes of one server know of one another and of the one that started them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from pickapic.web.processes import Exchange

ON_ITS_OWN = """
import asyncio, sys
from pathlib import Path
from pickapic.web.processes import Exchange

exchange = Exchange(Path(sys.argv[1]), 0, int(sys.argv[2]))
try:
    asyncio.run(asyncio.wait_for(exchange.run(lambda: b"x 1"), 0.2))
except TimeoutError:
    print("still running")
"""


def ends(folder: Path, parent: int) -> tuple[int, str]:
    """Return how a process ends, and what it says, whose server was started by `parent`."""
    command = [sys.executable, "-c", ON_ITS_OWN, str(folder), str(parent)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.stderr == ""
    return ended.returncode, ended.stdout


def test_a_process_goes_on_while_the_one_that_started_it_lives(tmp_path):
    assert ends(tmp_path, os.getpid()) == (0, "still running\n")
    assert (tmp_path / "0.prom").read_text() == "x 1"


def test_a_process_ends_whose_parent_was_killed_before_it_looked(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert ends(tmp_path, gone.pid) == (-signal.SIGTERM, "")


def test_a_process_that_cannot_write_its_metrics_goes_on(tmp_path):
    assert ends(tmp_path / "no_such_folder", os.getpid()) == (0, "still running\n")


def test_each_reads_what_the_others_wrote(tmp_path):
    first, second = (Exchange(tmp_path, number, os.getpid()) for number in range(2))
    first.write(b"x 1")
    second.write(b"x 2")
    assert first.others() == ["x 2"]
    assert second.others() == ["x 1"]
