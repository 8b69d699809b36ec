"""Files by content, on every kind of store."""

import asyncio
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta

import obstore
import pytest
from obstore.store import LocalStore

from pickapic.storage import blobs
from pickapic.storage.blobs import content_key, delete, get, get_blocking, open_store, path_of, put
from s3_servers import give


def paths(store) -> list[str]:
    return sorted(found["path"] for part in obstore.list(store) for found in part)


def status_of(request) -> int:
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_what_is_put_is_found_under_its_sha256_until_it_is_deleted(store):
    async def play():
        key = await put(store, b"an image")
        assert key == content_key(b"an image")
        assert paths(store) == [f"{key[:2]}/{key}"]
        assert await get(store, key) == await asyncio.to_thread(get_blocking, store, key) == b"an image"
        await delete(store, key)
        await delete(store, key)
        assert paths(store) == []
        with pytest.raises(KeyError):
            await get(store, key)
        with pytest.raises(KeyError):
            get_blocking(store, key)

    asyncio.run(play())


def test_many_at_once_and_large_ones(store):
    async def play():
        data = [bytes([number]) * (1 + number * 40_000) for number in range(16)]
        keys = await asyncio.gather(*(put(store, one) for one in [*data, *data]))
        assert keys == [content_key(one) for one in data] * 2
        assert await asyncio.gather(*(get(store, key) for key in keys)) == [*data, *data]
        assert len(paths(store)) == 16

    asyncio.run(play())


def test_a_file_that_is_there_is_young_after_a_put_and_whole(store, monkeypatch):
    files = {content_key(data): data for data in (b"x" * 10, b"x" * blobs.ASK_FIRST_BYTES)}
    for key, data in files.items():
        obstore.put(store, path_of(key), data[1:])  # what a broken disk left
        asyncio.run(put(store, data))
        assert asyncio.run(get(store, key)) == data
    monkeypatch.setattr(blobs, "FRESH", timedelta(0))  # from now on every file counts as old
    before = [obstore.head(store, path_of(key))["last_modified"] for key in files]
    time.sleep(1.1)  # S3 knows seconds only
    for data in files.values():
        asyncio.run(put(store, data))
    after = [obstore.head(store, path_of(key))["last_modified"] for key in files]
    assert all(new > old for old, new in zip(before, after, strict=True))


def test_a_young_file_is_not_written_again_where_asking_is_cheap(store, monkeypatch):
    written = []
    real = obstore.put_async

    async def counting(*arguments, **options):
        written.append(len(arguments[2]))
        return await real(*arguments, **options)

    monkeypatch.setattr(obstore, "put_async", counting)

    async def play():
        for data in (b"small", b"large" * blobs.ASK_FIRST_BYTES):
            await put(store, data)
            await put(store, data)

    asyncio.run(play())
    small = 1 if isinstance(store, LocalStore) else 2
    assert written == [5] * small + [5 * blobs.ASK_FIRST_BYTES]


def test_a_damaged_file_is_never_handed_out(store):
    key = asyncio.run(put(store, b"an image"))
    obstore.put(store, path_of(key), b"another")
    with pytest.raises(KeyError, match="damaged"):
        asyncio.run(get(store, key))
    with pytest.raises(KeyError, match="damaged"):
        get_blocking(store, key)


def test_a_swept_file_is_still_found(store):
    key = asyncio.run(put(store, b"an image"))
    obstore.copy(store, path_of(key), blobs.swept_path_of(key))
    obstore.delete(store, path_of(key))
    assert asyncio.run(get(store, key)) == get_blocking(store, key) == b"an image"
    asyncio.run(delete(store, key))
    assert paths(store) == []


def test_a_key_is_no_path(store):
    for key in ("../../etc/passwd", "A" * 64, "", "ab" * 31 + "/x"):
        with pytest.raises(ValueError, match="no content key"):
            asyncio.run(get(store, key))
        with pytest.raises(ValueError, match="no content key"):
            asyncio.run(put(store, b"x", key))


@pytest.mark.parametrize("kind", ["rclone", "moto"])
def test_a_presigned_address_lets_anybody_get_one_file_for_a_while(servers, kind, monkeypatch):
    bucket = servers.bucket(kind)
    give(bucket.environment, monkeypatch)
    store = open_store(bucket.url("presigned"))
    key = content_key(b"uploaded")

    asyncio.run(put(store, b"uploaded", key))
    get_url = asyncio.run(blobs.presigned_get(store, key, 60))
    assert get_url is not None
    with urllib.request.urlopen(get_url) as reply:
        assert reply.read() == b"uploaded"
    if kind == "rclone":  # moto believes every signature
        for wrong in (get_url.replace(key, content_key(b"another")), get_url.partition("?")[0]):
            assert status_of(urllib.request.Request(wrong)) in (400, 403)
        assert status_of(urllib.request.Request(get_url, b"x", method="PUT")) == 403


def test_a_folder_has_no_presigned_addresses(tmp_path):
    store = open_store(str(tmp_path))
    key = content_key(b"x")
    assert asyncio.run(blobs.presigned_get(store, key, 60)) is None


def test_a_synced_folder_waits_for_the_disk(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(blobs.os, "fsync", lambda descriptor: synced.append(descriptor))
    asyncio.run(put(open_store(str(tmp_path)), b"1"))
    assert synced == []
    asyncio.run(put(open_store(f"file://{tmp_path}?fsync=true"), b"2"))
    assert len(synced) == 2  # the file, and the folder that holds its name


def test_files_that_are_young_are_young_by_the_stores_clock(store):
    """Ages are compared with this machine's clock; a bucket's must not be far from it."""
    key = asyncio.run(put(store, b"now"))
    age = datetime.now(UTC) - obstore.head(store, path_of(key))["last_modified"]
    assert abs(age) < timedelta(minutes=5)
