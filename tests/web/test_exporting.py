"""Exports that an admin starts from a page."""

import asyncio
import fcntl
import io
import time
import zipfile

import pytest
from administration import send, staff

from pickapic.dataset.manifest import MANIFEST
from pickapic.dataset.read import read
from pickapic.web import exporting

# Each starts a process that loads Arrow.
pytestmark = pytest.mark.slow

SECONDS = 90


async def over(admin):
    """Wait for the end of the export, and return what the page is told of it."""
    for _ in range(SECONDS * 10):
        progress = (await admin.get("/admin/exports/progress")).json()
        if not progress["running"]:
            return progress
        await asyncio.sleep(0.1)
    raise AssertionError(f"not over: {progress}")


async def answered(site, count=3):
    person = await site.person()
    duel = await person.start("a cat")
    for _ in range(count):
        await site.work()
        duel = await person.read(duel)
        await person.pick(duel, "left")


def test_an_export_is_begun_followed_and_taken_home(on):
    async def play(site):
        admin = await staff(site, "admin")
        await answered(site)
        folder = site.settings.home / "exports"
        begun = await send(admin, "/admin/exports", name="picks-1")
        assert begun.status_code == 303, begun.text
        assert "picks-1 is being written" in (await admin.get("/admin/exports")).text
        second = await send(admin, "/admin/exports", name="picks-2")
        assert (second.status_code, "Another export is under way" in second.text) == (409, True)
        progress = await over(admin)
        assert progress["error"] is None
        assert progress["done"] == progress["total"] == read(folder / "picks-1").num_rows >= 1
        page = (await admin.get("/admin/exports")).text
        assert "picks-1 is ready" in page
        reply = await admin.get("/admin/exports/picks-1.zip")
        assert reply.headers["content-disposition"] == 'attachment; filename="picks-1.zip"'
        with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
            assert archive.testzip() is None
            names = set(archive.namelist())
        assert {f"picks-1/{MANIFEST}", "picks-1/README.md"} <= names
        for name in ("picks-9", "..%2Fhome", ".lock"):
            assert (await admin.get(f"/admin/exports/{name}.zip")).status_code == 404
        # Once more, with more picks: the same dataset, brought up to date.
        await answered(site, 2)
        await send(admin, "/admin/exports", name="picks-1")
        assert (await over(admin))["error"] is None
        assert len(list(folder.glob("[!.]*"))) == 1

    on(play)


def test_what_goes_wrong_is_on_the_page(on):
    async def play(site):
        admin = await staff(site, "admin")
        folder = site.settings.home / "exports"
        (folder / "mine").mkdir(parents=True)
        (folder / "mine" / "thesis.txt").write_text("not a dataset")
        await send(admin, "/admin/exports", name="mine")
        progress = await over(admin)
        assert progress["error"]
        assert "mine: " in (await admin.get("/admin/exports")).text
        assert (folder / "mine" / "thesis.txt").read_text() == "not a dataset"

    on(play)


def test_a_killed_export_leaves_nothing_and_the_next_one_runs(on):
    async def play(site):
        admin = await staff(site, "admin")
        await answered(site)
        folder = site.settings.home / "exports"
        await send(admin, "/admin/exports", name="picks")
        site.app.state.exporting._process.kill()
        progress = await over(admin)
        assert progress["error"] == "It was stopped."
        (folder / ".picks.1234.partial").mkdir(exist_ok=True)
        assert site.app.state.exporting.datasets() == []
        await send(admin, "/admin/exports", name="picks")
        assert (await over(admin))["error"] is None
        assert sorted(path.name for path in folder.iterdir()) == [".lock", "picks"]

    on(play)


def test_stopping_and_leaving_end_it(on, site):
    async def play(site):
        admin = await staff(site, "admin")
        await answered(site)
        await send(admin, "/admin/exports", name="picks")
        assert (await send(admin, "/admin/exports/stop")).status_code == 303
        assert (await over(admin))["error"] == "It was stopped."
        await send(admin, "/admin/exports", name="picks")
        return site.app.state.exporting._process

    process = on(play)
    process.join(10)
    assert not process.is_alive()


def test_the_lock_is_held_by_whoever_exports(tmp_path):
    said = []

    class Writer:
        def send(self, message):
            said.append(message)

    (tmp_path / exporting.LOCK).touch()
    with (tmp_path / exporting.LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        start = time.monotonic()
        exporting.run(Writer(), None, str(tmp_path / "picks"), False)
        assert time.monotonic() - start < 5
    assert said == [("end", "Another export is under way.")]
