"""The worker, with real generators, a real database and a real image folder."""

import asyncio
import io

from PIL import Image
from workshop import Workshop, now

from pickapic.collect.database import open_database
from pickapic.collect.oversight import overview
from pickapic.collect.queue import dead_letter
from pickapic.collect.tables import duels, images
from pickapic.collect.tables import jobs as jobs_table
from pickapic.generate.encoding import encode
from pickapic.settings import load_settings
from pickapic.storage import blobs
from pickapic.worker import beside_database


def test_images_are_stored_before_they_are_recorded(tmp_path):
    async def play():
        async with Workshop(tmp_path) as shop:
            uid = await shop.start("a red cat [blurry]")
            while await shop.worker.work_once():
                pass
            assert await shop.states() == {"done": 6}
            orders = {row.id: row for row in await shop.rows(jobs_table)}
            for row in await shop.rows(images):
                data = await blobs.get(shop.store, row.sha256)
                assert blobs.content_key(data) == row.sha256
                assert Image.open(io.BytesIO(data)).size == (row.width, row.height) == (256, 256)
                order = orders[row.job_id]
                assert (row.model, row.seed, row.prompt) == (order.generator, order.seed, "a red cat")
                assert row.guidance_scale == order.guidance_scale
                # The miniature models do not follow these, so they are stored as not set.
                assert (row.negative_prompt, row.steps) == ("", None)
            assert (await shop.look(uid)).may_advance

    asyncio.run(play())


def test_a_failing_generator_is_tried_again_and_its_parameters_come_from_the_settings(tmp_path, plugin):
    async def play():
        choice = {"mine": {"plugin": "plain", "parameters": {"failures": 2, "mode": "RGBA"}}}
        async with Workshop(tmp_path, generators=choice) as shop:
            uid = await shop.start()
            stop = asyncio.Event()
            running = asyncio.create_task(shop.worker.run(stop))
            async with asyncio.timeout(20):
                while (await shop.states())["done"] < 6:
                    await asyncio.sleep(0.05)
            stop.set()
            await running
            assert sorted(row.attempts for row in await shop.rows(jobs_table)) == [1, 1, 1, 1, 2, 2]
            assert {row.model for row in await shop.rows(images)} == {"mine"}
            assert {row.guidance_scale for row in await shop.rows(images)} == {None}
            assert (await shop.look(uid)).may_advance

    asyncio.run(play())


def test_a_duel_whose_images_cannot_be_made_fails_with_a_message(tmp_path, plugin):
    async def play():
        choice = {"plain": {"parameters": {"failures": 1000}}}
        async with Workshop(tmp_path, generators=choice, max_attempts=1) as shop:
            uid = await shop.start()
            while await shop.worker.work_once():
                pass
            view = await shop.look(uid)
            assert view.state == "failed"
            assert "No images could be made" in view.message
            assert (await shop.states()).keys() <= {"dead", "cancelled"}
            dead = await shop.database.read(dead_letter.dead_jobs)
            assert dead[0].error.startswith("RuntimeError: ")
            assert (await shop.database.read(overview.stats)).duels_failed == 1
            assert await shop.database.write(dead_letter.retry, now()) == 0

    asyncio.run(play())


def test_given_up_jobs_of_an_open_duel_can_be_retried(tmp_path, plugin):
    async def play():
        choice = {"plain": {"parameters": {"failures": 1}}}
        async with Workshop(tmp_path, generators=choice, max_attempts=1) as shop:
            await shop.start()
            while await shop.worker.work_once():
                pass
            assert await shop.states() == {"done": 5, "dead": 1}
            assert {row.state for row in await shop.rows(duels)} == {"open"}
            assert await shop.database.write(dead_letter.retry, now()) == 1
            while await shop.worker.work_once():
                pass
            assert await shop.states() == {"done": 6}

    asyncio.run(play())


def test_a_worker_that_is_stopped_gives_its_jobs_back(tmp_path):
    async def play():
        async with Workshop(tmp_path, worker_batch=6) as shop:
            await shop.start()
            stop = asyncio.Event()
            make = shop.worker._bench.make

            def one_then_stop(*wanted):
                result = make(*wanted)
                shop.worker._stopping.set()
                loop.call_soon_threadsafe(stop.set)
                return result

            loop = asyncio.get_running_loop()
            await shop.worker._open_lanes()
            shop.worker._lanes[0].seconds_per_job = 0.001
            shop.worker._bench.make = one_then_stop
            await asyncio.wait_for(shop.worker.run(stop), 10)
            assert await shop.states() == {"done": 1, "queued": 5}
            assert sorted(row.attempts for row in await shop.rows(jobs_table)) == [0, 0, 0, 0, 0, 1]
            assert len(await shop.rows(images)) == 1

    asyncio.run(play())


def test_while_the_image_store_refuses_what_is_made_is_kept_and_nothing_more_is_leased(tmp_path):
    async def play():
        async with Workshop(tmp_path) as shop:
            await shop.start()
            folder = tmp_path / "images"
            folder.rmdir()
            folder.write_text("in the way")
            stop = asyncio.Event()
            running = asyncio.create_task(shop.worker.run(stop))
            async with asyncio.timeout(20):
                while not shop.worker._store_trouble.is_on:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.5)  # a turn that was under way may still bring jobs
                held = shop.worker.holding
                await asyncio.sleep(0.5)
                assert shop.worker.holding == held > 0
                assert await shop.rows(images) == []
                folder.unlink()
                folder.mkdir()
                while (await shop.states())["done"] < 6:
                    await asyncio.sleep(0.05)
            stop.set()
            await running
            assert {row.attempts for row in await shop.rows(jobs_table)} == {1}
            assert {row.error for row in await shop.rows(jobs_table)} == {None}

    asyncio.run(play())


def test_two_workers_share_the_queue_and_make_every_image_once(tmp_path):
    async def play():
        async with Workshop(tmp_path) as shop:
            for number in range(8):
                await shop.start(f"cat {number}")
            second = open_database(shop.settings.database_url)
            other = beside_database(shop.settings, second, shop.store)
            stop = asyncio.Event()
            running = [asyncio.create_task(worker.run(stop)) for worker in (shop.worker, other)]
            async with asyncio.timeout(30):
                while (await shop.states())["done"] < 48:
                    await asyncio.sleep(0.02)
            stop.set()
            await asyncio.gather(*running)
            await second.close()
            rows = await shop.rows(jobs_table)
            assert {row.attempts for row in rows} == {1}
            assert len({row.worker for row in rows}) == 2
            assert len({row.job_id for row in await shop.rows(images)}) == 48

    asyncio.run(play())


def test_stored_images_have_one_form():
    for mode in ("RGB", "RGBA", "L", "P"):
        data = encode(Image.new(mode, (16, 16)))
        image = Image.open(io.BytesIO(data))
        assert (image.format, image.mode) == ("JPEG", "RGB")
        # 4:4:4: every component is sampled once a pixel.
        assert [(component[1], component[2]) for component in image.layer] == [(1, 1)] * 3
    marked = Image.new("RGB", (16, 16))
    marked.info.update(comment=b"secret", icc_profile=b"secret", exif=b"Exif\0\0secret")
    assert b"secret" not in encode(marked)


def test_a_worker_leases_nothing_that_it_cannot_make(tmp_path, plugin):
    async def play():
        async with Workshop(tmp_path, generators="plain") as shop:
            await shop.start()
            stranger = beside_database(load_settings(home=tmp_path), shop.database, shop.store)
            assert await stranger.work_once() == 0
            assert {row.attempts for row in await shop.rows(jobs_table)} == {0}

    asyncio.run(play())
