"""Two Ray nodes on this machine, which find the tests' own scorers and generators as installed plugins."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

with warnings.catch_warnings():
    # Ray Serve uses what pydantic will drop one day.
    warnings.simplefilter("ignore")
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster as Nodes

    from pickapic.cluster.nodes import connect

TESTS = Path(__file__).parents[1]
PLUGINS = """
[pickapic.scorers]
hashing = fake_scorers:hashing
broken = fake_scorers:broken
[pickapic.generators]
plain = failing_generators:plain
moody = moody_generator:Moody
"""


def plugin_folder(folder: Path) -> Path:
    """Write what `pip install` of a plugin leaves: its entry points, for every process that looks there."""
    metadata = folder / "fakes-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: fakes\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(PLUGINS)
    return folder


@contextmanager
def two_nodes(folder: Path, cores: int = 1) -> Iterator[Nodes]:
    """Start a cluster of two nodes, and join it."""
    paths = [str(plugin_folder(folder)), str(TESTS), str(TESTS / "cluster")]
    with pytest.MonkeyPatch.context() as patch:
        # The nodes are processes of their own.
        patch.setenv("PYTHONPATH", os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]))
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setattr(sys, "path", [*paths, *sys.path])
        head = {"num_cpus": cores, "include_dashboard": False}
        nodes = Nodes(initialize_head=True, head_node_args=head)
        try:
            nodes.add_node(num_cpus=cores)
            connect(nodes.address)
            yield nodes
        finally:
            serve.shutdown()
            ray.shutdown()
            nodes.shutdown()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """A cluster of two nodes with one core each."""
    with two_nodes(tmp_path_factory.mktemp("plugins")) as nodes:
        yield nodes
