"""Attacks by what a request holds: too much, compressed, nested, absurd numbers and texts."""

import gzip
import zlib

import pytest
from attacker import assert_error, playing
from web_site import Site

from pickapic.collect.tables import duels, jobs
from pickapic.settings import load_settings

pytestmark = pytest.mark.slow

ON_BOTH_DATABASES = True


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"prompt": ""}, ["empty"]),
        ({"prompt": "   "}, ["empty"]),
        ({"prompt": "x" * 10_000}, ["10000 characters", "at most 500"]),
        ({"prompt": "[blurry]"}, ["not wanted"]),
        ({"prompt": "a\u0000b"}, ["not text"]),
        ({"prompt": 7}, ["prompt"]),
        ({"prompt": None}, ["prompt"]),
        ({}, ["prompt is missing"]),
        ({"prompt": "a", "model": "best"}, ["model is not known"]),
        ([1], ["JSON object"]),
        ("a cat", ["JSON object"]),
        (None, ["missing"]),
    ],
)
def test_a_prompt_that_cannot_be_used_is_refused_and_nothing_queued(on, body, words):
    async def play(site):
        person = await site.person()
        assert_error(await person.post("/api/v1/duels", body), 422, *words)
        assert await site.rows(duels) == []
        assert await site.rows(jobs) == []

    on(play)


@pytest.mark.parametrize("content", [b"{", b'{"prompt": "\\ud800"}', b"\xff\xfe", b"", b"[" * 60_000])
def test_a_body_that_is_no_json_is_refused(on, content):
    async def play(site):
        person = await site.person()
        headers = {**person.csrf(), "Content-Type": "application/json"}
        assert_error(await person.client.post("/api/v1/duels", content=content, headers=headers), 422)
        assert await site.rows(duels) == []

    on(play)


def test_an_oversized_body_is_refused_before_it_is_read(on):
    async def play(site):
        person = await site.person()
        assert_error(await person.post("/api/v1/duels", {"prompt": "x" * 70_000}), 413, "65536")

        async def stream():
            for _ in range(100):
                yield b"x" * 1000

        headers = {**person.csrf(), "Content-Type": "application/json"}
        assert_error(await person.client.post("/api/v1/duels", content=stream(), headers=headers), 413)

    on(play)


def test_too_many_prompts_are_told_when_to_come_back(tmp_path, on):
    async def play(site):
        person = await site.person()
        await person.start()
        reply = await person.post("/api/v1/duels", {"prompt": "one more"})
        assert_error(reply, 429)
        assert 1 <= int(reply.headers["retry-after"]) <= 61
        assert len(await site.rows(duels)) == 1

    on(play, Site(load_settings(home=tmp_path / "strict", prompts_per_minute=1)))


def packed(size: int) -> bytes:
    return gzip.compress(b" " * size)


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (packed(50_000_000), {"Content-Encoding": "gzip"}),
        (zlib.compress(b" " * 50_000_000), {"Content-Encoding": "deflate"}),
        (packed(50_000_000), {"Content-Encoding": "br"}),
        (packed(50_000_000), {"Content-Type": "application/zip"}),
    ],
    ids=["gzip", "deflate", "brotli", "zip"],
)
def test_a_compressed_body_is_never_unpacked(on, content, headers):
    async def play(site):
        person = await site.person()
        given = {**person.csrf(), "Content-Type": "application/json", **headers}
        for path in ("/api/v1/duels", "/api/v1/score", "/language"):
            reply = await person.client.post(path, content=content, headers=given)
            assert reply.status_code in (413, 415, 422), (path, reply.text)
        assert await site.rows(duels) == []

    on(play)


@pytest.mark.parametrize(
    "length", ["99999999999999999999", "-1", "1e3", "0x10", "1,1", "", " ", "65537", "²"]
)
def test_a_body_whose_length_lies_is_refused(on, length):
    async def play(site):
        person = await site.person()
        headers = {**person.csrf(), "Content-Type": "application/json", "Content-Length": length.encode()}

        async def content():
            yield b'{"prompt": "a cat"}'

        reply = await person.client.post("/api/v1/duels", content=content(), headers=headers)
        assert_error(reply, 413)
        assert await site.rows(duels) == []

    on(play)


def nested(depth: int) -> bytes:
    return b'{"prompt": ' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize("depth", [10, 1_000, 30_000])
def test_deep_nesting_is_refused(on, depth):
    async def play(site):
        person = await site.person()
        headers = {**person.csrf(), "Content-Type": "application/json"}
        for path in ("/api/v1/duels", "/api/v1/score", "/api/v1/me/consent"):
            assert_error(await person.client.post(path, content=nested(depth), headers=headers), 422)
        deep = b'{"a":' * depth + b"1" + b"}" * depth
        assert_error(await person.client.post("/api/v1/duels", content=deep[:65_000], headers=headers), 422)

    on(play)


@pytest.mark.parametrize(
    "number", ["1" * 5000, "1e999", "-1e999", "NaN", "Infinity", "9" * 400, "0." + "0" * 4000 + "1"]
)
def test_absurd_numbers_are_refused(on, number):
    async def play(site):
        person, duel = await playing(site)
        headers = {**person.csrf(), "Content-Type": "application/json"}
        body = f'{{"pick": {number}}}'.encode()
        path = f"/api/v1/rounds/{duel['round']['round_id']}/pick"
        assert_error(await person.client.post(path, content=body, headers=headers), 422)
        await person.look(duel)
        reply = await person.post(f"{path}?wait={number}", {"pick": "left"})
        assert reply.status_code == (200 if number.startswith("0.") else 422), reply.text

    on(play)


TEXTS = {
    "emoji with joiners": "👩‍👩‍👧‍👦 in a park",
    "combining marks": "a" + "\u0301" * 200 + " cat",
    "right to left override": "a \u202egnp.tac\u202c cat",
    "isolates left open": "\u2066\u2066\u2066 cat",
    "astral letters": "𝔞 𝔠𝔞𝔱 𓃠",
    "no characters yet": "\ue000 \U0010fffd cat",
    "not a character": "\ufffe\uffff cat",
    "byte order mark": "\ufeffa cat",
    "line separators": "a\u2028cat\u2029sat",
    "apostrophes": "it's a 'cat' \"here\" `now`",
    "percent and braces": "100% {0} %s %(a)s ${x} #{y} {{1237*4567}} {% raw %}",
}


@pytest.mark.parametrize("prompt", TEXTS.values(), ids=TEXTS.keys())
def test_absurd_unicode_is_kept_as_it_is_or_refused(on, prompt):
    async def play(site):
        person = await site.person()
        reply = await person.post("/api/v1/duels", {"prompt": prompt})
        if reply.status_code == 201:
            assert reply.json()["prompt"] == prompt
            assert (await person.read(reply.json()))["prompt"] == prompt
            assert [row.typed for row in await site.rows(duels)] == [prompt]
        else:
            assert_error(reply, 422)
            assert await site.rows(jobs) == []
        page = await person.get("/gallery", headers={"Accept": "text/html"})
        assert page.status_code == 200
        assert "5649379" not in page.text, "a template engine has read the prompt"

    on(play)
