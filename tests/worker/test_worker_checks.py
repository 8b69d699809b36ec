"""The worker and what is not simply generated: spoiled copies, images of a list, one size, unfit images."""

import asyncio
import io
import random
from collections import Counter

import obstore
import pytest
from PIL import Image
from sqlalchemy import select, update
from workshop import Workshop, now

from pickapic.collect.duels import duel, gold, losses, views
from pickapic.collect.moderation.images import Inspection
from pickapic.collect.queue import jobs
from pickapic.collect.tables import duels, images
from pickapic.collect.tables import jobs as jobs_table
from pickapic.storage import blobs
from pickapic.worker import Worker, beside_database

pytestmark = pytest.mark.slow


class Bench(Workshop):
    """A workshop that is given what check rounds are made of; `worker` may be replaced before it works."""

    def another(self) -> Worker:
        return beside_database(self.settings, self.database, self.store)

    async def work(self) -> None:
        while await self.worker.work_once():
            pass

    async def order(self, *orders: jobs.Order) -> None:
        def enqueue(connection):
            wanted = [(order, jobs.ON_SCREEN) for order in orders]
            jobs.enqueue(connection, 1, self.user, wanted, now())

        await self.database.write(enqueue)

    async def pixels(self, row) -> Image.Image:
        return Image.open(io.BytesIO(await blobs.get(self.store, row.sha256)))


async def finish(worker: Worker, leased: list[jobs.Job]) -> None:
    """Have a worker make what it was given by other hands."""
    await worker._open_lanes()
    worker._held = {job.id: job for job in leased}
    worker._lanes[0].running += 1
    await worker._make(worker._lanes[0], leased)
    await worker._turn([])


def aside(kind, **more) -> jobs.Order:
    return jobs.Order("", "a red cat", "", 0.0, 0, 5, kind=kind, **more)


def test_a_spoiled_copy_is_made_from_the_stored_file_and_waits_outside_the_pool(tmp_path):
    async def play():
        async with Bench(tmp_path) as shop:
            await shop.start()
            await shop.work()
            first = (await shop.rows(images))[0]
            await shop.order(aside("corrupt", source_image_id=first.id, role="worse"))
            await shop.work()
            copy = (await shop.rows(images))[-1]
            assert (copy.origin, copy.role, copy.state) == ("corrupted", "worse", "aside")
            assert copy.source_image_id == first.id
            assert copy.model.startswith("corrupted-")
            assert (copy.width, copy.height) == (first.width, first.height)
            assert copy.sha256 != first.sha256
            assert (await shop.pixels(copy)).size == (256, 256)
            facts = await shop.database.read(
                lambda connection: connection.execute(select(duels.c.image_width, duels.c.image_height)).one()
            )
            assert tuple(facts) == (256, 256)

    asyncio.run(play())


def test_a_copy_of_a_file_that_is_gone_costs_its_job_and_nothing_else(tmp_path):
    async def play():
        async with Bench(tmp_path, max_attempts=1) as shop:
            await shop.start()
            await shop.work()
            first = (await shop.rows(images))[0]
            obstore.delete(shop.store, blobs.path_of(first.sha256))
            await shop.order(aside("corrupt", source_image_id=first.id, role="worse"))
            await shop.work()
            assert (await shop.rows(jobs_table))[-1].state == "dead"
            assert (await shop.rows(duels))[0].state == "open"

    asyncio.run(play())


def test_images_of_a_list_are_cut_to_the_size_of_the_duel_and_get_rows_of_their_own(tmp_path):
    async def play():
        async with Bench(tmp_path) as shop:
            await shop.start()
            await shop.work()
            keys = []
            for colour in ("green", "grey"):
                file = io.BytesIO()
                Image.new("RGB", (400, 300), colour).save(file, "PNG")
                keys.append(await blobs.put(shop.store, file.getvalue()))
            await shop.database.write(gold.add_pair, "a lawn", *keys, None, now())
            for role in ("worse", "better"):
                await shop.order(aside("gold", gold_pair_id=1, role=role))
            await shop.work()
            worse, better = (await shop.rows(images))[-2:]
            assert (worse.role, better.role) == ("worse", "better")
            for row, colour in ((worse, (128, 128, 128)), (better, (0, 128, 0))):
                assert (row.origin, row.state, row.model) == ("gold", "aside", "gold")
                pixels = await shop.pixels(row)
                assert (pixels.format, pixels.size) == ("JPEG", (256, 256))
                assert max(abs(a - b) for a, b in zip(pixels.getpixel((9, 9)), colour, strict=True)) < 4

    asyncio.run(play())


def test_all_images_of_a_duel_have_the_size_of_its_first(tmp_path, plugin):
    async def play():
        choices = {
            "small": {"plugin": "plain", "parameters": {"size": (32, 32)}},
            "wide": {"plugin": "plain", "parameters": {"size": (96, 48)}},
        }
        async with Bench(tmp_path, generators=choices) as shop:
            await shop.start()
            await shop.work()
            made = await shop.rows(images)
            assert {row.model for row in made} == {"small", "wide"}
            sizes = {(row.width, row.height) for row in made}
            assert sizes in ({(32, 32)}, {(96, 48)})
            assert {(await shop.pixels(row)).size for row in made} == sizes

    asyncio.run(play())


def test_an_image_that_another_worker_made_in_another_size_is_made_again(tmp_path, plugin):
    async def play():
        choices = {
            "small": {"plugin": "plain", "parameters": {"size": (32, 32)}},
            "wide": {"plugin": "plain", "parameters": {"size": (96, 48)}},
        }
        async with Bench(tmp_path, generators=choices, images_ahead=2) as shop:
            await shop.start()
            small, wide = (job.id for job in (await shop.rows(jobs_table))[:2])

            def draw(connection):
                for key, name in ((small, "small"), (wide, "wide")):
                    connection.execute(
                        update(jobs_table).where(jobs_table.c.id == key).values(generator=name)
                    )

            await shop.database.write(draw)
            first, second = shop.worker, shop.another()
            mine = await shop.database.write(jobs.lease, first.name, 1, 60.0, now())
            others = await shop.database.write(jobs.lease, second.name, 1, 60.0, now())
            assert (mine[0].size, others[0].size) == (None, None)
            for worker, leased in ((first, mine), (second, others)):
                await finish(worker, leased)
            (row,) = await shop.rows(images)
            assert (row.model, row.width) == ("small", 32)
            again = next(job for job in await shop.rows(jobs_table) if job.id == wide)
            assert (again.state, again.attempts) == ("queued", 0)
            await shop.work()
            made = await shop.rows(images)
            assert {(row.width, row.height) for row in made} == {(32, 32)}
            assert {row.job_id for row in made} >= {small, wide}

    asyncio.run(play())


def test_a_size_of_the_settings_holds_for_all(tmp_path, plugin):
    async def play():
        async with Bench(tmp_path, generators={"plain": {}}, image_size=64) as shop:
            await shop.start()
            await shop.work()
            assert {(row.width, row.height) for row in await shop.rows(images)} == {(64, 64)}

    asyncio.run(play())


class Strict:
    """Flags as many images as it is told."""

    def __init__(self, flags: int) -> None:
        self.flags = flags

    def block(self, hashes) -> None:
        pass

    def inspect(self, pixels) -> Inspection:
        self.flags -= 1
        return (
            Inspection(7, 0.9, "classifier") if self.flags >= 0 else Inspection(self.flags * 1009, 0.1, None)
        )


def strict(shop, flags: int) -> None:
    shop.worker._inspector = shop.worker._bench._inspector = Strict(flags)


def test_an_unfit_image_is_stored_never_shown_and_replaced(tmp_path):
    async def play():
        async with Bench(tmp_path) as shop:
            strict(shop, 3)
            uid = await shop.start()
            await shop.work()
            rows = await shop.rows(images)
            assert Counter(row.state for row in rows) == {"flagged": 3, "ready": 6}
            flagged = [row for row in rows if row.state == "flagged"]
            assert {(row.flag, row.unfit, row.phash) for row in flagged} == {("classifier", 0.9, 7)}
            view = await shop.database.read(views.view, shop.user, uid, now())
            assert view.may_advance
            assert {image.token for image in view.ahead}.isdisjoint(row.token for row in flagged)

    asyncio.run(play())


def test_a_prompt_that_brings_unfit_images_only_is_given_up(tmp_path):
    async def play():
        async with Bench(tmp_path) as shop:
            strict(shop, 1000)
            uid = await shop.start()
            await shop.work()
            view = await shop.database.read(views.view, shop.user, uid, now())
            assert view.state == "failed"
            assert "unfit" in view.message
            assert losses.MOST_FLAGGED <= len(await shop.rows(images)) < losses.MOST_FLAGGED + 6

    asyncio.run(play())


def test_every_generated_image_has_a_perceptual_hash(tmp_path):
    async def play():
        async with Bench(tmp_path) as shop:
            await shop.start()
            await shop.work()
            hashes = [row.phash for row in await shop.rows(images)]
            assert None not in hashes
            assert len(set(hashes)) > 1

    asyncio.run(play())


def test_two_pictures_that_nobody_could_tell_apart_do_not_meet(tmp_path):
    async def play():
        async with Bench(tmp_path) as shop:
            uid = await shop.start()
            await shop.work()
            rows = await shop.rows(images)

            def alike(connection):
                for row, phash in zip(rows, (-5, -5 ^ 3, (1 << 63) - 5, 12, 1 << 40, 99), strict=True):
                    connection.execute(update(images).where(images.c.id == row.id).values(phash=phash))

            await shop.database.write(alike)
            rng = random.Random(0)
            await shop.database.write(duel.advance, shop.settings, shop.user, uid, now(), rng)
            view = await shop.database.read(views.view, shop.user, uid, now())
            assert {view.round.left.token, view.round.right.token} == {rows[0].token, rows[3].token}

    asyncio.run(play())
