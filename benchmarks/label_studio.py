"""Label Studio beside us: its own server, database, users and tasks, made anew for each run of `web.py`.

It is installed from PyPI into a virtual environment of its own and served as its Docker image does: uWSGI with two
processes a core and the options of its deploy/uwsgi.ini that matter (master, lazy-apps, thunder-lock,
post-buffering). Every person is a user with a token; the tasks are made before through its own import.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from sqlalchemy import URL

from pickapic.browser import Browser

PACKAGES = ("label-studio", "pyuwsgi")
CONFIG = """<View>
  <Image name="left" value="$left"/><Image name="right" value="$right"/>
  <Choices name="pick" toName="left"><Choice value="left"/><Choice value="right"/><Choice value="tie"/></Choices>
</View>"""
START_SECONDS = 120

# As `label-studio start` makes its first user, for many; run inside its own `manage.py shell`.
MAKE_USERS = """
import json
from organizations.models import Organization
from users.models import User
tokens = []
for number in range({people}):
    user = User.objects.create(email=f"person{{number}}@example.org", username=f"person{{number}}")
    if number == 0:
        organization = Organization.create_organization(
            created_by=user, title="Benchmark", legacy_api_tokens_enabled=True
        )
    else:
        organization.add_user(user)
    user.active_organization = organization
    user.save(update_fields=["active_organization"])
    tokens.append(user.auth_token.key)
print("TOKENS" + json.dumps(tokens))
"""


@dataclass(frozen=True, slots=True)
class Desk:
    """A running Label Studio, and what its people need."""

    address: str
    version: str
    tokens: list[str]
    tasks: list[int]
    server: subprocess.Popen[bytes]


def environment(folder: Path) -> Path:
    """Return the Python of a virtual environment that has Label Studio; made once, in minutes."""
    python = folder / "bin" / "python"
    if not (folder / "bin" / "label-studio").exists():
        print(f"installing Label Studio into {folder} (once, some minutes) ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    if not (folder / "bin" / "uwsgi").exists():
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PACKAGES], check=True)
    return python


def open_desk(python: Path, database: URL, folder: Path, people: int, tasks: int, port: int) -> Desk:
    """Make its tables, users, project and tasks in the empty `database`, and start it."""
    folder.mkdir()
    home = Path(run(python, "-c", "import label_studio; print(label_studio.__path__[0])").strip())
    settings = {
        "DJANGO_SETTINGS_MODULE": "core.settings.label_studio",
        "DJANGO_DB": "default",
        "POSTGRE_USER": str(database.username),
        "POSTGRE_PASSWORD": str(database.password),
        "POSTGRE_HOST": str(database.host),
        "POSTGRE_PORT": str(database.port),
        "POSTGRE_NAME": str(database.database),
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
        "LABEL_STUDIO_HOST": f"http://127.0.0.1:{port}",
        # Nothing of it reaches out of this machine.
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
    }
    outside = {
        name: value for name, value in os.environ.items() if not name.startswith(("PICKAPIC_", "PYTHON"))
    }
    known = outside | settings
    run(python, "manage.py", "migrate", "--no-color", cwd=home, env=known)
    made = run(python, "manage.py", "shell", "-c", MAKE_USERS.format(people=people), cwd=home, env=known)
    tokens: list[str] = json.loads(made.partition("TOKENS")[2])
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [
                *(
                    str(python.parent / "uwsgi"),
                    "--master",
                    "--single-interpreter",
                    "--need-app",
                    "--lazy-apps",
                ),
                *("--http", f"127.0.0.1:{port}", "--http-keepalive", "--module", "core.wsgi:application"),
                *("--processes", str(2 * len(os.sched_getaffinity(0))), "--threads", "1", "--enable-threads"),
                *(
                    "--thunder-lock",
                    "--buffer-size",
                    "65535",
                    "--post-buffering",
                    "4096",
                    "--harakiri",
                    "120",
                ),
                *(
                    "--listen",
                    "100",
                    "--http-timeout",
                    "300",
                    "--disable-logging",
                    "--die-on-term",
                    "--vacuum",
                ),
                *("--virtualenv", str(python.parent.parent)),
            ],
            cwd=home,
            env=known,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_it_answers(address, server, folder / "server.log")
        project = call(address, tokens[0], "/api/projects", {"title": "Picks", "label_config": CONFIG})["id"]
        pairs = [{"left": f"/left/{number}.jpg", "right": f"/right/{number}.jpg"} for number in range(tasks)]
        call(address, tokens[0], f"/api/projects/{project}/import", [{"data": pair} for pair in pairs])
        ids = asyncio.run(task_ids(database))
        assert len(ids) == tasks, f"{len(ids)} of {tasks} tasks were made"
    except BaseException:
        server.terminate()
        raise
    version = run(python, "-c", "from importlib.metadata import version; print(version('label-studio'))")
    return Desk(address, version.strip(), tokens, ids, server)


async def submit(browser: Browser, task: int, pick: str) -> bool:
    """Submit the annotation of a task as a person does."""
    result = {"type": "choices", "from_name": "pick", "to_name": "left", "value": {"choices": [pick]}}
    body = {"result": [result], "lead_time": 2.5}
    reply = await browser.request("POST", f"/api/tasks/{task}/annotations/", body)
    return reply.status == 201


async def count(database: URL) -> int:
    """Return how many annotations are stored."""
    return await fetch(database, "SELECT count(*) FROM task_completion", "fetchval")


async def task_ids(database: URL) -> list[int]:
    """Return the ids of the tasks."""
    return [row[0] for row in await fetch(database, "SELECT id FROM task ORDER BY id", "fetch")]


async def fetch(database: URL, statement: str, way: str):  # noqa: ANN201
    connection = await asyncpg.connect(database.render_as_string(hide_password=False))
    try:
        return await getattr(connection, way)(statement)
    finally:
        await connection.close()


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise RuntimeError(f"{command[1:3]} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def wait_until_it_answers(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=60).read()
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise RuntimeError(f"Label Studio did not start:\n{log.read_text()[-3000:]}")


def call(address: str, token: str, path: str, body: object):  # noqa: ANN201
    headers = {"Authorization": f"Token {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(address + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=300) as reply:
        return json.load(reply)
