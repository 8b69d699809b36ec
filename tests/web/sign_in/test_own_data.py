"""One's data as a file, and being forgotten: rows, files, sessions, queued work."""

import io
import json
import zipfile
from pathlib import Path

import httpx
import pytest

from live_site import LiveSite, Visitor, sign_in
from pickapic.collect.tables import duels, identities, images, jobs, marks, rounds, sessions, users
from pickapic.web import archive as archives
from pickapic.web.routes import me as routes

pytestmark = pytest.mark.slow


def archive_of(visitor):
    reply = visitor.get("/api/v1/me/export")
    assert reply.headers["content-type"] == "application/zip"
    assert reply.headers["cache-control"] == "no-store"
    archive = zipfile.ZipFile(io.BytesIO(reply.content))
    assert archive.testzip() is None
    return archive


def files(site):
    return {path.name for path in Path(site.settings.images_url).rglob("*") if path.is_file()}


def test_the_export_has_everything_each_with_its_purpose(site, providers, ada):
    sign_in(ada, providers)
    ada.agree()
    ada.play("my cat [blurry]", ("left", "tie"))
    archive = archive_of(ada)
    kept = {name: json.loads(archive.read(name)) for name in archive.namelist() if name.endswith(".json")}
    assert set(kept) == {
        f"{name}.json"
        for name in (
            *("account", "identities", "consents", "sessions", "marks", "prompts", "reviews", "picks"),
            *("images", "reports", "downloads", "shares", "trust"),
        )
    }
    assert all(content["purpose"] for content in kept.values())
    assert "README.txt" in archive.namelist()
    assert [pick["pick"] for pick in kept["picks.json"]["picks"]] == ["left", "tie"]
    assert kept["prompts.json"]["prompts"][0]["typed"] == "my cat [blurry]"
    assert kept["sessions.json"]["sessions"][0]["browser"] == "Firefox on Linux"
    assert kept["identities.json"]["identities"][0]["provider"] == "acme"
    for pick in kept["picks.json"]["picks"]:
        for side in ("left", "right"):
            assert archive.read(pick[side]).startswith(b"\xff\xd8")
    everything = b"".join(archive.read(name) for name in kept)
    for secret in (b"ada-1", b"miniature-", b"token", b"digest"):
        assert secret not in everything


def test_the_export_of_somebody_else_is_their_own(site, ada, stranger):
    ada.guest()
    ada.play("my secret cat")
    stranger.guest()
    archive = archive_of(stranger)
    assert not [name for name in archive.namelist() if name.startswith("images/")]
    assert b"secret" not in b"".join(archive.read(name) for name in archive.namelist())
    with Visitor(site) as nobody:
        assert nobody.get("/api/v1/me/export").status_code == 401


def test_a_large_export_is_never_in_memory_as_a_whole(site, ada, monkeypatch):
    """One image at a time is: what is sent is what the last image was."""
    ada.guest()
    image = b"\xff\xd8" + b"x" * 100_000
    keys = [f"{number:064x}" for number in range(300)]

    async def get(store, key):
        return image

    monkeypatch.setattr(archives.blobs, "get", get)
    monkeypatch.setattr(routes.belongings, "image_files", lambda connection, user: keys)
    sizes = []
    original = archives._Pipe.taken

    def taken(self):
        part = original(self)
        sizes.append(len(part))
        return part

    monkeypatch.setattr(archives._Pipe, "taken", taken)
    assert len([name for name in archive_of(ada).namelist() if name.startswith("images/")]) == 300
    assert max(sizes) < 2 * len(image)
    assert sum(sizes) > 300 * len(image)


def test_anonymised_the_picks_stay_and_nothing_leads_to_the_person(site, providers, ada, stranger):
    sign_in(ada, providers)
    ada.agree()
    ada.play("my cat [blurry]", ("left",))
    ada.post("/api/v1/duels", {"prompt": "not made yet"})
    stranger.guest()
    other = stranger.play("another cat")
    stolen = dict(ada.client.cookies)
    (before,) = [row for row in site.rows(rounds) if row.state == "answered" and row.duel_id == 1]
    assert ada.delete("/api/v1/me").status_code == 204
    assert "session" not in ada.client.cookies
    with httpx.Client(base_url=site.address, cookies=stolen) as thief:
        assert thief.get("/api/v1/me").status_code == 401
    assert site.rows(identities) == []
    mine = {row.id for row in site.rows(duels) if row.user_id == before.user_id}
    assert {row.state for row in site.rows(jobs) if row.duel_id in mine} == {"done"}
    assert [row.typed for row in site.rows(duels) if row.id in mine] == ["my cat", "not made yet"]
    assert [row.id for row in site.rows(rounds) if row.duel_id in mine] == [before.id]
    # The two images of the answer are there, the others are not, and nobody else lost any.
    assert files(site) == {row.sha256 for row in site.rows(images)}
    assert {row.id for row in site.rows(images) if row.duel_id in mine} == {
        before.left_image_id,
        before.right_image_id,
    }
    for image in other["round"]["images"] if other["round"] else ():
        assert stranger.get(image["url"]).status_code == 200
    # Coming back is beginning anew.
    sign_in(ada, providers)
    assert ada.me()["user_id"] != before.user_id
    assert ada.me()["picks"] == 0


@pytest.fixture
def removing(databases, tmp_path):
    home = tmp_path / "home"
    with LiveSite(home=home, database_url=databases.migrated("sqlite", home), on_delete="remove") as site:
        yield site


def test_removed_the_picks_and_the_files_go_too(removing):
    with Visitor(removing) as ada, Visitor(removing) as other:
        ada.guest()
        ada.play("my cat", ("left", "tie"))
        other.guest()
        theirs = other.play("another cat")
        before = files(removing)
        assert ada.delete("/api/v1/me").status_code == 204
        left = removing.rows(images)
        assert {row.prompt for row in left} == {"another cat"}
        assert files(removing) == {row.sha256 for row in left} < before
        assert len(removing.rows(duels)) == 1
        assert [row.user_id for row in removing.rows(sessions)] == [other.me()["user_id"]]
        assert [row.deleted_at is not None for row in removing.rows(users)] == [True, False]
        assert {row.user_id for row in removing.rows(marks)} == {other.me()["user_id"]}
        assert other.get(f"/api/v1/duels/{theirs['duel_id']}").status_code == 200


def test_a_server_killed_before_the_files_are_deleted_leaves_files_and_no_broken_row(removing, monkeypatch):
    with Visitor(removing) as ada:
        ada.guest()
        ada.play("my cat")
        before = files(removing)
        monkeypatch.setattr(routes, "_delete_files", lambda service, keys: no_time())
        assert ada.delete("/api/v1/me").status_code == 204
        assert removing.rows(images) == []
        assert files(removing) == before


async def no_time() -> None:
    """Stand for what a killed process did not get to."""
