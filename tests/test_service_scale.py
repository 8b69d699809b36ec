"""How many replicas a service has: from a table, from the environment, and refused where it cannot be meant."""

from __future__ import annotations

import json

import pytest

from pickapic.records import InputError
from pickapic.settings import load_settings


def test_a_service_has_one_replica_unless_something_else_is_said():
    settings = load_settings()
    assert (settings.score_service.min_replicas, settings.score_service.max_replicas) == (1, 1)
    assert settings.generate_service.batch == 4


def test_replicas_are_a_number_or_two_ends(tmp_path, monkeypatch):
    file = tmp_path / "pickapic.toml"
    file.write_text(
        "[score_service]\nreplicas = 3\ngpus = 0.5\n"
        "[generate_service]\nmin_replicas = 0\nmax_replicas = 8\ntarget_ongoing_requests = 2\n"
    )
    monkeypatch.setenv("PICKAPIC_CONFIG", str(file))
    settings = load_settings()
    score, generate = settings.score_service, settings.generate_service
    assert (score.min_replicas, score.max_replicas, score.gpus, score.batch) == (3, 3, 0.5, 64)
    assert (generate.min_replicas, generate.max_replicas, generate.target_ongoing_requests) == (0, 8, 2.0)
    assert settings.shown()["score_service"]["gpus"] == 0.5
    json.dumps(settings.shown()["generate_service"])


def test_the_environment_holds_it_as_json(monkeypatch):
    monkeypatch.setenv("PICKAPIC_SCORE_SERVICE", '{"min_replicas": 2, "batch": 16}')
    scale = load_settings().score_service
    assert (scale.min_replicas, scale.max_replicas, scale.batch) == (2, 2, 16)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"replica": 2}, r"score_service: no entry is called 'replica'; did you mean 'replicas'"),
        ({"min_replicas": 3, "max_replicas": 2}, "min_replicas 3 is above max_replicas 2"),
        ({"replicas": 0}, r"score_service\.max_replicas: 0 is no whole number from 1 on"),
        ({"batch": 1.5}, r"score_service\.batch: 1\.5 is no whole number from 1 on"),
        ({"gpus": -1}, r"score_service\.gpus: -1 is no number from 0 on"),
        ({"wait_ms": float("nan")}, r"score_service\.wait_ms: nan is no number"),
        ({"target_ongoing_requests": 0}, "must be above 0"),
        ("many", "score_service: not JSON"),
        (3, "score_service: give a table with replicas, min_replicas"),
    ],
)
def test_what_cannot_be_meant_is_refused(table, message):
    with pytest.raises(InputError, match=message):
        load_settings(score_service=table)
