"""The whole loop in small: real processes, real files, and what happens when it is killed half way."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from pickapic.dataset.read import read
from pickapic.dataset.schema import SCHEMA, SPLITS

pytestmark = pytest.mark.slow

PICKS = 300


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def command(folder, *more):
    small = ["--picks", str(PICKS), "--people", "80", "--port", str(free_port()), "--no-serve"]
    return [sys.executable, "-m", "pickapic", "demo", "--dir", str(folder), *small, *more]


def answered(folder):
    with sqlite3.connect(f"file:{folder / 'data' / 'pickapic.db'}?mode=ro", uri=True) as database:
        return database.execute(
            "SELECT id, pick FROM rounds WHERE state = 'answered' AND gold IS NULL ORDER BY id"
        ).fetchall()


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """A demo killed in the middle of the picks, and what was in its database then."""
    folder = tmp_path_factory.mktemp("demo") / "here"
    process = subprocess.Popen(
        command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (folder / "data" / "pickapic.db").exists():
            try:
                if len(answered(folder)) >= PICKS // 10:
                    break
            except sqlite3.OperationalError:
                pass  # not migrated yet
        assert process.poll() is None, "the demo ended before it could be killed"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(2)  # the services end with it
    return folder, answered(folder)


@pytest.fixture(scope="module")
def finished(interrupted):
    folder, _ = interrupted
    result = subprocess.run(command(folder), capture_output=True, text=True, timeout=250, check=False)
    assert result.returncode == 0, result.stderr
    return folder, result


def test_a_killed_demo_goes_on_where_it_stopped(interrupted, finished):
    folder, before = interrupted
    after = answered(folder)
    assert 0 < len(before) < PICKS
    assert after[: len(before)] == before
    assert len(after) >= PICKS


def test_it_shows_progress_and_says_where_things_are(finished):
    folder, result = finished
    for stage in ("people pick", "exporting", "training", "evaluating"):
        assert stage in result.stderr
    assert str(folder / "report.html") in result.stdout
    assert re.search(r"PickScore\s+\d+\.\d %", result.stdout)


def test_the_dataset_holds_every_pick_and_no_truth(finished):
    folder, _ = finished
    assert read(folder / "export").num_rows == len(answered(folder))
    splits = {name: read(folder / "dataset", split=name) for name in SPLITS}
    assert sum(splits[name].num_rows for name in ("train", "validation", "test")) == len(answered(folder))
    for table in splits.values():
        assert table.schema.equals(SCHEMA)
        assert table.num_rows
    assert len(set(splits["test_unique"]["caption"].to_pylist())) == splits["test_unique"].num_rows
    assert "oracle_prob_0" in pq.read_schema(folder / "truth-test.parquet").names


def test_the_report_is_one_file_with_the_papers_rows(finished):
    folder, _ = finished
    page = (folder / "report.html").read_text()
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
    assert "<script" not in page
    found = json.loads((folder / "report.json").read_text())
    scorers = {row["scorer"] for row in found["preferences"]}
    assert scorers == {"PickScore", "CLIP (zero-shot)", "aesthetic", "random", "second person", "oracle"}
    assert all(row["low"] <= row["accuracy"] <= row["high"] for row in found["preferences"])
    assert {judge["judge"] for judge in found["ratings"]} >= {"people", "PickScore"}
    assert found["training"]


def test_the_model_opens_by_path(finished):
    from pickapic.scorers.load import load_scorer

    folder, _ = finished
    images = read(folder / "dataset", ["jpg_0"], "test_unique")["jpg_0"].to_pylist()[:2]
    assert load_scorer("pickscore", model=str(folder / "pickscore" / "best")).score(
        "a fox", images
    ).shape == (2,)


def test_a_finished_demo_is_kept_and_other_plans_are_refused(finished):
    folder, _ = finished
    made = os.stat(folder / "report.html").st_mtime_ns
    again = subprocess.run(command(folder), capture_output=True, text=True, timeout=100, check=False)
    assert again.returncode == 0, again.stderr
    assert "has been run before" in again.stderr
    assert os.stat(folder / "report.html").st_mtime_ns == made
    other = subprocess.run(
        command(folder, "--seed", "9"), capture_output=True, text=True, timeout=100, check=False
    )
    assert other.returncode == 1
    assert "holds a demo with" in other.stderr


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    result = subprocess.run(command(tmp_path), capture_output=True, text=True, timeout=100, check=False)
    assert result.returncode == 1
    assert "holds something else" in result.stderr
    assert not (tmp_path / "data").exists()
