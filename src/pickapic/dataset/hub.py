"""Datasets on the Hugging Face hub, read by column over HTTP: only what is asked for is downloaded."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from huggingface_hub import HfApi, HfFileSystem
from huggingface_hub.errors import OfflineModeIsEnabled
from pyarrow.fs import FSSpecHandler, PyFileSystem

from pickapic.records import InputError


def parquet_files(hub_id: str) -> tuple[dict[str, str], PyFileSystem]:
    """Return the Parquet files of `owner/name` (path on the hub -> path inside it) and their file system.

    Raises:
        InputError: no such dataset, no access, or no network; later, while reading, the same.
    """
    root = f"datasets/{hub_id}"
    absent = f"there is no folder {hub_id!r} here, and"
    filesystem = HfFileSystem()
    with _answering(f"{absent} the Hugging Face hub did not give it"):
        found = [str(path) for path in filesystem.glob(f"{root}/**/*.parquet")]
    if not found:
        raise InputError(
            f"{absent} the hub has no Parquet file under that name (does it exist? is it private?)"
        )
    files = {path: path.removeprefix(f"{root}/") for path in sorted(found)}
    return files, PyFileSystem(ColumnHandler(filesystem))  # pyright: ignore[reportAbstractUsage]


def revision(hub_id: str) -> str:
    """Return the commit that the dataset `owner/name` stands at now.

    Raises:
        InputError: the hub does not say.
    """
    with _answering(f"the Hugging Face hub did not say which revision {hub_id} is at"):
        return HfApi().dataset_info(hub_id).sha or "unknown"


# The stubs leave out the handler's methods.
class ColumnHandler(FSSpecHandler):  # pyright: ignore[reportAbstractUsage]
    """Opens files so that what is read of them is all that is downloaded.

    Left to itself the hub's file system reads 5 MB past every column: the images beside it.
    """

    def open_input_file(self, path: str) -> Any:
        """Open a file to be read at any place, without reading ahead."""
        filesystem: Any = self.fs
        with _answering(f"the Hugging Face hub did not give {path}"):
            file: Any = _HubFile(filesystem.open(path, mode="rb", cache_type="none"), path)
        return pa.PythonFile(file, mode="r")


class _HubFile:
    """A file on the hub; what goes wrong on the way is said in a sentence."""

    def __init__(self, file: Any, path: str) -> None:
        self._file, self._path = file, path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, size: int = -1) -> bytes:
        with _answering(f"the Hugging Face hub stopped sending {self._path}"):
            return self._file.read(size)


@contextmanager
def _answering(otherwise: str) -> Generator[None]:
    """Say `otherwise`, and why, where the hub does not answer.

    Raises:
        InputError: it does not.
    """
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise InputError(f"{otherwise}: it is switched off by HF_HUB_OFFLINE") from error
    except Exception as error:
        # The hub's client lets through what its HTTP library raises, and that library has changed before.
        raise InputError(f"{otherwise}: {error}") from error
