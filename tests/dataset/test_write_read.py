import json
import warnings

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_examples import make, replace

from pickapic.dataset.manifest import MANIFEST, About, LeftOut, damage, load
from pickapic.dataset.read import batches, column_names, locate, read, row_counts
from pickapic.dataset.schema import SCHEMA, SCHEMA_NO_IMAGES
from pickapic.dataset.split import paper_split
from pickapic.dataset.write import DatasetWriter, write
from pickapic.records import InputError


@pytest.fixture
def table():
    captions = [f"prompt {i // 2} | <b>, \"quoted\" 'x' é \U0001f986" for i in range(60)]
    return make(captions, [i // 2 for i in range(60)], images=True)


def test_what_is_written_is_read_back(tmp_path, table):
    write(tmp_path / "out", {"train": table})
    assert read(tmp_path / "out").equals(table)
    assert read(tmp_path / "out", split="train").schema.equals(SCHEMA)
    assert row_counts(tmp_path / "out") == {"train": 60}


def test_columns_are_projected_in_the_order_asked_for(tmp_path, table):
    write(tmp_path / "out", {"train": table})
    assert read(tmp_path / "out", columns=["label_0", "caption"]).column_names == ["label_0", "caption"]


def test_projection_touches_no_image_bytes(tmp_path, table):
    write(tmp_path / "out", {"train": table})
    path = tmp_path / "out" / "data" / "train-00000-of-00001.parquet"
    metadata = pq.read_metadata(path)
    content = bytearray(path.read_bytes())
    for group in range(metadata.num_row_groups):
        for index in range(metadata.num_columns):
            column = metadata.row_group(group).column(index)
            if column.path_in_schema.startswith("jpg_"):
                start = column.data_page_offset
                content[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    path.write_bytes(content)  # the images are zeros now: whoever reads them fails
    kept = [name for name in SCHEMA.names if not name.startswith("jpg_")]
    assert read(tmp_path / "out", columns=kept).equals(table.select(kept))
    with pytest.raises(InputError, match=r"parquet cannot be read: .*(deserialize|page|Thrift|[Cc]ouldn)"):
        read(tmp_path / "out")


def test_shards_are_cut_by_size(tmp_path, table):
    manifest = write(tmp_path / "out", {"train": table}, shard_bytes=1)
    assert manifest.rows("train") == 60
    big = pa.concat_tables([table] * 10)  # 600 rows: row groups of 256, 256 and 88
    manifest = write(tmp_path / "big", {"train": big}, shard_bytes=1)
    assert [shard.path for shard in manifest.shards] == [
        f"data/train-0000{i}-of-00003.parquet" for i in range(3)
    ]
    assert [shard.rows for shard in manifest.shards] == [256, 256, 88]
    assert read(tmp_path / "big").equals(big)
    for shard in manifest.shards:
        assert pq.read_metadata(tmp_path / "big" / shard.path).num_rows == shard.rows


def test_small_additions_become_whole_row_groups(tmp_path, table):
    with DatasetWriter(tmp_path / "out", row_group_rows=50) as writer:
        for start in range(0, 60, 7):
            writer.add("train", table.slice(start, 7))
        writer.finish()
    metadata = pq.read_metadata(tmp_path / "out" / "data" / "train-00000-of-00001.parquet")
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [50, 10]
    assert read(tmp_path / "out").equals(table)


def test_an_empty_split_is_a_file_with_no_rows(tmp_path, table):
    write(tmp_path / "out", {"train": table, "test": table.slice(0, 0)})
    assert row_counts(tmp_path / "out") == {"test": 0, "train": 60}
    assert read(tmp_path / "out", split="test").num_rows == 0


def test_a_failure_leaves_nothing(tmp_path, table):
    def interrupted():
        with DatasetWriter(tmp_path / "out") as writer:
            writer.add("train", pa.concat_tables([table] * 5))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_an_older_dataset_is_replaced_only_when_told_and_only_a_dataset(tmp_path, table):
    out = tmp_path / "out"
    write(out, {"train": table})
    with pytest.raises(InputError, match="is there already"):
        write(out, {"train": table.slice(0, 5)})
    assert read(out).num_rows == 60
    write(out, {"train": table.slice(0, 5)}, overwrite=True)
    assert read(out).num_rows == 5
    assert not list(tmp_path.glob(".out*"))
    precious = tmp_path / "home"
    precious.mkdir()
    (precious / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="is not a dataset written by pickapic"):
        write(precious, {"train": table}, overwrite=True)
    assert (precious / "thesis.txt").read_text() == "mine"


def test_a_failed_replacement_keeps_the_old_dataset(tmp_path, table):
    out = tmp_path / "out"
    write(out, {"train": table})
    with pytest.raises(InputError, match="has_label"):
        write(out, {"train": table.drop_columns(["has_label"])}, overwrite=True)
    assert read(out).equals(table)


def test_manifest_finds_damage(tmp_path, table):
    out = tmp_path / "out"
    manifest = write(out, {"train": table, "test": table.slice(0, 9)}, left_out=(LeftOut("banned", 3),))
    assert load(out) == manifest
    assert damage(out) == []
    content = json.loads((out / MANIFEST).read_text())
    assert content["fingerprint"] == manifest.fingerprint
    path = out / "data" / "train-00000-of-00001.parquet"
    changed = bytearray(path.read_bytes())
    changed[100] ^= 1
    path.write_bytes(changed)
    (out / "data" / "test-00000-of-00001.parquet").unlink()
    assert damage(out) == [
        "data/train-00000-of-00001.parquet has changed since it was written (SHA-256 differs)",
        "data/test-00000-of-00001.parquet is missing",
    ]
    with pytest.raises(InputError, match="no dataset written by pickapic"):
        load(tmp_path)


def test_a_split_name_that_datasets_refuses_is_refused(tmp_path, table):
    for name in ("all", "../x", "a b", ""):
        with pytest.raises(InputError, match="cannot name a split"):
            write(tmp_path / "out", {name: table})


def test_foreign_files_are_read(tmp_path, table):
    """A single pandas-like file: its index column, large strings, microseconds with a zone, empty ties."""
    foreign = table.append_column("__index_level_0__", pa.array(range(60)))
    ties = [uid if uid != "none" else "" for uid in table["best_image_uid"].to_pylist()]
    foreign = replace(foreign, "best_image_uid", ties)
    index = foreign.schema.get_field_index("caption")
    foreign = foreign.set_column(index, "caption", foreign["caption"].cast(pa.large_string()))
    index = foreign.schema.get_field_index("created_at")
    foreign = foreign.set_column(index, "created_at", foreign["created_at"].cast(pa.timestamp("us", "UTC")))
    pq.write_table(foreign, tmp_path / "one.parquet")
    assert read(tmp_path / "one.parquet").equals(table)


@pytest.mark.parametrize(
    "name",
    [
        "data/test-00000-of-00002-b66ac786bf6fb553.parquet",
        "test-00000-of-00002.parquet",
        "test.parquet",
        "default/test/0000.parquet",
        "test/part-1.parquet",
    ],
)
def test_splits_are_known_by_the_names_people_use(tmp_path, table, name):
    path = tmp_path / "set" / name
    path.parent.mkdir(parents=True)
    pq.write_table(table, path)
    assert list(locate(tmp_path / "set").files) == ["test"]
    assert read(tmp_path / "set", split="test").num_rows == 60


def test_all_splits_together_repeat_no_row(tmp_path, table):
    write(tmp_path / "out", paper_split(table, n_prompts=10))
    everything = read(tmp_path / "out", columns=["ranking_id"])
    assert sorted(everything["ranking_id"].to_pylist()) == list(range(1, 61))


def test_batches_hold_the_same_rows_in_constant_memory(tmp_path, table):
    write(tmp_path / "out", {"train": pa.concat_tables([table] * 5), "test_unique": table.slice(0, 3)})
    pieces = list(batches(tmp_path / "out", batch_size=64))
    assert max(piece.num_rows for piece in pieces) <= 64
    assert pa.Table.from_batches(pieces).equals(read(tmp_path / "out"))


@pytest.mark.slow
def test_batches_do_not_grow_with_the_file(tmp_path):
    """Arrow's own memory, while reading, is that of a row group and not of the file."""
    image = bytes(200_000)
    n = 256
    rows = make([f"p{i}" for i in range(n)], list(range(n)))
    for name in ("jpg_0", "jpg_1"):
        rows = rows.append_column(name, pa.array([image] * n, pa.binary()))
    with DatasetWriter(tmp_path / "out", row_group_rows=32) as writer:
        for _ in range(3):
            writer.add("train", rows.select(SCHEMA.names))
        writer.finish()
    size = (tmp_path / "out" / "data" / "train-00000-of-00001.parquet").stat().st_size
    before = peak = pa.total_allocated_bytes()
    for batch in batches(tmp_path / "out", batch_size=32):
        peak = max(peak, pa.total_allocated_bytes())
        del batch
    assert size > 300_000_000
    assert peak - before < 60_000_000


def test_bad_requests_say_what_there_is(tmp_path, table):
    out = tmp_path / "out"
    write(out, {"train": table})
    with pytest.raises(InputError, match=r"no column 'captoin'; did you mean 'caption'\?"):
        read(out, columns=["captoin"])
    with pytest.raises(InputError, match=r"no split 'tran'; did you mean 'train'\?; it has: train"):
        read(out, split="tran")
    with pytest.raises(InputError, match="there is no file or folder"):
        read(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no Parquet file"):
        read(tmp_path / "empty")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and then the disk was full")
    with pytest.raises(InputError, match="not a complete Parquet file"):
        read(tmp_path / "broken.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(InputError, match="not a preference dataset: its columns are a"):
        read(tmp_path / "other.parquet")
    words = replace(table, "user_id", ["ann"] * 60, pa.string())
    pq.write_table(words, tmp_path / "words.parquet")
    with pytest.raises(InputError, match="column 'user_id' is not int64"):
        read(tmp_path / "words.parquet")


def test_a_hub_id_without_a_network_says_so(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="there is no folder 'owner/name' here, and the Hugging Face hub"):
        read("owner/name")


def test_variants_without_images(tmp_path):
    table = make(["a", "b"], [1, 2])
    write(tmp_path / "out", {"train": table})
    assert column_names(tmp_path / "out") == SCHEMA_NO_IMAGES.names
    assert read(tmp_path / "out").equals(table)


@pytest.fixture
def load_dataset(tmp_path, monkeypatch):
    with warnings.catch_warnings():
        # datasets pulls in multiprocess/dill, which still use names Python has deprecated: not ours to mend.
        warnings.simplefilter("ignore", DeprecationWarning)
        datasets = pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()

    def load(*args, **kwargs):
        return datasets.load_dataset(*args, cache_dir=str(tmp_path / "cache"), **kwargs)

    return load


def test_datasets_opens_the_folder_by_its_card(tmp_path, table, load_dataset):
    tables = paper_split(table, n_prompts=10)
    about = About(title='Ducks: "best" of\n- them', licence="cc-by-4.0", notes=("by hand",))
    write(tmp_path / "out", tables, about, shard_bytes=1)
    data = load_dataset(str(tmp_path / "out"))
    assert {name: split.num_rows for name, split in data.items()} == {
        name: rows.num_rows for name, rows in tables.items()
    }
    assert data["train"].column_names == SCHEMA.names
    first = data["train"][0]
    assert first["jpg_0"] == tables["train"]["jpg_0"][0].as_py()
    assert first["caption"] == tables["train"]["caption"][0].as_py()
    assert data["test"].features["created_at"].dtype == "timestamp[ns]"


def test_datasets_opens_the_files_by_themselves(tmp_path, table, load_dataset):
    write(tmp_path / "out", {"train": table}, shard_bytes=1)
    data = load_dataset(
        "parquet", data_files=str(tmp_path / "out" / "data" / "train-*.parquet"), split="train"
    )
    assert data.num_rows == 60
    assert data["label_0"][:3] == [1.0, 0.0, 0.5]


def test_card_shows_counts_columns_and_what_was_left_out(tmp_path, table):
    left_out = (LeftOut("banned user", 12),)
    write(tmp_path / "out", paper_split(table, n_prompts=10), About(title="Ducks"), left_out=left_out)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| banned user | 12 |" in card
    assert "# Ducks" in card
    for name in SCHEMA.names:
        assert f"| `{name}` |" in card
    assert "model-1" in card


def test_a_model_name_cannot_break_the_card(tmp_path, table):
    evil = replace(table, "model_0", ["<script>|\n---"] * 60)
    write(tmp_path / "out", {"train": evil})
    card = (tmp_path / "out" / "README.md").read_text()
    assert "<script>" not in card
    assert "| &lt;script>&#124; --- |" in card
