"""Trackers: JSON lines without a step twice, TensorBoard's files read back, Weights & Biases offline."""

import importlib.util
import json
import math

import pytest
import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto.wandb_internal_pb2 import Record

from pickapic.records import InputError
from pickapic.train.trackers import METRICS, TrackedRun, Trackers, check_trackers, read_metrics

BLOCK, HEADER = 32_768, 7


def values(step):
    return {"loss": 1 / 3 / step, "lr": 1e-5 * step}


def track(folder, steps, names=(), resumed_step=0, **run):
    with Trackers(names) as trackers:
        trackers.start(TrackedRun(folder, {"lr": 0.1, "steps": 9}, resumed_step=resumed_step, **run))
        for step in steps:
            trackers.log(step, values(step))


def records(path):
    """Yield the records of a .wandb file: LevelDB's log format, each a protobuf message (whole ones only)."""
    data = path.read_bytes()
    position = HEADER
    while position + HEADER <= len(data):
        if BLOCK - position % BLOCK < HEADER:
            position += BLOCK - position % BLOCK
            continue
        length, kind = int.from_bytes(data[position + 4 : position + 6], "little"), data[position + 6]
        assert kind == 1, "a record in pieces"
        yield Record.FromString(data[position + HEADER : position + HEADER + length])
        position += HEADER + length


def test_each_step_is_a_line_that_is_there_at_once_and_exact(tmp_path):
    with Trackers() as trackers:
        trackers.start(TrackedRun(tmp_path, {}))
        for step in (1, 2):
            trackers.log(step, values(step))
            assert read_metrics(tmp_path)[-1] == {"step": step, **values(step)}
    assert len((tmp_path / METRICS).read_text().splitlines()) == 2


def test_a_resumed_run_has_no_step_twice(tmp_path):
    track(tmp_path, range(1, 8))
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 8, "lo')  # killed while writing
    track(tmp_path, range(5, 10), resumed_step=4)
    assert [line["step"] for line in read_metrics(tmp_path)] == list(range(1, 10))


def test_a_run_that_begins_anew_begins_the_file_anew(tmp_path):
    track(tmp_path, range(1, 8))
    track(tmp_path, range(1, 3))
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2]
    assert [path.name for path in tmp_path.glob("*metrics*")] == [METRICS]


def test_what_json_has_no_number_for_is_null(tmp_path):
    with Trackers() as trackers:
        trackers.start(TrackedRun(tmp_path, {}))
        trackers.log(1, {"loss": math.nan, "grad_norm": math.inf})
    text = (tmp_path / METRICS).read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"step": 1, "loss": None, "grad_norm": None}


def test_no_metrics_is_an_empty_curve(tmp_path):
    assert read_metrics(tmp_path) == []


def test_tensorboard_reads_the_curve_back_and_a_resumed_one_has_no_step_twice(tmp_path):
    track(tmp_path, range(1, 8), ["tensorboard"])
    track(tmp_path, range(5, 10), ["tensorboard"], resumed_step=4)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    curve = events.Scalars("loss")
    assert [event.step for event in curve] == list(range(1, 10))
    assert [event.value for event in curve] == pytest.approx([values(step)["loss"] for step in range(1, 10)])
    assert set(events.Tags()["scalars"]) == {"loss", "lr"}
    text = events.Tensors("run/text_summary")[0].tensor_proto.string_val[0].decode()
    assert '"steps": 9' in text


@pytest.mark.slow
def test_weights_and_biases_writes_a_run_without_network_or_login(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    track(tmp_path, range(1, 4), ["wandb"], name="first try", project="ducks")
    wandb.teardown()  # its service writes on after a run has finished
    (record,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    run_id = (tmp_path / "wandb-run-id").read_text().strip()
    assert record.name == f"run-{run_id}.wandb"
    found = list(records(record))
    run = next(r.run for r in found if r.WhichOneof("record_type") == "run")
    assert (run.project, run.display_name, run.run_id) == ("ducks", "first try", run_id)
    assert {item.key: json.loads(item.value_json) for item in run.config.update}["steps"] == 9
    rows = [
        {
            ".".join([item.key, *item.nested_key]).strip("."): json.loads(item.value_json)
            for item in r.history.item
        }
        for r in found
        if r.WhichOneof("record_type") == "history"
    ]
    assert [(row["_step"], row["loss"], row["lr"]) for row in rows] == [
        (step, values(step)["loss"], values(step)["lr"]) for step in range(1, 4)
    ]
    # The run that goes on is the same one.
    track(tmp_path, range(3, 6), ["wandb"], resumed_step=2)
    assert (tmp_path / "wandb-run-id").read_text().strip() == run_id
    wandb.teardown()


def test_without_a_login_weights_and_biases_says_what_to_do(tmp_path, monkeypatch):
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nothing answers there
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(InputError, match=r"wandb login.*WANDB_MODE=offline"):
        track(tmp_path, [], ["wandb"])
    wandb.teardown()


def test_an_unknown_tracker_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"'tensorbord' is unknown.*tensorboard"):
        check_trackers(["tensorbord"])


def test_a_missing_package_is_named_with_what_brings_it(monkeypatch):
    monkeypatch.setattr("pickapic.train.trackers.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs the package 'wandb': pip install 'pickapic\[tracking\]'"):
        Trackers(["wandb"])
    assert importlib.util.find_spec("wandb") is not None
    Trackers()
