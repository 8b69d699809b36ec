"""A server on loopback that speaks the protocols of image providers, and misbehaves when a test says so."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from PIL import Image

Answer = tuple[int, dict[str, str], bytes]


def picture(*key: object, size: tuple[int, int] = (64, 64)) -> bytes:
    """Return a PNG whose colour depends on `key`: equal requests get equal files."""
    colour = hashlib.sha256(repr(key).encode()).digest()[:3]
    file = io.BytesIO()
    Image.new("RGB", size, tuple(colour)).save(file, "PNG")
    return file.getvalue()


def as_json(body: object, status: int = 200, **headers: str) -> Answer:
    return status, {"Content-Type": "application/json", **headers}, json.dumps(body).encode()


class Seen:
    """One request as it arrived."""

    def __init__(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        self.method, self.headers, self.body = method, headers, body
        parts = urlsplit(path)
        self.path = parts.path
        self.query = {name: values[0] for name, values in parse_qs(parts.query).items()}

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class ProviderServer:
    """Answers by `routes[(method, path)]`; `trouble` is answered first, one a request."""

    def __init__(self) -> None:
        self.routes: dict[tuple[str, str], Callable[[Seen], Answer]] = {}
        self.trouble: deque[Answer | float] = deque()
        self.seen: list[Seen] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                seen = Seen(self.command, self.path, dict(self.headers), self.rfile.read(length))
                owner.seen.append(seen)
                status, headers, body = owner._answer(seen)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = _serve

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> ProviderServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, seen: Seen) -> Answer:
        if self.trouble:
            trouble = self.trouble.popleft()
            if not isinstance(trouble, float):
                return trouble
            time.sleep(trouble)
        route = self.routes.get((seen.method, seen.path))
        return route(seen) if route else as_json({"error": {"message": f"no {seen.path}"}}, 404)

    # The protocols.

    def openai(
        self, answer_by: str = "b64_json", default_seed: int = 1024, revised: str | None = None
    ) -> None:
        def generate(seen: Seen) -> Answer:
            body = seen.json
            data = picture(body["prompt"], body.get("seed", default_seed), body.get("guidance_scale"))
            entry: dict[str, Any] = {"revised_prompt": revised} if revised else {}
            if answer_by == "url":
                name = f"/files/{len(self.seen)}.png"
                self.routes["GET", name] = lambda _: (200, {"Content-Type": "image/png"}, data)
                entry["url"] = self.url + name
            else:
                entry["b64_json"] = base64.b64encode(data).decode()
            return as_json({"created": 1, "data": [entry]})

        self.routes["POST", "/v1/images/generations"] = generate

    def automatic1111(self) -> None:
        def txt2img(seen: Seen) -> Answer:
            body = seen.json
            data = picture(body["prompt"], body["seed"], size=(body["width"], body["height"]))
            used = {
                "seed": body["seed"],
                "cfg_scale": body["cfg_scale"],
                "steps": body["steps"],
                "sampler_name": body.get("sampler_name", "Euler a"),
            }
            info = json.dumps(used)
            return as_json({"images": [base64.b64encode(data).decode()], "parameters": body, "info": info})

        self.routes["POST", "/sdapi/v1/txt2img"] = txt2img
        self.routes["GET", "/sdapi/v1/progress"] = lambda _: as_json({"progress": 0.4, "eta_relative": 3.0})

    def stability(self, path: str = "sd3", finish_reason: str = "SUCCESS") -> None:
        def generate(seen: Seen) -> Answer:
            image = base64.b64encode(picture(seen.body.count(b"Content-Disposition"))).decode()
            return as_json({"image": image, "finish_reason": finish_reason, "seed": 7})

        self.routes["POST", f"/v2beta/stable-image/generate/{path}"] = generate

    def replicate(self, path: str, polls: int = 2, ending: dict[str, Any] | None = None) -> None:
        looks = iter(range(1000))

        def look(_: Seen) -> Answer:
            if next(looks) < polls:
                return as_json({"id": "job1", "status": "processing"})
            return as_json(ending or {"id": "job1", "status": "succeeded", "output": [self.url + "/out.png"]})

        self.routes["POST", path] = lambda _: as_json({"id": "job1", "status": "starting"}, 201)
        self.routes["GET", "/predictions/job1"] = look
        self.routes["GET", "/out.png"] = lambda _: (200, {"Content-Type": "image/png"}, picture("out"))

    def fal(self, model: str, polls: int = 2, ending: dict[str, Any] | None = None) -> None:
        looks = iter(range(1000))
        app = "/" + "/".join(model.split("/")[:2]) + "/requests/r1"

        def status(_: Seen) -> Answer:
            return as_json(
                {"status": "COMPLETED" if next(looks) >= polls else "IN_QUEUE", "queue_position": 1}
            )

        done = ending or {"images": [{"url": self.url + "/out.png"}], "seed": 5, "has_nsfw_concepts": [False]}
        self.routes["POST", f"/{model}"] = lambda _: as_json({"request_id": "r1"})
        self.routes["GET", f"{app}/status"] = status
        self.routes["GET", app] = lambda _: as_json(done)
        self.routes["GET", "/out.png"] = lambda _: (200, {"Content-Type": "image/png"}, picture("out"))
