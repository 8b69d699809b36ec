"""Image files by content, for one batch of rows after the other."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from obstore.store import ObjectStore

from pickapic.storage.blobs import get_blocking

THREADS = 8


class Blobs:
    """Fetches files side by side; the last batch's are kept, since winners stay on."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._last: dict[str, bytes] = {}

    def fetch(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the files of `keys` that the store has."""
        found = {key: self._last[key] for key in keys if key in self._last}
        absent = [key for key in dict.fromkeys(keys) if key not in found]
        with ThreadPoolExecutor(THREADS) as threads:
            fetched = zip(absent, threads.map(self._get, absent), strict=True)
            found |= {key: data for key, data in fetched if data is not None}
        self._last = found
        return found

    def _get(self, key: str) -> bytes | None:
        try:
            return get_blocking(self._store, key, check=False)
        except KeyError:
            return None
