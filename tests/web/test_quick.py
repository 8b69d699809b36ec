"""The quick way answers as the long one does, and leaves to it whatever it is not made for."""

import asyncio

from attacker import playing

from pickapic.collect.tables import rounds
from pickapic.web import quick

ON_BOTH_DATABASES = True
JSON = "application/json"


async def send(person, path, content, kind=JSON):
    headers = {**person.csrf(), "Content-Type": kind}
    return await person.client.post(path, content=content, headers=headers)


# What is asked, and how it is answered.
CASES = [
    ("", b'{"pick":"left"}', JSON, 200),
    ("", b'{"pick": "tie"}', JSON, 200),
    ("?wait=0", b'{"pick":"right"}', JSON, 200),
    ("?wait=5", b'{"pick":"right"}', JSON, 200),
    ("?wait=1.5", b'{"pick":"right"}', JSON, 200),
    ("", b' {"pick" :"right"}\n', JSON, 200),
    ("", b'{"pick":"right"}', JSON + "; charset=utf-8", 200),
    ("?wait=31", b'{"pick":"left"}', JSON, 422),
    ("?wait=-1", b'{"pick":"left"}', JSON, 422),
    ("?wait=", b'{"pick":"left"}', JSON, 422),
    ("", b'{"pick":"both"}', JSON, 422),
    ("", b'{"pick":"left","user_id":1}', JSON, 422),
    ("", b'{"pick":"left"', JSON, 422),
    ("", b"", JSON, 422),
    ("", b'{"pick":"left"}', "text/plain", 422),
]


def test_a_pick_is_answered_alike_both_ways(on, monkeypatch):
    async def play(site):
        quickly = [await answer(site, *case) for case in CASES]
        for route in (quick.QuickPick, quick.QuickImage):
            monkeypatch.setattr(route, "matches", lambda self, scope: (quick.Match.NONE, {}))
        for case, seen in zip(CASES, quickly, strict=True):
            assert await answer(site, *case) == seen, case

    async def answer(site, query, content, kind, status):
        person, duel = await playing(site)
        await person.look(duel)
        path = f"/api/v1/rounds/{duel['round']['round_id']}/pick"
        reply = await send(person, path + query, content, kind)
        assert reply.status_code == status, (query, content, kind, reply.text)
        image = await person.get(duel["round"]["images"][0]["url"])
        hidden = ("set-cookie", "content-length")
        headers = [sorted(set(one.headers) - set(hidden)) for one in (reply, image)]
        told = reply.json() if status != 200 else sorted(reply.json())
        stored = next(row for row in await site.rows(rounds) if row.uid == duel["round"]["round_id"])
        assert stored.state == ("answered" if status == 200 else "open")
        return told, headers, image.headers["cache-control"], image.headers["content-type"]

    on(play)


def test_a_body_in_parts_goes_the_long_way(on):
    async def play(site):
        person, duel = await playing(site)
        await person.look(duel)

        async def parts():
            for part in (b'{"pick"', b':"left"', b"}"):
                yield part
                await asyncio.sleep(0)

        path = f"/api/v1/rounds/{duel['round']['round_id']}/pick"
        assert (await send(person, path, parts())).status_code == 200

    on(play)


def test_what_they_do_is_measured_under_the_names_of_the_documentation(on):
    async def play(site):
        person, duel = await playing(site)
        await person.pick(duel, "left")
        text = (await person.get("/metrics")).text
        paths = site.app.openapi()["paths"]
        for method, path in (("GET", quick.QuickImage.path), ("POST", quick.QuickPick.path)):
            assert method.lower() in paths[path]
            assert f'method="{method}",route="{path}"' in text

    on(play)
