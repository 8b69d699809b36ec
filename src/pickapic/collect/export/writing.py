"""The database's picks as a dataset folder: every answered round that counts is a row, with the bytes of both images.

Rows stream from one read transaction into Parquet, so that the memory used is that of a few hundred rows (of some
thousand where the images are left out), however many picks there are. The dataset appears whole or not at all.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import Connection, inspect

from pickapic.collect.database import Database, open_database, parse_url
from pickapic.collect.export import verdicts
from pickapic.collect.export.arrow import Rows
from pickapic.collect.export.blobs import Blobs
from pickapic.collect.export.picks import PAGE_ROWS, PAGE_ROWS_NO_IMAGES, Record, Selection
from pickapic.collect.export.rules import Rules
from pickapic.collect.quality import risks
from pickapic.collect.tables import rounds
from pickapic.dataset.manifest import MANIFEST, About, LeftOut, Manifest, load
from pickapic.dataset.read import batches, column_names
from pickapic.dataset.schema import SCHEMA, SCHEMA_NO_IMAGES, TRAIN
from pickapic.dataset.write import DatasetWriter, write_card
from pickapic.records import InputError
from pickapic.storage.blobs import open_store

T = TypeVar("T")
Progress = Callable[[int], None]

EVERYBODY = Rules()
MISSING_IMAGE = "an image is missing from the store"
EXPORT = "export of a collection"
ABOUT = About(
    title="Pick-a-Pic: preferences between generated images",
    notes=(
        "Every answered round of a Pick-a-Pic server is a row, less those that are listed under what was left out.",
        "image 0 was shown on the left, image 1 on the right. The server drew the sides anew for each round.",
        "The image that won stays for the next round of the same prompt: most images are in several rows.",
        "`user_id` is a keyed hash of the server's own number for the person: the same in every export of "
        "this server, and not to be traced back without its secret key.",
    ),
)
NO_IMAGES = (
    "The images are not in it: `jpg_0` and `jpg_1` were left out, and nothing was checked about the files. "
    "The same server's export with images names them by the same uids.",
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
    rules: Rules = EVERYBODY,
    since: datetime | None = None,
    full: bool = False,
    images: bool = True,
    about: About = ABOUT,
    on_progress: Progress | None = None,
) -> Exported:
    """Write the picks of a database that count, with or without their images, to the dataset folder `out`.

    An `out` that an earlier export made is brought up to date: picks made since are added, those undone or
    deleted since are removed, and so are those that count no more by the present rules, while those that count
    again come back; `num_example_per_prompt` is counted anew; only new rows' images are fetched.

    Args:
        database_url: as in the settings; it is only read, once risks and verdicts about prompts are up to date.
        images_url: folder or bucket of the images.
        out: the dataset's folder; its one split is called `train`, since the picks are not divided yet.
        secret: the instance's secret key; it makes the anonymised `user_id` (see `anonymous_id`).
        rules: which picks count (`rules_from(settings)`); card and manifest say what was left out, and why.
        since: only picks made at this time or later (no zone: UTC); `out` is then written anew.
        full: write everything anew, in place of what an earlier export left at `out`.
        images: with the images' bytes; without, the columns `jpg_0` and `jpg_1` are not there.
        about: title, licence and notes for the card.
        on_progress: told how many more rows are done; `count_picks` says how many there are.

    Raises:
        InputError: no database or no picks there, `out` is something else, was made with another key, or has images
            where this one has none (or the other way round).
    """
    out = Path(out)
    earlier = _earlier(out, secret, images) if not full else None
    if full and (out / MANIFEST).exists() and load(out).fact("kind") != EXPORT:
        raise InputError(f"{out} is a dataset, but no export: it is left as it is; choose another folder")
    if earlier and since is not None:
        raise InputError(
            f"{out} is there already; to write only later picks choose another folder, or add --full"
        )
    blobs = Blobs(open_store(images_url)) if images else None
    job = _Export(blobs, out, secret, rules, _aware(since), earlier, about, on_progress)
    return _in_transaction(database_url, rules, job.run)


def count_picks(database_url: str, since: datetime | None = None, rules: Rules = EVERYBODY) -> int:
    """Return how many picks of the database count; risks and verdicts are brought up to date for it.

    Raises:
        InputError: there is no database.
    """

    def count(connection: Connection) -> int:
        return Selection(connection, rules, _aware(since)).count

    return _in_transaction(database_url, rules, count)


def estimate_picks(database_url: str, since: datetime | None = None, rules: Rules = EVERYBODY) -> int:
    """Return about how many picks count, without a look at images and prompts: a few too many, but at once.

    Raises:
        InputError: there is no database.
    """

    def count(connection: Connection) -> int:
        return Selection(connection, rules, _aware(since)).estimate

    return _in_transaction(database_url, rules, count)


def _key_mark(secret: str) -> str:
    """A few digits that tell two secret keys apart and give neither away."""
    return hmac.digest(secret.encode(), b"dataset key mark", hashlib.sha256).hex()[:8]


def _in_transaction(database_url: str, rules: Rules, work: Callable[[Connection], T]) -> T:
    url = parse_url(database_url)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).expanduser().is_file():
        raise InputError(f"there is no database {url.database}; `pickapic serve` makes one")

    async def run() -> T:
        database = open_database(database_url)
        try:
            await database.read(_refuse_empty)
            await _judge_people(database, rules)
            if rules.prompts is not None:
                await verdicts.judge_prompts(database, rules.prompts)
            return await database.read(work)
        finally:
            await database.close()

    return asyncio.run(run())


def _refuse_empty(connection: Connection) -> None:
    if not inspect(connection).has_table(rounds.name):
        raise InputError("the database is empty: `pickapic db upgrade` or `pickapic serve` makes its tables")


async def _judge_people(database: Database, rules: Rules) -> None:
    if rules.policy is not None:
        await risks.refresh_all(database, rules.policy, datetime.now(UTC))


class _Export:
    """One run; `run` is the work of a read transaction."""

    def __init__(
        self,
        blobs: Blobs | None,
        out: Path,
        secret: str,
        rules: Rules,
        since: datetime | None,
        earlier: Manifest | None,
        about: About,
        on_progress: Progress | None,
    ) -> None:
        self.blobs = blobs
        self.out = out
        self.schema = SCHEMA if blobs else SCHEMA_NO_IMAGES
        self.arrow = Rows(self.schema, secret)
        self.secret = secret
        self.rules = rules
        self.since = since
        self.earlier = earlier
        self.page = PAGE_ROWS if blobs else PAGE_ROWS_NO_IMAGES
        self.about = replace(about, notes=about.notes + rules.notes + (() if blobs else NO_IMAGES))
        self.on_progress = on_progress or (lambda rows: None)
        self.missing = 0

    def run(self, connection: Connection) -> Exported:
        selection = Selection(connection, self.rules, self.since)
        if not selection.count:
            raise InputError(
                "there are no picks to export"
                + (f" since {self.since}" if self.since else "")
                + "".join(f"; {item.count:,} left out: {item.reason}" for item in selection.left_out)
            )
        known, stale = selection.compare(self.out) if self.earlier else (np.empty(0, np.int64), False)
        if self.earlier and len(known) == selection.count == self.earlier.rows() and not stale:
            return self._unchanged(self.earlier, selection)
        overwrite = self.earlier is not None or self.out.exists()
        with DatasetWriter(
            self.out, self.about, images=self.blobs is not None, overwrite=overwrite
        ) as writer:
            if self.earlier:
                self._keep(selection, known, writer)
            added = self._add(selection, known, writer)
            missing = (LeftOut(MISSING_IMAGE, self.missing),) if self.missing else ()
            manifest = writer.finish(selection.left_out + missing, self._facts())
        removed = (self.earlier.rows() if self.earlier else 0) - len(known)
        return Exported(self.out, manifest.rows(), added, removed, manifest.left_out, manifest.fingerprint)

    def _unchanged(self, earlier: Manifest, selection: Selection) -> Exported:
        """Leave the rows as they are; what was left out may have changed, and then the card does."""
        self.on_progress(selection.count)
        present = replace(earlier, left_out=selection.left_out, about=self.about, facts=self._facts())
        as_before = replace(present, facts=earlier.facts)
        if earlier.fact("policy") != self.rules.fingerprint or as_before != earlier:
            write_card(self.out, present)
            present.write(self.out)
        return Exported(self.out, selection.count, 0, 0, selection.left_out, earlier.fingerprint)

    def _facts(self) -> tuple[tuple[str, str], ...]:
        return (
            ("kind", EXPORT),
            ("key", _key_mark(self.secret)),
            ("made", datetime.now(UTC).isoformat()),
            *self.rules.facts,
        )

    def _keep(self, selection: Selection, known: NDArray[np.int64], writer: DatasetWriter) -> None:
        """Copy the rows that still stand from the earlier export, with their prompts counted anew."""
        counts = selection.examples()
        index = self.schema.get_field_index("num_example_per_prompt")
        for batch in batches(self.out, batch_size=self.page):
            table = pa.Table.from_batches([batch])
            table = table.filter(pa.array(np.isin(table["ranking_id"].to_numpy(), known)))
            numbers = [counts[str(caption)] for caption in table["caption"].to_pylist()]
            writer.add(
                TRAIN, table.set_column(index, self.schema.field(index), pa.array(numbers, pa.int64()))
            )
            self.on_progress(table.num_rows)

    def _add(self, selection: Selection, known: NDArray[np.int64], writer: DatasetWriter) -> int:
        """Write the picks that are not among `known`; return how many."""
        added, old = 0, set(known.tolist())
        for rows in selection.picks(self.page):
            fresh = [row for row in rows if row.ranking_id not in old] if old else rows
            table = self._table(fresh)
            writer.add(TRAIN, table)
            added += table.num_rows
            self.on_progress(len(fresh))
        return added

    def _table(self, rows: Sequence[Record]) -> pa.Table:
        if self.blobs is None:
            return self.arrow.table(rows, {})
        found = self.blobs.fetch([key for row in rows for key in (row.sha256_0, row.sha256_1)])
        whole = [row for row in rows if row.sha256_0 in found and row.sha256_1 in found]
        self.missing += len(rows) - len(whole)
        return self.arrow.table(whole, found)


def _earlier(out: Path, secret: str, images: bool) -> Manifest | None:
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
    if ("jpg_0" in column_names(out)) != images:
        raise InputError(
            f"{out} was written {'without' if images else 'with'} images; choose another folder, or add --full"
        )
    return manifest


def _aware(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time
