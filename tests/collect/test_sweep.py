"""Orphans and gaps: whatever happens between storing a file and writing its row, no image is lost."""

import asyncio
import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import obstore
import pytest
from loop_player import finished
from obstore.store import MemoryStore

from pickapic.cli.app import main
from pickapic.collect.duels import gold, images
from pickapic.collect.queue import jobs
from pickapic.collect.upkeep import sweep
from pickapic.collect.upkeep.wholeness import check
from pickapic.storage import blobs, orphans
from pickapic.storage.blobs import content_key, path_of, swept_path_of

LATER = timedelta(days=2)


class Place:
    """A database with one open duel, and a store whose files the test makes older at will."""

    def __init__(self, hands, folder: Path) -> None:
        self.hands = hands
        self.folder = folder
        self.store = blobs.open_store(str(folder))
        self.user = hands.guest()
        hands.start(self.user)
        self.jobs = hands.lease()

    def put(self, data: bytes) -> str:
        return self.hands.runner.run(blobs.put(self.store, data))

    def get(self, key: str) -> bytes:
        return self.hands.runner.run(blobs.get(self.store, key))

    def record(self, key: str) -> None:
        """Write the row of an image, as a worker does after it has stored the file."""
        self.hands.write(self.write_row, self.jobs.pop(), key)

    def write_row(self, connection, job, key: str) -> None:
        assert job.id in jobs.finish(connection, "w", [job.id], 0.5, self.hands.now)
        images.record(connection, [replace(finished(job), sha256=key)], self.hands.now)

    def age(self, seconds: float = 90_000.0) -> None:
        """Make every file older."""
        for path in self.folder.rglob("*"):
            if path.is_file():
                then = path.stat().st_mtime - seconds
                os.utime(path, (then, then))

    def sweep(self, delete: bool = True) -> sweep.Found:
        return self.hands.runner.run(sweep.sweep(self.hands.database, self.store, datetime.now(UTC), delete))

    def paths(self) -> set[str]:
        return {found["path"] for part in obstore.list(self.store) for found in part}


@pytest.fixture
def place(hands, tmp_path) -> Place:
    return Place(hands, tmp_path / "images")


def test_an_old_file_without_a_row_is_moved_aside_and_a_day_later_deleted(place):
    key = place.put(b"forgotten")
    place.age()
    looked = place.sweep(delete=False)
    assert (looked.orphans, looked.orphan_bytes, looked.moved) == (1, 9, 0)
    assert place.paths() == {path_of(key)}
    first = place.sweep()
    assert (first.files, first.orphans, first.moved, first.deleted) == (1, 1, 1, 0)
    assert place.paths() == {swept_path_of(key)}
    assert place.get(key) == b"forgotten"
    assert place.sweep().deleted == 0, "it has not lain aside for a day"
    place.age()
    last = place.sweep()
    assert (last.aside, last.deleted) == (1, 1)
    assert place.paths() == set()


def test_what_rows_name_and_what_is_young_stays(place):
    named = place.put(b"an image")
    place.record(named)
    better, worse = place.put(b"better"), place.put(b"worse")
    place.hands.write(gold.add_pair, "two red apples", better, worse, None, place.hands.now)
    place.age()
    young = place.put(b"its row will come")
    foreign = place.folder / "notes.txt"
    foreign.write_text("not an image")
    place.age(0)
    found = place.sweep()
    assert (found.files, found.named, found.orphans, found.gaps) == (4, 3, 0, 0)
    assert place.paths() == {path_of(key) for key in (named, better, worse, young)} | {"notes.txt"}


def test_an_old_orphan_that_is_stored_again_is_young_until_its_row_is_written(place):
    """The same prompt and seed, long after a worker was killed between file and row."""
    key = place.put(b"an image")
    place.age()
    assert place.put(b"an image") == key
    assert place.sweep().orphans == 0
    place.record(key)
    place.age()
    assert place.sweep().orphans == 0
    assert place.get(key) == b"an image"


@pytest.mark.parametrize("moment", ["before it is moved", "while it is moved"])
def test_an_orphan_that_is_stored_again_while_it_is_swept_is_never_lost(place, monkeypatch, moment):
    key = place.put(b"an image")
    place.age()
    real = orphans.set_aside

    async def interrupted(store, file):
        if moment == "before it is moved":
            await blobs.put(store, b"an image")
            assert not await real(store, file)
            return False
        # Here the other saw the file a moment before it went, and wrote nothing.
        return await real(store, file)

    monkeypatch.setattr(orphans, "set_aside", interrupted)
    place.sweep()
    place.record(key)
    assert place.get(key) == b"an image"
    place.age()
    second = place.sweep()
    assert second.gaps == 0
    assert second.restored == (moment == "while it is moved")
    assert place.paths() == {path_of(key)}
    place.age()
    assert place.sweep().orphans == 0
    assert place.get(key) == b"an image"


def test_rows_without_a_file_are_reported_even_when_nothing_may_change(place):
    there, gone = place.put(b"there"), content_key(b"gone")
    place.record(there)
    place.record(gone)
    for delete in (False, True):
        found = place.sweep(delete)
        assert (found.gaps, found.gap_keys) == (1, (gone,))
    whole = place.hands.runner.run(check(place.hands.database, place.store))
    assert (whole.whole, whole.named, whole.missing, whole.missing_keys) == (False, 2, 1, (gone,))


def test_a_row_written_during_the_sweep_is_neither_orphan_nor_gap(place, monkeypatch):
    late = place.put(b"late")
    place.age()
    real = orphans.files

    async def listing(store, prefix, swept=False):
        async for file in real(store, prefix, swept):
            yield file
            if file.key == late and place.jobs:
                await place.hands.database.write(place.write_row, place.jobs.pop(), late)
                place.jobs.clear()

    monkeypatch.setattr(orphans, "files", listing)
    found = place.sweep()
    assert (found.files, found.orphans, found.gaps) == (1, 0, 0)
    assert place.get(late) == b"late"


def test_half_written_files_of_killed_processes_are_cleared_away(place):
    key = place.put(b"whole")
    place.record(key)
    left = place.folder / f"{path_of(key)}#1"
    left.write_bytes(b"who")
    assert place.sweep().unfinished == 0
    place.age()
    assert place.sweep(delete=False).unfinished == 1
    assert left.exists()
    assert place.sweep().unfinished == 1
    assert not left.exists()
    assert place.get(key) == b"whole"


def test_damaged_files_are_found_by_reading_them(place):
    key = place.put(b"whole")
    place.record(key)
    assert place.hands.runner.run(check(place.hands.database, place.store, read=True)).whole
    (place.folder / path_of(key)).write_bytes(b"other")
    found = place.hands.runner.run(check(place.hands.database, place.store, read=True))
    assert (found.whole, found.missing, found.damaged_keys) == (False, 0, (key,))


@pytest.mark.slow
def test_keys_of_every_beginning_are_looked_at(hands):
    """All 256 beginnings, in a store that keeps no old times: the clock of the sweep is moved instead."""
    store = MemoryStore()
    data = [str(number).encode() for number in range(1500)]
    keys = {content_key(one) for one in data}
    assert len({key[:2] for key in keys}) == 256

    async def play():
        for one in data:
            await blobs.put(store, one)
        steps = []
        found = await sweep.sweep(
            hands.database, store, datetime.now(UTC) + LATER, delete=True, advance=steps.append
        )
        assert (found.files, found.orphans, found.moved) == (1500, 1500, 1500)
        assert sum(steps) == 256
        again = await sweep.sweep(hands.database, store, datetime.now(UTC) + LATER, delete=True)
        assert (again.files, again.aside, again.deleted) == (0, 1500, 1500)

    hands.runner.run(play())


def test_the_command_changes_nothing_unless_told(place, database_url, capsys, monkeypatch):
    monkeypatch.setenv("PICKAPIC_DATABASE_URL", database_url)
    monkeypatch.setenv("PICKAPIC_IMAGES_URL", str(place.folder))
    key = place.put(b"forgotten")
    place.record(content_key(b"gone"))
    place.age()
    run(["admin", "sweep", "--json"])
    assert json.loads(capsys.readouterr().out)["orphans"] == 1
    assert place.paths() == {path_of(key)}
    run(["admin", "sweep", "--delete"])
    assert "1 moved aside" in capsys.readouterr().out.replace("\n", " ")
    assert place.paths() == {swept_path_of(key)}
    assert run(["db", "check", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["missing"] == 1


def run(arguments: list[str]) -> int:
    try:
        main(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_two_sweeps_at_once_do_no_harm(place):
    kept = place.put(b"kept")
    place.record(kept)
    for number in range(60):
        place.put(str(number).encode())
    place.age()

    async def both():
        works = (sweep.sweep(place.hands.database, place.store, datetime.now(UTC), True) for _ in range(2))
        return await asyncio.gather(*works)

    first, second = place.hands.runner.run(both())
    assert 60 <= first.moved + second.moved <= first.orphans + second.orphans
    assert {path for path in place.paths() if not path.startswith("swept/")} == {path_of(kept)}
    place.age()
    assert place.sweep().gaps == 0
