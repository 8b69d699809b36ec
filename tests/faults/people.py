"""People who pick on whatever happens, and remember what they were promised."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pickapic.browser import Browser
from pickapic.records import InputError

ANSWERS = ("left", "right", "tie", "left", "right")
LONG_POLL = 5
PICKS_PER_PROMPT = 12
# A person looks at a pair for so long; six of them make some twenty picks a second.
LOOK_SECONDS = 0.25
AGAIN_SECONDS = 0.2


@dataclass
class Memory:
    """What one person saw: what they picked and were told is stored, what images they had, and what went wrong."""

    name: str
    promised: dict[str, str] = field(default_factory=dict)  # round -> answer that was answered 200
    tried: dict[str, str] = field(default_factory=dict)  # round -> answer that was sent
    images: dict[str, str] = field(default_factory=dict)  # address -> SHA-256 of what came first
    times: list[float] = field(default_factory=list)  # of the picks that were answered 200
    duels: int = 0
    wrong: list[str] = field(default_factory=list)


class People:
    """`count` people on the server at `url`, in a thread of their own, from entering until leaving.

    `explain` says how things stand when somebody waits in vain.
    """

    def __init__(self, url: str, count: int, explain: Callable[[], str]) -> None:
        self._url = url
        self._explain = explain
        self.memories = [Memory(f"person {number}") for number in range(count)]
        self._browsers = [Browser(url, timeout=LONG_POLL + 30) for _ in self.memories]
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="people")

    def __enter__(self) -> People:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=120)
        assert not self._thread.is_alive(), "somebody waits for an answer that never comes"
        if self._failure is not None:
            raise self._failure

    def picks(self) -> int:
        return sum(len(memory.times) for memory in self.memories)

    def recovery(self, since: float, limit: float = 90.0) -> tuple[float, float]:
        """Wait until each has had a pick stored after `since`; return the seconds of the first and of the last.

        Only picks that were begun after `since` can tell that all is well, so a person's second one counts.
        """
        end = time.monotonic() + limit
        while time.monotonic() < end:
            after = [[one for one in memory.times if one > since][:2] for memory in self.memories]
            if all(len(times) == 2 for times in after):
                firsts = [times[0] for times in after]
                return min(firsts) - since, max(times[1] for times in after) - since
            assert self._thread.is_alive(), self._failure
            time.sleep(0.05)
        waiting = [memory.name for memory, times in zip(self.memories, after, strict=True) if len(times) < 2]
        raise AssertionError(f"{', '.join(waiting)} had no round for {limit:.0f} s\n{self._explain()}")

    def _run(self) -> None:
        try:
            asyncio.run(self._all())
        except BaseException as failure:
            self._failure = failure

    async def _all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for memory, browser in zip(self.memories, self._browsers, strict=True):
                group.create_task(self._live(memory, browser))

    async def _live(self, memory: Memory, browser: Browser) -> None:
        try:
            await self._once(browser, "GET", "/api/v1/me", None)  # 401, with the CSRF cookie
            await self._ask(memory, browser, "POST", "/auth/guest")
            while not self._stop.is_set():
                await self._duel(memory, browser)
            # Whatever they ever had on screen must still be there.
            for address, known in memory.images.items():
                body = await self._ask(memory, browser, "GET", address)
                if hashlib.sha256(body).hexdigest() != known:
                    memory.wrong.append(f"{address} has changed")
        finally:
            browser.close()

    async def _duel(self, memory: Memory, browser: Browser) -> None:
        memory.duels += 1
        prompt = f"a red fox on the beach, {memory.name}, {memory.duels}"
        duel = await self._json(memory, browser, "POST", "/api/v1/duels", {"prompt": prompt})
        for number in range(PICKS_PER_PROMPT):
            path = f"/api/v1/duels/{duel['duel_id']}?wait={LONG_POLL}"
            while not duel["round"] and not self._stop.is_set():
                if duel["state"] not in ("queued", "generating", "ready"):
                    memory.wrong.append(f"a duel {duel['state']}: {duel}")
                    return
                duel = await self._json(memory, browser, "GET", path)
            if self._stop.is_set():
                return
            answer = ANSWERS[(number + len(memory.name)) % len(ANSWERS)]
            duel = await self._pick(memory, browser, duel, answer)
        await self._ask(memory, browser, "DELETE", f"/api/v1/duels/{duel['duel_id']}")

    async def _pick(self, memory: Memory, browser: Browser, duel: Any, answer: str) -> Any:
        """Look at both images, then answer until that is stored; return the duel after it."""
        shown = duel["round"]
        for image in shown["images"]:
            await self._look(memory, browser, image["url"])
        await asyncio.sleep(LOOK_SECONDS)
        path = f"/api/v1/rounds/{shown['round_id']}/pick?wait={LONG_POLL}"
        memory.tried[shown["round_id"]] = answer
        while True:
            status, body = await self._once(browser, "POST", path, {"pick": answer})
            if status == 200:
                memory.promised[shown["round_id"]] = answer
                memory.times.append(time.monotonic())
                return body
            if status == 409 and body["error"]["code"] == "not_shown":
                # A server that was killed did not say in time that it had sent them.
                for image in shown["images"]:
                    await self._ask(memory, browser, "GET", image["url"])
            elif status not in (0, 502, 503):
                memory.wrong.append(f"a pick was answered {status}: {body}")
                return await self._json(memory, browser, "GET", f"/api/v1/duels/{duel['duel_id']}")
            await asyncio.sleep(AGAIN_SECONDS)

    async def _look(self, memory: Memory, browser: Browser, address: str) -> None:
        body = await self._ask(memory, browser, "GET", address)
        found = hashlib.sha256(body).hexdigest()
        if not body.startswith(b"\xff\xd8") or memory.images.setdefault(address, found) != found:
            memory.wrong.append(f"{address} is no image, or another than before")

    async def _json(self, memory: Memory, browser: Browser, method: str, path: str, body: Any = None) -> Any:
        while True:
            status, found = await self._once(browser, method, path, body)
            if 200 <= status < 300:
                return found
            self._note(memory, method, path, status, found)
            await asyncio.sleep(AGAIN_SECONDS)

    async def _ask(self, memory: Memory, browser: Browser, method: str, path: str) -> bytes:
        """Return the body of the answer; asked again for as long as the server is away."""
        while True:
            try:
                reply = await browser.request(method, path)
            except InputError:
                reply = None
            if reply is not None and 200 <= reply.status < 300:
                return reply.body
            if reply is not None:
                self._note(memory, method, path, reply.status, reply.body[:200])
            await asyncio.sleep(AGAIN_SECONDS)

    async def _once(self, browser: Browser, method: str, path: str, body: Any) -> tuple[int, Any]:
        try:
            reply = await browser.request(method, path, body)
        except InputError:  # the server was away for several seconds
            return 0, None
        return reply.status, reply.json() if reply.body else None

    def _note(self, memory: Memory, method: str, path: str, status: int, found: Any) -> None:
        """Remember an answer that no outage explains."""
        if status not in (0, 502, 503):
            memory.wrong.append(f"{method} {path} was answered {status}: {found}")
            assert len(memory.wrong) < 50, memory.wrong
