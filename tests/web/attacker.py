"""What the attacks share: somebody who plays, and the form that every refusal has."""

from __future__ import annotations

from typing import Any

import httpx
from web_site import Person, Site


async def playing(site: Site, prompt: str = "a red cat") -> tuple[Person, Any]:
    """Return somebody new and their duel, with its first round on screen."""
    person = await site.person()
    duel = await person.start(prompt)
    await site.work()
    return person, await person.read(duel)


def assert_error(reply: httpx.Response, status: int, *words: str) -> None:
    """Every refusal of the API is a code and a sentence, and nothing else."""
    assert reply.status_code == status, reply.text
    assert set(reply.json()) == {"error"}
    error = reply.json()["error"]
    assert set(error) == {"code", "message"}
    assert error["message"][-1] in ".!?"
    for word in words:
        assert word in error["message"], error
