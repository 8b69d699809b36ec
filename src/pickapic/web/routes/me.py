"""What is known of me, my data as a file, and being forgotten."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import Sequence
from datetime import datetime

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from pickapic.collect import consents, users
from pickapic.collect.visitors import VISITOR
from pickapic.storage import blobs
from pickapic.web.routes.answers import json_of
from pickapic.web.security import set_session
from pickapic.web.service import Person, ServiceHere, UserId, now

router = APIRouter(prefix="/me", tags=["me"])


class Me(BaseModel):
    """Who I am here. `user_id` is the number under which my picks are published."""

    user_id: int
    kind: str
    role: str
    status: str
    consent_needed: bool
    terms_version: str
    created_at: datetime
    duels: int
    picks: int
    open_duel_id: str | None


@router.get("", response_model=Me)
async def read_me(service: ServiceHere, person: Person) -> Response:
    """Return what is known of me; `consent_needed` if the terms have changed since I agreed."""
    account = await service.database.read(users.account, person.user_id)
    version = service.settings.terms_version
    return json_of(
        Me(
            user_id=account.user_id,
            kind=account.kind,
            role=person.role,
            status=person.status,
            consent_needed=person.kind != VISITOR and person.consent != version,
            terms_version=version,
            created_at=account.created_at,
            duels=account.duels,
            picks=account.picks,
            open_duel_id=account.open_duel_uid,
        )
    )


class Agreement(BaseModel):
    """The version of the terms that was read."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: str


@router.post("/consent", status_code=204)
async def agree(request: Request, body: Agreement, service: ServiceHere, person: Person) -> Response:
    """Agree to the present terms; 409 if another version was read."""
    present = service.settings.terms_version
    await service.database.write(consents.agree_to_present, person.user_id, body.version, present, now())
    service.people.drop(request.scope["pickapic.session"])
    return Response(status_code=204)


@router.get("/export", response_class=Response, responses={200: {"content": {"application/zip": {}}}})
async def export_me(service: ServiceHere, user_id: UserId) -> Response:
    """Return my prompts and picks (picks.json), and the images I was shown, as a zip file."""
    account = await service.database.read(users.account, user_id)
    history = await service.database.read(users.history, user_id)
    keys = {key for answer in history for key in (answer.left_sha256, answer.right_sha256)}
    spool = io.BytesIO()
    with zipfile.ZipFile(spool, "w", zipfile.ZIP_STORED) as archive:
        picks = await asyncio.to_thread(_picks, account, history)
        archive.writestr("picks.json", picks)
        for key in sorted(keys):
            archive.writestr(f"images/{key}.jpg", await blobs.get(service.store, key))
    return Response(
        spool.getvalue(),
        headers={
            "Cache-Control": "no-store",
            "Content-Disposition": 'attachment; filename="pick-a-pic.zip"',
        },
        media_type="application/zip",
    )


@router.delete("", status_code=204)
async def forget_me(request: Request, service: ServiceHere, user_id: UserId) -> Response:
    """Forget me: I am signed out everywhere; my picks stay under a number that is tied to nobody."""
    await service.database.write(users.forget, user_id, now())
    service.people.clear()
    response = Response(status_code=204)
    set_session(
        response.headers, request.app.state.secret, None, request.scope, service.settings.session_days
    )
    return response


def _picks(account: users.Account, history: Sequence[users.AnsweredRound]) -> str:
    return json.dumps(
        {
            "user_id": account.user_id,
            "kind": account.kind,
            "created_at": account.created_at.isoformat(),
            "picks": [
                {
                    "duel_id": answer.duel_uid,
                    "prompt": answer.typed,
                    "round": answer.number,
                    "pick": answer.pick,
                    "shown_at": answer.shown_at.isoformat(),
                    "picked_at": answer.picked_at.isoformat(),
                    "response_ms": answer.response_ms,
                    "left": f"images/{answer.left_sha256}.jpg",
                    "right": f"images/{answer.right_sha256}.jpg",
                }
                for answer in history
            ],
        },
        indent=2,
        ensure_ascii=False,
    )
