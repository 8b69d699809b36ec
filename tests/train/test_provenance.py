"""Where a checkpoint comes from: configuration, dataset, versions, commit; written whole and read back."""

import json
import platform
import shutil
import subprocess
from dataclasses import asdict
from importlib.metadata import version

import pyarrow.parquet as pq
import pytest

from pickapic.dataset.hub import revision
from pickapic.dataset.manifest import load
from pickapic.dataset.read import fingerprint_of, locate
from pickapic.dataset.shard_plan import plan_shards
from pickapic.dataset.shard_writer import ShardWriter
from pickapic.model.preprocess import ImageTransform
from pickapic.records import InputError
from pickapic.train.config import TrainConfig, make_config
from pickapic.train.provenance import (
    GitState,
    Provenance,
    dataset_facts,
    git_state,
    load_provenance,
    provenance,
)


def git(folder, *arguments):
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments], cwd=folder, check=True)


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "file").write_text("one")
    git(folder, "add", "file")
    git(folder, "commit", "-qm", "first")
    return folder


def test_what_is_saved_is_read_back(brightness, tmp_path, monkeypatch, repository):
    monkeypatch.chdir(repository)
    config = TrainConfig(data=str(brightness), out=str(tmp_path), lr=3e-4, trackers=("tensorboard",))
    found = provenance(config, config.data, device="cpu", mfu_peak="1 TFLOP/s")
    path = found.save(tmp_path)
    again = load_provenance(tmp_path)
    assert make_config(again.config) == config
    assert again == Provenance(
        config={**asdict(config), "trackers": ["tensorboard"]},
        dataset=found.dataset,
        versions=found.versions,
        platform=found.platform,
        device="cpu",
        git=found.git,
        mfu_peak="1 TFLOP/s",
    )
    content = json.loads(path.read_text())
    assert content["config"]["lr"] == 3e-4
    assert content["versions"]["Python"] == platform.python_version()
    assert content["versions"]["torch"] == version("torch")
    assert {"pickapic", "transformers", "numpy", "pyarrow"} < set(content["versions"])
    assert content["dataset"]["splits"] == {"train": 320, "validation_unique": 80}
    assert content["git"]["dirty"] is False
    assert not list(tmp_path.glob(".run.json*"))


def test_our_own_folders_are_known_by_their_manifest(brightness):
    facts = dataset_facts(str(brightness))
    assert facts.fingerprint == f"manifest {load(brightness).fingerprint}"
    assert facts.splits == (("train", 320), ("validation_unique", 80))
    assert facts.licence == "other"


def test_other_folders_are_known_by_their_files_whenever_they_were_copied(brightness, tmp_path):
    files = sorted(brightness.glob("data/*.parquet"))
    copies = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        for file in files:
            shutil.copy(file, folder / file.name)  # with a new time
        copies.append(dataset_facts(str(folder)))
    assert copies[0].fingerprint == copies[1].fingerprint
    assert copies[0].fingerprint.startswith("files ")
    assert copies[0].splits == (("train", 320), ("validation_unique", 80))
    path = tmp_path / "b" / files[0].name
    pq.write_table(pq.read_table(path).slice(1), path)
    assert dataset_facts(str(tmp_path / "b")).fingerprint != copies[0].fingerprint


def test_shards_are_known_by_themselves_and_by_what_they_were_made_from(brightness, tmp_path):
    out = tmp_path / "shards"
    with ShardWriter(plan_shards(str(brightness), ImageTransform(size=32, crop=(32, 32))), out) as writer:
        manifest = writer.fill(1)
    facts = dataset_facts(str(out))
    assert facts.name == str(brightness)
    made_from = fingerprint_of(locate(brightness), ["train", "validation_unique"])
    assert facts.fingerprint == f"shards {manifest.fingerprint} of {made_from}"
    assert facts.splits == (("train", 320), ("validation_unique", 80))


def test_a_hub_that_cannot_be_asked_is_an_error_in_words():
    with pytest.raises(InputError, match=r"did not say which revision ducks/picks is at"):
        revision("ducks/picks")  # the tests are offline


def test_a_dataset_that_is_not_there_stops_the_run():
    with pytest.raises(InputError, match="there is no file or folder"):
        provenance(TrainConfig(), "nowhere/to/be/found")


def test_git_tells_commit_and_changes(repository):
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True
    ).stdout.strip()
    assert git_state(repository) == GitState(head, dirty=False)
    (repository / "file").write_text("two")
    assert git_state(repository) == GitState(head, dirty=True)


def test_without_a_repository_a_commit_or_git_itself_there_is_no_commit(tmp_path, repository, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    outside, empty = tmp_path / "outside", tmp_path / "empty"
    outside.mkdir()
    empty.mkdir()
    git(empty, "init", "-q")
    assert git_state(outside) is None
    assert git_state(empty) is None
    monkeypatch.setenv("PATH", str(outside))
    assert git_state(repository) is None


@pytest.mark.parametrize("text", ["{", "[]", '{"config": {}}', '{"config": {}, "dataset": 3, "git": null}'])
def test_a_foreign_run_json_is_refused(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InputError, match="is not what a training run writes"):
        load_provenance(tmp_path)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no training run was started there"):
        load_provenance(tmp_path)
