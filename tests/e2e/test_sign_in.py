"""Signing in with a browser: by a real OpenID Connect server, by one of Discord's shape, linked, and out again."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from duel_page import DESK, PHONE
from playwright.sync_api import ConsoleMessage, Page, expect

from live_site import LiveSite
from pickapic.collect.tables import identities, rounds, users
from providers import CLIENT_ID, CLIENT_SECRET, Providers

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the mock's own use of what Authlib will drop
    import oidc_provider_mock

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ADA = "ada@example.org"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LiveSite]:
    """A site with two ways in, at each of which Ada is known with the same verified address."""
    people = {"ada": {"id": "77", "email": ADA, "verified": True}}
    home = tmp_path / "home"
    with (
        warnings.catch_warnings(),
        oidc_provider_mock.run_server_in_thread(require_nonce=True) as mock,
        Providers(people) as providers,
    ):
        warnings.simplefilter("ignore")
        issuer = f"http://localhost:{mock.server_port}"
        httpx.put(f"{issuer}/users/ada", json={"email": ADA, "email_verified": True}).raise_for_status()
        known = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        ways = {"mock": {**known, "issuer": issuer}, "discord": {**known, "issuer": providers.address}}
        with LiveSite(home=home, sign_in=ways, allow_guests=False) as site:
            yield site


def by_mock(page: Page, answer: str = "Authorize") -> None:
    page.get_by_role("link", name="Sign in with Mock").click()
    page.get_by_role("textbox").first.fill("ada")
    page.get_by_role("button", name=answer, exact=True).click()


def by_discord(page: Page, answer: str = "Authorize") -> None:
    page.get_by_role("link", name="Sign in with Discord").click()
    page.get_by_label("Who are you?").fill("ada")
    page.get_by_role("button", name=answer).click()


@pytest.mark.parametrize(("device", "way"), [(DESK, by_mock), (PHONE, by_discord)], ids=["desk", "phone"])
def test_sign_in_agree_pick_and_sign_out(
    site: LiveSite, new_page: Callable[..., Page], device: dict[str, object], way: Callable[[Page], None]
) -> None:
    page = new_page(**device)
    page.goto(f"{site.address}/sign-in?next=/terms")
    way(page)
    # Back where they wanted to go, as somebody who has not agreed yet.
    page.wait_for_url(f"{site.address}/terms")
    page.get_by_role("button", name="I agree").click()
    page.wait_for_url(f"{site.address}/")
    page.get_by_role("textbox", name="Prompt").fill("a red fox on the beach")
    page.get_by_role("button", name="Make two pictures").click()
    expect(page.locator("body")).to_have_attribute("data-state", re.compile("generating|compare"))
    site.work()
    expect(page.locator("#left img, #left canvas").first).to_be_visible()
    page.wait_for_timeout(300)
    page.locator("#left").click()
    for _ in range(100):
        if any(row.state == "answered" for row in site.rows(rounds)):
            break
        page.wait_for_timeout(50)
    assert site.rows(rounds)[0].state == "answered"
    assert [row.kind for row in site.rows(users)] == ["account"]
    page.goto(f"{site.address}/me")
    expect(page.get_by_role("heading", name="Browsers")).to_be_visible()
    expect(page.get_by_text("this one")).to_have_count(1)
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies()}
    assert cookies["session"]["httpOnly"]
    assert cookies["session"]["sameSite"] == "Lax"
    page.get_by_role("button", name="Sign out", exact=True).first.click()
    page.wait_for_url(f"{site.address}/")
    assert "session" not in {cookie["name"] for cookie in page.context.cookies()}
    assert page.request.get(f"{site.address}/api/v1/me").status == 401


def test_two_ways_in_become_one_account(site: LiveSite, new_page: Callable[..., Page]) -> None:
    first = new_page(**DESK)
    first.goto(f"{site.address}/sign-in")
    by_mock(first)
    first.wait_for_url(f"{site.address}/")
    page = new_page(**PHONE)
    page.goto(f"{site.address}/sign-in?next=/me")
    by_discord(page)
    expect(page.get_by_role("heading", name="You seem to have an account here")).to_be_visible()
    assert len(site.rows(users)) == 1
    by_mock(page)
    expect(page.get_by_role("heading", name="Link Discord to your account?")).to_be_visible()
    assert len(site.rows(identities)) == 1
    page.get_by_role("button", name="Link them").click()
    page.wait_for_url(f"{site.address}/me")
    expect(page.get_by_text("Discord, since")).to_be_visible()
    assert [(row.provider, row.user_id) for row in site.rows(identities)] == [("mock", 1), ("discord", 1)]
    # The other browser can be sent home from here.
    expect(page.locator(".browsers li")).to_have_count(2)
    page.locator(".browsers li", has_not_text="this one").get_by_role("button").click()
    expect(page.locator(".browsers li")).to_have_count(1)
    assert first.request.get(f"{site.address}/api/v1/me").status == 401


def test_thinking_better_of_it(site: LiveSite, new_page: Callable[..., Page]) -> None:
    page = new_page(**PHONE)
    page.goto(f"{site.address}/sign-in?next=/leaderboard")
    by_discord(page, "Cancel")
    expect(page.get_by_role("alert")).to_contain_text("called off")
    assert site.rows(users) == []
    by_discord(page)
    page.wait_for_url(f"{site.address}/leaderboard")
    assert page.request.get(f"{site.address}/api/v1/me").status == 200


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_pages_fit_their_window(
    site: LiveSite, new_page: Callable[..., Page], width: int, scheme: str, tmp_path: Path
) -> None:
    first = new_page(**DESK)
    first.goto(f"{site.address}/sign-in")
    by_mock(first)
    first.wait_for_url(f"{site.address}/")
    page = new_page(viewport={"width": width, "height": 740}, color_scheme=scheme, locale="en")
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        # The provider's own page is not ours to mend.
        if message.type == "error" and message.location["url"].startswith(site.address):
            complaints.append(message.text)

    page.on("console", listen)

    def fits() -> None:
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

    for path in ("/sign-in", "/terms"):
        page.goto(site.address + path)
        fits()
    page.goto(f"{site.address}/sign-in?next=/me")
    by_discord(page)
    page.wait_for_url(re.compile("/link/"))
    fits()
    page.get_by_role("button", name="Keep them apart").click()
    page.wait_for_url(f"{site.address}/me")
    fits()
    assert complaints == []
