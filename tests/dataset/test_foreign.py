"""Small annotation files in the layouts that the sources document (docs/overlap.md), against pairs made by hand.

The real files were not at hand; the ImageReward entries are of the true `test.json`, which is public in its repository.
"""

import csv
import io
import itertools
import json

import numpy as np
import polars as pl
import pytest
from PIL import Image

from pickapic.cli.app import main
from pickapic.dataset.convert import convert, source, split_of, survey
from pickapic.dataset.foreign import FORMATS, Reading, entries
from pickapic.dataset.manifest import load
from pickapic.dataset.read import read
from pickapic.dataset.verify import verify
from pickapic.records import InputError

HPDV2_TRAIN = [
    {"human_preference": [1, 0], "prompt": "a cat", "file_path": ["00000.jpg", "00001.jpg"]},
    {"human_preference": [0, 1], "prompt": "a cat", "file_path": ["00002.jpg", "00003.jpg"]},
    {"human_preference": [0, 1], "prompt": "a dög, at night", "file_path": ["00004.jpg", "00005.jpg"]},
]
HPDV2_TEST = [
    {
        "prompt": "a cat",
        "image_path": ["a/0.jpg", "a/1.jpg", "a/2.jpg"],
        "rank": [2, 1, 3],
        "raw_annotations": [
            {"annotation": [1, 2, 3], "user_hash": "ann"},
            {"annotation": [3, 1, 2], "user_hash": "bob"},
        ],
    },
    {
        "prompt": "a dog",
        "image_path": ["b/0.jpg", "b/1.jpg"],
        "rank": [1, 1],
        "raw_annotations": [{"rank": [2, 1], "user_hash": "ann"}],
    },
]
HPDV3 = [
    {
        "prompt": "a cat",
        "choice_dist": [12, 7],
        "confidence": 0.99,
        "path1": "images/u1.jpg",
        "path2": "images/u2.jpg",
        "model1": "flux",
        "model2": "infinity",
    },
    {
        "prompt": "a dog",
        "choice_dist": None,
        "confidence": None,
        "path1": "images/u3.jpg",
        "path2": "images/u1.jpg",
        "model1": "midjourney",
        "model2": "midjourney",
    },
    {"prompt": "a dog", "path1": "images/u4.jpg", "path2": "images/u5.jpg"},
]
IMAGEREWARD_TEST = [
    {
        "id": "005664-0153",
        "prompt": "cola made from cockroaches",
        "generations": [f"part-005664/images/0153/{name}.webp" for name in ("06f3", "cab5", "7177", "bc96")],
        "ranking": [1, 2, 3, 4],
    },
    {
        "id": "005695-0057",
        "prompt": "a concept art of a vehicle, cyberpunk, artstation",
        "generations": [f"part-005695/images/0057/{i}.webp" for i in range(6)],
        "ranking": [1, 2, 1, 4, 3, 4],
    },
]


def imagereward_rows():
    """The same rankings as `IMAGEREWARD_TEST`, an image a row, as in metadata-*.parquet; the groups are mixed."""
    rows = [
        {
            "image_path": image,
            "prompt_id": item["id"],
            "prompt": item["prompt"],
            "classification": "Outdoor Scenes",
            "image_amount_in_total": 9,
            "rank": rank,
            "overall_rating": 8 - rank,
            "image_text_alignment_rating": 3,
            "fidelity_rating": 4,
        }
        for item in IMAGEREWARD_TEST
        for image, rank in zip(item["generations"], item["ranking"], strict=True)
    ]
    return rows[::2] + rows[1::2]


def written(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def converted(kind, path, out, **reading):
    given = source(kind, path, reading=Reading(**reading))
    convert(given, out, survey(given))
    assert verify(out) == []
    return read(out).to_pylist()


def judgements(rows):
    """Return for each row the prompt, the better image or None, and the other: whatever the sides."""
    found = []
    for row in rows:
        uids = (row["image_0_uid"], row["image_1_uid"])
        if row["label_0"] == 0.5:
            found.append((row["caption"], None, frozenset(uids)))
        else:
            better, worse = uids if row["label_0"] else uids[::-1]
            assert row["best_image_uid"] == better
            found.append((row["caption"], better, worse))
    return sorted(found, key=repr)


def by_hand(prompt, images, ranks):
    """Return what a ranking says, pair by pair, the slow way."""
    found = []
    for (a, rank_a), (b, rank_b) in itertools.combinations(zip(images, ranks, strict=True), 2):
        if rank_a == rank_b:
            found.append((prompt, None, frozenset((a, b))))
        else:
            found.append((prompt, a, b) if rank_a < rank_b else (prompt, b, a))
    return found


def test_hpdv2_pairs(tmp_path):
    rows = converted("hpdv2", written(tmp_path / "train.json", HPDV2_TRAIN), tmp_path / "out")
    assert judgements(rows) == sorted(
        [
            ("a cat", "00000.jpg", "00001.jpg"),
            ("a cat", "00003.jpg", "00002.jpg"),
            ("a dög, at night", "00005.jpg", "00004.jpg"),
        ],
        key=repr,
    )
    assert {(row["caption"], row["num_example_per_prompt"]) for row in rows} == {
        ("a cat", 2),
        ("a dög, at night", 1),
    }
    assert {row["user_id"] for row in rows} == {-1}
    assert len({row["ranking_id"] for row in rows}) == 3
    assert load(tmp_path / "out").splits == ("train",)


def test_of_more_than_two_hpdv2_images_only_the_best_is_judged(tmp_path):
    entry = {"human_preference": [0, 1, 0], "prompt": "a cat", "image_path": ["0.jpg", "1.jpg", "2.jpg"]}
    rows = converted("hpdv2", written(tmp_path / "train.json", [entry]), tmp_path / "out")
    assert judgements(rows) == [("a cat", "1.jpg", "0.jpg"), ("a cat", "1.jpg", "2.jpg")]


def test_hpdv2_rankings_average_or_of_every_annotator(tmp_path):
    path = written(tmp_path / "test.json", HPDV2_TEST)
    rows = converted("hpdv2", path, tmp_path / "average")
    expected = [
        pair for item in HPDV2_TEST for pair in by_hand(item["prompt"], item["image_path"], item["rank"])
    ]
    assert judgements(rows) == sorted(expected, key=repr)
    assert [row["label_0"] for row in rows if row["caption"] == "a dog"] == [0.5]
    assert load(tmp_path / "average").splits == ("test",)

    rows = converted("hpdv2", path, tmp_path / "all", annotators=True)
    expected = [
        pair
        for item in HPDV2_TEST
        for annotation in item["raw_annotations"]
        for pair in by_hand(
            item["prompt"], item["image_path"], annotation.get("annotation", annotation.get("rank"))
        )
    ]
    assert judgements(rows) == sorted(expected, key=repr)
    users = {row["user_id"] for row in rows if row["caption"] == "a cat"}
    assert len(users) == 2
    assert {row["user_id"] for row in rows if row["caption"] == "a dog"} < users
    assert all(0 < user < 2**53 for user in users)
    assert "annotators ranked it" in (tmp_path / "all" / "README.md").read_text()


def test_hpdv3_prefers_path1_and_knows_models(tmp_path):
    rows = converted("hpdv3", written(tmp_path / "all.json", HPDV3), tmp_path / "out")
    assert judgements(rows) == [
        ("a cat", "images/u1.jpg", "images/u2.jpg"),
        ("a dog", "images/u3.jpg", "images/u1.jpg"),
        ("a dog", "images/u4.jpg", "images/u5.jpg"),
    ]
    models = {row[f"image_{side}_uid"]: row[f"model_{side}"] for row in rows for side in (0, 1)}
    assert (models["images/u2.jpg"], models["images/u3.jpg"]) == ("infinity", "midjourney")
    assert models["images/u4.jpg"] == "unknown"
    assert load(tmp_path / "out").splits == ("train",)


def test_the_preferred_image_is_not_always_on_the_same_side(tmp_path):
    many = [{"prompt": f"p{i}", "path1": f"{i}a.jpg", "path2": f"{i}b.jpg"} for i in range(400)]
    rows = converted("hpdv3", written(tmp_path / "train.json", many), tmp_path / "out")
    left = sum(row["label_0"] for row in rows)
    assert abs(left - 200) < 4 * 10  # four standard deviations
    assert all(row["best_image_uid"].endswith("a.jpg") for row in rows)


@pytest.mark.parametrize(
    "kind", ["metadata-test.parquet", "metadata-test.csv", "test_rows.json", "test.json"]
)
def test_imagereward_in_every_layout(kind, tmp_path):
    path, rows = tmp_path / kind, imagereward_rows()
    if kind.endswith("parquet"):
        pl.DataFrame(rows).with_columns(pl.lit(0).alias("__index_level_0__")).write_parquet(path)
    elif kind.endswith("csv"):
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    else:
        written(path, IMAGEREWARD_TEST if kind == "test.json" else rows)
    found = converted("imagerewarddb", path, tmp_path / "out")
    expected = [
        pair
        for item in IMAGEREWARD_TEST
        for pair in by_hand(item["prompt"], item["generations"], item["ranking"])
    ]
    assert judgements(found) == sorted(expected, key=repr)
    assert len(found) == 6 + 15
    assert sum(row["label_0"] == 0.5 for row in found) == 2
    assert {row["num_example_per_prompt"] for row in found} == {6, 15}
    assert load(tmp_path / "out").splits == ("test",)


def test_the_same_judgement_has_the_same_number_in_every_file(tmp_path):
    """Whatever the order and layout, so that sets can be compared by it; said twice it is two rows."""
    one = converted("imagerewarddb", written(tmp_path / "test.json", IMAGEREWARD_TEST), tmp_path / "one")
    pl.DataFrame(imagereward_rows()[::-1]).write_parquet(tmp_path / "metadata-test.parquet")
    other = converted("imagerewarddb", tmp_path / "metadata-test.parquet", tmp_path / "other")
    key = ("ranking_id", "image_0_uid", "image_1_uid", "label_0")
    assert {tuple(row[k] for k in key) for row in one} == {tuple(row[k] for k in key) for row in other}
    assert all(0 <= row["ranking_id"] < 2**53 for row in one)
    twice = converted("hpdv3", written(tmp_path / "train.json", [HPDV3[0], HPDV3[0]]), tmp_path / "twice")
    assert len({row["ranking_id"] for row in twice}) == 2


def encoded(kind, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    file = io.BytesIO()
    options = {"lossless": True} if kind == "WEBP" else {}
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue(), pixels


def test_images_are_stored_as_they_are_or_as_png(tmp_path):
    (tmp_path / "images").mkdir()
    jpeg, _ = encoded("JPEG", 0)
    webp, pixels = encoded("WEBP", 1)
    (tmp_path / "images" / "u1.jpg").write_bytes(jpeg)
    (tmp_path / "images" / "u2.jpg").write_bytes(webp)  # whatever the name says
    path = written(tmp_path / "train.json", [HPDV3[0]])
    given = source("hpdv3", path, tmp_path)
    convert(given, tmp_path / "out", survey(given))
    assert verify(tmp_path / "out") == []
    row = read(tmp_path / "out").to_pylist()[0]
    stored = {row[f"image_{side}_uid"]: row[f"jpg_{side}"] for side in (0, 1)}
    assert stored["images/u1.jpg"] == jpeg
    again = Image.open(io.BytesIO(stored["images/u2.jpg"]))
    assert again.format == "PNG"
    np.testing.assert_array_equal(np.asarray(again), pixels)


@pytest.fixture
def with_faults(tmp_path):
    """Three pairs; one image is missing, another is no image."""
    (tmp_path / "images").mkdir()
    for number in (1, 2, 3):
        (tmp_path / "images" / f"u{number}.jpg").write_bytes(encoded("JPEG", number)[0])
    (tmp_path / "images" / "u4.jpg").write_bytes(b"not an image")
    fourth = {"prompt": "a dog", "path1": "images/u3.jpg", "path2": "images/u2.jpg"}
    return written(tmp_path / "train.json", [*HPDV3, fourth])


@pytest.fixture
def run(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as left:
            main(["dataset", "convert", *map(str, arguments)])
        streams = capsys.readouterr()
        return left.value.code or 0, streams.out, streams.err

    return call


def test_a_missing_image_stops_or_is_left_out(run, with_faults, tmp_path):
    command = ("hpdv3", with_faults, "--images", tmp_path, "--out", tmp_path / "out", "--json")
    code, _, err = run(*command)
    assert code == 1
    assert "train.json, entry 2: the image 'images/u4.jpg'" in err
    assert not (tmp_path / "out").exists()
    code, out, _ = run(*command, "--on-error", "skip")
    assert code == 0
    found = json.loads(out)
    assert found["rows"] == {"train": 3}
    assert found["left_out"] == [{"reason": "an image is missing or cannot be read", "count": 1}]
    assert verify(tmp_path / "out") == []
    counts = {row["caption"]: row["num_example_per_prompt"] for row in read(tmp_path / "out").to_pylist()}
    assert counts == {"a cat": 1, "a dog": 2}  # of the rows that are there
    code, out, _ = run(*command, "--on-error", "skip", "--overwrite", "--split", "mine")
    assert json.loads(out)["rows"] == {"mine": 3}


def test_a_path_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "secret.jpg").write_bytes(encoded("JPEG", 0)[0])
    for name in ("../secret.jpg", str(tmp_path / "secret.jpg")):
        path = written(tmp_path / "train.json", [{"prompt": "a", "path1": name, "path2": "x.jpg"}])
        given = source("hpdv3", path, tmp_path / "images")
        with pytest.raises(InputError, match="leads out of the folder of images"):
            convert(given, tmp_path / "out", survey(given))


def test_an_image_beside_itself_is_no_pair(tmp_path):
    same = {"prompt": "a cat", "path1": "u.jpg", "path2": "u.jpg"}
    given = source("hpdv3", written(tmp_path / "train.json", [same, HPDV3[0]]))
    assert (
        convert(given, tmp_path / "out", survey(given)).left_out[0].reason == "the same image on both sides"
    )
    given = source("hpdv3", written(tmp_path / "train.json", [same]))
    with pytest.raises(InputError, match=r"no pair of images to convert \(1 left out\)"):
        survey(given)


FAULTS = [
    ("hpdv3", [{**HPDV3[0], "prompt": ""}], "entry 0: 'prompt' is '', not a text"),
    ("hpdv3", [HPDV3[0], {"promt": "a", "path1": "b"}], "entry 1: has no key 'prompt'; did you mean 'promt'"),
    ("hpdv3", [{**HPDV3[0], "modl1": "flux"}], "unknown key 'modl1'; did you mean 'model1'.*--ignore modl1"),
    ("hpdv3", [["path1"]], r"entry 0: is \['path1'\], not an object"),
    ("hpdv2", [{"prompt": "a", "rank": [1, 2]}], "has no key 'file_path' or 'image_path'"),
    ("hpdv2", [{**HPDV2_TRAIN[0], "human_preference": [1]}], "not a list of 2 numbers, one for each image"),
    ("hpdv2", [{**HPDV2_TRAIN[0], "human_preference": ["1", 0]}], "not a list of 2 numbers"),
    ("hpdv2", [{**HPDV2_TRAIN[0], "file_path": ["a.jpg"]}], "not a list of two texts or more"),
    ("hpdv2", [{"prompt": "a", "file_path": ["a", "b"]}], "has no key 'rank'"),
    ("imagerewarddb", [{**IMAGEREWARD_TEST[0], "ranking": [1, 2, 3]}], "not a list of 4 numbers"),
    ("imagerewarddb", [*imagereward_rows(), {**imagereward_rows()[0], "prompt": "b"}], "entry 10: its prompt is"),
    ("imagerewarddb", [{**imagereward_rows()[0], "rank": None}], "'rank' is .None., not a number"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "content", "message"), FAULTS)
def test_what_is_wrong_is_said_with_its_place(kind, content, message, tmp_path):
    path = written(tmp_path / "train.json", content)
    with pytest.raises(InputError, match=message) as caught:
        survey(source(kind, path))
    assert str(path) in str(caught.value)


def test_unknown_keys_can_be_left_aside_and_raw_annotations_are_needed_for_annotators(run, tmp_path):
    path = written(tmp_path / "train.json", [{**HPDV2_TRAIN[0], "num_per_prompt": 3}])
    assert "--ignore num_per_prompt" in run("hpdv2", path, "--out", tmp_path / "out")[2]
    assert run("hpdv2", path, "--out", tmp_path / "out", "--ignore", "num_per_prompt")[0] == 0
    path = written(
        tmp_path / "test.json", [{k: v for k, v in HPDV2_TEST[0].items() if k != "raw_annotations"}]
    )
    code, _, err = run("hpdv2", path, "--out", tmp_path / "all", "--annotators")
    assert code == 1
    assert "has no list 'raw_annotations'; without --annotators its 'rank' is taken" in err
    bad = {**HPDV2_TEST[0], "raw_annotations": [{"annotation": [1, 2, 3]}]}
    code, _, err = run("hpdv2", written(path, [bad]), "--out", tmp_path / "all", "--annotators")
    assert "raw_annotations[0] is" in err


def test_files_and_formats_that_are_not_there(run, tmp_path):
    assert run("hpdv3", tmp_path / "nothing.json", "--out", tmp_path / "out")[0] == 1
    assert run("hpdv4", tmp_path / "nothing.json", "--out", tmp_path / "out")[0] == 2
    with pytest.raises(InputError, match="no format 'hpdv4'; did you mean 'hpdv"):
        source("hpdv4", tmp_path / "x")
    with pytest.raises(InputError, match="there is no folder"):
        source("hpdv3", tmp_path / "x", tmp_path / "nowhere")
    (tmp_path / "a.parquet").write_bytes(b"no table")
    with pytest.raises(InputError, match="cannot be read as parquet"):
        survey(source("imagerewarddb", tmp_path / "a.parquet"))
    assert set(FORMATS) == {"hpdv2", "hpdv3", "imagerewarddb"}


def test_entries_are_those_of_json_whatever_the_pieces(tmp_path, monkeypatch):
    content = [{"a": [1, "]", "[", {"b": 'ü"\\'}], "n": i} for i in range(50)]
    for text in (json.dumps(content), json.dumps(content, indent=4), "\n".join(map(json.dumps, content))):
        (tmp_path / "a.json").write_text(text, encoding="utf-8")
        for size in (1, 7, 64, 2**20):
            monkeypatch.setattr("pickapic.dataset.foreign.READ_AT_ONCE", size)
            assert [entry for _, entry in entries(tmp_path / "a.json")] == content
    whole = json.dumps(content)
    for cut in (len(whole) // 2, len(whole) - 1):
        (tmp_path / "a.json").write_text(whole[:cut])
        with pytest.raises(InputError, match="is not JSON"):
            list(entries(tmp_path / "a.json"))
    (tmp_path / "a.json").write_text("")
    assert list(entries(tmp_path / "a.json")) == []
    (tmp_path / "a.json").write_bytes(b"[\xff]")
    with pytest.raises(InputError, match="not text in UTF-8"):
        list(entries(tmp_path / "a.json"))


def test_the_split_is_in_the_name(tmp_path):
    names = {
        "metadata-validation.parquet": "validation",
        "test.json": "test",
        "train_7.json": "train",
        "all.json": "train",
    }
    assert {name: split_of(tmp_path / name) for name in names} == names


def test_a_conversion_that_was_stopped_goes_on_without_reading_images_again(tmp_path, monkeypatch):
    """40 rankings of 4 images, 6 pairs each; a stop falls into the middle of one ranking's pairs."""
    images = tmp_path / "images"
    images.mkdir()
    for number in range(160):
        (images / f"{number:03d}.jpg").write_bytes(encoded("JPEG", number)[0])
    content = [
        {
            "id": f"{i:06d}-0000",
            "prompt": f"prompt {i % 7}",
            "generations": [f"{4 * i + j:03d}.jpg" for j in range(4)],
            "ranking": [1, 2, 2, 3],
        }
        for i in range(40)
    ]
    given = source("imagerewarddb", written(tmp_path / "test.json", content), images)
    found = survey(given)
    assert found.pairs == 240
    monkeypatch.setattr("pickapic.dataset.write.ROW_GROUP_ROWS", 40)
    monkeypatch.setattr("pickapic.dataset.convert.ROWS_AT_ONCE", 40)
    whole = convert(given, tmp_path / "whole", found, shard_bytes=1)
    assert [shard.rows for shard in whole.shards] == [40] * 6

    def stop(count, done=[0]):  # noqa: B006  (a counter)
        done[0] += count
        if done[0] >= 165:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(given, tmp_path / "out", found, shard_bytes=1, on_progress=stop)
    for number in range(96):  # those of the first 24 rankings, 144 pairs: written, and not needed any more
        (images / f"{number:03d}.jpg").unlink()
    assert convert(given, tmp_path / "out", found, shard_bytes=1) == whole
    for shard in whole.shards:
        assert (tmp_path / "out" / shard.path).read_bytes() == (tmp_path / "whole" / shard.path).read_bytes()
    with pytest.raises(InputError, match="is there already"):
        convert(given, tmp_path / "out", found, shard_bytes=2)
