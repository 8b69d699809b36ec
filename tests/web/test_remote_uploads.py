"""Files that workers bring: to a bucket by a signed address, or through the server; and those that try it otherwise."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import httpx
import obstore
import pytest
from remote_machine import Machine, image, made, picture, token
from web_site import Site

from pickapic.collect.duels import wire
from pickapic.collect.tables import images
from pickapic.collect.tables import jobs as jobs_table
from pickapic.settings import load_settings
from pickapic.storage import blobs
from pickapic.web import incoming, security
from s3_servers import Servers, give

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with Servers(tmp_path_factory.mktemp("buckets")) as servers:
        yield servers


@pytest.fixture(params=["rclone", "moto"])
def bucketed(request, servers, on, tmp_path, database_url, monkeypatch):
    """Run `async def play(site, machine, outside)` on a site with a bucket; `outside` is an HTTP client."""
    bucket = servers.bucket(request.param)
    give(bucket.environment, monkeypatch)
    url = bucket.url(f"{request.param}-{request.node.name[:8]}-{tmp_path.name[-8:]}")

    def run(play):
        async def started(site):
            site.makes = tuple(choice.name for choice in site.settings.generators)
            site.made = await token(site)
            async with site.client() as client, httpx.AsyncClient(timeout=30) as outside:
                return await play(site, Machine(client, site.made.token), outside)

        home = tmp_path / "home"
        return on(started, Site(load_settings(home=home, database_url=database_url, images_url=url)))

    return run


async def address_for(machine, data):
    said = {"sha256": blobs.content_key(data), "size": len(data)}
    reply = await machine.call("POST", "/uploads", said)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def leased(site, machine, count):
    await (await site.person()).start()
    found = await machine.turn(want=count, makes=site.makes)
    assert len(found) == count
    return found


def brought(site):
    """What lies where workers may write."""
    return [found["path"] for part in obstore.list(site.service.store, "incoming/") for found in part]


def test_a_worker_brings_files_to_the_bucket_itself(bucketed):
    async def play(site, machine, outside):
        found = await leased(site, machine, 3)
        results = []
        for job in found:
            data = picture(job["id"])
            upload = await address_for(machine, data)
            assert "X-Amz-Signature" in upload["url"]
            assert "authorization" not in {name.lower() for name in upload["headers"]}
            assert site.made.token not in upload["url"]
            reply = await outside.put(upload["url"], content=data, headers=upload["headers"])
            assert reply.status_code == 200, reply.text
            results.append(made(job, image(data)))
        assert len(await asyncio.to_thread(brought, site)) == 3
        await machine.turn(*results)
        rows = await site.rows(images)
        assert len(rows) == 3
        for row in rows:
            assert await blobs.get(site.service.store, row.sha256) == picture(row.job_id)
        assert await asyncio.to_thread(brought, site) == []

    bucketed(play)


def test_what_a_signed_address_is_misused_for_comes_to_nothing(bucketed):
    async def play(site, machine, outside):
        first, second, third = await leased(site, machine, 3)
        good, other = picture(1), picture(2)
        upload = await address_for(machine, good)
        # Other bytes than the hash says.
        await outside.put(upload["url"], content=other)
        await machine.turn(made(first, image(good)), holding=[second["id"], third["id"]])
        assert await site.rows(images) == []
        assert "another SHA-256" in (await errors(site))[first["id"]]
        # More than any image has.
        large = b"\xff\xd8\xff" + bytes(wire.LARGEST_IMAGE)
        assert (await outside.put(upload["url"], content=large)).status_code == 200
        await machine.turn(made(second, image(good)), holding=[third["id"]])
        assert "more than" in (await errors(site))[second["id"]]
        # What it should be; and then, with the same address, something else in its place.
        await outside.put(upload["url"], content=good)
        await machine.turn(made(third, image(good)))
        (row,) = await site.rows(images)
        await outside.put(upload["url"], content=other)
        assert await blobs.get(site.service.store, row.sha256) == good
        if "rclone" in site.settings.images_url:  # moto does not check what was signed
            for path in (blobs.path_of(row.sha256), f"incoming/{'0' * 12}/{row.sha256}"):
                forged = upload["url"].replace(f"incoming/{site.made.uid}/{row.sha256}", path)
                assert forged != upload["url"]
                assert (await outside.put(forged, content=other)).status_code == 403
        assert await blobs.get(site.service.store, row.sha256) == good
        assert len(await site.rows(images)) == 1

    bucketed(play)


async def errors(site):
    return {row.id: row.error for row in await site.rows(jobs_table)}


def test_a_worker_that_cannot_reach_the_bucket_goes_through_the_server(bucketed):
    async def play(site, machine, outside):
        (job,) = await leased(site, machine, 1)
        data = picture(1)
        assert (await machine.bring(data)).status_code == 204
        await machine.turn(made(job, image(data)))
        assert len(await site.rows(images)) == 1

    bucketed(play)


def test_what_was_brought_and_forgotten_is_swept(bucketed, monkeypatch):
    async def play(site, machine, outside):
        for number in range(3):
            data = picture(number)
            await outside.put((await address_for(machine, data))["url"], content=data)
        keeper: incoming.Incoming = site.app.state.incoming
        assert await keeper.sweep() == 0
        assert len(await asyncio.to_thread(brought, site)) == 3
        monkeypatch.setattr(incoming, "FORGOTTEN", timedelta(seconds=-60))
        assert await keeper.sweep() == 3
        assert await asyncio.to_thread(brought, site) == []

    bucketed(play)


@pytest.mark.parametrize("sha256", ["../" * 21 + "x", "a" * 63, "A" * 64, "a" * 65, "", "%2e%2e/", "\0" * 64])
def test_only_a_hash_names_a_place(bucketed, sha256):
    async def play(site, machine, outside):
        reply = await machine.call("POST", "/uploads", {"sha256": sha256, "size": 5})
        assert reply.status_code == 422
        reply = await machine.call("POST", "/uploads", {"sha256": "a" * 64, "size": wire.LARGEST_IMAGE + 1})
        assert reply.status_code == 422

    bucketed(play)


def test_a_file_that_comes_too_slowly_is_not_waited_for(on, monkeypatch):
    monkeypatch.setattr(security, "SCORE_BODY_SECONDS", 0.3)

    async def play(site):
        data = picture(1)

        async def slowly():
            for start in range(0, len(data), 100):
                yield data[start : start + 100]
                await asyncio.sleep(0.05)

        async with site.client() as client:
            machine = Machine(client, (await token(site)).token)
            reply = await machine.call("PUT", f"/files/{blobs.content_key(data)}", content=slowly())
            assert reply.status_code == 408
            with pytest.raises(KeyError):
                await blobs.get(site.service.store, blobs.content_key(data))

    on(play)
