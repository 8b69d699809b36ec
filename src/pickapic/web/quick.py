"""The two calls that are nearly all of the load, past the machinery that reads any request whatever.

FastAPI spends more on reading a pick, or the address of an image, than the database does on answering it. These
routes stand before its own and call the same functions, with the same checks; whatever is not sent exactly as the page
sends it goes the long way, which is also what the documentation of the API is made from.
"""

from __future__ import annotations

import re
from typing import Any

from starlette.datastructures import URLPath
from starlette.requests import Request
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Message, Receive, Scope, Send

from pickapic.collect.duels.images import ADDRESS
from pickapic.records import Pick
from pickapic.web.routes.images import read_image
from pickapic.web.routes.rounds import Answer, pick
from pickapic.web.service import Service, participant, person_behind

_ROUND = re.compile(r"/api/v1/rounds/([^/]+)/pick")
_WAIT = re.compile(rb"(?:wait=([0-9]{1,2}))?")
_JSON = (b"content-type", b"application/json")
_ANSWERS: tuple[Pick, ...] = ("left", "right", "tie")
# As JavaScript and as Python write it.
_BODIES = {
    text.format(answer).encode(): Answer(pick=answer)
    for answer in _ANSWERS
    for text in ('{{"pick":"{}"}}', '{{"pick": "{}"}}')
}
_LONGEST_WAIT = 30
_LONG_WAY = "pickapic.long_way"


class QuickRoute(BaseRoute):
    """A route without a name: addresses are made by FastAPI's route for the same path."""

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        """Leave it to the other routes."""
        raise NoMatchFound(name, path_params)


class QuickImage(QuickRoute):
    """GET of an image; see `routes.images`."""

    path = ADDRESS + "{token}"

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether this is a GET of /api/v1/images/{token}."""
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"].startswith(ADDRESS):
            token: str = scope["path"][len(ADDRESS) :]
            if token and "/" not in token:
                return Match.FULL, {"route": self, "pickapic.token": token}
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the image."""
        request = Request(scope)
        service: Service = request.app.state.service
        person = await person_behind(request)
        response = await read_image(scope["pickapic.token"], service, person.user_id)
        await response(scope, receive, send)


class QuickPick(QuickRoute):
    """POST of a pick; see `routes.rounds`."""

    path = "/api/v1/rounds/{round_id}/pick"

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether this is a pick as the page sends it, as far as its head tells."""
        if scope["type"] != "http" or scope["method"] != "POST" or _LONG_WAY in scope:
            return Match.NONE, {}
        address = _ROUND.fullmatch(scope["path"])
        wait = _WAIT.fullmatch(scope["query_string"])
        if not address or not wait or _JSON not in scope["headers"]:
            return Match.NONE, {}
        seconds = int(wait[1] or 0)
        if seconds > _LONGEST_WAIT:
            return Match.NONE, {}
        return Match.FULL, {"route": self, "pickapic.pick": (address[1], seconds)}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Store the pick and send the next round."""
        request = Request(scope)
        message = await receive()
        body = None if message.get("more_body") else _BODIES.get(message.get("body", b""))
        if body is None:
            scope[_LONG_WAY] = True
            await request.app.router(scope, _again(message, receive), send)
            return
        round_id, wait = scope["pickapic.pick"]
        service: Service = request.app.state.service
        person = await participant(service, await person_behind(request))
        response = await pick(round_id, body, service, person, wait)
        await response(scope, receive, send)


def _again(message: Message, receive: Receive) -> Receive:
    """Return a `receive` that begins with `message`."""
    unread = [message]

    async def received() -> Message:
        return unread.pop() if unread else await receive()

    return received
