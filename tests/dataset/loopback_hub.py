"""A server on loopback that speaks what reading a dataset takes of the Hugging Face hub's protocol, and counts."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

SHA = "0123456789abcdef0123456789abcdef01234567"


class HubServer(ThreadingHTTPServer):
    """Serves the folders below `root` as datasets `owner/name`; `sent` counts bytes of content by path."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.root = root
        self.sent: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def forget(self) -> None:
        self.sent.clear()
        self.requests.clear()

    @property
    def opened(self) -> set[str]:
        """Names of the files of which some byte was sent."""
        return {Path(path).name for path in self.sent}


class Answer(BaseHTTPRequestHandler):
    """`/api/datasets/<id>[/revision/..|/tree/..]` and `/datasets/<id>/resolve/<revision>/<path>` with ranges."""

    protocol_version = "HTTP/1.1"
    server: HubServer

    def do_GET(self) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[:2] == ["api", "datasets"]:
            folder, rest = self.server.root / "/".join(parts[2:4]), parts[4:]
            if not folder.is_dir():
                return self.say(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return self.say(200, tree(folder) if rest[:1] == ["tree"] else about("/".join(parts[2:4])))
        path = self.server.root / "/".join((*parts[1:3], *parts[5:]))
        if parts[0] != "datasets" or parts[3] != "resolve" or not path.is_file():
            return self.say(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
        return self.send_part(path)

    def send_part(self, path: Path) -> None:
        size = path.stat().st_size
        first, last = self.headers["Range"].removeprefix("bytes=").split("-")
        begin, end = int(first), min(int(last) + 1, size)
        with path.open("rb") as file:
            file.seek(begin)
            content = file.read(end - begin)
        inside = path.relative_to(self.server.root).as_posix()
        self.server.sent[inside] += len(content)
        self.server.requests[inside] += 1
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{size}")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def say(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def about(name: str) -> dict[str, Any]:
    return {
        "_id": "1",
        "id": name,
        "sha": SHA,
        "private": False,
        "tags": [],
        "downloads": 0,
        "likes": 0,
        "siblings": [],
    }


def tree(folder: Path) -> list[dict[str, Any]]:
    return [
        {"type": "directory", "path": item.relative_to(folder).as_posix(), "oid": SHA, "size": 0}
        if item.is_dir()
        else {
            "type": "file",
            "path": item.relative_to(folder).as_posix(),
            "oid": SHA,
            "size": item.stat().st_size,
        }
        for item in sorted(folder.rglob("*"))
    ]


@contextmanager
def serving(root: Path) -> Iterator[HubServer]:
    with HubServer(root) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
