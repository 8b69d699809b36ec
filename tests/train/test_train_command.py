"""`pickapic train` as people call it: results, resuming, publishing, and what it says when something is wrong."""

import json
import subprocess
import sys

import pytest
from hub_server import TOKEN, online, running
from typer.testing import CliRunner

from pickapic.cli import app
from pickapic.train import loop
from pickapic.train.config import load_config
from pickapic.train.provenance import load_provenance
from pickapic.train.trackers import read_metrics

TRAIN = loop.train


@pytest.fixture(scope="module")
def config(tiny_clip, brightness, tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "short.toml"
    path.write_text(
        f'data = "{brightness}"\nmodel = "{tiny_clip}"\nsteps = 6\nbatch_size = 8\nlr = 1e-3\nwarmup_steps = 1\n'
        'validate_every = 3\nvalidation_limit = 20\nprecision = "float32"\nthreads = 1\n'
    )
    return path


def run(*arguments):
    return CliRunner().invoke(app.make_app(), ["train", *map(str, arguments)])


def failure(*arguments):
    with pytest.raises(SystemExit) as left:
        app.main(["train", *map(str, arguments)])
    return left.value.code


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "out"
    result = run(config, "--set", f"out={out}", "--json")
    assert result.exit_code == 0, result.output
    return out, json.loads(result.stdout), result.stderr


def test_the_result_is_json_and_the_progress_is_not_in_it(finished):
    out, result, said = finished
    assert result["folder"] == str(out / "best")
    assert [report["step"] for report in result["reports"]] == [1, 2, 3, 4, 5, 6]
    assert result["best_step"] in (3, 6)
    assert result["address"] is None
    assert "step 3: validation loss" in said
    assert "(best)" in said


def test_the_run_is_recorded_beside_the_checkpoint_and_in_its_card(finished, config):
    out, result, _ = finished
    assert load_provenance(out).config["lr"] == 1e-3
    lines = read_metrics(out)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert {"loss", "lr", "grad_norm", "examples_per_second", "waiting_share", "mfu"} <= set(lines[0])
    assert 0 < lines[-1]["mfu"] < 1
    assert 0 <= lines[-1]["waiting_share"] < 1
    assert lines[2]["validation_accuracy"] == result["reports"][2]["validation"]["accuracy"]
    card = (out / "best" / "README.md").read_text()
    assert f"Step {result['best_step']} of 6" in card


@pytest.mark.slow
def test_a_run_goes_on_from_its_folder_alone(finished, config, tmp_path):
    _, whole, _ = finished
    out = tmp_path / "out"
    stopped = []

    def interrupt(config, on_step, resume):
        def until_four(report):
            on_step(report)
            if report.step == 4:
                stopped.append(report.step)
                raise KeyboardInterrupt

        return TRAIN(config, until_four, resume)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train", interrupt)
        result = run(config, "--set", f"out={out}")
    assert stopped == [4]
    assert result.exit_code == 130
    assert "interrupted after step 4" in result.stderr
    assert f"pickapic train --resume {out}" in result.stderr
    again = run("--resume", out, "--json")
    assert again.exit_code == 0, again.output
    reports = json.loads(again.stdout)["reports"]
    assert [report["step"] for report in reports] == [4, 5, 6]
    assert [report["loss"] for report in reports] == [report["loss"] for report in whole["reports"][3:]]
    assert [line["step"] for line in read_metrics(out)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_the_best_checkpoint_is_published_under_its_name(config, tmp_path):
    command = [sys.executable, "-m", "pickapic", "train", str(config), "--push-to-hub", "ducks/scorer"]
    with running() as (hub, address):
        found = subprocess.run(
            [*command, "--set", f"out={tmp_path / 'out'}", "--set", "steps=3"],
            env=online(address, tmp_path),
            capture_output=True,
            text=True,
        )
        assert found.returncode == 0, found.stderr
        assert f"uploaded: {address}/ducks/scorer" in found.stdout
        files = hub.repositories["ducks/scorer"]
        assert {
            "README.md",
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "preprocessor_config.json",
        } <= set(files)
        assert 'load_scorer("pickscore", model="ducks/scorer")' in files["README.md"].decode()
        assert TOKEN not in "".join(file.read_text() for file in (tmp_path / "out").glob("*.json*"))


def test_a_hub_that_refuses_stops_the_run_before_it_begins(config, tmp_path, capsys):
    assert failure(config, "--set", f"out={tmp_path / 'out'}", "--push-to-hub", "nothing") == 1
    assert "write owner/name" in capsys.readouterr().err
    assert (
        failure(config, "--set", f"out={tmp_path / 'out'}", "--push-to-hub", "ducks/scorer") == 1
    )  # offline
    assert "the hub does not let us write to ducks/scorer" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a configuration"),
        (["--resume", "nowhere"], "no training run was started there"),
        (["--resume", "nowhere", "--set", "lr=1"], "name its configuration too"),
        (["miniatur"], "miniature"),
        (["miniature", "--set", "stps=3"], "unknown key 'stps'"),
        (["miniature", "--set", 'trackers=["wandbb"]'], "'wandbb' is unknown; did you mean"),
    ],
)
def test_wrong_wishes_get_an_answer(arguments, message, capsys):
    assert failure(*arguments) == 1
    assert message in capsys.readouterr().err


def test_the_other_processes_print_nothing(config, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("RANK", "1")
    calls = []

    def train(config, on_step, resume):
        calls.append(config.out)

    monkeypatch.setattr(loop, "train", train)
    result = run(config, "--set", f"out={tmp_path / 'out'}", "--json", "--push-to-hub", "ducks/scorer")
    assert result.exit_code == 0, result.output
    assert calls == [str(tmp_path / "out")]
    assert result.output == ""


def test_a_folder_that_reads_as_a_number_is_still_a_folder(config, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    found = []
    monkeypatch.setattr(loop, "train", lambda config, on_step, resume: found.append((config, resume)))
    monkeypatch.setenv("RANK", "1")
    assert run(config, "--resume", "2026", "--set", "threads=2").exit_code == 0
    assert found == [(load_config(config, ['out="2026"', "threads=2"]), True)]
