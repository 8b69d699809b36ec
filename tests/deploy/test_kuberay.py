"""The KubeRay files: what is in them is what this program, this Ray and Kubernetes' rules of form take.

No cluster is asked: that KubeRay itself accepts them is not shown here.
"""

from __future__ import annotations

import importlib
import shlex
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pickapic.cli.app import make_app
from pickapic.settings import load_settings

FOLDER = Path(__file__).parents[2] / "deploy" / "kuberay"
SERVICES = yaml.safe_load((FOLDER / "services.yaml").read_text())
SCORING = yaml.safe_load((FOLDER / "scoring.yaml").read_text())
CLUSTERS = {"services": SERVICES["spec"]["rayClusterConfig"], "scoring": SCORING["spec"]["rayClusterSpec"]}
APPLICATIONS = yaml.safe_load(SERVICES["spec"]["serveConfigV2"])["applications"]


def groups(cluster):
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


@pytest.mark.parametrize(("file", "kind"), [(SERVICES, "RayService"), (SCORING, "RayJob")])
def test_they_are_objects_of_kuberay(file, kind):
    assert (file["apiVersion"], file["kind"]) == ("ray.io/v1", kind)
    assert file["metadata"]["name"]


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_cluster_has_what_kuberay_requires(name):
    cluster = CLUSTERS[name]
    assert cluster["rayVersion"] == version("ray"), "the image has the Ray that is tested here"
    for group in groups(cluster):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert set(group) <= {
            "groupName",
            "replicas",
            "minReplicas",
            "maxReplicas",
            "rayStartParams",
            "template",
        }
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        assert container["image"] == "REGISTRY/pickapic-ray:cuda"
        assert pod["securityContext"]["runAsNonRoot"]
        environment = {entry["name"]: entry["value"] for entry in container["env"]}
        assert environment["RAY_USAGE_STATS_ENABLED"] == "0", "nothing calls home"
        assert all(isinstance(value, str) for value in environment.values())
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


@pytest.mark.slow  # loads Ray
@pytest.mark.filterwarnings("ignore")  # Ray Serve uses what pydantic will drop one day
def test_the_serve_config_is_one_of_this_ray():
    from ray.serve.schema import ServeDeploySchema

    found = ServeDeploySchema.model_validate(yaml.safe_load(SERVICES["spec"]["serveConfigV2"]))
    assert [application.name for application in found.applications] == ["score", "generate"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("application", APPLICATIONS, ids=lambda application: application["name"])
def test_each_application_is_built_from_its_arguments(application):
    module, _, attribute = application["import_path"].partition(":")
    app = getattr(importlib.import_module(module), attribute)
    settings = load_settings(**application["args"])
    scale = getattr(settings, f"{application['name']}_service")
    assert scale.max_replicas == 4
    assert type(app(application["args"])).__name__ == "Application"


def test_the_job_is_a_command_of_this_program():
    program, *arguments = shlex.split(SCORING["spec"]["entrypoint"])
    assert program == "pickapic"
    result = CliRunner().invoke(make_app(), [*arguments, "--help"])
    assert result.exit_code == 0, result.output
    result = CliRunner().invoke(make_app(), [*arguments, "--no-such-option"])
    assert result.exit_code == 2
    assert "no-such-option" in result.output
    for option in (part for part in arguments if part.startswith("--")):
        assert option not in result.output.replace("--no-such-option", "")
