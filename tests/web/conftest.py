"""The app on a database of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from web_site import Site

from pickapic.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path) -> Settings:
    return load_settings(home=tmp_path / "home")


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
