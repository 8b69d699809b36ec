"""A duel: started with a prompt, followed while its images are made, ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from pickapic.collect import states
from pickapic.collect.duels import duel as loop
from pickapic.collect.duels import views
from pickapic.collect.moderation import reviews
from pickapic.collect.people import users, visitors
from pickapic.collect.people.sessions import SignedIn
from pickapic.settings import Settings
from pickapic.web.routes.answers import DuelAnswer, duel_answer, json_of
from pickapic.web.service import Participant, Service, ServiceHere, UserId, now

LONGEST_WAIT = 30.0
SECONDS_BETWEEN_EVENTS = 1.0

WaitSeconds = Annotated[float, Query(ge=0, le=LONGEST_WAIT, allow_inf_nan=False)]

router = APIRouter(prefix="/duels", tags=["duels"])


class NewDuel(BaseModel):
    """What a duel starts with; parts in [square brackets] say what the images should not show."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: str


@router.post("", status_code=201, response_model=DuelAnswer)
async def start_duel(body: NewDuel, service: ServiceHere, person: Participant) -> Response:
    """Queue the first images for a prompt."""
    settings = await service.present()
    try:
        view = await service.database.write(_start, service, settings, person, body.prompt)
    except reviews.ReviewError as error:
        await service.database.write(reviews.hold, error, now())
        raise
    service.metrics.duels.inc()
    return json_of(duel_answer(service, view), 201)


@router.get("/{duel_id}", response_model=DuelAnswer)
async def read_duel(duel_id: str, service: ServiceHere, user_id: UserId, wait: WaitSeconds = 0.0) -> Response:
    """Return the duel; with `wait`, only when a round is on screen or that many seconds have passed."""
    if wait:
        missing = await service.database.read(views.waits_for, user_id, duel_id)
        if missing.needed:
            return json_of(duel_answer(service, await next_look(service, user_id, missing, wait)))
    return json_of(duel_answer(service, await look(service, user_id, duel_id)))


async def _own_duel(duel_id: str, service: ServiceHere, user_id: UserId) -> views.DuelView:
    return await look(service, user_id, duel_id)


@router.get("/{duel_id}/events", response_class=EventSourceResponse)
async def follow_duel(
    duel_id: str,
    service: ServiceHere,
    user_id: UserId,
    first: Annotated[views.DuelView, Depends(_own_duel)],
) -> AsyncIterator[ServerSentEvent]:
    """Send the duel as an event `state`, now and at every change, until it is over."""
    view, sent = first, ""
    while True:
        text = duel_answer(service, view).model_dump_json()
        if text != sent:
            sent = text
            yield ServerSentEvent(event="state", raw_data=text, retry=1000)
        if view.state in ("closed", "failed") or service.changes.closed:
            return
        seen = view.standing
        await service.changes.wait(
            view.duel_id, lambda standing, seen=seen: standing != seen, SECONDS_BETWEEN_EVENTS
        )
        view = await look(service, user_id, duel_id)


@router.delete("/{duel_id}", response_model=DuelAnswer)
async def end_duel(duel_id: str, service: ServiceHere, user_id: UserId) -> Response:
    """End the duel: what is not yet made is cancelled, and the models are named."""
    view = await service.database.write(_close, user_id, duel_id)
    return json_of(duel_answer(service, view))


async def look(service: Service, user_id: int, duel_uid: str) -> views.DuelView:
    """Return the duel as it is now; a round whose images have come is put on screen by this look."""
    view = await service.database.read(views.view, user_id, duel_uid, now())
    if view.may_advance:
        view = await service.database.write(_advance, service, await service.present(), user_id, duel_uid)
    return view


async def next_look(service: Service, user_id: int, missing: views.Wait, seconds: float) -> views.DuelView:
    """Return the duel when what it waits for is there, or after so many seconds as it then is."""
    enough = missing.standing.pool + missing.needed
    await service.changes.wait(missing.duel_id, lambda standing: _is_worth_a_look(standing, enough), seconds)
    settings = await service.present()
    return await service.database.write(_advance, service, settings, user_id, missing.duel_uid)


def _is_worth_a_look(standing: views.Standing, enough: int) -> bool:
    return standing.state != states.OPEN or standing.pool >= enough


def _start(
    connection: Connection, service: Service, settings: Settings, person: SignedIn, typed: str
) -> views.DuelView:
    users.hold(connection, person.user_id)
    if person.kind == visitors.VISITOR:
        visitors.check_start(connection, settings, person.user_id, typed)
    duel_uid = loop.start(connection, settings, person.user_id, typed, now(), service.rng)
    return views.view(connection, person.user_id, duel_uid, now())


def _advance(
    connection: Connection, service: Service, settings: Settings, user_id: int, duel_uid: str
) -> views.DuelView:
    loop.advance(connection, settings, user_id, duel_uid, now(), service.rng)
    return views.view(connection, user_id, duel_uid, now())


def _close(connection: Connection, user_id: int, duel_uid: str) -> views.DuelView:
    loop.close(connection, user_id, duel_uid, now())
    return views.view(connection, user_id, duel_uid, now())
