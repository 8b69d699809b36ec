"""A round: picked, skipped, taken back. The answer is the duel with the round that is now on screen."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from pickapic.collect.duels import duel as loop
from pickapic.collect.duels import images, views
from pickapic.collect.people import visitors
from pickapic.collect.people.sessions import SignedIn
from pickapic.collect.refusals import NotShownError
from pickapic.records import Pick
from pickapic.settings import Settings
from pickapic.web.routes.answers import DuelAnswer, duel_answer, json_of
from pickapic.web.routes.duels import WaitSeconds, next_look
from pickapic.web.service import Participant, Service, ServiceHere, now

# Longer than `deliveries` lets pass between two writes.
LOOKS = 3
SECONDS_BETWEEN_LOOKS = 0.1

router = APIRouter(prefix="/rounds", tags=["rounds"])


class Answer(BaseModel):
    """Which image is better, or `tie` if neither clearly is."""

    model_config = ConfigDict(extra="forbid", strict=True)

    pick: Pick


@router.post("/{round_id}/pick", response_model=DuelAnswer)
async def pick(
    round_id: str, body: Answer, service: ServiceHere, person: Participant, wait: WaitSeconds = 0.0
) -> Response:
    """Store the answer to a round; the same answer again is counted once.

    409 `not_shown` unless whoever picks has fetched both images. With `wait`, the answer comes with the next
    round, or after that many seconds without; the pick is stored before that, and may safely be sent again.
    """
    settings = await service.present()
    try:
        view = await service.database.write_together(
            _pick, service, settings, person, round_id, body.pick, wait > 0
        )
    except NotShownError:
        if not await _sent_elsewhere(service, person.user_id, round_id):
            raise
        view = await service.database.write_together(
            _pick, service, settings, person, round_id, body.pick, wait > 0
        )
    service.metrics.answers.labels(body.pick).inc()
    if isinstance(view, views.Wait):
        view = await next_look(service, person.user_id, view, wait)
    return json_of(duel_answer(service, view))


@router.post("/{round_id}/skip", response_model=DuelAnswer)
async def skip(round_id: str, service: ServiceHere, person: Participant) -> Response:
    """Replace both images without an answer."""
    view = await service.database.write(_skip, service, await service.present(), person, round_id)
    service.metrics.answers.labels("skip").inc()
    return json_of(duel_answer(service, view))


@router.post("/{round_id}/undo", response_model=DuelAnswer)
async def undo(round_id: str, service: ServiceHere, person: Participant) -> Response:
    """Take the answer of the last answered round back: it is on screen again."""
    view = await service.database.write(_undo, person.user_id, round_id)
    service.metrics.answers.labels("undo").inc()
    return json_of(duel_answer(service, view))


async def _sent_elsewhere(service: Service, user_id: int, round_id: str) -> bool:
    """Give another server process, which may have sent the images, time to write that down."""
    for _ in range(LOOKS):
        await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
        if await service.database.read(images.all_fetched, user_id, round_id):
            return True
    return False


def _pick(
    connection: Connection,
    service: Service,
    settings: Settings,
    person: SignedIn,
    round_uid: str,
    answer: Pick,
    may_wait: bool,
) -> views.DuelView | views.Wait:
    user_id = person.user_id
    if person.kind == visitors.VISITOR:
        visitors.check_pick(connection, settings, user_id, round_uid)
    duel_uid = loop.pick(
        connection,
        settings,
        user_id,
        round_uid,
        answer,
        now(),
        service.rng,
        session_key=person.session_key,
        delivered=service.deliveries,
    )
    view = views.view(connection, user_id, duel_uid, now())
    if may_wait and view.needed:
        return views.Wait(view.duel_id, view.duel_uid, view.needed, view.standing)
    return view


def _skip(
    connection: Connection, service: Service, settings: Settings, person: SignedIn, round_uid: str
) -> views.DuelView:
    user_id = person.user_id
    if person.kind == visitors.VISITOR:
        visitors.check_skip(connection, user_id)
    duel_uid = loop.skip(
        connection, settings, user_id, round_uid, now(), service.rng, session_key=person.session_key
    )
    return views.view(connection, user_id, duel_uid, now())


def _undo(connection: Connection, user_id: int, round_uid: str) -> views.DuelView:
    duel_uid = loop.undo(connection, user_id, round_uid, now())
    return views.view(connection, user_id, duel_uid, now())
