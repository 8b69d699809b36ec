"""Staff of a started site, and every route of the administration."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fastapi.routing import APIRoute
from web_site import Person, Site

from pickapic.collect.people import bans
from pickapic.web.routes import admin
from pickapic.web.service import now

FORM = {"Accept": "text/html"}


async def staff(site: Site, role: str) -> Person:
    """Sign somebody in who has a role."""
    person = await site.person()
    await site.service.database.write(bans.set_role, None, person.user_id, role, "for a test", now())
    site.service.forget_user(person.user_id)
    return person


async def send(person: Person, path: str, **fields: Any) -> Any:
    """Send a form as a browser without scripts does: with the CSRF token in a field."""
    fields["csrf"] = person.client.cookies.get("csrf", "")
    return await person.client.post(path, data=fields, headers=FORM)


def routes() -> list[tuple[str, str]]:
    """Every (method, path) of the administration, as the router knows them."""
    return sorted((method, route.path) for route in _walk(admin.router.routes) for method in route.methods)


def _walk(found: Any) -> Iterator[APIRoute]:
    for route in found:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from _walk(inner.routes)
        else:
            yield route


def filled(path: str, user: int = 1) -> str:
    """Return a path with something in the places of its parameters."""
    values = {"user_id": str(user), "decision": "approve", "role": "better", "name": "miniature-dune"}
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], "x"), path)
