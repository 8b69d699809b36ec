"""Clients that send byte by byte, or nothing more: they are not waited for, and hold nobody else up."""

import socket
import time

import pytest

from live_site import LiveSite, Visitor
from pickapic.web import security, server

pytestmark = pytest.mark.slow


@pytest.fixture
def quick(databases, tmp_path, monkeypatch):
    """A site that runs out of patience within a second."""
    monkeypatch.setattr(security, "BODY_SECONDS", 0.6)
    monkeypatch.setattr(security, "SCORE_BODY_SECONDS", 0.6)
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.3)
    monkeypatch.setattr(server, "TICKS_A_LOOK", 2)
    home = tmp_path / "home"
    with LiveSite(home=home, database_url=databases.migrated("sqlite", home)) as site:
        yield site


def connect(site):
    host, _, port = site.address.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def drip(site, head, seconds=2.0):
    """Send a request's head and then a byte now and then; return what came back until the server hung up."""
    begun = time.monotonic()
    with connect(site) as stream:
        stream.sendall(head.encode())
        stream.settimeout(0.1)
        answer = b""
        while time.monotonic() - begun < seconds + 8:
            try:
                part = stream.recv(65536)
                answer += part
                if not part:
                    break
            except TimeoutError:
                pass
            except ConnectionError:
                break
            try:
                stream.sendall(b"x")
            except OSError:
                break
    return answer.decode(errors="replace"), time.monotonic() - begun


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/api/v1/duels", "application/json"),
        ("/api/v1/score", "application/json"),
        ("/sign-in/guest", "application/x-www-form-urlencoded"),
        ("/language", "application/x-www-form-urlencoded"),
    ],
)
def test_a_body_that_comes_byte_by_byte_is_given_up(quick, path, kind):
    with Visitor(quick) as ada:
        ada.guest()
        cookies = "; ".join(f"{name}={value}" for name, value in ada.client.cookies.items())
        header = "" if "form" in kind else f"X-CSRF-Token: {ada.client.cookies['csrf']}\r\n"
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {quick.address.removeprefix('http://')}\r\nCookie: {cookies}\r\n"
            f"{header}Content-Type: {kind}\r\nContent-Length: 50000\r\n\r\n"
        )
        answer, seconds = drip(quick, head)
        assert answer.startswith("HTTP/1.1 408"), answer
        assert "connection: close" in answer.lower()
        assert seconds < 6
        # Nobody else noticed.
        assert ada.post("/api/v1/duels", {"prompt": "a cat"}).status_code == 201


def test_headers_that_never_end_are_given_up(tmp_path, databases, monkeypatch):
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.3)
    monkeypatch.setattr(server, "TICKS_A_LOOK", 2)
    home = tmp_path / "home"
    patient = LiveSite(home=home, database_url=databases.migrated("sqlite", home))
    patient._server = server.Server(
        server.config_of(patient.app, patient.settings), patient.app, patient.settings, patient.address
    )
    with patient as site, Visitor(site) as ada:
        for head in ("", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\nX-A: "):
            answer, seconds = drip(site, head)
            assert answer.startswith("HTTP/1.1 400") or answer == ""
            assert seconds < 6
        # Who asks, waits and asks again is no such client.
        for _ in range(3):
            assert ada.get("/healthz").status_code == 200
            time.sleep(0.5)
