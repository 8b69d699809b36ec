"""The services of the compose file as processes: their commands, their environment, their order; and one pick.

There is no container engine in a test, so what only an engine can show (the image's build, its read-only root, the
networks, HTTPS by the proxy) is not shown here.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml
from sqlalchemy import make_url

from databases import SERVER

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not SERVER, reason="no PostgreSQL here")]

DEPLOY = Path(__file__).parents[2] / "deploy"
SERVICES = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
NAME = "pick.example.org"
FILLED = {
    "PICKAPIC_SECRET_KEY": "Zk3-secret-of-the-test-9fQ2xLmV7wRtYp0aBcDeFg",
    "PICKAPIC_METRICS_TOKEN": "scraper-8fj2kd93",
    "POSTGRES_PASSWORD": "unused-here",
    "AWS_SECRET_ACCESS_KEY": "s3-secret-4k2j9d",
}


def env_file() -> dict[str, str]:
    """Return example.env, filled in."""
    pairs = re.findall(r"^([A-Z0-9_]+)=(.*)$", (DEPLOY / "example.env").read_text(), re.MULTILINE)
    return {name: FILLED.get(name, value) for name, value in pairs}


def substituted(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\$\{([A-Z0-9_]+)(?::[^}]*)?\}", lambda found: values[found[1]], text)


class Composed:
    """Services as processes in one folder; the names of hosts become ports on loopback."""

    def __init__(self, folder: Path, database_url: str, port: int, s3: int) -> None:
        self.folder = folder
        self.port = port
        self._s3 = s3
        self._database = make_url(database_url)
        self._values = env_file()
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def environment(self, service: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        given = {
            name: substituted(value, self._values) for name, value in SERVICES[service]["environment"].items()
        }
        assert given["PICKAPIC_DATABASE_URL"].endswith("@postgres:5432/pickapic")
        given["PICKAPIC_DATABASE_URL"] = self._database.render_as_string(hide_password=False)
        given["PICKAPIC_IMAGES_URL"] = given["PICKAPIC_IMAGES_URL"].replace(
            "//s3:9000", f"//127.0.0.1:{self._s3}"
        )
        # What the image's own environment is; 127.0.0.1 is the proxy here.
        given |= {"PICKAPIC_HOME": str(self.folder / "data"), "PICKAPIC_PORT": str(self.port)}
        if "PICKAPIC_TRUSTED_PROXIES" in given:
            given["PICKAPIC_TRUSTED_PROXIES"] = "127.0.0.1"
        env = {name: value for name, value in self._values.items() if value}
        env.pop("POSTGRES_PASSWORD")
        return kept | env | given | {"PICKAPIC_ALLOW_GUESTS": "true"}

    def start(self, name: str, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("wb") as log:
            self._running[name] = subprocess.Popen(
                command, env=environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self._running[name]

    def pickapic(self, name: str, service: str, *replaced: tuple[str, str]) -> subprocess.Popen[bytes]:
        command = list(SERVICES[service]["command"])
        for old, new in replaced:
            command[command.index(old)] = new
        return self.start(name, sys.executable, "-m", "pickapic", *command, **self.environment(service))

    def rclone(self, name: str, service: str, *replaced: tuple[str, str]) -> subprocess.Popen[bytes]:
        command = [substituted(part, self._values) for part in SERVICES[service]["command"]]
        for old, new in replaced:
            command = [part.replace(old, new) for part in command]
        program = shutil.which("rclone", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        assert program
        return self.start(name, program, *command, "--config", os.devnull, HOME=str(self.folder))

    def stop(self) -> dict[str, int]:
        """Stop what runs, the last first, and return how each ended."""
        codes: dict[str, int] = {}
        for name, process in reversed(self._running.items()):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                codes[name] = process.wait(timeout=60)
        return codes

    def told(self) -> str:
        return "".join(f"== {path.name}\n{path.read_text()}" for path in sorted(self.folder.glob("*.log")))


def until(what, seconds: float = 60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            found = what()
            if found:
                return found
        except (httpx.HTTPError, OSError):
            pass
        time.sleep(0.2)
    raise AssertionError("it never came")


@pytest.fixture
def composed(databases, tmp_path, unused_ports):
    url = databases.empty("postgresql", tmp_path)
    composed = Composed(tmp_path, url, *unused_ports[:2])
    yield composed
    composed.stop()
    databases.drop(url)


def test_one_pick_goes_through_all_services(composed, unused_ports):
    images = composed.folder / "images"
    ports = unused_ports[2:]
    try:
        assert composed.rclone("bucket", "bucket", ("/images", str(images))).wait(timeout=30) == 0
        composed.rclone(
            "s3", "s3", ("/images", str(images)), ("--addr=:9000", f"--addr=127.0.0.1:{composed._s3}")
        )
        until(lambda: httpx.get(f"http://127.0.0.1:{composed._s3}/").status_code)
        assert composed.pickapic("migrate", "migrate").wait(timeout=120) == 0
        composed.pickapic("server", "server")
        for number in (0, 1):
            composed.pickapic(
                f"worker-{number}",
                "worker",
                ("--metrics-host=0.0.0.0", "--metrics-host=127.0.0.1"),
                ("--metrics-port=9101", f"--metrics-port={ports[number]}"),
            )
        base = f"http://127.0.0.1:{composed.port}"
        ready = until(lambda: (found := httpx.get(f"{base}/readyz")).status_code == 200 and found.json())
        assert ready["checks"] == {"database": "ok", "images": "ok", "queue": "ok"}
        for port in ports:
            assert until(lambda port=port: httpx.get(f"http://127.0.0.1:{port}/healthz").text) == "ok\n"
        pick(base)
        assert sum(1 for path in images.rglob("*") if path.is_file()) >= 2, "the images are in the bucket"
        figures = [httpx.get(f"http://127.0.0.1:{port}/metrics").text for port in ports]
        assert any('outcome="made"' in text for text in figures)
        assert httpx.get(f"{base}/metrics").status_code == 403
        right = {"Authorization": f"Bearer {FILLED['PICKAPIC_METRICS_TOKEN']}"}
        assert "pickapic_workers 2.0" in until(
            lambda: (
                "pickapic_workers 2.0" in (text := httpx.get(f"{base}/metrics", headers=right).text) and text
            )
        )
        codes = composed.stop()
        assert {name: codes[name] for name in ("server", "worker-0", "worker-1")} == {
            "server": 0, "worker-0": 0, "worker-1": 0
        }  # fmt: skip
    except BaseException:
        print(composed.told())
        raise
    log = (composed.folder / "server.log").read_text()
    assert '"route": "/api/v1/rounds/{round_id}/pick", "status": 200' in log, "JSON, in production"
    assert "fox" not in composed.told()


def pick(base: str) -> None:
    """Do what a browser does behind the proxy."""
    headers = {"Host": NAME, "X-Forwarded-Proto": "https", "X-Forwarded-For": "198.51.100.7"}
    cookies: dict[str, str] = {}

    def call(method: str, path: str, body=None) -> httpx.Response:
        more = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
        if "csrf" in cookies:
            more["X-CSRF-Token"] = cookies["csrf"]
        reply = httpx.request(method, base + path, json=body, headers=headers | more, timeout=40)
        cookies.update(reply.cookies)
        return reply

    call("GET", "/api/v1/me")
    reply = call("POST", "/auth/guest")
    assert reply.status_code == 201, reply.text
    consent = call("POST", "/api/v1/me/consent", {"version": "1"})
    assert consent.status_code in (200, 201, 204, 404), consent.text
    duel = call("POST", "/api/v1/duels", {"prompt": "a red fox"})
    assert duel.status_code == 201, duel.text
    path = f"/api/v1/duels/{duel.json()['duel_id']}?wait=20"
    shown = until(lambda: call("GET", path).json()["round"])
    for image in shown["images"]:
        got = call("GET", image["url"])
        assert got.content.startswith(b"\xff\xd8")
    reply = call("POST", f"/api/v1/rounds/{shown['round_id']}/pick", {"pick": "left"})
    assert reply.status_code == 200, reply.text
