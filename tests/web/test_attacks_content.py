"""Attacks by what is sent to be shown or read: markup in prompts, addresses of images, images that are bombs."""

import io
import json
import struct
import zipfile
import zlib
from html.parser import HTMLParser

import pytest
from administration import FORM, routes, staff
from attacker import assert_error, playing
from PIL import Image
from web_site import Site

import fake_scorers
from hostile_images import bomb, encoded
from pickapic.collect.tables import gold_pairs
from pickapic.settings import load_settings

pytestmark = pytest.mark.slow

ON_BOTH_DATABASES = True
EVIL = (
    "<script>document.title='taken'</script><img src=x onerror=alert(1)> {{7*7}} 'cat' \"dog\" "
    "[x](javascript:alert(1))"
)


def test_a_prompt_with_markup_comes_back_as_text(on):
    async def play(site):
        evil = "<script>alert(1)</script> a 'cat' & \"dog\""
        person, duel = await playing(site, evil)
        assert duel["prompt"] == evil
        reply = await person.get(f"/api/v1/duels/{duel['duel_id']}")
        assert reply.headers["content-type"] == "application/json"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert "script-src 'self'" in reply.headers["content-security-policy"]

    on(play)


class Markup(HTMLParser):
    """Collects what of a page a browser would run: scripts in it, handlers, and addresses that are scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.runs: list[str] = []
        self.data = False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "script" and not (given.get("src") or "").startswith("/static/"):
            self.data = given.get("type") == "application/json"
            self.runs += [] if self.data else [f"<script {given}>"]
        if tag in ("iframe", "object", "embed", "base", "style"):
            self.runs.append(tag)
        for name, value in attributes:
            if name.startswith("on") or name == "style":
                self.runs.append(f"{tag} {name}={value}")
            if name in ("href", "src", "action", "formaction") and (value or "").strip().lower().startswith(
                ("javascript:", "data:text", "http://evil", "//")
            ):
                self.runs.append(f"{tag} {name}={value}")
        if tag == "img" and given.get("src") == "x":
            self.runs.append("img src=x")


def assert_harmless(page, where):
    """The page has the text, if at all, as text; nothing on it is a script but files of this server."""
    assert page.status_code < 500, where
    assert Markup(page.text).runs == [], where
    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy, where
    assert "unsafe-inline" not in policy, where


def test_what_would_run_is_found():
    assert len(Markup(EVIL).runs) == 3


def test_markup_in_a_prompt_is_text_on_every_page(on):
    """The duel page, gallery, shared page, own page, and whatever staff see: reviews, reports, users, tables."""

    async def play(site):
        admin = await staff(site, "admin")
        person, duel = await playing(site, EVIL)
        await person.pick(duel, "left")
        token = duel["round"]["images"][0]["url"].rpartition("/")[2]
        assert (await person.post(f"/api/v1/images/{token}/share")).status_code == 200
        report = await person.post(f"/api/v1/images/{token}/report", {"reason": "other", "note": EVIL})
        assert report.status_code in (204, 422), report.text
        await person.delete(f"/api/v1/duels/{duel['duel_id']}")
        seen = 0
        pages = ["/", "/gallery", "/me", "/leaderboard", "/about", f"/i/{token}", f"/?prompt={EVIL}"]
        for path in pages:
            page = await person.get(path, headers=FORM)
            assert_harmless(page, path)
            seen += "&lt;script&gt;" in page.text
        desks = [path for method, path in routes() if method == "GET" and "{" not in path]
        desks += [f"/admin/users/{person.user_id}", f"/admin/users?search={EVIL}"]
        desks += [
            f"/admin/tables/{name}/list" for name in ("duels", "jobs", "images", "reports", "decisions")
        ]
        for path in desks:
            page = await admin.get(path, headers=FORM)
            assert_harmless(page, path)
            seen += "&lt;script&gt;" in page.text
        assert seen >= 3  # it was there to be escaped

    on(play)


def test_markup_in_a_refusal_is_text(on):
    async def play(site):
        person = await site.person()
        for path in (
            f"/{EVIL}",
            f"/i/{EVIL}",
            f"/auth/{EVIL}",
            f"/gallery?before={EVIL}",
            f"/sign-in?next={EVIL}",
        ):
            assert_harmless(await person.get(path, headers=FORM), path)
            reply = await person.get(path)
            if "json" in reply.headers.get("content-type", ""):
                assert reply.headers["x-content-type-options"] == "nosniff"

    on(play)


def test_my_data_hold_the_prompt_and_can_hurt_nobody(on):
    """The archive is a download of JSON files whose names are the server's own."""

    async def play(site):
        person, _ = await playing(site, EVIL)
        reply = await person.get("/api/v1/me/export")
        assert reply.headers["content-disposition"].startswith("attachment")
        with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
            for name in archive.namelist():
                assert not name.startswith(("/", "\\"))
                assert ".." not in name
                assert name.endswith((".json", ".jpg", ".txt")), name
            whole = b"".join(archive.read(name) for name in archive.namelist() if name.endswith(".json"))
        assert json.dumps(EVIL, ensure_ascii=False).encode() in whole or json.dumps(EVIL).encode() in whole

    on(play)


PLACES = [
    "http://127.0.0.1:1/x.png",
    "http://localhost/x",
    "http://[::1]/x",
    "http://169.254.169.254/latest/meta-data/",
    "http://2130706433/",
    "http://0x7f.1/",
    "gopher://127.0.0.1:6379/_PING",
    "file:///etc/passwd",
    "ftp://127.0.0.1/x",
    "//127.0.0.1/api/v1/images/x",
    "http://test@127.0.0.1/api/v1/images/x",
    "http://test.evil.example/api/v1/images/x",
    "http://evil.example/?/api/v1/images/x",
    "http://evil.example/#/api/v1/images/x",
    "http://test:80@evil.example/api/v1/images/x",
    "http://test\\@evil.example/api/v1/images/x",
    "data:text/html;base64,PHNjcmlwdD4=",
]


@pytest.fixture
def no_way_out(monkeypatch):
    """Nobody connects to anything but the database."""
    import asyncio
    import socket

    tried = []
    real = socket.socket.connect

    def connect(self, address):
        tried.append(address)
        return real(self, address)

    async def resolve(self, host, *args, **kwargs):
        tried.append(host)
        raise OSError("no names are looked up here")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: tried.append(a) or [])
    return tried


@pytest.mark.parametrize("place", PLACES)
def test_no_address_that_is_sent_is_ever_fetched(tmp_path, no_way_out, place):
    """Server-side request forgery: the scorer takes images, data, or addresses of this server, which it never asks."""
    import asyncio

    async def play():
        async with Site(load_settings(home=tmp_path / "home", scorer="hashing")) as site:
            while site.service.scoring.state != "ok":
                await asyncio.sleep(0.01)
            person = await site.person()
            no_way_out.clear()
            for body in ({"images": [place]}, {"images": [encoded_text(), place]}):
                assert_error(await person.post("/api/v1/score", {"prompt": "a", **body}), 422, "images[")
            assert no_way_out == []

    with fake_scorers.installed():
        asyncio.run(play())


def encoded_text() -> str:
    import base64

    return base64.b64encode(encoded(1)).decode()


def jpeg_of(side: int) -> bytes:
    """Return a small JPEG whose header claims side x side pixels."""
    data = bytearray(encoded(1, "JPEG", 16))
    start = data.index(b"\xff\xc0") + 5
    data[start : start + 4] = struct.pack(">HH", side, side)
    return bytes(data)


def webp_of(side: int) -> bytes:
    """Return a WebP whose header claims side x side pixels; at most 16,384 fit."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "WEBP")
    data = bytearray(buffer.getvalue())
    at = data.index(b"\x9d\x01\x2a") + 3
    data[at : at + 4] = struct.pack("<HH", min(side, 16_383), min(side, 16_383))
    return bytes(data)


def text_bomb() -> bytes:
    """Return a PNG with a compressed text chunk of 64 MiB."""
    body = b"comment\0\0" + zlib.compress(b" " * (64 << 20), 9)
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    plain = encoded(1, "PNG")
    return plain[:33] + chunk + plain[33:]


BOMBS = {
    "png 30k": bomb(30_000),
    "png 30k whole": bomb(30_000, whole=True),
    "jpeg 30k": jpeg_of(30_000),
    "webp 16k": webp_of(30_000),
    "gif 65k": b"GIF89a\xff\xff\xff\xff\x80\0\0" + b"\0" * 6 + b",\0\0\0\0\xff\xff\xff\xff\0\x02\0;",
    "text 64 MiB": text_bomb(),
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS.keys())
def test_an_image_that_is_a_bomb_is_never_unpacked(tmp_path, data):
    """As an image to be scored, and as half of a gold pair: refused by its header, in no time and no memory."""
    import asyncio
    import base64
    import resource
    import time

    async def play():
        async with Site(load_settings(home=tmp_path / "home", scorer="hashing")) as site:
            while site.service.scoring.state != "ok":
                await asyncio.sleep(0.01)
            person, admin = await site.person(), await staff(site, "admin")
            before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
            text = base64.b64encode(data).decode()
            reply = await person.post("/api/v1/score", {"prompt": "a", "images": [text]})
            assert reply.status_code in (413, 422), reply.text
            files = {
                "first": ("a.png", data, "image/png"),
                "second": ("b.png", encoded(2, "PNG"), "image/png"),
            }
            form = {"caption": "a cat", "better": "first", "csrf": admin.client.cookies["csrf"]}
            reply = await admin.client.post("/admin/gold", data=form, files=files, headers=FORM)
            reply = await admin.client.post(
                "/admin/gold", data=form, files=files, headers={**FORM, **admin.csrf()}
            )
            assert reply.status_code in (303, 413, 422), reply.text
            assert await site.rows(gold_pairs) == []
            assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
            assert time.process_time() - begun < 10

    with fake_scorers.installed():
        asyncio.run(play())
