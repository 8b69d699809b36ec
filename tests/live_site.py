"""The app on a real port, in a thread, and browsers that reach it over HTTP as anybody would."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import uvicorn
from sqlalchemy import select

from pickapic.collect.tables import users
from pickapic.settings import Settings, load_settings
from pickapic.web.app import create_app
from pickapic.web.server import config_of
from pickapic.worker import beside_database
from providers import Providers


class LiveSite:
    """The app, started; `work` lets its worker work. Without a `home` it is the test's own."""

    providers: Providers

    def __init__(self, **overrides: Any) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.settings: Settings = load_settings(**{"public_url": self.address, **overrides})
        self.app = create_app(self.settings)
        self._server = uvicorn.Server(config_of(self.app, self.settings))
        self._started = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),))

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        serving = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        while not self._server.started:
            await asyncio.sleep(0.005)
        self._started.set()
        await serving

    def __enter__(self) -> LiveSite:
        self._thread.start()
        assert self._started.wait(20)
        self.service = self.app.state.service
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.service.changes.close()
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def write(self, work: Callable[..., Any], *args: Any) -> Any:
        return self.run(self.service.database.write(work, *args))

    def rows(self, table: Any) -> list[Any]:
        return self.run(
            self.service.database.read(
                lambda connection: connection.execute(select(table).order_by(*table.primary_key)).all()
            )
        )

    def work(self) -> None:
        async def all_of_it() -> None:
            worker = beside_database(self.settings, self.service.database, self.service.store)
            while await worker.work_once():
                pass

        self.run(all_of_it())


def sign_in(visitor: Visitor, providers: Providers, name: str = "acme", who: str = "ada") -> httpx.Response:
    """Let somebody agree at the provider and come back."""
    return visitor.come_back(name, providers.grant(visitor.depart(name), who))


def assert_not_let_in(visitor: Visitor, reply: httpx.Response, status: int, *words: str) -> None:
    """Nobody was signed in, nothing was made, and a page says so without a fuss."""
    text = words_of(reply)
    assert reply.status_code == status, text
    assert "Nothing was changed" in text
    assert "Traceback" not in reply.text
    for word in words:
        assert word in text, text
    assert visitor.me() is None
    assert visitor.site.rows(users) == []


class Visitor:
    """A browser: cookies, the CSRF token, and what it says of itself."""

    def __init__(self, site: LiveSite, agent: str = "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0") -> None:
        self.client = httpx.Client(base_url=site.address, headers={"user-agent": agent}, timeout=30)
        self.site = site

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.get(path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        return self.client.post(path, json=body, headers=self.csrf(), **options)

    def delete(self, path: str) -> httpx.Response:
        return self.client.delete(path, headers=self.csrf())

    def submit(self, path: str, **fields: str) -> httpx.Response:
        """Send a plain form, with the token that its page had."""
        return self.client.post(path, data={"csrf": self.client.cookies["csrf"], **fields})

    def csrf(self) -> dict[str, str]:
        return {"X-CSRF-Token": self.client.cookies.get("csrf", "")}

    def me(self) -> Any:
        reply = self.get("/api/v1/me")
        return reply.json() if reply.status_code == 200 else None

    def guest(self) -> int:
        self.get("/")
        reply = self.post("/auth/guest")
        assert reply.status_code == 201, reply.text
        return reply.json()["user_id"]

    def agree(self) -> None:
        assert (
            self.post("/api/v1/me/consent", {"version": self.site.settings.terms_version}).status_code == 204
        )

    def depart(self, name: str, next_path: str = "/gallery") -> str:
        """Begin a sign-in and return the provider's address that the browser is sent to."""
        reply = self.get(f"/auth/{name}", params={"next": next_path})
        assert reply.status_code == 303, reply.text
        return reply.headers["location"]

    def come_back(self, name: str, given: dict[str, str]) -> httpx.Response:
        return self.get(f"/auth/{name}/callback", params=given)

    def play(self, prompt: str = "a red cat", answers: tuple[str, ...] = ("left",)) -> Any:
        """Start a duel and answer its first rounds."""
        reply = self.post("/api/v1/duels", {"prompt": prompt})
        assert reply.status_code == 201, reply.text
        path = f"/api/v1/duels/{reply.json()['duel_id']}"
        for answer in answers:
            self.site.work()
            duel = self.get(path).json()
            for image in duel["round"]["images"]:
                assert self.get(image["url"]).status_code == 200
            picked = self.post(f"/api/v1/rounds/{duel['round']['round_id']}/pick", {"pick": answer})
            assert picked.status_code == 200, picked.text
        return self.get(path).json()


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def words_of(reply: httpx.Response) -> str:
    """Return the text of a page's main part, without markup."""
    main = re.search(r"<main.*?</main>", reply.text, re.DOTALL)
    assert main is not None, reply.text
    return " ".join(re.sub(r"<[^>]+>", " ", main[0]).split())
