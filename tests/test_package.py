from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

import pickapic

ROOT = Path(__file__).parents[1]


def run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_importing_the_package_loads_no_library() -> None:
    run(
        "import sys\n"
        "before = set(sys.modules)\n"
        "import pickapic\n"
        "assert pickapic.__version__ and 'load_scorer' in dir(pickapic)\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names\n"
        "assert new == {'pickapic'}, new\n"
    )


def test_the_public_functions_are_functions_whatever_was_imported_before() -> None:
    run(
        "import importlib, pickapic\n"
        "for home in set(pickapic._HOMES.values()):\n"
        "    importlib.import_module(home)\n"
        "for name in pickapic._HOMES:\n"
        "    for _ in range(2):\n"
        "        value = getattr(pickapic, name)\n"
        "        assert callable(value), (name, value)\n"
    )


class Brightness:
    name = "brightness"
    needs_prompt = False
    higher_is_better = True

    def score(self, prompts: object, images: list[np.ndarray]) -> np.ndarray:
        return np.array([image.mean() for image in images], np.float32)


def test_three_lines_to_a_ranking() -> None:
    assert pickapic.load_scorer("random").score("a fox", [np.zeros((8, 8, 3), np.uint8)] * 3).shape == (3,)
    images = [np.full((8, 8, 3), value, np.uint8) for value in (0, 200, 100)]
    best = pickapic.rank("a fox", images, Brightness(), top_k=2)
    assert [(found.index, found.score) for found in best] == [(1, 200.0), (2, 100.0)]
    np.testing.assert_allclose(pickapic.probabilities(np.array([0.0, np.log(3.0)])), [0.25, 0.75])


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'loadscorer'"):
        pickapic.loadscorer  # noqa: B018


def test_the_version_is_the_installed_one_and_in_the_changelog() -> None:
    assert pickapic.__version__ == version("pickapic")
    assert f"## {pickapic.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def tree() -> set[str]:
    """Return the paths of the README's tree, read by indentation; a folder ends in a slash."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```text\nsrc/pickapic/ .*?\n```", readme, re.DOTALL)
    assert block is not None
    folders: dict[int, str] = {}
    paths: set[str] = set()
    for line in block[0].splitlines()[1:-1]:
        found = re.fullmatch(r"( *)(\S+) {2,}(\S.*)", line)
        assert found, f"no caption: {line!r}"
        depth, name = len(found[1]), found[2]
        folders = {indent: path for indent, path in folders.items() if indent < depth}
        path = "".join(folders[indent] for indent in sorted(folders)) + name
        if name.endswith("/"):
            folders[depth] = name
        paths.add(path)
    return paths


def test_the_readme_explains_every_file_and_no_other() -> None:
    listed = tree()
    files = {str(file.relative_to(ROOT)) for file in (ROOT / "src" / "pickapic").rglob("*.py")}
    files -= {file for file in files if file.endswith("__init__.py")}
    assert sorted(files - listed) == [], "add them to the tree in README.md, each with a caption"
    assert [path for path in listed if not (ROOT / path).exists()] == []


def test_every_local_link_of_the_documents_leads_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    assert pages
    for page in pages:
        for target in re.findall(
            r"\]\(([^)\s#]+)(?:#[^)]*)?\)|src=\"([^\"]+)\"", page.read_text(encoding="utf-8")
        ):
            path = target[0] or target[1]
            if not re.match(r"\w+:", path):
                assert (page.parent / path).exists(), f"{page.name} links to {path}"


def test_every_direct_dependency_is_pinned_for_ci() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"]]
    for extra in ("web", "models", "dev"):
        wanted += [
            line for line in project["optional-dependencies"][extra] if not line.startswith("pickapic")
        ]
    pinned = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").lower().split()
    )
    names = {re.split(r"[^\w.-]", line)[0].lower() for line in wanted}
    normal = {name.replace("_", "-") for name in pinned}
    assert names - normal == set()
    assert "+" not in "".join(pinned.values()), "a local version exists on no other machine"
