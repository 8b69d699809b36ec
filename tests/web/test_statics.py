"""The page's own files: kept for ever under their version, asked for again without it."""

import re

from sqlalchemy import update

from pickapic.collect.tables import users
from pickapic.web import statics


async def read(site, path, **options):
    async with site.client() as client:
        return await client.get(path, **options)


def test_a_file_is_kept_for_ever_under_its_version_alone(on):
    async def play(site):
        fresh = await read(site, statics.address("duel/main.js"))
        assert (fresh.status_code, fresh.headers["cache-control"]) == (200, statics.FOR_EVER)
        assert "set-cookie" not in fresh.headers
        for path in ("/static/duel/main.js", f"/static/{'0' * 16}/duel/main.js"):
            reply = await read(site, path)
            assert (reply.status_code, reply.headers["cache-control"]) == (200, "no-cache"), path
            assert reply.content == fresh.content
            again = await read(site, path, headers={"If-None-Match": reply.headers["etag"]})
            assert (again.status_code, again.headers["cache-control"]) == (304, "no-cache")
        for path in (
            statics.address("none.js"),
            statics.address("../app.py"),
            f"/static/{statics.version()}",
        ):
            lost = await read(site, path)
            assert lost.status_code in (404, 405), path
            assert "immutable" not in lost.headers.get("cache-control", "")

    on(play)


def test_pages_and_scripts_ask_for_nothing_but_versioned_files(on):
    async def play(site):
        for path in ("/", "/about", "/leaderboard", "/sign-in", "/terms"):
            text = (await read(site, path)).text
            named = re.findall(r'(?:href|src)="(/static/[^"]+)"', text)
            assert named
            assert all(name.startswith(statics.address("")) for name in named), path

    on(play)
    for script in statics.STATIC.rglob("*.js"):
        assert "/static/" not in script.read_text(), "an address without the version"


def test_the_version_tells_files_apart(tmp_path, monkeypatch):
    seen = set()
    monkeypatch.setattr(statics, "STATIC", tmp_path)
    for name, content in (("a.js", "1"), ("a.js", "2"), ("b.js", "1"), ("c/a.js", "1")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        statics.version.cache_clear()
        seen.add(statics.version())
        assert re.fullmatch(r"[0-9a-f]{16}", statics.version())
        if name != "a.js":
            path.unlink()
    statics.version.cache_clear()
    assert len(seen) == 4


def test_staff_find_the_way_to_the_administration_and_nobody_else_does(on):
    async def play(site):
        person = await site.person()
        for role, shown in (("person", False), ("moderator", True), ("admin", True)):
            change = update(users).where(users.c.id == person.user_id).values(role=role)
            await site.service.database.write(lambda connection, change=change: connection.execute(change))
            site.service.forget_user(person.user_id)
            for path in ("/", "/leaderboard"):
                assert ('href="/admin"' in (await person.get(path)).text) is shown, (role, path)

    on(play)
