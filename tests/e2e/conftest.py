"""A real server in its own process, a real Chromium, and what the database holds afterwards."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from duel_page import DESK, PHONE, DuelPage
from playwright.sync_api import Browser, BrowserType, Page, expect, sync_playwright
from stored_rounds import Collection

# Read before the settings of the caller are taken away from each test. None: Playwright's own download.
CHROMIUM = os.environ.get("PICKAPIC_TEST_CHROMIUM") or shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_SECONDS = 60
PATIENCE = 20_000
"""Milliseconds that anything may take to be seen, on a machine that is busy with other tests."""
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="session")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    """The server with its own settings: guests are allowed."""
    with _serving(tmp_path_factory.mktemp("e2e"), {}) as collection:
        yield collection


@pytest.fixture(scope="session")
def closed_collection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    """A server where one signs in by a provider, with one free prompt before; the provider does not answer."""
    sign_in = {"google": {"client_id": "none", "client_secret": "none", "issuer": "http://127.0.0.1:9"}}
    settings = {
        "PICKAPIC_ALLOW_GUESTS": "false",
        "PICKAPIC_PUBLIC_URL": "http://127.0.0.1",
        "PICKAPIC_SIGN_IN": json.dumps(sign_in),
        "PICKAPIC_FREE_PICKS": "3",
        "PICKAPIC_FREE_PROMPT": "a red fox and a yellow duck on the beach",
    }
    with _serving(tmp_path_factory.mktemp("closed"), settings) as collection:
        yield collection


@pytest.fixture(scope="module")
def own_collection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    """A server that the tests of one module may change as they like."""
    with _serving(tmp_path_factory.mktemp("own"), {}) as collection:
        yield collection


@pytest.fixture(scope="module")
def strict_collection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    """A server that allows one prompt a minute."""
    with _serving(tmp_path_factory.mktemp("strict"), {"PICKAPIC_PROMPTS_PER_MINUTE": "1"}) as collection:
        yield collection


@contextmanager
def _serving(folder: Path, settings: dict[str, str]) -> Iterator[Collection]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PICKAPIC_")}
    # Check rounds come by chance; a test of them asks for them.
    environment |= {"PICKAPIC_HOME": str(folder / "home"), "PICKAPIC_GOLD_SHARE": "0", **settings}
    log = folder / "server.log"
    with log.open("wb") as stream:
        server = subprocess.Popen(
            [sys.executable, "-m", "pickapic", "serve", "--port", "0"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )
    try:
        yield Collection(folder / "home", _address(server, log))
    finally:
        server.terminate()
        server.wait(timeout=20)
    assert "Traceback" not in log.read_text(), log.read_text()


def _address(server: subprocess.Popen[bytes], log: Path) -> str:
    for _ in range(START_SECONDS * 10):
        text = log.read_text()
        if " is at http://" in text:
            return text.partition(" is at ")[2].split()[0]
        if server.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(f"the server did not start:\n{log.read_text()}")


# Not for the whole session: while Playwright is open, no other test of this process could run an event loop.
@pytest.fixture(scope="module")
def chromium() -> Iterator[BrowserType]:
    with sync_playwright() as playwright:
        yield playwright.chromium


@pytest.fixture(scope="module")
def browser(chromium: BrowserType) -> Iterator[Browser]:
    browser = chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
    yield browser
    browser.close()


@pytest.fixture
def launch(chromium: BrowserType) -> Callable[[], Browser]:
    """One more Chromium, to be killed."""
    return lambda: chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)


@pytest.fixture
def new_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a page of somebody new; the keyword arguments are those of Playwright's contexts.

    With `tour`, it is their first visit, and the tour will come.
    """
    contexts = []

    def opened(tour: bool = False, **device: object) -> Page:
        context = browser.new_context(**device)
        context.set_default_timeout(PATIENCE)
        if not tour:
            context.add_init_script("localStorage.setItem('pickapic.tour', '1')")
        contexts.append(context)
        return context.new_page()

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture
def duel(new_page: Callable[..., Page], collection: Collection) -> Iterator[DuelPage]:
    """The page of a new visitor at a desk; it must not complain on the console."""
    page = DuelPage(new_page(**DESK), collection.address)
    page.open()
    yield page
    assert page.complaints == []


@pytest.fixture
def phone(new_page: Callable[..., Page], collection: Collection) -> Iterator[DuelPage]:
    """The page of a new visitor on a phone; it must not complain on the console."""
    page = DuelPage(new_page(**PHONE), collection.address)
    page.open()
    yield page
    assert page.complaints == []
