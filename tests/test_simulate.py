"""Simulated people at a real server; their answers are what the database holds."""

import asyncio
import json
import threading
from collections import Counter

import pytest
import uvicorn
from sqlalchemy import select

from pickapic.browser import Browser
from pickapic.collect.database import open_database
from pickapic.collect.export import export
from pickapic.collect.tables import duels, images, rounds
from pickapic.dataset.read import read
from pickapic.miniature.people import Judgement, Population
from pickapic.records import InputError
from pickapic.settings import load_settings
from pickapic.simulate import simulate
from pickapic.web.app import create_app
from pickapic.worker import beside_database

pytestmark = pytest.mark.slow


class Lover:
    """Loves the model whose name is first in the alphabet; two of one model are a tie."""

    def __init__(self, index: int) -> None:
        self.index = index

    def prompt(self, n: int) -> str:
        return f"prompt {n} of person {self.index}"

    def picks_per_prompt(self, n: int) -> int:
        return 4

    def judge(self, left, right, round_number: int) -> Judgement:
        if left.model == right.model:
            return Judgement("tie", 0.1)
        return Judgement("left" if left.model < right.model else "right", 0.1)


class Lovers:
    size = 5

    def person(self, index: int) -> Lover:
        return Lover(index)


@pytest.fixture
def served(request, tmp_path):
    """A server in a thread, with a worker beside it: its address and its database; a parameter is its `gold_share`."""
    settings = load_settings(home=tmp_path, gold_share=getattr(request, "param", 0.0))

    async def work(service) -> None:
        await beside_database(settings, service.database, service.store).run(asyncio.Event())

    config = uvicorn.Config(create_app(settings, [work]), port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    while not server.started:
        assert thread.is_alive()
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}", settings.database_url
    server.should_exit = True
    thread.join(timeout=30)


def rows(url, table):
    async def read():
        database = open_database(url)
        try:
            return await database.read(lambda connection: connection.execute(select(table)).all())
        finally:
            await database.close()

    return asyncio.run(read())


def test_everybody_picks_as_they_judge_and_all_of_it_is_stored(served):
    url, database_url = served
    told = []
    done = simulate(url, database_url, picks=27, concurrency=3, population=Lovers(), advance=told.append)
    assert (done.picks, done.people, sum(told)) == (27, 5, 27)
    assert done.picks_per_second > 0
    models = {row.id: row.model for row in rows(database_url, images)}
    answered = [row for row in rows(database_url, rounds) if row.state == "answered"]
    assert len(answered) == 27
    for row in answered:
        left, right = models[row.left_image_id], models[row.right_image_id]
        assert row.pick == ("tie" if left == right else "left" if left < right else "right")
    assert Counter(row.pick for row in answered)["tie"] == done.ties
    users = {
        index: row.user_id for row in rows(database_url, duels) for index in [int(row.caption.split()[-1])]
    }
    assert done.user_of_person == users
    # Round robin: after everybody's first prompt comes everybody's second.
    assert {row.caption.split()[1] for row in rows(database_url, duels)} == {"0", "1"}
    assert {row.state for row in rows(database_url, duels)} == {"closed"}


@pytest.mark.parametrize("served", [0.2], indirect=True)
def test_checks_come_on_top_of_the_picks_and_are_never_exported(served, tmp_path):
    url, database_url = served
    people = Population(0, 12, careless=0.0)
    done = simulate(url, database_url, picks=90, concurrency=3, speed=20, population=people)
    assert done.picks == 90
    assert done.checks >= 3
    # Honest people slip three times in a hundred; who does not look, every other time.
    assert done.checks - done.checks_passed <= 2 + done.checks // 8
    answered = [row for row in rows(database_url, rounds) if row.state == "answered"]
    checks = [row for row in answered if row.gold]
    assert (len(answered) - len(checks), len(checks)) == (90, done.checks)
    assert sum(row.pick == row.gold for row in checks) == done.checks_passed
    export(database_url, str(tmp_path / "images"), tmp_path / "out", secret="s" * 40)
    table = read(tmp_path / "out")
    assert set(table["ranking_id"].to_pylist()) == {row.id for row in answered if not row.gold}
    models = {*table["model_0"].to_pylist(), *table["model_1"].to_pylist()}
    assert all(model.startswith("miniature-") for model in models)


def test_a_simulation_at_a_wrong_address_or_database_says_so(served, tmp_path):
    url, database_url = served
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(InputError, match="looks like"):
        simulate("localhost", database_url, picks=1)
    from pickapic.collect.schema import upgrade

    empty = f"sqlite:///{other / 'x.db'}"
    asyncio.run(upgrade(empty))
    with pytest.raises(InputError, match="not in this database"):
        simulate(url, empty, picks=1, population=Lovers())


def test_the_browser_understands_http(served):
    url, _ = served

    async def play():
        browser = Browser(url)
        assert (await browser.request("GET", "/api/v1/me")).status == 401
        assert browser.cookies["csrf"]
        assert (await browser.request("POST", "/auth/guest")).status == 201
        page = await browser.request("GET", "/about")
        assert b"</html>" in page.body
        # A refusal closes the connection; the next request opens another.
        assert (await browser.request("POST", "/api/v1/duels", {"prompt": "x" * 70_000})).status == 413
        assert (await browser.request("GET", "/api/v1/me")).json()["picks"] == 0
        assert (await browser.request("POST", "/auth/sign-out")).status == 204
        assert (await browser.request("GET", "/api/v1/me")).status == 401
        browser.close()

    asyncio.run(play())


def test_the_browser_reads_chunks_and_tries_again_when_a_connection_breaks():
    async def play():
        seen = []

        async def answer(reader, writer):
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            if len(seen) > 1:
                writer.write(
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n"
                )
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        browser = Browser(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        assert (await browser.request("GET", "/x")).json() == json.loads("[1,2]")
        assert len(seen) == 2
        browser.close()
        server.close()
        await server.wait_closed()

    asyncio.run(play())
