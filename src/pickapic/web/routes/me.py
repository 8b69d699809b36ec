"""What is known of me, the browsers I am signed in with, my data as a file, and being forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import datetime

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection
from starlette.responses import StreamingResponse

from pickapic.collect.anonymity import anonymous_id
from pickapic.collect.boards.score import score_of
from pickapic.collect.people import belongings, consents, forgetting, sessions, users
from pickapic.collect.people.visitors import VISITOR
from pickapic.storage import blobs
from pickapic.web.archive import archive
from pickapic.web.routes.answers import json_of
from pickapic.web.routes.auth import farewell
from pickapic.web.service import Person, Service, ServiceHere, UserId, now

router = APIRouter(prefix="/me", tags=["me"])

DELETED_AT_ONCE = 16


class Me(BaseModel):
    """Who I am here: `user_id` to this server, `published_id` in the data that it publishes."""

    user_id: int
    published_id: int
    kind: str
    role: str
    status: str
    consent_needed: bool
    terms_version: str
    created_at: datetime
    duels: int
    picks: int
    score: int
    open_duel_id: str | None


class MyBrowser(BaseModel):
    """A browser I am signed in with; `this` is the one that asks. `uid` is what DELETE wants."""

    uid: str
    label: str
    signed_in_at: datetime
    seen_at: datetime
    this: bool


class MyBrowsers(BaseModel):
    """All of them, the last used first."""

    sessions: list[MyBrowser]


class Agreement(BaseModel):
    """The version of the terms that was read."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: str


@router.get("", response_model=Me)
async def read_me(request: Request, service: ServiceHere, person: Person) -> Response:
    """Return what is known of me; `consent_needed` if the terms have changed since I agreed."""
    account, score = await service.database.read(_account, person.user_id)
    version = service.settings.terms_version
    return json_of(
        Me(
            user_id=account.user_id,
            published_id=anonymous_id(request.app.state.secret, account.user_id),
            kind=account.kind,
            role=person.role,
            status=person.status,
            consent_needed=person.kind != VISITOR and person.consent != version,
            terms_version=version,
            created_at=account.created_at,
            duels=account.duels,
            picks=account.picks,
            score=score,
            open_duel_id=account.open_duel_uid,
        )
    )


@router.post("/consent", status_code=204)
async def agree(body: Agreement, service: ServiceHere, person: Person) -> Response:
    """Agree to the present terms; 409 if another version was read."""
    present = service.settings.terms_version
    await service.database.write(consents.agree_to_present, person.user_id, body.version, present, now())
    service.forget_user(person.user_id)
    return Response(status_code=204)


@router.get("/sessions", response_model=MyBrowsers)
async def read_sessions(service: ServiceHere, person: Person) -> Response:
    """Return the browsers I am signed in with."""
    return json_of(MyBrowsers(sessions=await browsers_of(service, person)))


@router.delete("/sessions/{uid}", status_code=204)
async def end_session(uid: str, request: Request, service: ServiceHere, person: Person) -> Response:
    """Sign one of my browsers out; it may be this one."""
    return await sign_out_browser(uid, request, service, person)


@router.delete("/sessions", status_code=204)
async def end_sessions(request: Request, service: ServiceHere, person: Person) -> Response:
    """Sign me out everywhere, here too."""
    return await sign_out_everywhere(request, service, person)


@router.get("/export", response_class=Response, responses={200: {"content": {"application/zip": {}}}})
async def export_me(service: ServiceHere, user_id: UserId) -> Response:
    """Return everything that is kept of me, with its purpose, and the images I was shown, as a zip file."""
    kept = await service.database.read(belongings.belongings, user_id, now())
    keys = await service.database.read(belongings.image_files, user_id)
    return StreamingResponse(
        archive(kept, keys, service.store),
        headers={
            "Cache-Control": "no-store",
            "Content-Disposition": 'attachment; filename="pick-a-pic.zip"',
        },
        media_type="application/zip",
    )


@router.delete("", status_code=204)
async def forget_me(request: Request, service: ServiceHere, user_id: UserId) -> Response:
    """Forget me: I am signed out everywhere, nothing ties my picks to me, or they go too, as the settings say."""
    secret: str = request.app.state.secret
    how = service.settings.on_delete
    files = await service.database.write(forgetting.forget, user_id, how, secret, now())
    service.forget_user(user_id)
    await _delete_files(service, files)
    return farewell(request, service, Response(status_code=204))


async def browsers_of(service: Service, person: Person) -> list[MyBrowser]:
    """Return the browsers that a person is signed in with, the last used first."""
    found = await service.database.read(sessions.browsers, person.user_id, now())
    return [
        MyBrowser(
            uid=one.uid,
            label=one.label,
            signed_in_at=one.created_at,
            seen_at=one.seen_at,
            this=one.session_key == person.session_key,
        )
        for one in found
    ]


async def sign_out_browser(uid: str, request: Request, service: Service, person: Person) -> Response:
    """End one of a person's sessions."""
    ended = await service.database.write(sessions.close_browser, person.user_id, uid)
    service.forget_session(ended)
    response = Response(status_code=204)
    return farewell(request, service, response) if ended == person.session_key else response


async def sign_out_everywhere(request: Request, service: Service, person: Person) -> Response:
    """End all of a person's sessions."""
    await service.database.write(sessions.close_all, person.user_id)
    service.forget_user(person.user_id)
    return farewell(request, service, Response(status_code=204))


async def _delete_files(service: Service, files: Collection[str]) -> None:
    """Delete the files of images whose rows have gone, unless another row has the same file."""
    unused = sorted(await service.database.read(forgetting.unused, files))
    for start in range(0, len(unused), DELETED_AT_ONCE):
        part = unused[start : start + DELETED_AT_ONCE]
        await asyncio.gather(*(blobs.delete(service.store, key) for key in part))


def _account(connection: Connection, user_id: int) -> tuple[users.Account, int]:
    return users.account(connection, user_id), score_of(connection, user_id).points
