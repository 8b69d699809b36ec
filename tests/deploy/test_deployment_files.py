"""Every deployment file by its own linter, and against what the program knows: settings, commands, ports, metrics."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import helm_python
import kubernetes_validate
import promql_parser
import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from pickapic.settings import Settings, load_settings
from pickapic.web.metrics import Metrics
from pickapic.worker.endpoint import figures_of

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm/pickapic"
BIN = Path(sys.executable).parent
SECRET = "a-secret-that-is-long-enough-to-be-one"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
YAML = [DEPLOY / name for name in ("compose.yaml", "hadolint.yaml", "yamllint.yaml")]
YAML += [*sorted((DEPLOY / "prometheus").glob("*.yml")), CHART / "Chart.yaml", CHART / "values.yaml"]


def succeed(*command, **options) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=120, check=False, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def needs(program: str) -> None:
    """Leave a test out where `.ci/deployment` could not install its linter; in CI that is a failure."""
    if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{program} is not installed")
        pytest.skip(f"{program} is not installed")


def known_setting(name: str) -> bool:
    return name.removeprefix("PICKAPIC_").lower() in Settings.model_fields or name == "PICKAPIC_CONFIG"


def test_the_dockerfile_by_hadolint():
    succeed(BIN / "hadolint", "--config", DEPLOY / "hadolint.yaml", DEPLOY / "Dockerfile")


def test_the_dockerfile_copies_what_there_is_and_runs_as_nobody_special():
    text = (DEPLOY / "Dockerfile").read_text()
    ignored = (ROOT / ".dockerignore").read_text().split()
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for name in line.split():
            assert (ROOT / name).exists()
            assert f"!{name}" in ignored
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    assert "HEALTHCHECK" in text
    for name in re.findall(r"PICKAPIC_[A-Z_]+", text):
        assert known_setting(name), name
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for chosen in re.findall(r"EXTRAS=([a-z,]+)", text):
        assert set(chosen.split(",")) <= extras.keys()


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_yaml_by_yamllint(path):
    succeed(BIN / "yamllint", "--strict", "--config-file", DEPLOY / "yamllint.yaml", path)


def test_compose_by_its_own_schema():
    schema = "vendor.compose-spec"
    succeed(BIN / "check-jsonschema", "--builtin-schema", schema, DEPLOY / "compose.yaml")


def test_compose_names_services_volumes_networks_and_settings_that_there_are():
    services = COMPOSE["services"]
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= services.keys(), name
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
        for variable in service.get("environment", {}):
            if variable.startswith("PICKAPIC_") and name != "proxy":
                assert known_setting(variable), variable
    asked = set(re.findall(r"\$\{([A-Z_]+)", (DEPLOY / "compose.yaml").read_text()))
    given = set(re.findall(r"^([A-Z_]+)=", (DEPLOY / "example.env").read_text(), re.MULTILINE))
    assert asked <= given
    assert all(known_setting(name) for name in given if name.startswith("PICKAPIC_"))
    assert services["server"]["environment"]["PICKAPIC_TRUSTED_PROXIES"] in str(services["proxy"]["networks"])
    # Whoever is killed before it has stopped in order loses nothing, but others wait for its leases.
    assert int(services["worker"]["stop_grace_period"].removesuffix("s")) > 20 + 10


@pytest.mark.parametrize("name", ["pickapic-server.service", "pickapic-worker@.service"])
def test_units_by_systemd(name, tmp_path):
    needs("systemd-analyze")
    unit = (DEPLOY / "systemd" / name).read_text()
    # The program stands elsewhere here, and nobody has made the file of secrets.
    unit = unit.replace("/opt/pickapic/bin/pickapic", str(BIN / "pickapic"))
    (tmp_path / name).write_text(unit.replace("EnvironmentFile=", "EnvironmentFile=-"))
    assert succeed("systemd-analyze", "verify", "--man=no", tmp_path / name) == ""
    told = succeed("systemd-analyze", "security", "--offline=yes", "--threshold=20", tmp_path / name)
    assert "Overall exposure level" in told
    for variable in re.findall(r"PICKAPIC_[A-Z_]+(?==)", unit):
        assert known_setting(variable), variable
    stop = int(re.search(r"TimeoutStopSec=(\d+)", unit)[1])
    own = re.search(r"PICKAPIC_STOP_SECONDS=(\d+)", unit)
    assert stop > int(own[1] if own else 20) + 10


def test_the_settings_file_of_the_units_is_one(tmp_path, monkeypatch):
    monkeypatch.setenv("PICKAPIC_CONFIG", str(DEPLOY / "systemd/pickapic.toml"))
    settings = load_settings(environment="production", secret_key=SECRET)
    assert settings.public_url == "https://pick.example.org"
    assert settings.log_format == "json"


def test_the_caddyfile_by_caddy(tmp_path):
    environment = os.environ | {"HOME": str(tmp_path), "PICKAPIC_SITE": "https://pick.example.org"}
    path = DEPLOY / "proxy/Caddyfile"
    succeed(BIN / "caddy", "validate", "--adapter", "caddyfile", "--config", path, env=environment)
    # Exit 1 where the layout is not Caddy's own.
    succeed(BIN / "caddy", "fmt", path, env=environment)


def test_the_nginx_file_by_nginx(tmp_path):
    needs("nginx")
    needs("openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    succeed(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        "-subj", "/CN=pick.example.org", "-keyout", key, "-out", certificate,
    )  # fmt: skip
    site = (DEPLOY / "proxy/nginx.conf").read_text()
    folder = "/etc/letsencrypt/live/pick.example.org"
    site = site.replace(f"{folder}/fullchain.pem", str(certificate)).replace(
        f"{folder}/privkey.pem", str(key)
    )
    (tmp_path / "site.conf").write_text(site)
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ include {tmp_path}/site.conf; }}"
    )
    succeed("nginx", "-t", "-c", tmp_path / "nginx.conf")


def test_prometheus_files_by_promtool(tmp_path):
    needs("promtool")
    folder = DEPLOY / "prometheus"
    succeed("promtool", "check", "rules", folder / "alerts.yml")
    succeed("promtool", "test", "rules", folder / "alerts_test.yml")
    token = tmp_path / "token"
    token.write_text("x")
    text = (folder / "prometheus.yml").read_text()
    (tmp_path / "prometheus.yml").write_text(
        text.replace("/etc/prometheus/pickapic_metrics_token", str(token))
    )
    shutil.copy(folder / "alerts.yml", tmp_path)
    succeed("promtool", "check", "config", tmp_path / "prometheus.yml")


def exported() -> set[str]:
    """Return the names of all series that server and worker tell."""
    idle = SimpleNamespace(tallies={}, seconds={}, leases_lost=0, store_errors=0, holding=0)
    texts = [Metrics().own_text(), generate_latest(figures_of(idle))]
    names = {"up"}
    for text in texts:
        for family in text_string_to_metric_families(text.decode()):
            if family.name.endswith("_created"):
                continue
            endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(
                family.type, ("",)
            )
            names |= {family.name + ending for ending in endings}
    return names


def selected(expression: str) -> set[str]:
    """Return the series that a PromQL expression names."""
    tree = promql_parser.parse(expression.replace("$__rate_interval", "5m"))
    names: set[str] = set()

    def visit(node) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            names.add(node.name)
        for attribute in ("expr", "lhs", "rhs", "vector_selector", "param"):
            child = getattr(node, attribute, None)
            if child is not None and not isinstance(child, str | float | int):
                visit(child)
        for child in getattr(node, "args", None) or ():
            visit(child)

    visit(tree)
    return names


def test_every_query_of_the_dashboard_and_the_alerts_names_series_that_there_are():
    known = exported()
    dashboard = json.loads((DEPLOY / "grafana/pickapic.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    alerts = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())
    queries += [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    assert len(queries) > 40
    named: set[str] = set()
    for query in queries:
        found = selected(query)
        assert found, query
        assert found <= known, (query, found - known)
        named |= found
    unused = {re.sub(r"_(bucket|sum|count)$", "", name) for name in known - named}
    assert unused <= {re.sub(r"_(bucket|sum|count)$", "", name) for name in named}, "told, and shown nowhere"


def test_panels_have_a_place_and_a_title_of_their_own():
    panels = json.loads((DEPLOY / "grafana/pickapic.json").read_text())["panels"]
    assert len({panel["title"] for panel in panels}) == len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in panels):
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_every_alert_is_explained():
    text = (ROOT / "docs/operations.md").read_text()
    alerts = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())
    for rule in alerts["groups"][0]["rules"]:
        assert f"### {rule['alert']}" in text
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"


def rendered(values=None) -> list[dict]:
    values = {"secrets": {"values": {"PICKAPIC_SECRET_KEY": SECRET}}} | (values or {})
    with helm_python.Chart.load(str(CHART)) as chart:
        chart.validate_schema(values)
        texts = chart.render(values, name="pick", namespace="pick")
    return [
        found
        for name, text in texts.items()
        if not name.endswith(".txt")
        for found in yaml.safe_load_all(text)
        if found
    ]


EVERYTHING = {
    "worker": {"autoscaling": {"enabled": True}},
    "serviceMonitor": {"enabled": True},
    "networkPolicy": {"from": [{"namespaceSelector": {}}]},
    "image": {"repository": "r/p", "digest": "sha256:" + "0" * 64},
    "imagePullSecrets": [{"name": "pull"}],
}


@pytest.mark.parametrize("version", ["1.28", "1.32"])
@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["plain", "everything"])
def test_the_chart_by_helm_and_its_objects_by_kubernetes_schemas(version, values):
    found = helm_python.lint(str(CHART))
    assert (found["errors"], found["messages"]) == ([], [])
    kinds = set()
    for resource in rendered(values):
        kinds.add(resource["kind"])
        if not resource["apiVersion"].startswith("monitoring.coreos.com/"):
            kubernetes_validate.validate(resource, version, strict=True)
    wanted = {"Deployment", "Service", "Job", "Ingress", "PodDisruptionBudget", "ConfigMap", "Secret"}
    more = {"HorizontalPodAutoscaler", "NetworkPolicy", "PodMonitor"}
    assert kinds == (wanted | more if values else wanted)


def test_the_charts_settings_are_settings_and_its_pods_may_little(tmp_path, monkeypatch):
    objects = rendered()
    (config,) = [one for one in objects if one["kind"] == "ConfigMap"]
    path = tmp_path / "pickapic.toml"
    path.write_text(config["data"]["pickapic.toml"])
    monkeypatch.setenv("PICKAPIC_CONFIG", str(path))
    settings = load_settings(environment="production", secret_key=SECRET)
    assert settings.public_url == "https://pick.example.org"
    pods = [one["spec"]["template"]["spec"] for one in objects if one["kind"] in ("Deployment", "Job")]
    assert len(pods) == 3
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        for container in pod["containers"]:
            limits = container["securityContext"]
            assert limits["readOnlyRootFilesystem"]
            assert not limits["allowPrivilegeEscalation"]
    for pod in pods:
        if pod["restartPolicy" if "restartPolicy" in pod else "volumes"] != "Never":
            grace = settings.stop_delay_seconds + settings.stop_seconds + 10
            assert int(pod["terminationGracePeriodSeconds"]) > grace


def test_the_chart_refuses_what_it_cannot_use():
    for wrong in ({"hots": "x"}, {"settings": {"secret_key": "x"}}, {"host": "https://x"}):
        with pytest.raises(helm_python.HelmError), helm_python.Chart.load(str(CHART)) as chart:
            chart.validate_schema({"secrets": {"existing": "x"}} | wrong)


@pytest.mark.slow
def test_commands_in_deployment_files_are_commands():
    """Each is asked for its help with the options that it is given there."""
    ours = [COMPOSE["services"][name]["command"] for name in ("migrate", "server", "worker")]
    ours += [
        container["args"]
        for one in rendered()
        if one["kind"] in ("Deployment", "Job")
        for container in one["spec"]["template"]["spec"]["containers"]
    ]
    for name in ("pickapic-server.service", "pickapic-worker@.service"):
        unit = (DEPLOY / "systemd" / name).read_text()
        ours.append(re.search(r"^ExecStart=\S+ (.+)$", unit, re.MULTILINE)[1].replace("%i", "1").split())
    for arguments in {tuple(command) for command in ours}:
        succeed(BIN / "pickapic", *arguments, "--help")
