"""All tables as they are, at /admin/tables, for admins: sqladmin reads them, our own templates show them.

Only to be read: of sqladmin's routes there are the list of a table and one row of it, the transaction is
read-only, and columns by which a session, an address or a person could be found out are not even mapped. The
templates are ours (templates/sqladmin), for sqladmin's own need jQuery and 1.5 MB of icons, and would not look
like the pages beside them; so the content policy of every other page holds here too, without an exception.

sqladmin wants an engine of its own (collect/database.py is no engine): it is made at the first visit.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqladmin import Admin, ModelView
from sqlalchemy import Engine, LargeBinary, Table, create_engine, event
from sqlalchemy.exc import StatementError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import registry
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import Message, Receive, Scope, Send

from pickapic.collect.database import parse_url
from pickapic.collect.tables import METADATA
from pickapic.settings import Settings
from pickapic.web import statics
from pickapic.web.routes.admin import access
from pickapic.web.routes.pages import WEB
from pickapic.web.service import Service

PATH = "/admin/tables"
ROUTES = frozenset({"index", "list", "details"})
PAGE_ROWS = 25
CONNECTIONS = 2
LONGEST_CELL = 300
# Beside every column of bytes, which are hashes all: what would let somebody in, or tells who somebody is.
SECRET = frozenset({"code_verifier", "nonce", "subject"})


def is_secret(table: Table, column: str) -> bool:
    """Return whether a column is never shown."""
    return column in SECRET or isinstance(table.c[column].type, LargeBinary)


class RawTables:
    """An ASGI application to be mounted at PATH under the name `admin`, by which sqladmin finds its routes."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.database_url
        self._made: _Made | None = None

    @property
    def routes(self) -> Sequence[BaseRoute]:
        """The routes below PATH, by which addresses are made."""
        return self._ready().app.routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an admin; anybody else gets the 404 of an address that leads nowhere."""
        request = Request(scope, receive)
        service: Service = request.app.state.service
        person = await access.staff_of(service, scope.get("pickapic.session"), ("admin",))
        if person is None or request.method not in ("GET", "HEAD"):
            raise HTTPException(404)
        scope["pickapic.page"] = await access.shared(request, service, person)

        async def unkept(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["cache-control"] = "no-store"
            await send(message)

        # A scope of its own, for it writes its own app there, which what answers a fault must not meet.
        await self._ready().app(dict(scope), receive, unkept)

    async def close(self) -> None:
        """Close the connections, if there ever were any."""
        made, self._made = self._made, None
        if made is not None and isinstance(made.engine, AsyncEngine):
            await made.engine.dispose()
        elif made is not None:
            made.engine.dispose()

    def _ready(self) -> _Made:
        if self._made is None:
            self._made = _make(self._url)
        return self._made


@dataclass(frozen=True, slots=True)
class _Made:
    app: Starlette
    engine: Engine | AsyncEngine


def _make(url: str) -> _Made:
    engine = open_engine(url)
    admin: Any = Admin(
        Starlette(), engine, base_url=PATH, title="Tables", templates_dir=str(WEB / "templates")
    )
    admin.templates.env.globals["static"] = statics.address
    for view in views():
        admin.add_view(view)
    app: Starlette = admin.admin
    app.router.routes = [route for route in app.router.routes if getattr(route, "name", "") in ROUTES]
    # A key that cannot be one: 404. sqladmin would pass the database's complaint on as a fault of the server.
    app.exception_handlers = {
        HTTPException: app.exception_handlers[HTTPException],
        ValueError: _no_such_row,
        OverflowError: _no_such_row,
        StatementError: _no_such_row,
    }
    return _Made(app, engine)


async def _no_such_row(request: Request, error: Exception) -> Response:
    return Response("There is no such row.", 404, media_type="text/plain")


def open_engine(url: str) -> Engine | AsyncEngine:
    """Return an engine that only reads."""
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_async_engine(
            parsed, pool_size=CONNECTIONS, max_overflow=0, execution_options={"postgresql_readonly": True}
        )
    engine = create_engine(parsed, pool_size=CONNECTIONS, connect_args={"check_same_thread": False})

    def only_read(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA query_only = ON")

    event.listen(engine, "connect", only_read)
    return engine


def views() -> list[type[ModelView]]:
    """Return a view of every table, in alphabetical order."""
    mapped = registry(metadata=METADATA)
    return [_view(mapped, METADATA.tables[name]) for name in sorted(METADATA.tables)]


def _view(mapped: registry, table: Table) -> type[ModelView]:
    model = type(table.name, (), {})
    columns = [column.name for column in table.columns if not is_secret(table, column.name)]
    secret = [column.name for column in table.columns if column.name not in columns]
    mapped.map_imperatively(model, table, exclude_properties=secret)
    (key,) = table.primary_key.columns.keys()
    options = {
        "name": table.name,
        "name_plural": table.name.replace("_", " "),
        "can_create": False,
        "can_edit": False,
        "can_delete": False,
        "can_export": False,
        "page_size": PAGE_ROWS,
        "page_size_options": [PAGE_ROWS, 100],
        "column_list": columns,
        "column_details_list": columns,
        "column_sortable_list": columns,
        "column_searchable_list": columns,
        "column_default_sort": (key, True),
        "column_formatters": dict.fromkeys(columns, _short),
        "column_formatters_detail": dict.fromkeys(columns, _full),
        "list_template": "sqladmin/table.html",
        "details_template": "sqladmin/row.html",
        "hidden": secret,
    }
    body: Callable[[dict[str, Any]], None] = lambda namespace: namespace.update(options)  # noqa: E731
    return types.new_class(f"{table.name}_view", (ModelView,), {"model": model}, body)


def _full(row: Any, name: str) -> str:
    value = getattr(row, name)
    if value is None:
        return "–"
    return value.strftime("%Y-%m-%d %H:%M:%S") if isinstance(value, datetime) else str(value)


def _short(row: Any, name: str) -> str:
    text = _full(row, name)
    return text if len(text) <= LONGEST_CELL else f"{text[:LONGEST_CELL]}…"
