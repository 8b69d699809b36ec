"""The JSON that the API answers with, and how a duel becomes it."""

from __future__ import annotations

from typing import Literal

from fastapi import Response
from pydantic import BaseModel

from pickapic.collect.duels.images import Location, url_of
from pickapic.collect.duels.views import DuelView, RevealedRound, Shown
from pickapic.records import Pick, Side
from pickapic.web.service import Service


class SidedImage(BaseModel):
    """An image on screen."""

    side: Side
    url: str


class RoundAnswer(BaseModel):
    """Two images that wait for an answer; `prefetch` are images that may come next.

    `prompt` is what the two were made for. It is nearly always the duel's.
    """

    round_id: str
    prompt: str
    images: list[SidedImage]
    prefetch: list[str]


class NamedImage(SidedImage):
    """An image of a duel that is over, with the model that made it."""

    model: str
    guidance_scale: float | None
    seed: int


class NamedRound(BaseModel):
    """An answered round of a duel that is over."""

    round_id: str
    pick: Pick
    images: list[NamedImage]


class DuelAnswer(BaseModel):
    """A duel; `rounds` names the models once it is closed. `undo_round_id` is what undo would take back."""

    duel_id: str
    state: Literal["queued", "generating", "ready", "failed", "closed"]
    prompt: str
    position: int
    eta_s: float
    progress: float
    picks: int
    round: RoundAnswer | None
    next_ready: bool
    undo_round_id: str | None
    reason: str | None
    rounds: list[NamedRound]


def duel_answer(service: Service, view: DuelView) -> DuelAnswer:
    """Return the duel as the API shows it; where its images lie is remembered for the requests that follow."""
    prefetch = [_url(service, view, image) for image in view.ahead]
    shown = None
    if view.round is not None:
        sides: tuple[tuple[Side, Shown], ...] = (("left", view.round.left), ("right", view.round.right))
        images = [SidedImage(side=side, url=_url(service, view, image)) for side, image in sides]
        shown = RoundAnswer(
            round_id=view.round.round_uid, prompt=view.round.prompt, images=images, prefetch=prefetch
        )
    return DuelAnswer(
        duel_id=view.duel_uid,
        state=view.state,
        prompt=view.prompt,
        position=view.position,
        eta_s=view.eta_s,
        progress=view.progress,
        picks=view.picks,
        round=shown,
        next_ready=bool(prefetch),
        undo_round_id=view.undo_round_uid,
        reason=view.message,
        rounds=[_named_round(service, view, answered) for answered in view.revealed],
    )


def json_of(model: BaseModel, status: int = 200) -> Response:
    """Return an answer that is never cached."""
    return Response(
        model.model_dump_json(), status, {"Cache-Control": "no-store"}, media_type="application/json"
    )


def _url(service: Service, view: DuelView, image: Shown) -> str:
    service.locations.put(image.token, Location(image.sha256, view.user_id))
    return url_of(image.token)


def _named_round(service: Service, view: DuelView, answered: RevealedRound) -> NamedRound:
    return NamedRound(
        round_id=answered.round_uid,
        pick=answered.pick,
        images=[
            NamedImage(
                side=image.side,
                url=_url(service, view, image.image),
                model=image.model,
                guidance_scale=image.guidance_scale,
                seed=image.seed,
            )
            for image in answered.images
        ],
    )
