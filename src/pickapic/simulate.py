"""Simulated people who use a running server as real ones do: sign in, write a prompt, look at the images, pick.

They judge by how an image was made, which the API rightly hides: so the database is read beside the API.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pickapic.browser import Browser, Reply
from pickapic.collect.database import Database, open_database
from pickapic.collect.duels.images import facts, token_of
from pickapic.miniature.people import Judgement, Population
from pickapic.records import ImageFacts, InputError

LONG_POLL_SECONDS = 20
PATIENCE_SECONDS = 120.0

Advance = Callable[[int], None]


class Person(Protocol):
    """Somebody who can judge: see `pickapic.miniature.people.Person`."""

    def prompt(self, n: int) -> str:
        """Return their n-th prompt."""
        ...

    def picks_per_prompt(self, n: int) -> int:
        """Return how many rounds they answer for it."""
        ...

    def judge(self, left: ImageFacts, right: ImageFacts, round_number: int) -> Judgement:
        """Answer a round."""
        ...


class People(Protocol):
    """A population: see `pickapic.miniature.people.Population`."""

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    def person(self, index: int) -> Person:
        """Return one of them, 0 <= index < size."""
        ...


@dataclass(frozen=True, slots=True)
class Simulation:
    """What happened. Times are in seconds; `pick_*` are from sending a pick to having the next round.

    `picks` are preferences; the rounds with a known answer come on top of them, as `checks`.
    """

    people: int
    duels: int
    failed_duels: int
    picks: int
    ties: int
    images: int
    image_bytes: int
    seconds: float
    picks_per_second: float
    pick_median: float
    pick_p99: float
    checks: int
    checks_passed: int
    user_of_person: Mapping[int, int]
    """The number under which each person's picks are published: the hidden truth, for tests and the oracle row."""


def simulate(
    url: str,
    database_url: str,
    people: int = 2500,
    concurrency: int = 60,
    picks: int = 12_000,
    seed: int = 0,
    speed: float = 0.0,
    advance: Advance = lambda count: None,
    population: People | None = None,
) -> Simulation:
    """Let `people` make `picks` picks at the server at `url`, `concurrency` of them at a time.

    Each person brings one prompt; when all have, each brings another. `speed` 0 is as fast as possible, 1
    takes the seconds that real people take, 10 a tenth of them. `advance` is told of each pick. Rounds with a known
    answer ("gold") are answered too, and count neither as picks nor among a person's rounds.

    Raises:
        InputError: the server cannot be reached or refuses, or the database is not the server's.
    """
    crowd = population or Population(seed, people)
    return asyncio.run(_Crowd(url, crowd, speed, picks, advance).run(database_url, concurrency))


@dataclass(slots=True)
class _Visitor:
    cookies: dict[str, str]
    user_id: int


class _Crowd:
    """The state of one simulation: who has signed in, and what was counted."""

    def __init__(self, url: str, people: People, speed: float, picks: int, advance: Advance) -> None:
        self._url = url
        self._people = people
        self._speed = speed
        self._advance = advance
        self._left = picks
        self._visitors: dict[int, _Visitor] = {}
        self._latencies: list[float] = []
        self._duels = self._failed = self._picks = self._ties = self._images = self._bytes = 0
        self._checks = self._passed = 0

    async def run(self, database_url: str, concurrency: int) -> Simulation:
        database = open_database(database_url)
        start = time.perf_counter()
        visits = self._visits()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(concurrency, self._people.size)):
                    group.create_task(self._come_and_go(database, visits))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        finally:
            await database.close()
        return self._summary(time.perf_counter() - start)

    def _visits(self) -> Iterator[tuple[int, int]]:
        """Yield (person, number of their prompt) while picks are wanted."""
        number = 0
        while True:
            for index in range(self._people.size):
                if self._left <= 0:
                    return
                yield index, number
            number += 1

    async def _come_and_go(self, database: Database, visits: Iterator[tuple[int, int]]) -> None:
        browser = Browser(self._url)
        try:
            for index, number in visits:
                await self._sign_in(browser, index)
                await self._visit(browser, database, self._people.person(index), number)
        finally:
            browser.close()

    async def _sign_in(self, browser: Browser, index: int) -> None:
        known = self._visitors.get(index)
        if known is not None:
            browser.cookies = known.cookies
            return
        browser.cookies = {}
        await browser.request("GET", "/api/v1/me")  # brings the csrf cookie, as opening the page does
        reply = await browser.request("POST", "/auth/guest")
        user_id = _expect(reply, 201, 200)["user_id"]
        self._visitors[index] = _Visitor(browser.cookies, user_id)

    async def _visit(self, browser: Browser, database: Database, person: Person, number: int) -> None:
        """Answer the rounds of one prompt."""
        duel = _expect(await browser.request("POST", "/api/v1/duels", {"prompt": person.prompt(number)}), 201)
        self._duels += 1
        known: dict[str, ImageFacts] = {}
        round_number, last = 0, person.picks_per_prompt(number)
        while round_number < last:
            if not duel["round"]:
                duel = await self._wait(browser, duel["duel_id"])
            if duel["state"] == "failed":
                self._failed += 1
                return
            if self._left <= 0:
                break
            self._left -= 1
            left, right = await self._look(browser, database, duel["round"], known)
            is_check = left.spoiled != right.spoiled
            self._left += is_check
            judgement = person.judge(left, right, round_number)
            if self._speed:
                await asyncio.sleep(judgement.seconds / self._speed)
            duel = await self._pick(browser, duel["round"]["round_id"], judgement)
            if is_check:
                self._checks += 1
                self._passed += judgement.pick == ("right" if left.spoiled else "left")
            else:
                round_number += 1
                self._picks += 1
                self._ties += judgement.pick == "tie"
                self._advance(1)
        await browser.request("DELETE", f"/api/v1/duels/{duel['duel_id']}")

    async def _wait(self, browser: Browser, duel_id: str) -> Any:
        start = time.perf_counter()
        while True:
            reply = await browser.request("GET", f"/api/v1/duels/{duel_id}?wait={LONG_POLL_SECONDS}")
            duel = _expect(reply, 200)
            if duel["round"] or duel["state"] == "failed":
                return duel
            waited = time.perf_counter() - start
            if waited > PATIENCE_SECONDS:
                raise InputError(f"no images for {waited:.0f} s; is a worker running?")

    async def _look(
        self, browser: Browser, database: Database, shown: Any, known: dict[str, ImageFacts]
    ) -> tuple[ImageFacts, ImageFacts]:
        """Fetch the images that are new on screen, and see how they were made."""
        urls = {image["side"]: image["url"] for image in shown["images"]}
        new = [url for url in urls.values() if url not in known]
        for url in new:
            reply = await browser.request("GET", url)
            if reply.status != 200 or not reply.body.startswith(b"\xff\xd8"):
                raise InputError(f"{url} answered {reply.status} and no JPEG")
            self._images += 1
            self._bytes += len(reply.body)
        seen = await database.read(facts, [token_of(url) for url in new])
        if len(seen) < len(new):
            raise InputError("the images on screen are not in this database: give the server's by --database")
        known.update({url: seen[token_of(url)] for url in new})
        return known[urls["left"]], known[urls["right"]]

    async def _pick(self, browser: Browser, round_id: str, judgement: Judgement) -> Any:
        start = time.perf_counter()
        path = f"/api/v1/rounds/{round_id}/pick?wait={LONG_POLL_SECONDS}"
        reply = await browser.request("POST", path, {"pick": judgement.pick})
        self._latencies.append(time.perf_counter() - start)
        return _expect(reply, 200)

    def _summary(self, seconds: float) -> Simulation:
        times = sorted(self._latencies) or [0.0]
        return Simulation(
            people=len(self._visitors),
            duels=self._duels,
            failed_duels=self._failed,
            picks=self._picks,
            ties=self._ties,
            images=self._images,
            image_bytes=self._bytes,
            seconds=seconds,
            picks_per_second=self._picks / seconds,
            pick_median=times[len(times) // 2],
            pick_p99=times[min(len(times) - 1, len(times) * 99 // 100)],
            checks=self._checks,
            checks_passed=self._passed,
            user_of_person={index: visitor.user_id for index, visitor in self._visitors.items()},
        )


def _expect(reply: Reply, *statuses: int) -> Any:
    if reply.status in statuses:
        return reply.json()
    raise InputError(f"the server answered {reply.status}: {reply.body[:200].decode(errors='replace')}")
