import json

import pytest
from dataset_examples import make, replace

from pickapic.cli.app import main
from pickapic.dataset.manifest import load
from pickapic.dataset.read import read
from pickapic.dataset.stats import stats
from pickapic.dataset.write import write


@pytest.fixture
def folder(tmp_path):
    table = make([f"p{i % 50}" for i in range(300)], [i % 50 for i in range(300)], images=True)
    write(tmp_path / "picks", {"train": table})
    return tmp_path / "picks"


@pytest.fixture
def run(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        streams = capsys.readouterr()
        return left.value.code or 0, streams.out, streams.err

    return call


def test_stats(run, folder):
    code, out, _ = run("dataset", "stats", folder, "--json")
    found = json.loads(out)["train"]
    counted = stats(read(folder))
    assert code == 0
    assert (found["rows"], found["ties"], found["models"][0]["shown"]) == (300, 100, counted.models[0].shown)
    code, out, _ = run("dataset", "stats", folder)
    assert code == 0
    assert "300" in out
    assert "model-2" in out


def test_check_leaves_with_one_on_faults(run, folder, tmp_path):
    code, out, _ = run("dataset", "check", folder)
    assert (code, out) == (0, "nothing wrong: train 300 rows\n")
    bad = replace(read(folder), "label_0", [0.3] * 300)
    write(tmp_path / "bad", {"train": bad})
    code, out, _ = run("dataset", "check", tmp_path / "bad", "--json")
    assert code == 1
    assert any("0.3 is not 0, 0.5 or 1" in fault for fault in json.loads(out)["faults"])


def test_split_and_card(run, folder, tmp_path):
    code, out, _ = run("dataset", "split", folder, tmp_path / "out", "--prompts", 10, "--seed", 5, "--json")
    assert code == 0
    assert json.loads(out)["rows"]["test_unique"] == 5
    assert read(tmp_path / "out", split="validation_unique").num_rows == 5
    code, _, err = run("dataset", "split", folder, tmp_path / "out", "--prompts", 10)
    assert code == 1
    assert "is there already" in err
    code, out, _ = run("dataset", "card", tmp_path / "out", "--title", "Hats", "--license", "mit")
    assert code == 0
    assert load(tmp_path / "out").about.licence == "mit"
    assert 'license: "mit"' in (tmp_path / "out" / "README.md").read_text()
    assert "# Hats" in (tmp_path / "out" / "README.md").read_text()


def test_too_few_people_is_one_clear_line(run, folder, tmp_path):
    code, out, err = run("dataset", "split", folder, tmp_path / "out")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("error: holding out 1,000 prompts takes 1,000 different people")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("method", ["elo", "bradley-terry"])
def test_ratings(run, folder, method):
    code, out, _ = run("ratings", folder, "--method", method, "--resamples", 50, "--json")
    found = json.loads(out)
    assert code == 0
    assert [model["model"] for model in found["models"]] == ["model-0", "model-1", "model-2"]
    assert found["judge"] == "people"
    code, out, _ = run("ratings", folder, "--method", method, "--resamples", 50)
    assert code == 0
    assert method in out


def test_wrong_usage_leaves_with_two(run, folder):
    assert run("ratings", folder, "--method", "glicko")[0] == 2
    assert run("dataset", "stats")[0] == 2
    code, _, err = run("ratings", folder / "nowhere")
    assert code == 1
    assert "there is no file or folder" in err
