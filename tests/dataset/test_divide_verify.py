import pyarrow as pa
import pytest
from dataset_examples import make, replace

from pickapic.dataset.clean import with_example_counts
from pickapic.dataset.divide import divide
from pickapic.dataset.manifest import About, LeftOut, load
from pickapic.dataset.read import read
from pickapic.dataset.schema import SPLITS
from pickapic.dataset.split import paper_split
from pickapic.dataset.verify import verify
from pickapic.dataset.write import DatasetWriter, write
from pickapic.records import InputError


@pytest.fixture
def table():
    return make([f"p{i % 90}" for i in range(400)], [i % 90 % 40 for i in range(400)], images=True)


@pytest.mark.parametrize("user_disjoint", [False, True])
def test_dividing_a_folder_is_dividing_its_table(tmp_path, table, user_disjoint):
    about = About(title="Ducks", licence="mit", notes=("by hand",))
    write(tmp_path / "all", {"train": table}, about, left_out=(LeftOut("banned user", 2),))
    steps = []
    manifest = divide(
        tmp_path / "all", tmp_path / "out", 20, seed=3, user_disjoint=user_disjoint, on_progress=steps.append
    )
    expected = paper_split(table, 20, seed=3, user_disjoint=user_disjoint)
    for split in SPLITS:
        assert read(tmp_path / "out", split=split).equals(expected[split])
    assert sum(steps) == 400
    assert manifest.left_out[0] == LeftOut("banned user", 2)
    dropped = 400 - sum(expected[split].num_rows for split in ("train", "validation", "test"))
    assert sum(item.count for item in manifest.left_out[1:]) == dropped
    assert (dropped > 0) == user_disjoint
    assert load(tmp_path / "out").about.title == "Ducks"
    assert "20 held-out prompts, seed 3" in load(tmp_path / "out").about.notes[1]
    assert (
        "Each of those prompts was created by a different person"
        in (tmp_path / "out" / "README.md").read_text()
    )


def test_a_divided_dataset_can_be_divided_again(tmp_path, table):
    write(tmp_path / "all", {"train": table})
    divide(tmp_path / "all", tmp_path / "one", 20)
    divide(tmp_path / "one", tmp_path / "two", 20)
    for split in SPLITS:
        one, two = (read(tmp_path / name, ["ranking_id"], split)["ranking_id"] for name in ("one", "two"))
        assert sorted(one.to_pylist()) == sorted(two.to_pylist())
    with pytest.raises(InputError, match="cannot be divided into itself"):
        divide(tmp_path / "one", tmp_path / "one", 20, overwrite=True)


def test_a_sound_dataset_has_no_faults(tmp_path, table):
    write(tmp_path / "out", paper_split(table, 20))
    steps = []
    assert verify(tmp_path / "out", on_progress=steps.append) == []
    assert sum(steps) == 420
    assert verify(str(tmp_path / "out"), images=False) == []


def test_faults_in_values_are_found_once_with_their_count(tmp_path, table):
    big = pa.concat_tables([table, replace(table, "num_example_per_prompt", [-1] * 400)])
    with DatasetWriter(tmp_path / "out", row_group_rows=50) as writer:
        writer.add("train", big)
        writer.finish()
    faults = verify(tmp_path / "out")
    assert faults == [
        "split train: column 'num_example_per_prompt', row 400 (and 399 more): -1 is less than 1"
    ]


def test_bytes_that_are_no_image_are_found(tmp_path, table):
    write(tmp_path / "out", {"train": replace(table, "jpg_1", [b"<html>404</html>"] * 400)})
    assert verify(tmp_path / "out") == [
        "split train: column 'jpg_1', row 0 (and 399 more): is neither a JPEG nor a PNG file"
    ]
    assert verify(tmp_path / "out", images=False) == []


def test_splits_that_leak_are_found(tmp_path, table):
    splits = paper_split(table, 20)
    leaking = pa.concat_tables([splits["train"], splits["test"]])
    twice = pa.concat_tables([splits["validation_unique"], splits["validation_unique"].slice(0, 2)])
    write(
        tmp_path / "out",
        splits | {"train": leaking, "validation_unique": twice, "test_unique": splits["train"]},
    )
    faults = verify(tmp_path / "out")
    assert "splits train and test: 10 prompts are in both" in faults
    assert "split validation_unique: 2 rows have a ranking_id that occurs before" in faults
    assert "split validation_unique: 2 rows repeat a prompt" in faults
    assert f"split test_unique: {splits['train'].num_rows:,} rows are not in the split test" in faults


def test_damaged_files_are_found(tmp_path, table):
    write(tmp_path / "out", {"train": table})
    path = tmp_path / "out" / "data" / "train-00000-of-00001.parquet"
    content = bytearray(path.read_bytes())
    content[5000] ^= 255
    path.write_bytes(content)
    assert any("SHA-256 differs" in fault for fault in verify(tmp_path / "out"))


def test_example_counts_are_added_where_missing():
    table = make(["a", "b", "a"], [1, 2, 3])
    without = table.drop_columns(["num_example_per_prompt"])
    assert with_example_counts(without)["num_example_per_prompt"].to_pylist() == [2, 1, 2]
