"""Files that remote workers bring: where to, and what is looked at before they count.

Where the store is a bucket, a worker gets a signed address and brings the file there itself. Such an address lets its
holder write anything, as often as it likes, until it runs out; so it never leads to where images lie, but to a place of
the token's own, `incoming/TOKEN/SHA-256`, from which this server reads the file back, checks it, and stores what it has
read. Otherwise, and for a worker that cannot reach the bucket, the file comes through this server.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store

from pickapic.collect.duels import claims
from pickapic.collect.duels.claims import FalseClaimError, Held
from pickapic.collect.duels.images import Finished
from pickapic.collect.duels.wire import LARGEST_IMAGE, PATH, ImageSaid, Upload
from pickapic.collect.moderation.images import (
    BLOCKED_SECONDS,
    Inspector,
    classifier_name,
    open_inspector,
)
from pickapic.collect.oversight import blocked
from pickapic.records import InputError
from pickapic.storage import blobs
from pickapic.web.service import Service, now

FOLDER = "incoming"
# A signed address lasts so long; what lies in FOLDER for longer was forgotten by its worker.
SIGNED_SECONDS = 600.0
FORGOTTEN = timedelta(hours=1)
SECONDS_BETWEEN_SWEEPS = 1800.0

Bucket = S3Store | GCSStore | AzureStore


def place_of(token_uid: str, sha256: str) -> str:
    """Return where in the bucket the holder of a token may write the file of a hash."""
    return f"{FOLDER}/{token_uid}/{sha256}"


class Incoming:
    """The files that workers bring to this server's store; what looks at them runs in one thread."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._store: ObjectStore = service.store
        self._bucket: Bucket | None = service.store if isinstance(service.store, Bucket) else None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inspector")
        self._inspector: Inspector | None = None
        self._asked = "none"
        self._next_look = 0.0
        self._opening = asyncio.Lock()
        self._log = structlog.get_logger("pickapic.web")

    async def classifier(self) -> str:
        """Return the image classifier that workers have to ask; `none` if the server does, or nobody needs to."""
        await self._open()
        return self._asked

    async def upload(self, token_uid: str, sha256: str) -> Upload:
        """Return where the holder of a token may bring the file of a hash."""
        if self._bucket is not None:
            try:
                lasts = timedelta(seconds=SIGNED_SECONDS)
                url = await obstore.sign_async(self._bucket, "PUT", place_of(token_uid, sha256), lasts)
            except (BaseError, OSError, ValueError) as error:
                # Some kinds of credentials can do everything but this.
                self._log.warning("no address can be signed; a file comes through here", error=str(error))
            else:
                return Upload(url=url, headers=_headers(self._bucket))
        return Upload(url=f"{PATH}/files/{sha256}", headers={})

    async def look(self, token_uid: str, job: Held, said: ImageSaid) -> Finished:
        """Return the row that the image of a job gets; from then on its file is where images lie.

        Raises:
            FalseClaimError: there is no such file, or it is not what it should be.
            StoreError: the store does not answer.
        """
        inspector = await self._open()
        data = await self._read(token_uid, said.sha256)
        threshold = self._service.settings.image_threshold
        work = partial(claims.finished, job, said, data, inspector, self._asked, threshold)
        image = await asyncio.get_running_loop().run_in_executor(self._thread, work)
        await blobs.put(self._store, data, said.sha256)
        return image

    async def clear(self, token_uid: str, hashes: Collection[str]) -> None:
        """Delete what a worker brought, now that it is where images lie."""
        if self._bucket is not None and hashes:
            try:
                await obstore.delete_async(self._bucket, [place_of(token_uid, one) for one in hashes])
            except (BaseError, OSError) as error:
                self._log.info("a file that was brought is left to be swept", error=str(error))

    async def run(self) -> None:
        """Delete what was brought and forgotten, now and then, until cancelled."""
        while self._bucket is not None:
            await asyncio.sleep(SECONDS_BETWEEN_SWEEPS)
            try:
                await self.sweep()
            except (BaseError, OSError) as error:
                self._log.warning("forgotten uploads could not be swept", error=str(error))

    async def sweep(self) -> int:
        """Delete what was brought more than FORGOTTEN ago, and return how many files that were."""
        before = now() - FORGOTTEN
        count = 0
        async for part in obstore.list(self._store, f"{FOLDER}/"):
            old = [found["path"] for found in part if found["last_modified"] < before]
            if old:
                await obstore.delete_async(self._store, old)
            count += len(old)
        return count

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _read(self, token_uid: str, sha256: str) -> bytes:
        if self._bucket is not None:
            try:
                found = await obstore.get_async(self._bucket, place_of(token_uid, sha256))
            except FileNotFoundError:
                pass  # it came through this server; or with another job, whose image is the same
            else:
                if found.meta["size"] > LARGEST_IMAGE:
                    raise FalseClaimError(f"the file that was brought has more than {LARGEST_IMAGE:,} bytes")
                return bytes(await found.bytes_async())
        try:
            return await blobs.get(self._store, sha256)
        except KeyError as error:
            raise FalseClaimError("the file was never brought") from error

    async def _open(self) -> Inspector:
        """Return the inspector with the present list of blocked images; the classifier is loaded at the first call."""
        # Nobody looks at an image with a list that is still being read.
        async with self._opening:
            inspector = self._inspector
            if inspector is None:
                loop = asyncio.get_running_loop()
                inspector = await loop.run_in_executor(self._thread, self._load_inspector)
            if time.monotonic() >= self._next_look:
                inspector.block(await self._service.database.read(blocked.hashes))
                self._next_look = time.monotonic() + BLOCKED_SECONDS
            self._inspector = inspector
        return inspector

    def _load_inspector(self) -> Inspector:
        settings = self._service.settings
        try:
            return open_inspector(settings)
        except InputError as error:
            self._log.warning(
                "this server cannot ask the image classifier; its workers must", error=str(error)
            )
            self._asked = classifier_name(settings)
            return Inspector(settings.image_threshold)


def _headers(store: Bucket) -> dict[str, str]:
    """Return what a PUT to a signed address needs beside it."""
    return {"x-ms-blob-type": "BlockBlob"} if isinstance(store, AzureStore) else {}
