"""A backup of a collection in use, and the way back, on both kinds of database."""

import asyncio
import json
import os
import shutil
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from loop_player import finished
from sqlalchemy import func, make_url, select, text

from pickapic.cli.app import main
from pickapic.collect import schema
from pickapic.collect.database import open_database
from pickapic.collect.duels import images
from pickapic.collect.queue import jobs
from pickapic.collect.tables import images as images_table
from pickapic.collect.tables import users
from pickapic.collect.upkeep import backup
from pickapic.collect.upkeep.wholeness import check
from pickapic.records import InputError
from pickapic.storage import blobs


@pytest.fixture
def store(tmp_path):
    return blobs.open_store(str(tmp_path / "images"))


def fill(hands, store, name: str) -> list[str]:
    """Let a new user have four images; return their keys."""
    hands.start(hands.guest(), name)
    keys = []
    for job in hands.lease():
        keys.append(hands.runner.run(blobs.put(store, f"{name} {job.id}".encode())))

        def record(connection, job=job, key=keys[-1]):
            jobs.finish(connection, "w", [job.id], 0.5, hands.now)
            images.record(connection, [replace(finished(job), sha256=key)], hands.now)

        hands.write(record)
    return keys


def count(url: str, table) -> int:
    async def read():
        database = open_database(url)
        try:
            return await database.read(
                lambda connection: connection.execute(select(func.count()).select_from(table)).scalar_one()
            )
        finally:
            await database.close()

    return asyncio.run(read())


def run(*arguments: str) -> int:
    try:
        main(list(arguments))
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def empty_url(kind, databases, tmp_path):
    url = databases.empty(kind, tmp_path / "other")
    yield url
    databases.drop(url)


def test_what_is_backed_up_comes_back_whole(
    hands, store, database_url, empty_url, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("PICKAPIC_DATABASE_URL", database_url)
    monkeypatch.setenv("PICKAPIC_IMAGES_URL", str(tmp_path / "images"))
    first = fill(hands, store, "a cat")
    file, kept = tmp_path / "backups" / "database", str(tmp_path / "backups" / "images")
    assert run("db", "backup", str(file), "--images", kept, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["images"]["files"] == len(first)
    assert file.stat().st_mode & 0o777 == 0o600, "it holds everything about everybody"
    second = fill(hands, store, "a dog")
    assert run("db", "backup", str(file), "--images", kept, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["images"]["files"], told["images"]["there"]) == (len(second), len(first))

    monkeypatch.setenv("PICKAPIC_DATABASE_URL", empty_url)
    monkeypatch.setenv("PICKAPIC_IMAGES_URL", str(tmp_path / "new" / "images"))
    assert run("db", "restore", str(file)) == 0
    assert run("db", "check", "--json") == 1
    assert json.loads(capsys.readouterr().out)["missing"] == len(first) + len(second)
    assert run("db", "restore", str(file), "--replace", "--images", kept) == 0
    capsys.readouterr()
    assert run("db", "check", "--read", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["whole"], told["named"], told["read"]) == (True, len(first) + len(second), True)
    assert count(empty_url, users) == 2
    assert count(empty_url, images_table) == len(first) + len(second)
    # And the program can use it: serial numbers go on where they were.
    asyncio.run(schema.upgrade(empty_url))
    assert count(database_url, users) == 2


def test_a_backup_is_one_state_while_somebody_writes(hands, store, database_url, tmp_path, kind, empty_url):
    """Every user of the copy has all of their images, though users came and went on while it was made."""
    fill(hands, store, "a cat")
    stop = threading.Event()
    failures: list[BaseException] = []
    file = tmp_path / "database"

    def make() -> None:
        try:
            for _ in range(3):
                backup.backup(database_url, file)
        except BaseException as error:
            failures.append(error)
        finally:
            stop.set()

    thread = threading.Thread(target=make)
    thread.start()
    number = 0
    while not stop.is_set() or not number:
        fill(hands, store, f"a dog {number}")
        number += 1
    thread.join()
    assert not failures
    asyncio.run(backup.restore(empty_url, file))

    async def look():
        database = open_database(empty_url)
        try:
            return await check(database, store)
        finally:
            await database.close()

    found = asyncio.run(look())
    assert found.whole
    assert found.named >= 4


def test_a_database_that_holds_something_is_not_replaced_unasked(hands, store, database_url, tmp_path):
    file = tmp_path / "database"
    backup.backup(database_url, file)
    fill(hands, store, "a cat")
    hands.runner.run(hands.database.close())
    with pytest.raises(InputError, match="not empty; nothing was changed"):
        asyncio.run(backup.restore(database_url, file))
    assert count(database_url, users) == 1
    asyncio.run(backup.restore(database_url, file, replace=True))
    assert count(database_url, users) == 0


def test_what_is_no_backup_changes_nothing(hands, store, database_url, tmp_path, kind):
    fill(hands, store, "a cat")
    whole, wrong = tmp_path / "database", tmp_path / "wrong"
    backup.backup(database_url, whole)
    hands.runner.run(hands.database.close())
    wrong.write_bytes(b"not a backup")
    with pytest.raises(InputError, match="is no backup"):
        asyncio.run(backup.restore(database_url, wrong, replace=True))
    wrong.write_bytes(b"PGDMP" if kind == "sqlite" else b"SQLite format 3\x00")
    with pytest.raises(InputError, match="is a backup of"):
        asyncio.run(backup.restore(database_url, wrong, replace=True))
    data = whole.read_bytes()
    for broken in (data[: len(data) // 2], data[:100] + b"\xff" * 4000 + data[4100:]):
        wrong.write_bytes(broken)
        with pytest.raises(InputError):
            asyncio.run(backup.restore(database_url, wrong, replace=True))
        assert count(database_url, users) == 1


def test_a_backup_of_a_newer_version_is_refused(hands, database_url, tmp_path, kind):
    def rename(revision: str):
        return lambda connection: connection.execute(
            text(f"UPDATE alembic_version SET version_num = '{revision}'")
        )

    hands.write(rename("9999_future"))
    backup.backup(database_url, tmp_path / "database")
    hands.write(rename(schema.newest()))
    hands.runner.run(hands.database.close())
    with pytest.raises(InputError, match="only a newer version knows"):
        asyncio.run(backup.restore(database_url, tmp_path / "database", replace=True))
    assert count(database_url, users) == 0


def test_a_backup_that_fails_leaves_the_last_one(tmp_path):
    file = tmp_path / "database"
    file.write_bytes(b"the last one")
    with pytest.raises(InputError, match="there is no database"):
        backup.backup(f"sqlite:///{tmp_path / 'nothing.db'}", file)
    with pytest.raises(InputError):
        backup.backup("postgresql://nobody@127.0.0.1:9/nothing", file)
    assert file.read_bytes() == b"the last one"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_without_pg_dump_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(backup, "_newest", lambda name: None)
    with pytest.raises(InputError, match="install postgresql-client"):
        backup.backup("postgresql://nobody@127.0.0.1:9/nothing", tmp_path / "database")


def test_sqlite_backups_need_no_program_of_ours(hands, store, database_url, tmp_path, kind):
    if kind != "sqlite":
        assert os.environ["PICKAPIC_TEST_POSTGRESQL"]
        return
    fill(hands, store, "a cat")
    backup.backup(database_url, tmp_path / "database")
    shutil.copyfile(tmp_path / "database", tmp_path / "copied.db")
    connection = sqlite3.connect(tmp_path / "copied.db")
    assert connection.execute("SELECT count(*) FROM users").fetchone() == (1,)
    connection.close()
    assert Path(str(make_url(database_url).database)).exists()
