"""The app, started, and people who use it through HTTP."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import httpx
from sqlalchemy import select

from pickapic.settings import Settings
from pickapic.web.app import create_app
from pickapic.worker import beside_database

BASE = "http://test"


class Site:
    """The app, started; and its worker, which works when the test says so."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.app = create_app(settings)
        self._lifespan = self.app.router.lifespan_context(self.app)

    async def __aenter__(self) -> Site:
        await self._lifespan.__aenter__()
        self.service = self.app.state.service
        self.worker = beside_database(self.settings, self.service.database, self.service.store)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._lifespan.__aexit__(kind, error, trace)

    def client(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url=BASE)

    async def person(self) -> Person:
        person = Person(self.client())
        await person.get("/api/v1/me")
        reply = await person.post("/auth/guest")
        assert reply.status_code == 201, reply.text
        person.user_id = reply.json()["user_id"]
        return person

    async def work(self) -> None:
        while await self.worker.work_once():
            pass

    async def rows(self, table: Any) -> list[Any]:
        return await self.service.database.read(
            lambda connection: connection.execute(select(table).order_by(table.c.id)).all()
        )


class Person:
    """A browser with its cookies."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.user_id = 0

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.client.get(path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        options.setdefault("headers", self.csrf())
        return await self.client.post(path, json=body, **options)

    async def delete(self, path: str) -> httpx.Response:
        return await self.client.delete(path, headers=self.csrf())

    def csrf(self) -> dict[str, str]:
        return {"X-CSRF-Token": self.client.cookies.get("csrf", "")}

    async def start(self, prompt: str = "a red cat") -> Any:
        reply = await self.post("/api/v1/duels", {"prompt": prompt})
        assert reply.status_code == 201, reply.text
        return reply.json()

    async def read(self, duel: Any) -> Any:
        reply = await self.get(f"/api/v1/duels/{duel['duel_id']}")
        assert reply.status_code == 200, reply.text
        return reply.json()

    async def look(self, duel: Any) -> None:
        """Fetch what is on screen, as every browser does: a pick of images that were not sent is refused."""
        for image in duel["round"]["images"]:
            await self.get(image["url"])

    async def pick(self, duel: Any, answer: str) -> httpx.Response:
        await self.look(duel)
        return await self.post(f"/api/v1/rounds/{duel['round']['round_id']}/pick", {"pick": answer})
