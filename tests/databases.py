"""Databases for tests: SQLite files, and databases on the PostgreSQL server that `.ci/postgresql` brings."""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from pathlib import Path
from types import TracebackType

import asyncpg
import pytest
from sqlalchemy import make_url

from pickapic.collect import schema

# A PostgreSQL server whose user may create databases; without one everything runs on SQLite alone.
SERVER = os.environ.get("PICKAPIC_TEST_POSTGRESQL", "")
KINDS = ["sqlite", "postgresql"] if SERVER else ["sqlite"]
# For what takes long: PostgreSQL only in `make test`.
KINDS_SLOWLY = [kind if kind == "sqlite" else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]


class Databases:
    """Makes databases, each in milliseconds: migrated once, copied from then on. Leaves nothing behind."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._templates: dict[str, str] = {}
        self._names: list[str] = []

    def __enter__(self) -> Databases:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in self._names:
            _execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def empty(self, kind: str, folder: Path) -> str:
        """Return the URL of a database without tables; a file would lie in `folder`."""
        if kind == "sqlite":
            return _file(folder)
        return self._create("")

    def migrated(self, kind: str, folder: Path) -> str:
        """Return the URL of a database with all tables, and nothing in them."""
        template = self._templates.get(kind)
        if template is None:
            template = self._templates[kind] = self.empty(kind, self._folder)
            asyncio.run(schema.upgrade(template))
        if kind == "sqlite":
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(make_url(template).database), folder / "pickapic.db")
            return _file(folder)
        return self._create(f" TEMPLATE {make_url(template).database}")

    def drop(self, url: str) -> None:
        """Remove a database; files go with their folder."""
        name = make_url(url).database
        if name in self._names:
            self._names.remove(name)
            _execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _create(self, template: str) -> str:
        name = f"pickapic_{uuid.uuid4().hex}"
        _execute(f"CREATE DATABASE {name}{template}")
        self._names.append(name)
        return make_url(SERVER).set(database=name).render_as_string(hide_password=False)


def _file(folder: Path) -> str:
    return f"sqlite:///{folder / 'pickapic.db'}"


def _execute(statement: str) -> None:
    async def execute() -> None:
        connection = await asyncpg.connect(SERVER)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(execute())
