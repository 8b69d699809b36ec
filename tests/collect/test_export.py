import json
from datetime import timedelta

import obstore
import pyarrow.parquet as pq
import pytest
from collection import START, Collection
from sqlalchemy import delete, update

from pickapic.cli.app import main
from pickapic.collect.export import anonymous_id, count_picks, estimate_picks, export
from pickapic.collect.tables import rounds
from pickapic.dataset.manifest import LeftOut, damage, load
from pickapic.dataset.read import read
from pickapic.dataset.schema import require
from pickapic.dataset.split import paper_split
from pickapic.dataset.write import write
from pickapic.records import InputError
from pickapic.storage.blobs import path_of

SECRET = "a secret of forty characters, more or less"


@pytest.fixture
def collection(tmp_path):
    made = Collection(tmp_path)
    for user in range(6):
        made.add([f"a duck in hat {user}", "a prompt that all type"], skip_every=7)
    return made


def run(collection, out, **options):
    return export(collection.database_url, collection.images_url, out, secret=SECRET, **options)


def by_id(table):
    return {row["ranking_id"]: row for row in table.to_pylist()}


def expected_row(pick, examples):
    left, right = pick["left"], pick["right"]
    label = {"left": 1.0, "right": 0.0, "tie": 0.5}[pick["pick"]]
    return {
        "are_different": True,
        "best_image_uid": {1.0: left["uid"], 0.0: right["uid"]}.get(label, "none"),
        "caption": pick["caption"],
        "created_at": pick["picked_at"].replace(tzinfo=None),
        "has_label": True,
        "image_0_uid": left["uid"],
        "image_0_url": "",
        "image_1_uid": right["uid"],
        "image_1_url": "",
        "jpg_0": left["data"],
        "jpg_1": right["data"],
        "label_0": label,
        "label_1": 1 - label,
        "model_0": left["model"],
        "model_1": right["model"],
        "ranking_id": pick["ranking_id"],
        "user_id": anonymous_id(SECRET, pick["user"]),
        "num_example_per_prompt": examples,
    }


def expected(collection):
    counts = {}
    for pick in collection.expected:
        counts[pick["caption"]] = counts.get(pick["caption"], 0) + 1
    return {pick["ranking_id"]: expected_row(pick, counts[pick["caption"]]) for pick in collection.expected}


def test_every_pick_is_a_row_with_its_images(collection, tmp_path):
    done = run(collection, tmp_path / "out")
    table = read(tmp_path / "out")
    assert by_id(table) == expected(collection)
    require(table, images=True)
    assert done.rows == done.added == table.num_rows == count_picks(collection.database_url)
    assert estimate_picks(collection.database_url) == done.rows
    assert done.left_out == (LeftOut("the round was skipped", 6),)
    assert damage(tmp_path / "out") == []
    assert "| the round was skipped | 6 |" in (tmp_path / "out" / "README.md").read_text()
    assert paper_split(table, n_prompts=4)["test_unique"].num_rows == 2


def test_user_ids_are_stable_and_say_nothing(collection, tmp_path):
    run(collection, tmp_path / "out")
    ids = set(read(tmp_path / "out", columns=["user_id"])["user_id"].to_pylist())
    assert len(ids) == 6
    assert all(2**20 < number < 2**53 for number in ids)
    assert ids == {anonymous_id(SECRET, user) for user in range(1, 7)}
    assert not ids & {anonymous_id("another secret", user) for user in range(1, 7)}


def test_progress_adds_up(collection, tmp_path):
    steps = []
    run(collection, tmp_path / "out", on_progress=steps.append)
    assert sum(steps) == count_picks(collection.database_url)
    steps.clear()
    collection.add(["one more"])
    run(collection, tmp_path / "out", on_progress=steps.append)
    assert sum(steps) == count_picks(collection.database_url)


def test_an_update_equals_a_full_export_and_fetches_only_new_images(collection, tmp_path):
    run(collection, tmp_path / "out")
    for key in {pick[side]["sha256"] for pick in collection.expected for side in ("left", "right")}:
        obstore.delete(collection.store, path_of(key))  # whoever fetches an old image misses it
    collection.add(["a duck in hat 3", "brand new"])
    done = run(collection, tmp_path / "out")
    assert (done.added, done.removed) == (8, 0)
    assert done.left_out == (LeftOut("the round was skipped", 6),)
    assert by_id(read(tmp_path / "out")) == expected(collection)
    again = run(collection, tmp_path / "out")
    assert (again.added, again.removed, again.fingerprint) == (0, 0, done.fingerprint)


def test_undone_changed_and_deleted_picks_are_corrected(collection, tmp_path):
    run(collection, tmp_path / "out")
    undone, changed, gone = (collection.expected[i] for i in (1, 5, 9))
    later = changed["picked_at"] + timedelta(seconds=2)

    def change(connection):
        connection.execute(
            update(rounds)
            .where(rounds.c.id == undone["ranking_id"])
            .values(state="open", pick=None, picked_at=None)
        )
        other = {"left": "right", "right": "tie", "tie": "left"}[changed["pick"]]
        connection.execute(
            update(rounds).where(rounds.c.id == changed["ranking_id"]).values(pick=other, picked_at=later)
        )
        connection.execute(delete(rounds).where(rounds.c.id == gone["ranking_id"]))
        return other

    changed["pick"] = collection.write(change)
    changed["picked_at"] = later
    for pick in (undone, gone):
        collection.expected.remove(pick)
    done = run(collection, tmp_path / "out")
    assert (done.added, done.removed) == (1, 3)
    assert by_id(read(tmp_path / "out")) == expected(collection)


def test_only_picks_since_a_time(collection, tmp_path):
    border = collection.expected[20]["picked_at"]
    done = run(collection, tmp_path / "out", since=border.replace(tzinfo=None))
    late = [pick for pick in collection.expected if pick["picked_at"] >= border]
    collection.expected = late
    assert done.rows == len(late) == count_picks(collection.database_url, border)
    assert by_id(read(tmp_path / "out")) == expected(collection)
    with pytest.raises(InputError, match="there are no picks to export since"):
        run(collection, tmp_path / "none", since=START + timedelta(days=9))
    assert not (tmp_path / "none").exists()


def test_a_lost_image_costs_its_rows_and_is_counted(collection, tmp_path):
    lost = collection.expected[3]["left"]
    obstore.delete(collection.store, path_of(lost["sha256"]))
    done = run(collection, tmp_path / "out")
    without = [p for p in collection.expected if lost["uid"] not in (p["left"]["uid"], p["right"]["uid"])]
    assert done.rows == len(without)
    assert (
        LeftOut("an image is missing from the store", len(collection.expected) - len(without))
        in done.left_out
    )
    assert set(by_id(read(tmp_path / "out"))) == {pick["ranking_id"] for pick in without}


def test_twins_are_marked(tmp_path):
    collection = Collection(tmp_path)
    collection.add(["a"], rounds_each=1)
    collection.write(lambda c: c.execute(update(rounds).values(right_image_id=rounds.c.left_image_id)))
    run(collection, tmp_path / "out")
    assert read(tmp_path / "out")["are_different"].to_pylist() == [False]


def test_images_lie_in_small_row_groups(tmp_path):
    collection = Collection(tmp_path)
    collection.add([f"p{i}" for i in range(75)])
    run(collection, tmp_path / "out")
    metadata = pq.read_metadata(tmp_path / "out" / "data" / "train-00000-of-00001.parquet")
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [256, 44]


def test_what_cannot_be_exported_is_explained(collection, tmp_path):
    with pytest.raises(InputError, match=r"there is no database .*nowhere\.db"):
        export(f"sqlite:///{tmp_path}/nowhere.db", collection.images_url, tmp_path / "out", secret=SECRET)
    assert not (tmp_path / "nowhere.db").exists()
    empty = Collection(tmp_path / "empty") if (tmp_path / "empty").mkdir() is None else None
    with pytest.raises(InputError, match="there are no picks to export"):
        run(empty, tmp_path / "out")
    (tmp_path / "blank.db").touch()
    with pytest.raises(InputError, match="the database is empty"):
        export(f"sqlite:///{tmp_path}/blank.db", collection.images_url, tmp_path / "out", secret=SECRET)


def test_only_an_export_is_updated_or_replaced(collection, tmp_path):
    out = tmp_path / "out"
    run(collection, out)
    splits = paper_split(read(out), n_prompts=4)
    write(tmp_path / "splits", splits)
    for options in ({}, {"full": True}):
        with pytest.raises(InputError, match="is a dataset, but no export"):
            run(collection, tmp_path / "splits", **options)
    assert read(tmp_path / "splits", split="train").equals(splits["train"])
    with pytest.raises(InputError, match="already; to write only later picks"):
        run(collection, out, since=START)
    with pytest.raises(InputError, match="made with another secret key"):
        export(collection.database_url, collection.images_url, out, secret="another" * 9)
    export(collection.database_url, collection.images_url, out, secret="another" * 9, full=True)
    assert load(out).rows() == len(collection.expected)


def test_the_command_exports_updates_and_reports(tmp_path, monkeypatch, capsys):
    home = tmp_path / "home"
    home.mkdir()
    collection = Collection(home)
    collection.add(["a duck", "a hat"])
    monkeypatch.setenv("PICKAPIC_HOME", str(home))
    monkeypatch.setenv("PICKAPIC_SECRET_KEY", SECRET)
    with pytest.raises(SystemExit) as left:
        main(["export", str(tmp_path / "out"), "--title", "Hats", "--license", "mit", "--json"])
    assert not left.value.code
    assert json.loads(capsys.readouterr().out)["rows"] == 8
    assert by_id(read(tmp_path / "out")) == expected(collection)
    assert load(tmp_path / "out").about.title == "Hats"
    collection.add(["a third"])
    with pytest.raises(SystemExit) as left:
        main(["export", str(tmp_path / "out")])
    assert not left.value.code
    assert "12 picks" in capsys.readouterr().out
    with pytest.raises(SystemExit) as left:
        main(["export", str(tmp_path / "late"), "--since", "2030-01-01"])
    assert left.value.code == 1
    assert "there are no picks to export since 2030-01-01" in capsys.readouterr().err


def test_without_images_the_rows_are_the_same(collection, tmp_path):
    out = tmp_path / "rows"
    done = run(collection, out, images=False)
    run(collection, tmp_path / "whole")
    whole = read(tmp_path / "whole")
    assert read(out).equals(whole.drop_columns(["jpg_0", "jpg_1"]))
    assert done.rows == whole.num_rows
    assert "`jpg_0` and `jpg_1` were left out" in (out / "README.md").read_text()
    assert "The images are not in it" not in (tmp_path / "whole" / "README.md").read_text()
    collection.add(["one more"])
    again = run(collection, out, images=False)
    assert (again.added, again.removed) == (4, 0)
    assert by_id(read(out)) == {
        key: {name: value for name, value in row.items() if not name.startswith("jpg")}
        for key, row in expected(collection).items()
    }
    with pytest.raises(InputError, match="was written without images"):
        run(collection, out)
    with pytest.raises(InputError, match="was written with images"):
        run(collection, tmp_path / "whole", images=False)
    assert run(collection, out, full=True).rows == again.rows


def test_without_images_none_is_fetched(collection, tmp_path):
    for key in {pick[side]["sha256"] for pick in collection.expected for side in ("left", "right")}:
        obstore.delete(collection.store, path_of(key))
    done = run(collection, tmp_path / "rows", images=False)
    assert done.rows == len(collection.expected)
    assert done.left_out == (LeftOut("the round was skipped", 6),)
