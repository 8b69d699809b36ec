"""The sweep beside a server, when a setting asks for it."""

import asyncio
import os

import obstore
from structlog.testing import capture_logs
from web_site import Site

from pickapic.storage import blobs
from pickapic.web import sweeping


def test_a_server_sweeps_when_it_is_told_to(settings, on, monkeypatch):
    monkeypatch.setattr(sweeping, "SECONDS_AN_HOUR", 0.05)
    site = Site(settings.model_copy(update={"sweep_hours": 1.0}))

    async def play(site):
        key = await blobs.put(site.service.store, b"an orphan")
        path = settings.home / "images" / blobs.path_of(key)
        with capture_logs() as logs:
            os.utime(path, (0, 0))
            for _ in range(200):
                await asyncio.sleep(0.02)
                if not path.exists():
                    break
            await asyncio.sleep(0.1)
        found = [one["path"] for part in obstore.list(site.service.store) for one in part]
        assert found == [blobs.swept_path_of(key)]
        assert sum(line["moved"] for line in logs if line["event"] == "swept") == 1

    on(play, site)


def test_a_server_sweeps_nothing_unasked(on, settings, monkeypatch):
    monkeypatch.setattr(sweeping, "SECONDS_AN_HOUR", 0.001)

    async def play(site):
        key = await blobs.put(site.service.store, b"an orphan")
        os.utime(settings.home / "images" / blobs.path_of(key), (0, 0))
        await asyncio.sleep(0.3)
        assert await blobs.get(site.service.store, key) == b"an orphan"
        assert (settings.home / "images" / blobs.path_of(key)).exists()

    on(play)
