"""The duel page as a person uses it."""

from __future__ import annotations

import re

from playwright.sync_api import ConsoleMessage, Page, expect

DESK = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}

# A little longer than the page's own pause, in which the second half of a double click is no pick.
SETTLE_MS = 230


class DuelPage:
    """Hands and eyes on one page. `complaints` are errors and warnings on its console, less the expected."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.complaints: list[str] = []
        self.expected: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(part in message.text for part in self.expected):
            self.complaints.append(message.text)

    def open(self) -> None:
        """Go to the start page."""
        self.page.goto(self.address)

    def write(self, prompt: str) -> None:
        """Write a prompt, send it by the Enter key, and wait for the first two pictures."""
        self.page.fill("#prompt", prompt)
        self.page.press("#prompt", "Enter")
        self.wait_for("compare")

    def user_id(self) -> int:
        """Who the page is signed in as."""
        return self.page.request.get(f"{self.address}/api/v1/me").json()["user_id"]

    def wait_for(self, state: str) -> None:
        """Wait until the page is in this state."""
        expect(self.page.locator("body")).to_have_attribute("data-state", state, timeout=30_000)

    def answer(self, key: str) -> None:
        """Press a key as soon as a person could, and wait for the round that follows."""
        before = self.round_id
        self.page.wait_for_timeout(SETTLE_MS)
        self.page.keyboard.press(key)
        self.wait_for_other_round(before)

    def wait_for_other_round(self, before: str) -> None:
        """Wait until another round than `before` is on screen."""
        pair = self.page.locator("#pair")
        expect(pair).not_to_have_attribute("data-round", before, timeout=30_000)
        expect(pair).to_have_attribute("aria-busy", "false", timeout=30_000)

    def wait_for_next_picture(self) -> None:
        """Wait until the server has a picture for the next round and the page has been told its address."""
        duel_id = self.memory()["duelId"]
        for _ in range(200):
            duel = self.page.request.get(f"{self.address}/api/v1/duels/{duel_id}").json()
            if duel["next_ready"]:
                break
            self.page.wait_for_timeout(50)
        assert duel["next_ready"]
        self.page.wait_for_load_state("networkidle")

    def tap(self, target: str) -> None:
        """Tap as soon as a person could, and wait for the round that follows."""
        before = self.round_id
        self.page.wait_for_timeout(SETTLE_MS)
        self.page.tap(target)
        self.wait_for_other_round(before)

    def end(self) -> None:
        """Ask for a new prompt: the models are named."""
        self.page.click("#finish")
        self.wait_for("revealed")

    def memory(self) -> dict[str, str]:
        """What the page keeps for a reload."""
        return self.page.evaluate("JSON.parse(sessionStorage.getItem('pickapic.duel'))")

    @property
    def state(self) -> str:
        """The state the page is in."""
        return self.page.get_attribute("body", "data-state") or ""

    @property
    def round_id(self) -> str:
        """The round on screen."""
        return self.page.get_attribute("#pair", "data-round") or ""

    @property
    def picks(self) -> int:
        """The small counter."""
        return int(self.page.text_content("#tally-count") or 0)

    def picture(self, side: str) -> str:
        """The address of the picture on one side."""
        return self.page.locator(f"#{side} img").get_attribute("src") or ""

    def tokens(self) -> tuple[str, str]:
        """The opaque parts of the two addresses, left and right."""
        left, right = (re.sub(r".*/", "", self.picture(side)) for side in ("left", "right"))
        return left, right
