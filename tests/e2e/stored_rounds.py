"""What the server has stored, read beside it."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pickapic.collect.export import export
from pickapic.dataset.read import read


@dataclass(frozen=True)
class StoredRound:
    """A row of `rounds`; images by the opaque part of their address, and by the uid, unknown to the page."""

    number: int
    state: str
    pick: str | None
    undos: int
    left_token: str
    right_token: str
    left_uid: str
    right_uid: str
    kept_token: str | None


ROUNDS = """
    SELECT rounds.number, rounds.state, rounds.pick, rounds.undos, l.token, r.token, l.uid, r.uid, kept.token
    FROM rounds JOIN duels ON duels.id = rounds.duel_id
    JOIN images l ON l.id = rounds.left_image_id JOIN images r ON r.id = rounds.right_image_id
    LEFT JOIN images kept ON kept.id = rounds.kept_image_id
    WHERE duels.typed = ? ORDER BY rounds.id
"""


class Collection:
    """The running server: its address and its home."""

    def __init__(self, home: Path, address: str) -> None:
        self.home = home
        self.address = address

    def rounds(self, prompt: str) -> list[StoredRound]:
        """Every round that was shown for a prompt, in the order in which they were shown."""
        return [StoredRound(*row) for row in self._rows(ROUNDS, prompt)]

    def picks(self, prompt: str) -> list[str | None]:
        """The answers that count."""
        return [row.pick for row in self.rounds(prompt) if row.state == "answered"]

    def duels(self, prompt: str) -> list[str]:
        """The states of the duels of a prompt."""
        return [
            state for (state,) in self._rows("SELECT state FROM duels WHERE typed = ? ORDER BY id", prompt)
        ]

    def model_of(self, token: str) -> str:
        """The model that made an image: what no page tells yet."""
        return self._rows("SELECT model FROM images WHERE token = ?", token)[0][0]

    def trust(self, user_id: int) -> None:
        """Let somebody's picks count whatever their risk, as an admin would."""
        connection = sqlite3.connect(self.home / "pickapic.db", timeout=10)
        try:
            connection.execute("UPDATE users SET status = 'trusted' WHERE id = ?", [user_id])
            connection.commit()
        finally:
            connection.close()

    def jobs(self, prompt: str) -> int:
        """How many images were ever ordered for a prompt."""
        query = "SELECT count(*) FROM jobs JOIN duels ON duels.id = jobs.duel_id WHERE duels.typed = ?"
        return self._rows(query, prompt)[0][0]

    def change(self, statement: str, *values: object) -> None:
        """Change the database behind the server's back."""
        connection = sqlite3.connect(self.home / "pickapic.db", timeout=10)
        try:
            connection.execute(statement, values)
            connection.commit()
        finally:
            connection.close()

    def read(self, query: str, *values: object) -> list[tuple]:
        """What a query finds."""
        return self._rows(query, *values)

    def exported(self, out: Path, caption: str) -> list[dict[str, object]]:
        """The rows of this caption in a dataset exported now."""
        url = f"sqlite:///{self.home / 'pickapic.db'}"
        secret = (self.home / "secret_key").read_text().strip()

        def run() -> pa.Table:
            export(url, str(self.home / "images"), out, secret=secret)
            return read(out)

        # In a thread of its own: Playwright's event loop runs in this one.
        with ThreadPoolExecutor(1) as thread:
            rows = thread.submit(run).result().to_pylist()
        return sorted((row for row in rows if row["caption"] == caption), key=lambda row: row["ranking_id"])

    def _rows(self, query: str, *values: object) -> list[tuple]:
        connection = sqlite3.connect(f"file:{self.home / 'pickapic.db'}?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(query, values).fetchall()
        finally:
            connection.close()
