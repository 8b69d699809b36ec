from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pickapic.plugins import GENERATORS, GROUPS, SCORERS, installed, kind, load, names
from pickapic.records import InputError


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a stranger's installed package on the path: two plugins, one of which needs what is not there."""
    info = tmp_path / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[pickapic.generators]\nbrush = stranger_brush:make\nbroken = stranger_broken:make\n"
    )
    (tmp_path / "stranger_brush.py").write_text("def make(colour='red'):\n    return colour\n")
    (tmp_path / "stranger_broken.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("stranger")
def test_a_strangers_plugin_is_found_and_made_like_a_built_in() -> None:
    assert "brush" in names(GENERATORS)
    assert "brush" not in names(SCORERS)
    assert "stranger_brush" not in sys.modules, "listing imports nothing"
    assert load(GENERATORS, "brush")(colour="blue") == "blue"


@pytest.mark.usefixtures("stranger")
def test_a_plugin_whose_library_is_missing_says_which() -> None:
    with pytest.raises(InputError, match="generator 'broken' needs the package 'not_installed_anywhere'"):
        load(GENERATORS, "broken")


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(
        InputError, match=r"no scorer is called 'pickscor'; did you mean 'pickscore'\?; installed: "
    ):
        load(SCORERS, "pickscor")


def test_names_are_sorted_and_groups_have_a_noun() -> None:
    for group in GROUPS:
        assert names(group) == sorted(names(group))
        assert names(group)
    assert [kind(group) for group in GROUPS] == ["generator", "scorer"]


@pytest.mark.parametrize("group", GROUPS)
def test_every_built_in_can_be_imported_and_called(group: str) -> None:
    built_in = [name for name, point in installed(group).items() if point.value.startswith("pickapic.")]
    assert built_in
    for name in built_in:
        assert callable(load(group, name))
