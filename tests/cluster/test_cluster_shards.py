"""Two Ray nodes write the shards that one process writes, byte for byte, also when one of them dies."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from duel_tables import duels
from pickapic.cli.app import make_app
from pickapic.cluster.shards import RayShards
from pickapic.dataset.shard_plan import plan_shards
from pickapic.dataset.shard_writer import ShardWriter
from pickapic.model.preprocess import ImageTransform
from pickapic.records import InputError

pytestmark = [
    pytest.mark.slow,
    # Ray warns of its own coming changes, and leaves sockets to the garbage collector when its nodes go.
    pytest.mark.filterwarnings("ignore"),
]

TRANSFORM = ImageTransform(32, (32, 32))
SMALL = 8 * 32 * 32 * 3  # files of eight pictures


class SlowTransform(ImageTransform):
    """Takes its time, and comes along to the nodes."""

    def square_of(self, picture):
        time.sleep(0.05)
        return super().square_of(picture)


@pytest.fixture
def picks(tmp_path) -> Path:
    path = tmp_path / "picks.parquet"
    pq.write_table(duels(120), path, row_group_size=17)
    return path


def write(data: Path, out: Path, engine=None, transform=TRANSFORM, on_progress=None) -> dict[str, bytes]:
    with ShardWriter(plan_shards(data, transform), out, file_bytes=SMALL) as writer:
        writer.fill(2, on_progress, engine)
    return contents(out)


def contents(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()
    }


def test_two_nodes_write_the_files_that_one_process_writes(nodes, picks, tmp_path):
    alone = write(picks, tmp_path / "alone")
    progress: list[int] = []
    together = write(picks, tmp_path / "together", RayShards(actors=2), on_progress=progress.append)
    assert together == alone
    assert len(alone) > 15
    assert len(progress) > 10, "progress is told of each file"


def test_a_run_begun_on_the_cluster_goes_on_here_and_the_other_way_round(nodes, picks, tmp_path):
    alone = write(picks, tmp_path / "alone")
    for first, second in ((RayShards(actors=2), None), (None, RayShards(actors=2))):
        out = tmp_path / f"moved-{second is None}"
        told: list[int] = []

        def stop(pictures: int, told=told) -> None:
            told.append(pictures)
            if sum(told) >= 40:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write(picks, out, first, on_progress=stop)
        assert not out.exists()
        with ShardWriter(plan_shards(picks, TRANSFORM), out, file_bytes=SMALL) as writer:
            assert writer.kept >= 32
            writer.fill(2, None, second)
        assert contents(out) == alone


def test_a_node_that_is_killed_changes_nothing_in_the_result(nodes, picks, tmp_path):
    alone = write(picks, tmp_path / "alone")
    extra = nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    threads: list[threading.Thread] = []

    def kill() -> None:
        nodes.remove_node(extra, allow_graceful=False)

    def first_progress(pictures: int) -> None:
        if not threads:
            threads.append(threading.Thread(target=kill))
            threads[0].start()

    slow = SlowTransform(32, (32, 32))
    together = write(picks, tmp_path / "together", RayShards(actors=3), slow, first_progress)
    threads[0].join()
    assert together == alone


def test_bad_images_and_wrong_uids_are_told_in_the_same_words(nodes, tmp_path):
    table = duels(60)
    rows = table.to_pylist()
    rows[30]["jpg_1"] = b"broken"
    cut = tmp_path / "cut.parquet"
    pq.write_table(type(table).from_pylist(rows, schema=table.schema), cut, row_group_size=7)
    rows = table.to_pylist()
    rows[44]["jpg_0"] = rows[20]["jpg_0"]
    rows[44]["image_0_uid"] = rows[0]["image_0_uid"]
    mixed = tmp_path / "mixed.parquet"
    pq.write_table(type(table).from_pylist(rows, schema=table.schema), mixed, row_group_size=7)
    for data in (cut, mixed):
        told = []
        for engine in (None, RayShards(actors=2)):
            with pytest.raises(InputError) as error:
                write(data, tmp_path / f"{data.stem}-{engine is None}", engine)
            told.append(str(error.value))
        assert told[0] == told[1]
    uid = rows[0]["image_0_uid"]
    assert f"the uid {uid} is that of another image before, in mixed, column jpg_0, row 0" in told[0]


def test_the_command_takes_the_engine(nodes, picks, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "preprocessor_config.json").write_text(json.dumps(TRANSFORM.config()))
    for name in ("local", "ray"):
        command = ["dataset", "shards", str(picks), "--out", str(tmp_path / name), "--engine", name]
        result = CliRunner().invoke(make_app(), [*command, "--model", str(tmp_path / "model")])
        assert result.exit_code == 0, result.output
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")
