"""A collection made by inserting rows: what simulated people would leave behind, in milliseconds."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import obstore
from sqlalchemy import Connection, insert

from pickapic.collect.database import open_database
from pickapic.collect.schema import upgrade
from pickapic.collect.tables import duels, images, jobs, rounds, users
from pickapic.storage.blobs import content_key, open_store, path_of

START = datetime(2024, 5, 1, tzinfo=UTC)
FILLED = {"negative_prompt": "", "generator": "m", "guidance_scale": 7.5, "steps": 25, "seed": 1}


class Collection:
    """A SQLite file and a folder of images; `add` plays duels of one user."""

    def __init__(self, folder: Path, image_bytes: int = 300) -> None:
        self.database_url = f"sqlite:///{folder / 'pickapic.db'}"
        self.images_url = str(folder / "images")
        self.image_bytes = image_bytes
        self.rng = random.Random(0)
        self.store = open_store(self.images_url)
        self.ids = {"user": 0, "duel": 0, "image": 0, "round": 0}
        self.expected: list[dict[str, object]] = []
        asyncio.run(upgrade(self.database_url))

    def write(self, work, *args):
        async def run():
            database = open_database(self.database_url)
            try:
                return await database.write(work, *args)
            finally:
                await database.close()

        return asyncio.run(run())

    def add(self, prompts: list[str], rounds_each: int = 4, skip_every: int = 0) -> None:
        """One new user plays a duel for each prompt; the expected dataset rows go to `expected`."""
        self.write(self._add, prompts, rounds_each, skip_every)

    def _next(self, kind: str) -> int:
        self.ids[kind] += 1
        return self.ids[kind]

    def _add(self, connection: Connection, prompts: list[str], rounds_each: int, skip_every: int) -> None:
        user = self._next("user")
        connection.execute(insert(users).values(id=user, kind="guest", created_at=START))
        for prompt in prompts:
            duel = self._next("duel")
            connection.execute(
                insert(duels).values(
                    id=duel,
                    uid=f"duel{duel}",
                    user_id=user,
                    typed=f"{prompt} [ugly]",
                    caption=prompt,
                    negative_prompt="ugly",
                    state="open",
                    created_at=START,
                )
            )
            left, right = (self._image(connection, user, duel) for _ in range(2))
            for number in range(1, rounds_each + 1):
                left, right = self._round(connection, user, duel, prompt, number, left, right, skip_every)

    def _round(self, connection, user, duel, prompt, number, left, right, skip_every):
        ranking = self._next("round")
        skipped = bool(skip_every) and ranking % skip_every == 0
        pick = self.rng.choice(["left", "right", "tie"])
        picked_at = START + timedelta(seconds=10 * ranking, microseconds=123_456)
        connection.execute(
            insert(rounds).values(
                id=ranking,
                uid=f"round{ranking}",
                duel_id=duel,
                user_id=user,
                number=number,
                left_image_id=left["id"],
                right_image_id=right["id"],
                state="skipped" if skipped else "answered",
                pick=None if skipped else pick,
                shown_at=picked_at - timedelta(seconds=3),
                picked_at=None if skipped else picked_at,
            )
        )
        if not skipped:
            self.expected.append(
                {
                    "ranking_id": ranking,
                    "user": user,
                    "caption": prompt,
                    "pick": pick,
                    "picked_at": picked_at,
                    "left": left,
                    "right": right,
                }
            )
        fresh = self._image(connection, user, duel)
        return (left, fresh) if pick == "left" else (fresh, right)

    def _image(self, connection: Connection, user: int, duel: int) -> dict[str, object]:
        number = self._next("image")
        data = b"\xff\xd8" + self.rng.randbytes(self.image_bytes)
        key = content_key(data)
        obstore.put(self.store, path_of(key), data)
        model = f"model-{self.rng.randrange(3)}"
        connection.execute(
            insert(jobs).values(
                id=number,
                duel_id=duel,
                user_id=user,
                state="done",
                priority=1,
                virtual_time=0,
                prompt="p",
                not_before=START,
                created_at=START,
                **FILLED,
            )
        )
        row = {"id": number, "uid": f"image{number}", "sha256": key, "model": model}
        connection.execute(
            insert(images).values(
                token=f"token{number}",
                duel_id=duel,
                job_id=number,
                state="shown",
                width=16,
                height=16,
                prompt="p",
                negative_prompt="ugly",
                seed=1,
                created_at=START,
                **row,
            )
        )
        return row | {"data": data}
