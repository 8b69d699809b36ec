"""The policy: changed by the settings, told apart by its fingerprint, documented parameter by parameter."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pickapic.collect.quality import Policy, fingerprint, policy_from
from pickapic.collect.quality.policy import changed, parameters
from pickapic.records import InputError
from pickapic.settings import load_settings


def test_settings_change_single_parameters(tmp_path):
    settings = load_settings(home=tmp_path, quality={"fast_high": 0.5, "answers": 100})
    assert policy_from(settings) == replace(Policy(), fast_high=0.5, answers=100)
    assert policy_from(load_settings(home=tmp_path)) == Policy()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fast_secondz": 1}, "parameter 'fast_secondz' is unknown; did you mean 'fast_seconds'"),
        ({"confidence": 1.0}, "confidence is 1 and must be between 0 and 1"),
        ({"answers": 10.5}, "answers is 10.5 and must be whole, 1 or more"),
        ({"answers": 0}, "answers is 0 and must be whole, 1 or more"),
        ({"flag": -1}, "flag is -1 and must be 0 or more"),
        ({"flag": float("nan")}, "flag is nan and must be 0 or more"),
        ({"fast_low": 0.4}, "fast_low is 0.4 and must be below its"),
        ({"gold_guessers": 0.95}, "gold_guessers must be below gold_lookers"),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        changed(change)


def test_every_parameter_changes_the_fingerprint():
    prints = {fingerprint(Policy())}
    for parameter in parameters():
        value = getattr(Policy(), parameter.name)
        prints.add(fingerprint(replace(Policy(), **{parameter.name: value + 1})))
    assert len(prints) == 1 + len(parameters())
    assert all(re.fullmatch(r"[0-9a-f]{16}", print) for print in prints)
    assert fingerprint(Policy()) == fingerprint(Policy(flag=50.0))


def test_the_page_documents_every_parameter_as_it_is():
    page = (Path(__file__).parents[3] / "docs" / "quality.md").read_text(encoding="utf-8")
    for parameter in parameters():
        meta = parameter.metadata
        row = f"| `{parameter.name}` | {parameter.default:g} | {meta['unit']} | {meta['meaning']} | {meta['source']} |"
        assert row in page
