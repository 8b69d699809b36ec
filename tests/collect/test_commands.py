"""`pickapic db` and `pickapic admin` on a database file."""

import json

import pytest

from pickapic.cli.app import main
from pickapic.collect import schema
from pickapic.collect.queue import jobs


def run(capsys, *arguments: str):
    with pytest.raises(SystemExit) as left:
        main([*arguments, "--json"])
    assert left.value.code == 0
    return json.loads(capsys.readouterr().out)


def test_an_empty_database_is_given_its_tables(tmp_path, capsys):
    url = ("--database", f"sqlite:///{tmp_path / 'new.db'}")
    assert run(capsys, "db", "revision", *url) == {"database": None, "program": schema.newest()}
    assert run(capsys, "db", "upgrade", *url) == {"revision": schema.newest()}
    assert run(capsys, "db", "revision", *url)["database"] == schema.newest()
    assert set(run(capsys, "admin", "stats", *url).values()) == {0}


def test_admin_counts_and_retries(hands, database_url, capsys):
    user = hands.guest()
    uid = hands.start(user)
    (first, *others) = hands.lease()
    hands.finish(others)
    hands.fail(first, "out of paint", 1)
    hands.pick(user, hands.view(user, uid).round.round_uid, "tie")
    stats = run(capsys, "admin", "stats", "--database", database_url)
    assert (stats["rounds_answered"], stats["ties"], stats["jobs_dead"], stats["images"]) == (1, 1, 1, 5)
    (dead,) = run(capsys, "admin", "jobs", "--retry", "--database", database_url)
    assert (dead["id"], dead["error"]) == (first.id, "out of paint")
    assert run(capsys, "admin", "jobs", "--database", database_url) == []
    assert hands.read(jobs.depths)["queued"] >= 1
