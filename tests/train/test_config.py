"""Configurations: the paper's defaults, packaged files, changes, and errors that name the nearest key."""

import pytest

from pickapic.records import InputError
from pickapic.train.config import CONFIGS, TrainConfig, load_config


def test_the_defaults_are_the_papers():
    config = load_config("pickscore_h14")
    assert (config.steps, config.lr, config.batch_size, config.warmup_steps) == (4000, 3e-6, 128, 500)
    assert (config.weight_decay, config.grad_clip, config.seed, config.validate_every) == (0.3, 1.0, 42, 100)
    assert config == TrainConfig()


@pytest.mark.parametrize("name", [path.stem for path in CONFIGS.glob("*.toml")])
def test_every_packaged_configuration_loads(name):
    assert load_config(name).steps > 0


def test_changes_are_applied_over_the_file(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('model = "somewhere"\nsteps = 7\n')
    config = load_config(file, ["steps=9", "lr=1e-5", "data=/a folder/with=signs", "patience = 2"])
    assert (config.model, config.steps, config.lr, config.data, config.patience) == (
        "somewhere",
        9,
        1e-5,
        "/a folder/with=signs",
        2,
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("weight_decya=0.1", "unknown key 'weight_decya'; did you mean 'weight_decay'"),
        ("steps=many", "steps is 'many'; it must be int"),
        ("steps=1.5", "steps is 1.5; it must be int"),
        ("steps=0", "steps must be at least 1"),
        ("lr=-1.0", "lr is -1.0; it cannot be negative"),
        ("precision=float8", "precision is 'float8'; choose one of auto, float32, bfloat16"),
        ("steps", "write key=value"),
    ],
)
def test_a_wrong_change_is_refused(change, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        load_config("miniature", [change])


def test_an_unknown_file_names_the_nearest_packaged_one():
    with pytest.raises(InputError, match="did you mean 'miniature'"):
        load_config("miniatur")
