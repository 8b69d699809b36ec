"""Two Ray nodes on this machine score what one process scores, byte for byte, also when one of them dies."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import ray

from duel_tables import duels
from fake_scorers import Hashing
from pickapic.cluster.nodes import connect
from pickapic.cluster.scoring import Cluster, Job, RayEngine
from pickapic.records import InputError
from pickapic.scorers.sources import Wanted, open_source
from pickapic.scorers.table import ScoreTable, identify

pytestmark = [
    pytest.mark.slow,
    # Ray warns of its own coming changes, and leaves sockets to the garbage collector when its nodes go.
    pytest.mark.filterwarnings("ignore"),
]

SIZE = 16  # images a part


class SlowJob(Job):
    """A job whose scorer takes its time, and comes along to the nodes."""

    def load(self) -> Hashing:
        return Hashing(seconds=0.25)


class QuickJob(Job):
    def load(self) -> Hashing:
        return Hashing()


@pytest.fixture
def picks(tmp_path) -> Path:
    path = tmp_path / "picks.parquet"
    pq.write_table(duels(160), path, row_group_size=17)
    return path


def fill(path: Path, out: Path, kind: type[Job] | None, on_error="fail", on_progress=None, actors=2) -> Path:
    source, scorer = open_source([str(path)], Wanted()), Hashing()
    table = ScoreTable(out, source, scorer, identify(source, scorer, images_a_part=SIZE))
    engine = None
    if kind is not None:
        job = kind((str(path),), Wanted(), "hashing", {}, "logit", table.part_rows)
        engine = RayEngine(job, Cluster(actors=actors), source, table.columns, scorer)
    table.begin()
    table.fill(on_error, on_progress, engine)
    table.finish()
    return out


def test_two_nodes_write_the_table_that_one_process_writes(nodes, picks, tmp_path):
    alone = fill(picks, tmp_path / "alone.parquet", None)
    progress: list[int] = []
    together = fill(picks, tmp_path / "together.parquet", QuickJob, on_progress=progress.append)
    assert together.read_bytes() == alone.read_bytes()
    assert sum(progress) == 320


def test_a_run_begun_here_goes_on_there(nodes, picks, tmp_path):
    alone = fill(picks, tmp_path / "alone.parquet", None)
    source, scorer = open_source([str(picks)], Wanted()), Hashing()
    out = tmp_path / "moved.parquet"
    table = ScoreTable(out, source, scorer, identify(source, scorer, images_a_part=SIZE))
    table.begin()

    def stop(images: int) -> None:
        if len(list(table.parts.glob("*.part"))) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        table.fill(on_progress=stop)
    assert fill(picks, out, QuickJob).read_bytes() == alone.read_bytes()


def test_bad_images_cost_their_own_rows_and_are_told_in_the_same_words(nodes, tmp_path):
    table = duels(60)
    data = table.to_pylist()
    for number in (7, 8, 30):  # two rows of one prompt with the same broken winner, and one alone
        data[number]["jpg_0"] = b"broken"
    path = tmp_path / "broken.parquet"
    pq.write_table(type(table).from_pylist(data, schema=table.schema), path)
    alone = fill(path, tmp_path / "alone.parquet", None, on_error="skip")
    together = fill(path, tmp_path / "together.parquet", QuickJob, on_error="skip")
    assert together.read_bytes() == alone.read_bytes()
    assert pq.read_table(alone, columns=["error"])["error"].null_count == 57
    with pytest.raises(InputError, match="--on-error skip"):
        fill(path, tmp_path / "fails.parquet", QuickJob)


def test_a_node_that_is_killed_changes_nothing_in_the_result(nodes, picks, tmp_path):
    alone = fill(picks, tmp_path / "alone.parquet", None)
    extra = nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    killed = threading.Event()

    def kill() -> None:
        time.sleep(0.5)
        nodes.remove_node(extra, allow_graceful=False)
        killed.set()

    def first_progress(images: int) -> None:
        if not threads:
            threads.append(threading.Thread(target=kill))
            threads[0].start()

    threads: list[threading.Thread] = []
    together = fill(picks, tmp_path / "together.parquet", SlowJob, on_progress=first_progress, actors=3)
    threads[0].join()
    assert killed.is_set()
    assert together.read_bytes() == alone.read_bytes()


def test_nobody_at_the_address():
    ray.shutdown()
    with pytest.raises(InputError, match="no Ray cluster answers"):
        connect("127.0.0.1:9")
