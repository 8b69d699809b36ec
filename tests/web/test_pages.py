"""Pages, health, metrics, the API's description: what is served beside the pick loop."""

import re

import pytest

PAGES = ("/", "/about", "/leaderboard", "/docs")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_needs_no_other_server_and_no_inline_script(on, path):
    async def play(site):
        async with site.client() as client:
            reply = await client.get(path)
            assert reply.status_code == 200
            assert reply.headers["content-type"].startswith("text/html")
            assert "'unsafe-inline'" not in reply.headers["content-security-policy"]
            assert client.cookies["csrf"]
            assert not re.search(r'(src|href)="(https?:)?//', reply.text)
            assert not re.search(r"<script(?![^>]*\b(src=|type=.application/json))", reply.text)
            for asset in set(re.findall(r'(?:src|href)="(/static/[^"]+)"', reply.text)):
                assert (await client.get(asset)).status_code == 200, asset

    on(play)


def test_a_browser_at_a_wrong_address_gets_a_page_and_a_program_gets_json(on):
    async def play(site):
        async with site.client() as client:
            page = await client.get("/nowhere", headers={"Accept": "text/html"})
            assert (page.status_code, page.headers["content-type"][:9]) == (404, "text/html")
            program = await client.get("/nowhere")
            assert program.json() == {"error": {"code": "not_found", "message": "There is no such address."}}
            wrong = await client.put("/api/v1/duels")
            assert wrong.status_code == 405
            assert set(wrong.json()) == {"error"}

    on(play)


def test_the_description_names_every_call_of_the_interface(on):
    async def play(site):
        async with site.client() as client:
            paths = (await client.get("/openapi.json")).json()["paths"]
        wanted = {
            "/api/v1/duels": {"post"},
            "/api/v1/duels/{duel_id}": {"get", "delete"},
            "/api/v1/duels/{duel_id}/events": {"get"},
            "/api/v1/rounds/{round_id}/pick": {"post"},
            "/api/v1/rounds/{round_id}/skip": {"post"},
            "/api/v1/rounds/{round_id}/undo": {"post"},
            "/api/v1/me": {"get", "delete"},
            "/api/v1/me/export": {"get"},
            "/api/v1/leaderboard": {"get"},
            "/api/v1/score": {"post"},
            "/auth/guest": {"post"},
            "/healthz": {"get"},
            "/readyz": {"get"},
            "/metrics": {"get"},
        }
        assert {path: set(paths[path]) for path in wanted} == wanted

    on(play)


def test_scoring_without_a_scorer_says_so(on):
    async def play(site):
        person = await site.person()
        reply = await person.post("/api/v1/score", {"prompt": "a cat", "images": ["aaaa"]})
        assert reply.status_code == 503
        assert "PICKAPIC_SCORER" in reply.json()["error"]["message"]

    on(play)
