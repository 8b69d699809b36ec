"""What every test gets: none of the caller's settings, one numeric thread, repeatable Hypothesis."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

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
