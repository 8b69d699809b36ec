"""What full size asks for: no image is read where none is wanted, no file of another split, odd files stop nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_examples import make, replace

from pickapic.cli.app import main
from pickapic.dataset.copy import copy
from pickapic.dataset.divide import divide
from pickapic.dataset.manifest import damage, load
from pickapic.dataset.read import batches, column_names, read, row_counts
from pickapic.dataset.schema import IMAGE_COLUMNS, SCHEMA, SCHEMA_NO_IMAGES, SPLITS
from pickapic.dataset.split import paper_split
from pickapic.dataset.stats import stats
from pickapic.dataset.verify import verify
from pickapic.dataset.write import DatasetWriter, write
from pickapic.records import InputError

ROOT = Path(__file__).parents[2]


def spoil(folder, columns=IMAGE_COLUMNS):
    """Overwrite every byte of some columns: whoever reads one of them fails."""
    for path in folder.rglob("*.parquet"):
        metadata = pq.read_metadata(path)
        content = bytearray(path.read_bytes())
        for group in range(metadata.num_row_groups):
            for index in range(metadata.num_columns):
                column = metadata.row_group(group).column(index)
                if column.path_in_schema in columns:
                    start = column.dictionary_page_offset or column.data_page_offset
                    content[start : start + column.total_compressed_size] = (
                        b"\xff" * column.total_compressed_size
                    )
        path.write_bytes(content)


@pytest.fixture
def run(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        streams = capsys.readouterr()
        return left.value.code or 0, streams.out, streams.err

    return call


@pytest.fixture(scope="module")
def table():
    return make([f"p{i % 90}" for i in range(400)], [i % 90 % 40 for i in range(400)], images=True)


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory, table):
    folder = tmp_path_factory.mktemp("spoiled")
    for name in ("sound", "spoiled"):
        write(folder / name, paper_split(table, 20))
    spoil(folder / "spoiled")
    with pytest.raises(InputError, match=r"parquet cannot be read: .*([Cc]ouldn't|deserialize|page)"):
        read(folder / "spoiled", ["jpg_1"])
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["dataset", "stats", "DATA", "--json"],
        ["dataset", "check", "DATA", "--no-images", "--json"],
        ["dataset", "overlap", "DATA", "--no-images", "--json"],
        ["dataset", "overlap", "DATA", "DATA", "--no-images", "--json"],
        ["ratings", "DATA", "--resamples", "20", "--json"],
        ["dataset", "split", "DATA", "OUT", "--prompts", "20", "--no-images", "--json"],
        ["dataset", "copy", "DATA", "OUT", "--no-images", "--json"],
    ],
    ids=" ".join,
)
def test_no_image_is_read_where_none_is_wanted(command, spoiled, run, tmp_path):
    found = {}
    for name in ("sound", "spoiled"):
        names = {"DATA": str(spoiled / name), "OUT": str(tmp_path / name)}
        code, out, err = run(*(names.get(part, part) for part in command))
        assert code == (1 if command[:3] == ["dataset", "overlap", "x"] else 0), err
        found[name] = out.replace(str(spoiled / name), "").replace(str(tmp_path / name), "")
    told = {name: json.loads(text) for name, text in found.items()}
    for name in told:
        if isinstance(told[name], dict):
            told[name].pop("fingerprint", None)
    assert told["sound"] == told["spoiled"]


def test_held_out_rows_are_read_without_images(spoiled):
    from pickapic.evaluate.held_out import read_held_out

    rows = read_held_out(str(spoiled / "spoiled"), "test_unique")
    assert rows.table.num_rows == 10
    assert rows.labels.tolist() == read(spoiled / "sound", ["label_0"], "test_unique")["label_0"].to_pylist()


def test_a_split_asked_for_is_the_only_one_that_is_opened(spoiled, tmp_path, run):
    folder = tmp_path / "picks"
    copy(spoiled / "sound", folder)
    for path in folder.glob("data/*.parquet"):
        if not path.name.startswith("validation_unique"):
            path.write_bytes(b"whoever opens this fails")
    assert column_names(folder, "validation_unique") == SCHEMA.names
    assert row_counts(folder, "validation_unique") == {"validation_unique": 10}
    assert sum(batch.num_rows for batch in batches(folder, split="validation_unique")) == 10
    for command in (
        ["dataset", "stats", folder, "--split", "validation_unique"],
        ["ratings", folder, "--split", "validation_unique", "--resamples", "20"],
        ["dataset", "copy", folder, tmp_path / "out", "--split", "validation_unique"],
        ["dataset", "export-dpo", folder, "--split", "validation_unique", "--out", tmp_path / "dpo"],
    ):
        code, _, err = run(*command)
        assert code == 0, (command, err)


@pytest.mark.parametrize(
    "command",
    [
        ["stats", "DATA"],
        ["split", "DATA", "OUT", "--prompts", "20"],
        ["copy", "DATA", "OUT"],
        ["overlap", "DATA", "DATA"],
        ["export-dpo", "DATA", "--split", "train", "--out", "OUT"],
    ],
    ids=" ".join,
)
def test_damage_is_one_line_that_names_the_file(command, tmp_path, table, run):
    write(tmp_path / "picks", {"train": table})
    spoil(tmp_path / "picks", ("caption",))
    names = {"DATA": str(tmp_path / "picks"), "OUT": str(tmp_path / "out")}
    code, _, err = run("dataset", *(names.get(part, part) for part in command))
    assert code == 1
    assert "train-00000-of-00001.parquet cannot be read: " in err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


# Odd files


def test_files_of_no_rows_and_row_groups_of_no_rows(tmp_path, table, run):
    data = tmp_path / "picks" / "data"
    data.mkdir(parents=True)
    pq.write_table(table.slice(0, 0), data / "train-00000-of-00003.parquet")
    with pq.ParquetWriter(data / "train-00001-of-00003.parquet", table.schema) as writer:
        for part in (table.slice(0, 0), table.slice(0, 300), table.slice(0, 0), table.slice(300)):
            writer.write_table(part)
    pq.write_table(table.slice(0, 0), data / "train-00002-of-00003.parquet")
    pq.write_table(table.slice(0, 0), data / "test-00000-of-00001.parquet")
    folder = data.parent
    assert read(folder).equals(table)
    assert pa.Table.from_batches(list(batches(folder, split="train"))).equals(table)
    assert pa.Table.from_batches(list(batches(folder, start=299, split="train"))).equals(table.slice(299))
    assert list(batches(folder, split="test")) == []
    assert verify(folder) == []
    assert run("dataset", "stats", folder)[0] == 0
    divide(folder, tmp_path / "out", 20)
    assert read(tmp_path / "out", split="validation").equals(paper_split(table, 20)["validation"])
    assert copy(folder, tmp_path / "copied").rows("test") == 0
    assert read(tmp_path / "copied").equals(table)


def test_a_set_of_no_rows_at_all(tmp_path, table, run):
    write(tmp_path / "none", {name: table.slice(0, 0) for name in SPLITS})
    assert verify(tmp_path / "none") == []
    assert stats(read(tmp_path / "none")).rows == 0
    assert run("dataset", "stats", tmp_path / "none", "--json")[0] == 0
    assert copy(tmp_path / "none", tmp_path / "copied").rows() == 0
    with pytest.raises(InputError, match="holding out 1,000 prompts takes"):
        divide(tmp_path / "none", tmp_path / "out")


def test_files_with_other_types_and_orders_of_columns_are_one_set(tmp_path, table):
    data = tmp_path / "picks" / "data"
    data.mkdir(parents=True)
    first, second = table.slice(0, 200), table.slice(200)
    pq.write_table(first, data / "train-00000-of-00002.parquet")
    second = replace(second, "label_0", second["label_0"].to_pylist(), pa.float32())
    second = replace(second, "user_id", second["user_id"].to_pylist(), pa.int32())
    index = second.schema.get_field_index("model_0")
    second = second.set_column(index, "model_0", second["model_0"].dictionary_encode())
    second = replace(second, "image_0_url", [None] * 200, pa.null())
    second = second.select([*reversed(second.column_names)]).append_column(
        "__index_level_0__", pa.array(range(200))
    )
    pq.write_table(second, data / "train-00001-of-00002.parquet")
    found = read(data.parent)
    assert found.schema.equals(SCHEMA)
    assert found.drop_columns("image_0_url").equals(table.drop_columns("image_0_url"))
    assert pa.Table.from_batches(list(batches(data.parent))).equals(found)
    copy(data.parent, tmp_path / "out")
    assert read(tmp_path / "out").equals(found)


def test_a_file_that_lacks_a_column_is_named(tmp_path, table, run):
    data = tmp_path / "picks" / "data"
    data.mkdir(parents=True)
    pq.write_table(table.slice(0, 200), data / "train-00000-of-00002.parquet")
    pq.write_table(table.slice(200).drop_columns("jpg_1"), data / "train-00001-of-00002.parquet")
    assert verify(data.parent) == [
        f"split train: {data / 'train-00001-of-00002.parquet'} has no column 'jpg_1'; did you mean 'jpg_0'?"
    ]
    assert verify(data.parent, images=False) == []
    assert read(data.parent, ["caption"]).num_rows == 400
    code, _, err = run("dataset", "copy", data.parent, tmp_path / "out")
    assert (code, "has no column 'jpg_1'" in err) == (1, True)
    assert copy(data.parent, tmp_path / "out", images=False).rows() == 400


def test_splits_with_and_without_images_are_checked_each_by_its_own(tmp_path, table):
    data = tmp_path / "picks"
    data.mkdir()
    pq.write_table(table.slice(0, 10), data / "test.parquet")
    pq.write_table(table.slice(10).select(SCHEMA_NO_IMAGES.names), data / "train.parquet")
    assert [fault for fault in verify(data) if "prompts are in both" not in fault] == []


def test_null_labels_are_faults_to_check_and_no_votes_to_the_others(tmp_path, table, run):
    labels = table["label_0"].to_pylist()
    odd = replace(table, "label_0", [None, *labels[1:]])
    odd = replace(odd, "has_label", [None, False, *[True] * 398])
    pq.write_table(odd, tmp_path / "train.parquet")
    faults = verify(tmp_path / "train.parquet")
    assert "split train: column 'label_0', row 0: has no value" in faults
    code, out, _ = run("dataset", "stats", tmp_path / "train.parquet", "--json")
    assert (code, json.loads(out)["train"]["unlabelled"]) == (0, 2)
    code, out, err = run("ratings", tmp_path / "train.parquet", "--resamples", "20", "--json")
    assert code == 0
    assert "left out: 2 rows without a judgement" in err
    divide(tmp_path / "train.parquet", tmp_path / "out", 20)
    assert load(tmp_path / "out").rows("train") > 0


# Manifests


def test_a_file_that_the_manifest_does_not_name_is_a_fault(tmp_path, table):
    write(tmp_path / "out", {"train": table})
    pq.write_table(table.slice(0, 3), tmp_path / "out" / "data" / "train-00001-of-00001.parquet")
    fault = "data/train-00001-of-00001.parquet is not named by the manifest, but is read with the others"
    assert damage(tmp_path / "out") == [fault]
    assert fault in verify(tmp_path / "out", images=False)


def test_without_images_sizes_and_rows_are_compared(tmp_path, table):
    manifest = write(tmp_path / "out", {"train": table})
    path = tmp_path / "out" / manifest.shards[0].path
    content = path.read_bytes()
    pq.write_table(table.slice(0, 399), path)
    assert len(damage(tmp_path / "out", contents=False)) == 1
    changed = bytearray(content)
    changed[100] ^= 1
    path.write_bytes(changed)
    assert damage(tmp_path / "out", contents=False) == []
    assert len(damage(tmp_path / "out")) == 1


# Memory, and the made-up set


@pytest.mark.slow
def test_columns_take_the_memory_of_columns(tmp_path):
    """A process that counts 120 MB of rows with images stays far below them."""
    rows = make([f"p{i}" for i in range(500)], list(range(500)))
    for name in IMAGE_COLUMNS:
        rows = rows.append_column(name, pa.array([bytes(60_000)] * 500, pa.binary()))
    with DatasetWriter(tmp_path / "out", row_group_rows=100) as writer:
        for _ in range(2):
            writer.add("train", rows.select(SCHEMA.names))
        writer.finish()
    program = (
        "import sys, pyarrow as pa\n"
        "from pickapic.dataset.read import read\n"
        "from pickapic.dataset.stats import STATS_COLUMNS, stats\n"
        "stats(read(sys.argv[1], STATS_COLUMNS))\n"
        "print(pa.default_memory_pool().max_memory())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "out")],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert sum(shard.bytes for shard in load(tmp_path / "out").shards) > 100_000_000
    assert int(done.stdout) < 5_000_000


@pytest.mark.slow
@pytest.mark.parametrize("release", ["v1", "v2"])
def test_the_made_up_set_has_the_releases_columns_splits_and_rules(tmp_path, release):
    def make_up(name, *more):
        command = [
            sys.executable,
            ROOT / "runs" / "full_size.py",
            tmp_path / name,
            "--release",
            release,
            *more,
        ]
        subprocess.run(list(map(str, command)), check=True, timeout=120, capture_output=True)
        return tmp_path / name

    folder = make_up("one", "--scale", "0.01", "--images", "tiny", "--rows-per-file", "2500")
    schema = pq.read_schema(next(folder.glob("data/train-00000-*")))
    assert schema.names == [*SCHEMA.names, "__index_level_0__"]
    rows = {"v1": 5_837, "v2": 9_590}[release]
    assert row_counts(folder) | {"train": rows, "validation_unique": 5, "test_unique": 5} == row_counts(
        folder
    )
    assert len(list(folder.glob("data/train-*-of-0000*-????????????????.parquet"))) == -(-rows // 2500)
    assert verify(folder) == []
    again = make_up("two", "--scale", "0.01", "--images", "tiny", "--rows-per-file", "2500")
    for path in folder.glob("data/*"):
        assert (again / "data" / path.name).read_bytes() == path.read_bytes()
    columns = read(folder)
    stayed = set(columns["image_0_uid"].to_pylist()[1:]) & set(columns["best_image_uid"].to_pylist())
    assert len(stayed) > rows / 4
    held_out = read(folder, ["caption", "user_id", "created_at"], "test").sort_by("created_at").to_pylist()
    creators = {row["caption"]: row["user_id"] for row in reversed(held_out)}
    assert len(set(creators.values())) == len(creators) == 5
