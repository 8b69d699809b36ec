"""The models' standing by all answers so far."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterable

from fastapi import APIRouter, Response
from pydantic import BaseModel

from pickapic.collect.standings import Meeting, meetings
from pickapic.web.routes.answers import json_of
from pickapic.web.service import Service, ServiceHere

router = APIRouter(prefix="/leaderboard", tags=["leaderboard"])

SECONDS_KEPT = 10.0
# Fewer votes than this and a row is shown, but as provisional.
SETTLED_VOTES = 100
Z95 = 1.959963984540054


class Row(BaseModel):
    """A model: its rating with a 95 % interval, and the answered rounds it was in."""

    model: str
    rating: float
    low: float
    high: float
    votes: int
    provisional: bool


class Board(BaseModel):
    """All models, best first; `picks` is the number of answered rounds."""

    method: str
    version: int
    picks: int
    rows: list[Row]


@router.get("", response_model=Board)
async def read_leaderboard(service: ServiceHere) -> Response:
    """Return the ratings of all models that were in an answered round."""
    return json_of(await board(service))


async def board(service: Service) -> Board:
    """Return the leaderboard, a few seconds old at most."""
    kept = service.boards.get("all")
    if kept is None or kept[0] < time.monotonic():
        made = win_shares(await service.database.read(meetings))
        kept = (time.monotonic() + SECONDS_KEPT, made)
        service.boards.put("all", kept)
    return kept[1]


def win_shares(met: Iterable[Meeting]) -> Board:
    """Rate each model by its share of wins over the other models, a tie being half a win, with Wilson's interval.

    Rounds of a model against itself count as picks but say nothing about it.
    """
    wins: defaultdict[str, float] = defaultdict(float)
    votes: defaultdict[str, int] = defaultdict(int)
    picks = 0
    for meeting in met:
        picks += meeting.count
        if meeting.model_0 == meeting.model_1:
            continue
        wins[meeting.model_0] += meeting.label_0 * meeting.count
        wins[meeting.model_1] += (1 - meeting.label_0) * meeting.count
        votes[meeting.model_0] += meeting.count
        votes[meeting.model_1] += meeting.count
    rows: list[Row] = []
    for model, count in votes.items():
        low, high = wilson(wins[model] / count, count)
        rows.append(
            Row(
                model=model,
                rating=round(wins[model] / count, 4),
                low=round(low, 4),
                high=round(high, 4),
                votes=count,
                provisional=count < SETTLED_VOTES,
            )
        )
    rows.sort(key=lambda row: (-row.rating, row.model))
    return Board(method="share of wins over other models", version=1, picks=picks, rows=rows)


def wilson(share: float, count: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share out of `count` (1927)."""
    middle = share + Z95**2 / (2 * count)
    half = Z95 * math.sqrt(share * (1 - share) / count + Z95**2 / (4 * count**2))
    whole = 1 + Z95**2 / count
    return max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole)
