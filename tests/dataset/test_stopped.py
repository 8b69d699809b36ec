import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_examples import make, replace

from pickapic.cli.app import main
from pickapic.cli.files import parse_size
from pickapic.dataset import journal, write
from pickapic.dataset.copy import copy
from pickapic.dataset.divide import divide
from pickapic.dataset.journal import Plan
from pickapic.dataset.manifest import damage, load
from pickapic.dataset.read import read, row_counts
from pickapic.dataset.schema import SPLITS
from pickapic.dataset.split import paper_split
from pickapic.dataset.verify import verify
from pickapic.dataset.write import DatasetWriter
from pickapic.records import InputError

ROWS = 700


class Stopped(BaseException):
    """The process ends here."""


@pytest.fixture(scope="module")
def table():
    rows = make([f"p{i % 90}" for i in range(ROWS)], [i % 90 % 40 for i in range(ROWS)], images=True)
    bulk = np.random.default_rng(0).bytes(4000)
    for name in ("jpg_0", "jpg_1"):
        rows = replace(rows, name, [b"\xff\xd8" + i.to_bytes(4, "big") + bulk for i in range(ROWS)])
    return rows


@pytest.fixture(autouse=True)
def small_row_groups(monkeypatch):
    monkeypatch.setattr(write, "ROW_GROUP_ROWS", 50)
    monkeypatch.setattr(write, "ROW_GROUP_ROWS_NO_IMAGES", 50)


@pytest.fixture
def source(tmp_path, table):
    """In row groups, files and an order of splits that are not those of what is written."""
    folder = tmp_path / "source" / "data"
    folder.mkdir(parents=True)
    pq.write_table(table.slice(0, 330), folder / "train-00000-of-00002-ab12.parquet", row_group_size=77)
    pq.write_table(table.slice(330), folder / "train-00001-of-00002-ab12.parquet", row_group_size=41)
    pq.write_table(table.slice(0, 60), folder / "test_unique-00000-of-00001-ab12.parquet")
    return folder.parent


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stop_at(rows):
    done = 0

    def advance(count):
        nonlocal done
        done += count
        if done >= rows:
            raise Stopped

    return advance


WORK = {
    "copy": lambda source, out, **k: copy(source, out, shard_bytes=600_000, **k),
    "copy without images": lambda source, out, **k: copy(source, out, images=False, shard_bytes=9_000, **k),
    "split": lambda source, out, **k: divide(source, out, 20, shard_bytes=600_000, **k),
    "split, user-disjoint": lambda source, out, **k: divide(
        source, out, 20, user_disjoint=True, shard_bytes=600_000, **k
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", WORK)
def test_stopped_anywhere_it_goes_on_and_the_bytes_are_the_same(kind, source, tmp_path):
    work = WORK[kind]
    expected = work(source, tmp_path / "whole")
    assert max(len([s for s in expected.shards if s.split == name]) for name in SPLITS) > 2
    for rows in (60, 260, 500, 640):
        out = tmp_path / f"stopped-{rows}"
        for again in (rows, rows + 30):  # the second run goes on with the first's files
            with pytest.raises(Stopped):
                work(source, out, on_progress=stop_at(again))
            assert not out.exists()
        assert work(source, out) == expected
        assert content(out) == content(tmp_path / "whole")
    assert not list(tmp_path.glob(".*"))


def test_what_is_finished_is_not_written_again(source, tmp_path, monkeypatch):
    out, partial = tmp_path / "out", tmp_path / ".out.partial"
    with pytest.raises(Stopped):
        WORK["copy"](source, out, on_progress=stop_at(500))
    before = {path.name: path.stat().st_mtime_ns for path in (partial / "data").glob("*.finished")}
    assert len(before) > 3
    steps = []
    WORK["copy"](source, out, on_progress=steps.append)
    files = load(out).shards
    assert sum(steps) == ROWS + 60
    same = [s for s in files if (out / s.path).stat().st_mtime_ns in before.values()]
    assert len(same) == len(before)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "step"),
    [("os.rename", 1), ("pathlib.Path.rename", 5), ("pathlib.Path.replace", 5), ("shutil.rmtree", 1)],
)
def test_stopped_between_any_two_names_it_goes_on(call, step, source, tmp_path, monkeypatch):
    """Files are renamed, then the folder: whichever of it was the last, the next run finds its way."""
    module, _, name = call.rpartition(".")
    owner = {"os": os, "pathlib.Path": Path, "shutil": write.shutil}[module]
    real = getattr(owner, name)
    work = WORK["copy without images"]
    work(source, tmp_path / "whole")
    for number in range(0, 100, step):
        out = tmp_path / f"out-{number}"
        work(source, out) if number % 2 else None  # something older stands there
        calls = 0

        def counted(*arguments, stop=number, **options):
            nonlocal calls
            calls += 1
            if calls > stop:
                raise Stopped
            return real(*arguments, **options)

        try:
            with monkeypatch.context() as patch:
                patch.setattr(owner, name, counted)
                work(source, out, overwrite=True)
        except Stopped:
            work(source, out, overwrite=True)
            assert content(out) == content(tmp_path / "whole")
            assert damage(out) == []
        else:
            break
    assert number > 0
    assert calls <= number


def test_the_same_again_is_nothing_to_do_and_another_plan_begins_anew(source, tmp_path):
    out = tmp_path / "out"
    first = WORK["split"](source, out)
    steps = []
    (out / journal.FOLDER).mkdir()  # stopped after the folder had its name
    assert WORK["split"](source, out, on_progress=steps.append) == first
    assert sum(steps) == ROWS
    assert not (out / journal.FOLDER).exists()
    with pytest.raises(InputError, match="is there already"):
        divide(source, out, 20, seed=1)
    with pytest.raises(Stopped):
        divide(source, tmp_path / "other", 20, seed=1, shard_bytes=600_000, on_progress=stop_at(500))
    WORK["split"](source, tmp_path / "other")
    assert content(tmp_path / "other") == content(out)


def test_a_finished_file_that_was_damaged_since_is_written_again(source, tmp_path):
    out = tmp_path / "out"
    WORK["copy"](source, tmp_path / "whole")
    with pytest.raises(Stopped):
        WORK["copy"](source, out, on_progress=stop_at(640))
    second = tmp_path / ".out.partial" / "data" / "train-00001.finished"
    second.write_bytes(second.read_bytes()[:-1])
    WORK["copy"](source, out)
    assert content(out) == content(tmp_path / "whole")


def test_two_writers_do_not_meet(tmp_path, table):
    def writer():
        return DatasetWriter(tmp_path / "out", plan=Plan.of("test", a=1), splits=("train",))

    with writer() as one:
        one.add("train", table)
        with pytest.raises(InputError, match="another process is writing"):
            writer().__enter__()
        one.finish()
    assert read(tmp_path / "out").equals(table)


def test_a_gap_is_a_mistake_of_the_caller(tmp_path, table):
    with DatasetWriter(tmp_path / "out", plan=Plan.of("test"), splits=("train",)) as writer:
        writer.add("train", table.slice(0, 10), 0)
        with pytest.raises(ValueError, match="row 20 of train is added after row 10"):
            writer.add("train", table.slice(20, 10), 20)


def test_nothing_remains_of_a_run_that_finished_no_file(source, tmp_path):
    with pytest.raises(Stopped):
        WORK["copy"](source, tmp_path / "out", on_progress=stop_at(1))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "out"))] == []


def test_a_copy_of_some_splits_reads_no_other_file(source, tmp_path):
    (source / "data" / "train-00000-of-00002-ab12.parquet").write_bytes(b"not a Parquet file")
    manifest = copy(source, tmp_path / "out", ["test_unique"])
    assert manifest.splits == ("test_unique",)
    assert verify(tmp_path / "out") == []
    with pytest.raises(InputError, match=r"no split 'tset'; did you mean 'test_unique'|no split 'tset'"):
        copy(source, tmp_path / "other", ["tset"])


def test_a_copy_keeps_what_the_source_says_of_itself(tmp_path, table):
    write.write(tmp_path / "mine", paper_split(table, 20), write.About(title="Ducks", licence="mit"))
    manifest = copy(tmp_path / "mine", tmp_path / "out")
    assert (manifest.about.title, manifest.about.licence) == ("Ducks", "mit")
    assert row_counts(tmp_path / "out") == row_counts(tmp_path / "mine")
    with pytest.raises(InputError, match="cannot be copied into itself"):
        copy(tmp_path / "mine", tmp_path / "mine", overwrite=True)


KILLED = """
import os, signal, sys
from pickapic.dataset import write
from pickapic.dataset.copy import copy
write.ROW_GROUP_ROWS = 50
done = 0
def advance(count):
    global done
    done += count
    if done >= int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
copy(sys.argv[1], sys.argv[2], shard_bytes=600_000, on_progress=advance)
"""


@pytest.mark.slow
def test_killed_it_goes_on_and_the_bytes_are_the_same(source, tmp_path):
    WORK["copy"](source, tmp_path / "whole")
    out = tmp_path / "out"
    for rows in (260, 500):
        command = [sys.executable, "-c", KILLED, str(source), str(out), str(rows)]
        assert subprocess.run(command, timeout=120).returncode == -signal.SIGKILL
    assert (tmp_path / ".out.partial" / "data" / "train-00000.finished").is_file()
    assert list((tmp_path / ".out.partial" / "data").glob("*.writing"))
    WORK["copy"](source, out)
    assert content(out) == content(tmp_path / "whole")


@pytest.fixture
def run(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        streams = capsys.readouterr()
        return left.value.code or 0, streams.out, streams.err

    return call


def test_the_command_copies_in_files_of_a_size(run, source, tmp_path):
    out = tmp_path / "out"
    code, text, _ = run("dataset", "copy", source, out, "--split", "train", "--shard-size", "600KB", "--json")
    assert code == 0
    assert '"train": 700' in text
    assert len(load(out).shards) > 3
    assert run("dataset", "check", out)[0] == 0
    assert run("dataset", "copy", source, out, "--split", "train", "--shard-size", "600KB")[0] == 0
    code, _, err = run("dataset", "copy", source, out, "--no-images")
    assert (code, "is there already" in err) == (1, True)
    code, _, err = run("dataset", "copy", source, out, "--shard-size", "big")
    assert (code, "is no size" in err) == (2, True)


def test_a_full_disk_is_one_line_and_a_later_run_goes_on(run, source, tmp_path, monkeypatch):
    real, calls = journal.Journal.add, 0

    def full(*arguments):
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError(28, "No space left on device")
        return real(*arguments)

    arguments = ("dataset", "copy", source, tmp_path / "out", "--shard-size", "600KB")
    with monkeypatch.context() as patch:
        patch.setattr(journal.Journal, "add", full)
        code, _, err = run(*arguments)
    assert code == 1
    assert "No space left on device" in err.splitlines()[-1]
    assert "start the same command again" in err.splitlines()[-1]
    assert len(list((tmp_path / ".out.partial" / "data").glob("*.finished"))) == 2
    assert run(*arguments)[0] == 0
    assert verify(tmp_path / "out", images=False) == []


@pytest.mark.parametrize(
    ("text", "size"),
    [("500MB", 500_000_000), ("1.5 GB", 1_500_000_000), ("2GiB", 2 * 2**30), ("64k", 64_000), ("7", 7)],
)
def test_sizes(text, size):
    assert parse_size(text) == size


def test_bytes_do_not_depend_on_how_rows_came(tmp_path, table):
    """The ground of it all: pages are cut by the rows, not by the pieces that they arrived in."""
    for name, step in (("one", ROWS), ("two", 13)):
        with DatasetWriter(tmp_path / name, row_group_rows=150) as writer:
            for start in range(0, ROWS, step):
                writer.add("train", pa.Table.from_batches(table.slice(start, step).to_batches(7)))
            writer.finish()
    assert content(tmp_path / "one") == content(tmp_path / "two")
