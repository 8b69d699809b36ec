"""The models' standing by everybody's picks, and by one's own."""

from __future__ import annotations

from fastapi import APIRouter, Response

from pickapic.web.boards import Board, PersonalBoard
from pickapic.web.routes.answers import json_of
from pickapic.web.service import ServiceHere, UserId

router = APIRouter(tags=["leaderboard"])


@router.get("/leaderboard", response_model=Board)
async def read_leaderboard(service: ServiceHere) -> Response:
    """Return the ratings of all models that were in an answered round, and how often each is drawn."""
    return json_of(await service.boards.board())


@router.get("/me/leaderboard", response_model=PersonalBoard)
async def read_my_leaderboard(service: ServiceHere, user_id: UserId) -> Response:
    """Return the ratings by my own picks, of prompts that are over; no rows before there are enough."""
    return json_of(await service.boards.personal(user_id))
