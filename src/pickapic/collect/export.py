"""The database's picks as a dataset folder: every answered round is a row, with the bytes of both images.

Rows stream from one read transaction into Parquet, so that the memory used is that of a few hundred rows,
however many picks there are. The dataset appears whole or not at all.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import obstore
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from obstore.store import ObjectStore
from sqlalchemy import Connection, Row, Select, func, inspect, select

from pickapic.collect.database import open_database, parse_url
from pickapic.collect.tables import duels, images, rounds
from pickapic.dataset.manifest import MANIFEST, About, LeftOut, Manifest, load
from pickapic.dataset.read import batches, read
from pickapic.dataset.schema import SCHEMA, TIE, TRAIN
from pickapic.dataset.write import DatasetWriter
from pickapic.records import InputError
from pickapic.storage.blobs import open_store, path_of

T = TypeVar("T")
Progress = Callable[[int], None]
Query: TypeAlias = "Select[*tuple[Any, ...]]"
Record: TypeAlias = "Row[*tuple[Any, ...]]"

BATCH_ROWS = 256
BLOB_THREADS = 8
LABELS = {"left": 1.0, "right": 0.0, "tie": 0.5}
MISSING_IMAGE, SKIPPED = "an image is missing from the store", "the round was skipped"
EXPORT = "export of a collection"
ABOUT = About(
    title="Pick-a-Pic: preferences between generated images",
    notes=(
        "Every answered round of a Pick-a-Pic server is a row; skipped rounds are not.",
        "image 0 was shown on the left, image 1 on the right. The server drew the sides anew for each round.",
        "The image that won stays for the next round of the same prompt: most images are in several rows.",
        "`user_id` is a keyed hash of the server's own number for the person: the same in every export of "
        "this server, and not to be traced back without its secret key.",
    ),
)


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export did: rows in the folder now, rows added to and taken from what was there before."""

    folder: Path
    rows: int
    added: int
    removed: int
    left_out: tuple[LeftOut, ...]
    fingerprint: str


def export(
    database_url: str,
    images_url: str,
    out: str | Path,
    *,
    secret: str,
    since: datetime | None = None,
    full: bool = False,
    about: About = ABOUT,
    on_progress: Progress | None = None,
) -> Exported:
    """Write the picks of a database, with their images, to the dataset folder `out`.

    An `out` that an earlier export made is brought up to date: picks made since are added, those undone or
    deleted since are removed, `num_example_per_prompt` is counted anew; only new rows' images are fetched.

    Args:
        database_url: as in the settings; it is only read.
        images_url: folder or bucket of the images.
        out: the dataset's folder; its one split is called `train`, since the picks are not divided yet.
        secret: the instance's secret key; it makes the anonymised `user_id` (see `anonymous_id`).
        since: only picks made at this time or later (no zone: UTC); `out` is then written anew.
        full: write everything anew, in place of what an earlier export left at `out`.
        about: title, licence and notes for the card.
        on_progress: told how many more rows are done; `count_picks` says how many there are.

    Raises:
        InputError: no database or no picks there, `out` is something else, or was made with another key.
    """
    out = Path(out)
    earlier = _earlier(out, secret) if not full else None
    if full and (out / MANIFEST).exists() and load(out).fact("kind") != EXPORT:
        raise InputError(f"{out} is a dataset, but no export: it is left as it is; choose another folder")
    if earlier and since is not None:
        raise InputError(
            f"{out} is there already; to write only later picks choose another folder, or add --full"
        )
    job = _Export(open_store(images_url), out, secret, _aware(since), earlier, about, on_progress)
    return _in_transaction(database_url, job.run)


def count_picks(database_url: str, since: datetime | None = None) -> int:
    """Return how many picks the database holds.

    Raises:
        InputError: there is no database.
    """
    return _in_transaction(database_url, lambda connection: _count(connection, "answered", _aware(since)))


def anonymous_id(secret: str, user_id: int) -> int:
    """Return the number that stands for a user in datasets: 53 bits of an HMAC-SHA-256 under the secret key.

    The same user has the same number in every export, nobody without the key can tell which user it is, and
    numbers of 53 bits survive JSON and tables that hold integers as doubles.
    """
    digest = hmac.digest(secret.encode(), f"dataset user {user_id}".encode(), hashlib.sha256)
    return int.from_bytes(digest[:8], "big") >> 11


def _key_mark(secret: str) -> str:
    """A few digits that tell two secret keys apart and give neither away."""
    return hmac.digest(secret.encode(), b"dataset key mark", hashlib.sha256).hex()[:8]


def _in_transaction(database_url: str, work: Callable[[Connection], T]) -> T:
    url = parse_url(database_url)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).expanduser().is_file():
        raise InputError(f"there is no database {url.database}; `pickapic serve` makes one")

    def checked(connection: Connection) -> T:
        if not inspect(connection).has_table(rounds.name):
            raise InputError(
                "the database is empty: `pickapic db upgrade` or `pickapic serve` makes its tables"
            )
        return work(connection)

    async def run() -> T:
        database = open_database(database_url)
        try:
            return await database.read(checked)
        finally:
            await database.close()

    return asyncio.run(run())


class _Export:
    """One run; `run` is the work of a read transaction."""

    def __init__(
        self,
        store: ObjectStore,
        out: Path,
        secret: str,
        since: datetime | None,
        earlier: Manifest | None,
        about: About,
        on_progress: Progress | None,
    ) -> None:
        self.blobs = _Blobs(store)
        self.out = out
        self.secret = secret
        self.since = since
        self.earlier = earlier
        self.about = about
        self.on_progress = on_progress or (lambda rows: None)
        self.users: dict[int, int] = {}
        self.missing = 0

    def run(self, connection: Connection) -> Exported:
        total = _count(connection, "answered", self.since)
        if not total:
            raise InputError("there are no picks to export" + (f" since {self.since}" if self.since else ""))
        known, stale = _compare(connection, self.out) if self.earlier else (np.empty(0, np.int64), False)
        earlier_rows = self.earlier.rows() if self.earlier else 0
        if self.earlier and len(known) == total == earlier_rows and not stale:
            self.on_progress(total)
            return Exported(self.out, total, 0, 0, self.earlier.left_out, self.earlier.fingerprint)
        with DatasetWriter(
            self.out, self.about, overwrite=self.earlier is not None or self.out.exists()
        ) as writer:
            if self.earlier:
                self._keep(connection, known, writer)
            added = self._add(connection, known, writer)
            left_out = self._left_out(connection)
            facts = (
                ("kind", EXPORT),
                ("key", _key_mark(self.secret)),
                ("made", datetime.now(UTC).isoformat()),
            )
            manifest = writer.finish(left_out, facts)
        removed = earlier_rows - len(known)
        return Exported(self.out, manifest.rows(), added, removed, left_out, manifest.fingerprint)

    def _keep(self, connection: Connection, known: NDArray[np.int64], writer: DatasetWriter) -> None:
        """Copy the rows that still stand from the earlier export, with their prompts counted anew."""
        counts = {row.caption: row.examples for row in connection.execute(_per_prompt(None))}
        index = SCHEMA.get_field_index("num_example_per_prompt")
        for batch in batches(self.out, batch_size=BATCH_ROWS):
            table = pa.Table.from_batches([batch])
            table = table.filter(pa.array(np.isin(table["ranking_id"].to_numpy(), known)))
            numbers = [counts[caption] for caption in table["caption"].to_pylist()]
            writer.add(TRAIN, table.set_column(index, SCHEMA.field(index), pa.array(numbers, pa.int64())))
            self.on_progress(table.num_rows)

    def _add(self, connection: Connection, known: NDArray[np.int64], writer: DatasetWriter) -> int:
        """Write the picks that are not among `known`; return how many."""
        added, old = 0, set(known.tolist())
        for rows in _pages(connection, _picks(self.since)):
            fresh = [row for row in rows if row.ranking_id not in old] if old else rows
            table = self._table(fresh)
            writer.add(TRAIN, table)
            added += table.num_rows
            self.on_progress(len(fresh))
        return added

    def _table(self, rows: Sequence[Record]) -> pa.Table:
        found = self.blobs.fetch([key for row in rows for key in (row.sha256_0, row.sha256_1)])
        whole = [row for row in rows if row.sha256_0 in found and row.sha256_1 in found]
        self.missing += len(rows) - len(whole)
        labels = [LABELS[row.pick] for row in whole]
        best = [{1.0: row.uid_0, 0.0: row.uid_1}.get(LABELS[row.pick], TIE) for row in whole]
        columns: dict[str, list[Any]] = {
            "are_different": [row.sha256_0 != row.sha256_1 for row in whole],
            "best_image_uid": best,
            "caption": [row.caption for row in whole],
            "created_at": [row.picked_at.astimezone(UTC).replace(tzinfo=None) for row in whole],
            "has_label": [True] * len(whole),
            "image_0_uid": [row.uid_0 for row in whole],
            "image_0_url": [""] * len(whole),
            "image_1_uid": [row.uid_1 for row in whole],
            "image_1_url": [""] * len(whole),
            "jpg_0": [found[row.sha256_0] for row in whole],
            "jpg_1": [found[row.sha256_1] for row in whole],
            "label_0": labels,
            "label_1": [1 - label for label in labels],
            "model_0": [row.model_0 for row in whole],
            "model_1": [row.model_1 for row in whole],
            "ranking_id": [row.ranking_id for row in whole],
            "user_id": [self._user(row.user_id) for row in whole],
            "num_example_per_prompt": [row.examples for row in whole],
        }
        return pa.table([pa.array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)

    def _user(self, user_id: int) -> int:
        if user_id not in self.users:
            self.users[user_id] = anonymous_id(self.secret, user_id)
        return self.users[user_id]

    def _left_out(self, connection: Connection) -> tuple[LeftOut, ...]:
        skipped = _count(connection, "skipped", self.since)
        counts = ((SKIPPED, skipped), (MISSING_IMAGE, self.missing))
        return tuple(LeftOut(reason, count) for reason, count in counts if count)


class _Blobs:
    """Image files by content, fetched side by side; the last batch's are kept, since winners stay on."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.last: dict[str, bytes] = {}

    def fetch(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the files of `keys` that the store has."""
        found = {key: self.last[key] for key in keys if key in self.last}
        absent = [key for key in dict.fromkeys(keys) if key not in found]
        with ThreadPoolExecutor(BLOB_THREADS) as threads:
            fetched = zip(absent, threads.map(self._get, absent), strict=True)
            found |= {key: data for key, data in fetched if data is not None}
        self.last = found
        return found

    def _get(self, key: str) -> bytes | None:
        try:
            return bytes(obstore.get(self.store, path_of(key)).bytes())
        except FileNotFoundError:
            return None


def _picks(since: datetime | None) -> Query:
    """One statement, so that rows and counts are of one moment on every database."""
    left, right, examples = images.alias("l"), images.alias("r"), _per_prompt(since).subquery("examples")
    query = (
        select(
            rounds.c.id.label("ranking_id"),
            rounds.c.user_id,
            rounds.c.pick,
            rounds.c.picked_at,
            duels.c.caption,
            examples.c.examples,
            *(
                column.label(f"{name}_{side}")
                for side, image in enumerate((left, right))
                for name, column in (
                    ("uid", image.c.uid),
                    ("sha256", image.c.sha256),
                    ("model", image.c.model),
                )
            ),
        )
        .select_from(rounds)
        .join(duels, duels.c.id == rounds.c.duel_id)
        .join(examples, examples.c.caption == duels.c.caption)
        .join(left, left.c.id == rounds.c.left_image_id)
        .join(right, right.c.id == rounds.c.right_image_id)
        .where(rounds.c.state == "answered")
        .order_by(rounds.c.id)
    )
    return query if since is None else query.where(rounds.c.picked_at >= since)


def _per_prompt(since: datetime | None) -> Query:
    query = (
        select(duels.c.caption, func.count().label("examples"))
        .join_from(rounds, duels, duels.c.id == rounds.c.duel_id)
        .where(rounds.c.state == "answered")
        .group_by(duels.c.caption)
    )
    return query if since is None else query.where(rounds.c.picked_at >= since)


def _count(connection: Connection, state: str, since: datetime | None) -> int:
    query = select(func.count()).select_from(rounds).where(rounds.c.state == state)
    if since is not None:
        query = query.where((rounds.c.picked_at if state == "answered" else rounds.c.shown_at) >= since)
    return int(connection.execute(query).scalar_one())


def _pages(connection: Connection, query: Query) -> Iterator[Sequence[Record]]:
    result = connection.execution_options(yield_per=BATCH_ROWS).execute(query)
    yield from result.partitions(BATCH_ROWS)


def _compare(connection: Connection, out: Path) -> tuple[NDArray[np.int64], bool]:
    """Return the ranking ids of the earlier export that still stand, and whether any of its rows does not.

    A round that was undone and picked again has the same id and a later time: its row no longer stands.
    """
    query = select(rounds.c.id, rounds.c.picked_at).where(rounds.c.state == "answered")
    columns = ["ranking_id", "created_at"]
    pages = [
        pl.DataFrame([tuple(row) for row in page], columns, orient="row")
        for page in _pages(connection, query)
    ]
    time = pl.col("created_at").dt.replace_time_zone(None).dt.cast_time_unit("ns")
    now = pl.concat(pages).with_columns(time)
    before = pl.DataFrame(read(out, columns))
    standing = before.join(now, on=columns, how="semi")
    return standing["ranking_id"].to_numpy(), standing.height < before.height


def _earlier(out: Path, secret: str) -> Manifest | None:
    """Return the manifest of the export at `out` that is to be brought up to date, if there is one."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    manifest = load(out)
    if manifest.fact("kind") != EXPORT or manifest.splits != (TRAIN,):
        raise InputError(f"{out} is a dataset, but no export: it is left as it is; choose another folder")
    if manifest.fact("key") != _key_mark(secret):
        raise InputError(
            f"{out} was made with another secret key, so its user ids would not agree with new ones; "
            "set the key it was made with, or write it anew with --full"
        )
    return manifest


def _aware(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time
