"""A zip file that is sent while it is made: however many images are in it, one is in memory at a time."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncGenerator, Sequence

from obstore.store import ObjectStore

from pickapic.collect.people.belongings import Belonging, image_path
from pickapic.storage import blobs

README = """What Pick-a-Pic keeps of you. Each .json file holds one kind of things and says what they are kept for;
images/ holds the images you were shown, which picks.json and images.json refer to.
"""


class _Pipe(io.RawIOBase):
    """Takes what is written, for somebody else to send. It cannot go back, so the archive does not try to."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        part = bytes(memoryview(data))  # pyright: ignore[reportArgumentType]
        self._parts.append(part)
        return len(part)

    def taken(self) -> bytes:
        """Return what came since the last call."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


async def archive(
    belongings: Sequence[Belonging], keys: Sequence[str], store: ObjectStore
) -> AsyncGenerator[bytes]:
    """Yield a zip file of what is kept of a person, and of the images with these keys, part by part."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as file:
        file.writestr("README.txt", README)
        for belonging in belongings:
            file.writestr(f"{belonging.name}.json", await asyncio.to_thread(belonging.json))
            yield pipe.taken()
        for key in keys:
            try:
                data = await blobs.get(store, key)
            except KeyError:
                continue  # removed since the list was made
            file.writestr(image_path(key), data)
            yield pipe.taken()
    yield pipe.taken()
