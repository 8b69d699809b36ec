"""Writing shards on a Ray cluster: every node writes whole files, the same bytes as one process would.

The folder is on a disk that all nodes share, and so is the dataset, unless it is in a bucket or on the hub. Only
digests travel over the cluster.
"""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.data

from pickapic.cluster.nodes import connect, room
from pickapic.dataset.shard_file import Layout, WrittenFile, write_pictures
from pickapic.records import InputError


class RayShards:
    """An `Engine` of `ShardWriter` (see `dataset.shard_writer`)."""

    def __init__(self, address: str | None = None, actors: int | None = None, cpus: float = 1.0) -> None:
        """Write on the cluster at `address` (None starts one here), with `actors` of `cpus` cores each."""
        self._address = address
        self._actors = actors
        self._cpus = cpus

    def __call__(
        self, layout: Layout, folder: Path, numbers: Sequence[int]
    ) -> Generator[WrittenFile, None, None]:
        """Yield the files of these numbers in order, as soon as all before them are there.

        Raises:
            InputError: an image cannot be decoded, or the cluster cannot be used.
        """
        if not numbers:
            return
        connect(self._address)
        waiting: dict[int, WrittenFile] = {}
        coming = iter(numbers)
        following = next(coming, None)
        for number, written in self._written(layout, folder, numbers):
            waiting[number] = written
            while following is not None and following in waiting:
                yield waiting.pop(following)
                following = next(coming, None)

    def _written(
        self, layout: Layout, folder: Path, numbers: Sequence[int]
    ) -> Iterator[tuple[int, WrittenFile]]:
        """Yield files in the order in which they become ready."""
        items = [{"file": number} for number in numbers]
        data = ray.data.from_items(items, override_num_blocks=len(items))
        written = data.map_batches(
            _Writer,
            # Once into the object store, not once for each actor: the plan of a large dataset is large.
            fn_constructor_args=(ray.put(layout), str(folder), max(1, int(self._cpus))),
            batch_size=1,
            batch_format="pyarrow",
            # Ray counts cores and does not bind them: less than one each leaves room for its own small tasks.
            num_cpus=self._cpus * 0.9,
            compute=ray.data.ActorPoolStrategy(size=room(self._actors, self._cpus, 0, len(items))),
        )
        # Closed at once when a file is refused: left to the garbage collector, Ray complains at the end.
        coming: Any = written.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1)
        with contextlib.closing(iter(coming)) as batches:
            for batch in batches:
                for row in batch.to_pylist():
                    if row["refused"]:
                        raise InputError(row["refused"])
                    yield row["file"], pickle.loads(row["written"])


class _Writer:
    """Writes file after file on one node."""

    def __init__(self, layout: ray.ObjectRef[Layout], folder: str, threads: int) -> None:
        self._layout = ray.get(layout)
        self._folder = Path(folder)
        self._threads = threads

    def __call__(self, batch: pa.Table) -> pa.Table:
        rows = [self._row(item["file"]) for item in batch.to_pylist()]
        schema = pa.schema([("file", pa.int64()), ("written", pa.binary()), ("refused", pa.string())])
        return pa.Table.from_pylist(rows, schema=schema)

    def _row(self, number: int) -> dict[str, Any]:
        try:
            written = write_pictures(self._layout, number, self._folder, self._threads)
        except InputError as error:
            return {"file": number, "written": b"", "refused": str(error)}
        except FileNotFoundError as error:
            message = f"{self._folder} is not there on every node: shards need a disk that all nodes share"
            return {"file": number, "written": b"", "refused": f"{message} ({error})"}
        return {"file": number, "written": pickle.dumps(written), "refused": ""}
