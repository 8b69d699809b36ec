"""A worker on another machine, as far as the server sees it: what it says is up to the test."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
from PIL import Image
from web_site import Site

from pickapic.collect.duels import wire
from pickapic.collect.people import tokens
from pickapic.collect.people.tokens import Created
from pickapic.generate.encoding import encode
from pickapic.storage.blobs import content_key
from pickapic.web.service import now


async def token(site: Site, kind: tokens.Kind = "worker", label: str = "gpu 1") -> Created:
    return await site.service.database.write(tokens.create, kind, label, None, None, now())


def picture(seed: int = 0, size: tuple[int, int] = (64, 64)) -> bytes:
    """Return an image as workers encode it."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return encode(Image.fromarray(pixels))


def image(data: bytes, size: tuple[int, int] = (64, 64), **other: Any) -> dict[str, Any]:
    """Return what a worker says of an image."""
    said = {"sha256": content_key(data), "width": size[0], "height": size[1], "seed": 7}
    return {**said, "follows_negative": False, **other}


def made(job: dict[str, Any], said: dict[str, Any] | None, **other: Any) -> dict[str, Any]:
    """Return a result of a job."""
    return {"job_id": job["id"], "attempt": job["attempt"], "outcome": "made", "image": said, **other}


class Machine:
    """Calls the server with a token, by a name."""

    def __init__(self, client: httpx.AsyncClient, shown: str, name: str = "box", **headers: str) -> None:
        self.client = client
        self.headers = {
            "Authorization": f"Bearer {shown}",
            wire.WORKER_HEADER: name,
            wire.PROTOCOL_HEADER: str(wire.PROTOCOL),
            **headers,
        }

    async def call(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        if body is not None:
            options["json"] = body
        return await self.client.request(method, wire.PATH + path, headers=self.headers, **options)

    async def turn(
        self,
        *results: dict[str, Any],
        holding: list[int] | None = None,
        want: int = 0,
        makes: tuple[str, ...] = (),
        wait: float = 0.0,
        asides: bool = False,
    ) -> list[dict[str, Any]]:
        reply = await self.say(*results, holding=holding, want=want, makes=makes, wait=wait, asides=asides)
        assert reply.status_code == 200, reply.text
        return reply.json()["jobs"]

    async def say(
        self,
        *results: dict[str, Any],
        holding: list[int] | None = None,
        want: int = 0,
        makes: tuple[str, ...] = (),
        wait: float = 0.0,
        asides: bool = False,
    ) -> httpx.Response:
        rooms = [{"generators": list(makes), "jobs": want, "asides": asides}] if makes or want else []
        report = {"results": list(results), "holding": holding or [], "rooms": rooms, "wait_s": wait}
        return await self.call("POST", "/turn", report)

    async def bring(self, data: bytes, sha256: str | None = None) -> httpx.Response:
        return await self.call("PUT", f"/files/{sha256 or content_key(data)}", content=data)
