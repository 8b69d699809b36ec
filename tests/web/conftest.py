"""The app on a database of the test's own."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from server_process import Guest, Process
from web_site import Site

from databases import KINDS_SLOWLY, Databases
from pickapic.settings import Settings, load_settings


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of a module that says so on PostgreSQL too, where there is a server."""
    if "database_kind" in metafunc.fixturenames and getattr(metafunc.module, "ON_BOTH_DATABASES", False):
        metafunc.parametrize("database_kind", KINDS_SLOWLY, indirect=True)


@pytest.fixture
def database_kind(request) -> str:
    """sqlite; or postgresql, in modules with `ON_BOTH_DATABASES = True`."""
    return getattr(request, "param", "sqlite")


@pytest.fixture
def database_url(database_kind: str, databases: Databases, tmp_path: Path) -> Iterator[str]:
    """A database with all tables, and nothing in them."""
    url = databases.migrated(database_kind, tmp_path / "home")
    yield url
    databases.drop(url)


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path / "home", database_url=database_url)


@pytest.fixture
def site(settings) -> Site:
    return Site(settings)


@pytest.fixture
def on(site) -> Iterator[Any]:
    """Run `async def play(site)` on the started site."""

    def run(play: Any, where: Site = site) -> Any:
        async def started() -> Any:
            async with where:
                return await play(where)

        return asyncio.run(started())

    return run


@pytest.fixture
def run_plainly(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start `pickapic ...` in a process of its own, without any settings but those given."""
    started: list[Process] = []

    def start(*arguments: str, **settings: str) -> Process:
        started.append(Process(tmp_path / "home", *arguments, **settings))
        return started[-1]

    yield start
    for process in started:
        if process.process.poll() is None:
            process.stop(signal.SIGKILL)


@pytest.fixture
def run(run_plainly: Callable[..., Process], database_url: str) -> Callable[..., Process]:
    """Start `pickapic ...` in a process of its own, on the test's database."""

    def start(*arguments: str, **settings: str) -> Process:
        return run_plainly(*arguments, PICKAPIC_DATABASE_URL=database_url, **settings)

    return start


@pytest.fixture
def guest() -> Iterator[Callable[[int], Guest]]:
    """Sign a guest in at a port."""
    guests: list[Guest] = []

    def arrive(port: int) -> Guest:
        guests.append(Guest(port))
        return guests[-1]

    yield arrive
    for one in guests:
        one.client.close()
