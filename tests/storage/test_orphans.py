"""Listing, setting aside and copying files, on every kind of store."""

import asyncio

import obstore

from pickapic.storage import orphans
from pickapic.storage.blobs import content_key, get, open_store, path_of, put, swept_path_of
from pickapic.storage.copying import copy_missing


def paths(store) -> set[str]:
    return {found["path"] for part in obstore.list(store) for found in part}


async def listed(store, prefix: str, swept: bool = False) -> list[orphans.StoredFile]:
    return [file async for file in orphans.files(store, prefix, swept)]


def test_a_file_is_set_aside_put_back_and_dropped(store):
    async def play():
        key = await put(store, b"an image")
        obstore.put(store, f"{key[:2]}/notes.txt", b"something else")
        (file,) = await listed(store, key[:2])
        assert (file.key, file.size) == (key, 8)
        assert await orphans.is_stored(store, key)
        assert await orphans.set_aside(store, file)
        assert not await orphans.is_stored(store, key)
        assert await orphans.is_stored(store, key, swept=True)
        assert [one.key for one in await listed(store, key[:2], swept=True)] == [key]
        assert await listed(store, key[:2]) == []
        assert not await orphans.set_aside(store, file), "it has gone already"
        assert await orphans.put_back(store, key)
        assert not await orphans.put_back(store, key)
        assert paths(store) == {path_of(key), f"{key[:2]}/notes.txt"}
        (file,) = await listed(store, key[:2])
        await orphans.set_aside(store, file)
        await orphans.drop_swept(store, key)
        await orphans.drop_swept(store, key)
        assert paths(store) == {f"{key[:2]}/notes.txt"}

    asyncio.run(play())


def test_what_was_stored_again_since_it_was_listed_stays(store):
    async def play():
        key = await put(store, b"an image")
        (file,) = await listed(store, key[:2])
        await asyncio.sleep(1.1)  # S3 knows seconds only
        obstore.put(store, path_of(key), b"an image")
        assert not await orphans.set_aside(store, file)
        assert await orphans.is_stored(store, key)

    asyncio.run(play())


def test_images_are_copied_to_a_folder_and_back_and_only_once(store, tmp_path):
    async def play():
        keys = [await put(store, f"image {number}".encode()) for number in range(40)]
        broken = await put(store, b"broken")
        obstore.put(store, path_of(broken), b"damaged")
        swept = await put(store, b"swept")
        obstore.put(store, swept_path_of(swept), b"swept")
        obstore.delete(store, path_of(swept))
        folder = open_store(str(tmp_path / "backup"))
        steps: list[int] = []
        first = await copy_missing(store, folder, steps.append)
        assert (first.files, first.there, first.damaged) == (40, 0, (broken,))
        assert sum(steps) == 256
        assert first.bytes == sum(len(f"image {number}") for number in range(40))
        for key in keys[:10]:
            obstore.delete(store, path_of(key))
        back = await copy_missing(folder, store)
        assert (back.files, back.there, back.damaged) == (10, 30, ())
        assert [content_key(await get(store, key)) for key in keys] == keys
        obstore.put(folder, path_of(keys[0]), b"cut")  # what a copy that broke off left
        again = await copy_missing(store, folder)
        assert (again.files, again.there) == (1, 39)
        assert await get(folder, keys[0]) == b"image 0"

    asyncio.run(play())
