"""What every test gets: none of the caller's settings, one numeric thread, repeatable Hypothesis."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from databases import Databases

# Before any test imports NumPy or torch. With several test processes on few cores a second thread makes each
# slower; a spinning one makes the others slower too.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# No test reaches out to the hub, even by mistake.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

# A shared machine stalls at times; what is found must be found again by the next run.
settings.register_profile(
    "repeatable", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("repeatable")

# What the Makefile calls the quick part.
QUICK = "not slow and not browser"
WHOLLY_SLOW = re.compile(r"^pytestmark = (\[\s*)?pytest\.mark\.(slow|browser)\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Let the quick part not even load what those files and folders need whose every test it leaves out."""
    if config.option.markexpr != QUICK:
        return None
    files = list(collection_path.rglob("test_*.py")) if collection_path.is_dir() else [collection_path]
    tests = [file for file in files if file.name.startswith("test_") and file.suffix == ".py"]
    return (bool(tests) and all(WHOLLY_SLOW.search(file.read_text()) for file in tests)) or None


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Take the caller's settings away; let the home and the settings file be the test's own."""
    for name in [
        name for name in os.environ if name.startswith("PICKAPIC_") and not name.startswith("PICKAPIC_TEST_")
    ]:
        monkeypatch.delenv(name)
    empty = tmp_path / "no-settings" / "pickapic.toml"
    empty.parent.mkdir()
    empty.touch()
    monkeypatch.setenv("PICKAPIC_CONFIG", str(empty))
    monkeypatch.setenv("PICKAPIC_HOME", str(tmp_path / "home"))
    # Check rounds come by chance: what tests them asks for them, and everything else can count its rounds.
    monkeypatch.setenv("PICKAPIC_GOLD_SHARE", "0")


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Make databases of either kind, quickly."""
    with Databases(tmp_path_factory.mktemp("databases")) as databases:
        yield databases


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a 2-layer CLIP of width 32 for 32 px, random weights in the true format, and return its folder."""
    # Imported here: most tests need no torch, and loading it takes seconds.
    import torch
    from transformers import AutoTokenizer, CLIPConfig, CLIPModel

    from pickapic.model.clip import MINIATURE, Clip
    from pickapic.model.preprocess import ImageTransform
    from pickapic.train.checkpoint import save_model

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(MINIATURE)
    layers = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 64}
    tokens = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    config = CLIPConfig(
        text_config={**layers, **text, **tokens},
        vision_config={**layers, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    transform = ImageTransform(size=32, crop=(32, 32))
    save_model(Clip(CLIPModel(config), tokenizer, transform, torch.device("cpu")), folder)
    return folder
