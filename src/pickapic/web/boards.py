"""The leaderboards: Bradley-Terry ratings with intervals from counted outcomes, kept for a few seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
import structlog
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from pickapic.collect.boards import standings
from pickapic.collect.boards.standings import Ledger, Meeting
from pickapic.collect.database import Database
from pickapic.collect.quality import policy_from
from pickapic.collect.queue import generator_states
from pickapic.collect.queue.generator_states import GeneratorState
from pickapic.ratings.standings import FALLBACK_TIES, Standings, tally_standings
from pickapic.ratings.tally import Tally
from pickapic.records import InputError
from pickapic.settings import Settings

VERSION = 2
"""Goes up when the same picks would be rated otherwise."""
SECONDS_KEPT = 10.0
RECOUNT_SECONDS = 6 * 3600.0
RESAMPLES = 400
# A personal board is about one's own taste: it needs picks, but not as many to be worth a look.
PERSONAL_PICKS = 30
PERSONAL_KEPT = 1_000


class Row(BaseModel):
    """A model: its rating with a 95 % interval, and the answered rounds it was in.

    `rank` to `rank_to` are the places it may have: better only than the models whose interval lies below its own.
    `win_rate` is the share of rounds won, a tie being half a win.
    """

    model: str
    rank: int
    rank_to: int
    rating: float
    low: float
    high: float
    win_rate: float
    votes: int
    provisional: bool


class Sampling(BaseModel):
    """How often a model is drawn now: `share` of all images. `drawn` is false for one that is switched off."""

    model: str
    weight: float
    share: float
    drawn: bool


class Board(BaseModel):
    """All models, best first; `picks` is the number of answered rounds that count.

    `retired` are models that were rated and are drawn no more.
    """

    method: str
    version: int
    picks: int
    rows: list[Row]
    sampling: list[Sampling]
    retired: list[str]


class PersonalBoard(BaseModel):
    """The models by one's own picks, of prompts that are over: no rows before `needed` picks."""

    method: str
    version: int
    needed: int
    picks: int
    to_go: int
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Rated:
    """Rows, best first, and the method's name with what was added to the picks."""

    method: str
    rows: list[Row]


class Boards:
    """The public board, at most `SECONDS_KEPT` old; whoever asks first when it is older computes it for all."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._policy = policy_from(settings)
        self._ledger: Ledger | None = None
        self._board: Board | None = None
        self._good_until = 0.0
        self._one = asyncio.Lock()

    async def board(self) -> Board:
        """Return the leaderboard."""
        async with self._one:
            if self._board is None or time.monotonic() >= self._good_until:
                self._ledger = await self._database.read(
                    standings.count, self._ledger, self._policy, datetime.now(UTC)
                )
                states = await self._database.read(generator_states.states, self._settings.generators)
                self._board = await asyncio.to_thread(public_board, self._ledger.meetings(), states)
                self._good_until = time.monotonic() + SECONDS_KEPT
            return self._board

    async def personal(self, user_id: int) -> PersonalBoard:
        """Return one person's own leaderboard."""
        met = await self._database.read(standings.meetings_of, user_id)
        return await asyncio.to_thread(personal_board, tuple(met))

    def clear(self) -> None:
        """Count everything anew at the next look."""
        self._ledger, self._good_until = None, 0.0

    async def run(self) -> None:
        """Count when the server starts, so that nobody waits for it, and everything anew every few hours."""
        while True:
            try:
                ledger = await self._database.read(standings.count, None, self._policy, datetime.now(UTC))
                async with self._one:
                    self._ledger = ledger
            except (SQLAlchemyError, OSError) as error:
                structlog.get_logger("pickapic.web").warning("leaderboard not counted", error=str(error))
            await asyncio.sleep(RECOUNT_SECONDS)


def public_board(met: Sequence[Meeting], states: Sequence[GeneratorState]) -> Board:
    """Return the board of all outcomes, and how often each model is drawn."""
    rated = rate(met)
    weights = {state.name: state.weight if state.enabled else 0.0 for state in states}
    total = sum(weights.values()) or 1.0
    return Board(
        method=rated.method,
        version=VERSION,
        picks=sum(one.count for one in met),
        rows=rated.rows,
        sampling=[
            Sampling(
                model=state.name,
                weight=state.weight,
                share=round(weights[state.name] / total, 4),
                drawn=weights[state.name] > 0,
            )
            for state in states
        ],
        retired=sorted(row.model for row in rated.rows if not weights.get(row.model)),
    )


@lru_cache(PERSONAL_KEPT)
def personal_board(met: tuple[Meeting, ...]) -> PersonalBoard:
    """Return the board of one person's outcomes; of outcomes that it was asked for lately it is kept."""
    picks = sum(one.count for one in met)
    rated = rate(met) if picks >= PERSONAL_PICKS else Rated("bradley-terry", [])
    return PersonalBoard(
        method=rated.method,
        version=VERSION,
        needed=PERSONAL_PICKS,
        picks=picks,
        to_go=max(0, PERSONAL_PICKS - picks),
        rows=rated.rows,
    )


def rate(met: Sequence[Meeting]) -> Rated:
    """Return the models' rows, best first; rounds of a model against itself say nothing about it."""
    tally = tally_of(met)
    if not tally.games.any():
        return Rated("bradley-terry", [])
    try:
        found = tally_standings(tally, resamples=RESAMPLES)
    except InputError:
        # The first picks leave some models unconnected: imagined ties keep them on one scale, and say so.
        found = tally_standings(tally, resamples=RESAMPLES, prior_ties=FALLBACK_TIES)
    return Rated(found.method, _rows(found))


def tally_of(met: Sequence[Meeting]) -> Tally:
    """Return the outcomes as matrices; every model that met another one has its row."""
    others = [one for one in met if one.model_0 != one.model_1]
    models = tuple(sorted({model for one in others for model in (one.model_0, one.model_1)}))
    place = {model: i for i, model in enumerate(models)}
    wins, ties = np.zeros((2, len(models), len(models)))
    for one in others:
        i, j = place[one.model_0], place[one.model_1]
        if one.label_0 == 0.5:
            ties[i, j] += one.count
            ties[j, i] += one.count
        elif one.label_0 > 0.5:
            wins[i, j] += one.count
        else:
            wins[j, i] += one.count
    return Tally(models, wins, ties)


def _rows(found: Standings) -> list[Row]:
    return [
        Row(
            model=one.model,
            rank=one.rank,
            rank_to=len(found.models) - sum(one.low > other.high for other in found.models),
            rating=round(one.rating, 1),
            low=round(one.low, 1),
            high=round(one.high, 1),
            win_rate=round(one.win_rate, 4),
            votes=one.comparisons,
            provisional=one.provisional,
        )
        for one in found.models
    ]
