"""My images and prompts: listed, kept, shared, taken away."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from pickapic.collect.boards import gallery, shares
from pickapic.collect.duels.images import url_of
from pickapic.collect.people.sessions import SignedIn
from pickapic.collect.people.visitors import VISITOR
from pickapic.collect.refusals import ForbiddenError, NotFoundError
from pickapic.storage import blobs
from pickapic.web.routes.answers import json_of
from pickapic.web.service import Participant, Service, ServiceHere, UserId, now

router = APIRouter(tags=["gallery"])

PAGE_SIZE = 24
MOST = 100
NAME_LENGTH = 60


class MyImage(BaseModel):
    """An image of mine; `model` is told once its duel is over, `shared` is the address of its public page."""

    token: str
    url: str
    prompt: str
    duel_id: str
    created_at: datetime
    width: int
    height: int
    won: int
    lost: int
    tied: int
    model: str | None
    shared: str | None


class MyImages(BaseModel):
    """Images, newest first; `before` asks for those that follow, null if there are none."""

    images: list[MyImage]
    before: str | None


class MyPrompt(BaseModel):
    """A prompt, the latest duel that it began, and all answers to it."""

    prompt: str
    duel_id: str
    created_at: datetime
    picks: int


class MyPrompts(BaseModel):
    """What I wrote, each prompt once, the latest first."""

    prompts: list[MyPrompt]


class Shared(BaseModel):
    """The address of a public page on this server."""

    url: str


@router.get("/me/images", response_model=MyImages)
async def read_my_images(
    service: ServiceHere,
    user_id: UserId,
    before: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = PAGE_SIZE,
) -> Response:
    """Return the images that I was shown, newest first."""
    page = await service.database.read(gallery.page, user_id, before, limit)
    return json_of(MyImages(images=[_image(one) for one in page.images], before=page.before))


@router.delete("/me/images/{token}", status_code=204)
async def take_away(token: str, service: ServiceHere, user_id: UserId) -> Response:
    """Take an image out of my gallery, and its shared page away; picks that I made with it stay."""
    await service.database.write(gallery.hide, user_id, token, now())
    return Response(status_code=204)


@router.get("/me/prompts", response_model=MyPrompts)
async def read_my_prompts(
    service: ServiceHere, user_id: UserId, limit: Annotated[int, Query(ge=1, le=MOST)] = 50
) -> Response:
    """Return the prompts that I wrote, the latest first."""
    written = await service.database.read(gallery.prompts, user_id, limit)
    return json_of(
        MyPrompts(
            prompts=[
                MyPrompt(prompt=one.prompt, duel_id=one.duel_uid, created_at=one.created_at, picks=one.picks)
                for one in written
            ]
        )
    )


@router.get(
    "/images/{token}/download",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}},
)
async def download(token: str, service: ServiceHere, user_id: UserId) -> Response:
    """Return one of my images as a file named after its prompt; that it was kept is noted."""
    kept = await service.database.write(gallery.download, user_id, token, now())
    headers = {"Cache-Control": "no-store", "Content-Disposition": attachment(kept.prompt)}
    return Response(await picture(service, kept.sha256), headers=headers, media_type="image/jpeg")


@router.post("/images/{token}/share", response_model=Shared)
async def share(token: str, service: ServiceHere, person: Participant) -> Response:
    """Make one of my images public, and return where; asked again, the same address."""
    return json_of(Shared(url=await publish(service, person, token)))


@router.delete("/images/{token}/share", status_code=204)
async def unshare(token: str, service: ServiceHere, user_id: UserId) -> Response:
    """Make one of my images private again."""
    await service.database.write(shares.unshare, user_id, token)
    return Response(status_code=204)


async def publish(service: Service, person: SignedIn, token: str) -> str:
    """Make an image of somebody's gallery public, and return the path of its page.

    Raises:
        ForbiddenError: a visitor, who has agreed to nothing yet.
        NotFoundError: it is not in this person's gallery.
    """
    if person.kind == VISITOR:
        raise ForbiddenError("sign_in", "Sign in to share pictures.")
    return shared_path(await service.database.write(shares.share, person.user_id, token, now()))


def shared_path(share_token: str) -> str:
    """Return the path of a public image's page."""
    return f"/i/{share_token}"


async def picture(service: Service, sha256: str) -> bytes:
    """Return an image's file.

    Raises:
        NotFoundError: it is gone.
    """
    try:
        return await blobs.get(service.store, sha256)
    except KeyError as error:
        raise NotFoundError(gallery.NOT_THERE) from error


def attachment(prompt: str) -> str:
    """Return a Content-Disposition that names a file after a prompt, for old and new browsers."""
    name = re.sub(r"[^\w-]+", "-", prompt)[:NAME_LENGTH].strip("-_") or "picture"
    plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") or "picture"
    return f"attachment; filename=\"{plain}.jpg\"; filename*=UTF-8''{quote(name, safe='')}.jpg"


def _image(one: gallery.OwnImage) -> MyImage:
    return MyImage(
        token=one.token,
        url=url_of(one.token),
        prompt=one.prompt,
        duel_id=one.duel_uid,
        created_at=one.created_at,
        width=one.width,
        height=one.height,
        won=one.fate.won,
        lost=one.fate.lost,
        tied=one.fate.tied,
        model=one.model,
        shared=shared_path(one.share) if one.share else None,
    )
