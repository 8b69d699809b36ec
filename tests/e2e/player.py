"""Somebody who plays through the API with a browser's cookies: quickly, to have something on the pages."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from playwright.sync_api import APIResponse, BrowserContext
from stored_rounds import Collection

# How often the model later in the alphabet is picked: something for a leaderboard to find out.
LIKELY = 0.75


class Player:
    """Signed in as a guest in a browser's context."""

    def __init__(self, context: BrowserContext, collection: Collection) -> None:
        self.context = context
        self.collection = collection
        self.rng = random.Random(7)
        self._call("GET", "/about")
        # Nobody looks at pictures this fast: unless they are trusted, their picks are left out.
        collection.trust(self._call("POST", "/auth/guest").json()["user_id"])

    def play(self, prompt: str, answers: Sequence[str], close: bool = True) -> None:
        """Write a prompt and answer as many rounds; `?` is an answer by taste."""
        duel = self._call("POST", "/api/v1/duels", {"prompt": prompt}).json()
        path = f"/api/v1/duels/{duel['duel_id']}"
        for answer in answers:
            while duel["round"] is None:
                duel = self._call("GET", f"{path}?wait=10").json()
            images = {image["side"]: image["url"] for image in duel["round"]["images"]}
            for url in images.values():
                self._call("GET", url)
            pick = self._by_taste(images) if answer == "?" else answer
            duel = self._call(
                "POST", f"/api/v1/rounds/{duel['round']['round_id']}/pick", {"pick": pick}
            ).json()
        if close:
            self._call("DELETE", path)

    def images(self) -> list[dict[str, Any]]:
        """The images of the gallery, newest first."""
        return self._call("GET", "/api/v1/me/images?limit=100").json()["images"]

    def share(self) -> str:
        """Share the newest image, and return its page's path."""
        return self._call("POST", f"/api/v1/images/{self.images()[0]['token']}/share").json()["url"]

    def _by_taste(self, images: dict[str, str]) -> str:
        models = {side: self.collection.model_of(url.rpartition("/")[2]) for side, url in images.items()}
        better = max(models, key=lambda side: models[side])
        return better if self.rng.random() < LIKELY else min(models, key=lambda side: models[side])

    def _call(self, method: str, path: str, body: object = None) -> APIResponse:
        csrf = {one["name"]: one["value"] for one in self.context.cookies()}.get("csrf", "")
        reply = self.context.request.fetch(
            self.collection.address + path, method=method, data=body, headers={"X-CSRF-Token": csrf}
        )
        assert reply.ok, f"{method} {path}: {reply.status} {reply.text()[:500]}"
        return reply
