"""The pick loop as a browser sees it."""

import asyncio
import io
import json
import zipfile

from PIL import Image

from pickapic.collect.tables import duels, images, jobs, rounds

ON_BOTH_DATABASES = True


def test_from_a_prompt_to_an_answered_round(on):
    async def play(site):
        person = await site.person()
        duel = await person.start("a red cat [blurry]")
        assert (duel["state"], duel["position"], duel["round"]) == ("queued", 1, None)
        assert duel["eta_s"] > 0
        await site.work()
        duel = await person.read(duel)
        assert (duel["state"], duel["progress"], duel["next_ready"]) == ("ready", 1.0, True)
        assert [image["side"] for image in duel["round"]["images"]] == ["left", "right"]
        assert len(duel["round"]["prefetch"]) == 2
        reply = await person.pick(duel, "left")
        assert reply.status_code == 200
        following = reply.json()
        assert following["state"] == "ready"
        assert following["picks"] == 1
        assert following["undo_round_id"] == duel["round"]["round_id"]
        stayed = duel["round"]["images"][0]["url"]
        assert stayed in [image["url"] for image in following["round"]["images"]]
        assert following["round"]["round_id"] != duel["round"]["round_id"]
        row = (await site.rows(rounds))[0]
        assert (row.pick, row.user_id) == ("left", person.user_id)
        assert (await site.rows(duels))[0].negative_prompt == "blurry"

    on(play)


def test_images_are_jpegs_of_one_form_without_metadata_and_cached_for_good(on):
    async def play(site):
        person = await site.person()
        duel = await person.start()
        await site.work()
        duel = await person.read(duel)
        for url in [image["url"] for image in duel["round"]["images"]] + duel["round"]["prefetch"]:
            reply = await person.get(url)
            assert reply.status_code == 200
            assert reply.headers["content-type"] == "image/jpeg"
            assert reply.headers["cache-control"] == "private, max-age=31536000, immutable"
            assert "set-cookie" not in reply.headers
            image = Image.open(io.BytesIO(reply.content))
            assert (image.format, image.size) == ("JPEG", (256, 256))
            assert not image.getexif()
            assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}

    on(play)


def test_no_answer_names_a_model_or_an_image_before_the_duel_is_closed(on):
    async def play(site):
        person = await site.person()
        said = [(await person.post("/api/v1/duels", {"prompt": "a cat"})).text]
        duel = json.loads(said[0])
        await site.work()
        for _ in range(3):
            reply = await person.get(f"/api/v1/duels/{duel['duel_id']}")
            said += [reply.text, str(reply.headers)]
            said.append((await person.pick(reply.json(), "right")).text)
        said.append((await person.get("/api/v1/me")).text)
        shown = await site.rows(images)
        for secret in (
            {row.uid for row in shown} | {row.model for row in shown} | {row.sha256 for row in shown}
        ):
            assert secret not in "".join(said)
        over = (await person.delete(f"/api/v1/duels/{duel['duel_id']}")).json()
        assert over["state"] == "closed"
        assert over["prompt"] == "a cat"
        models = {row.model for row in shown}
        assert len(over["rounds"]) == 3
        assert all(image["model"] in models for answered in over["rounds"] for image in answered["images"])

    on(play)


def test_waiting_clients_are_woken_when_the_images_are_there(on):
    async def play(site):
        person = await site.person()
        duel = await person.start()
        waiting = asyncio.create_task(person.get(f"/api/v1/duels/{duel['duel_id']}?wait=20"))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await site.work()
        reply = await asyncio.wait_for(waiting, 15)
        assert reply.json()["round"] is not None
        assert not site.service.changes._waiting

    on(play)


def test_a_pick_may_wait_for_the_next_round_and_is_stored_before_that(on):
    async def play(site):
        person = await site.person()
        duel = await person.start()
        await site.work()
        duel = await person.read(duel)
        while duel["round"]:
            last = duel["round"]["round_id"]
            duel = (await person.pick(duel, "tie")).json()
        await site.work()
        duel = await person.read(duel)
        for _ in range(4):
            duel = (await person.pick(duel, "left")).json()
        await person.look(duel)
        path = f"/api/v1/rounds/{duel['round']['round_id']}/pick?wait="
        assert (await person.post(path + "0.05", {"pick": "right"})).json()["round"] is None
        waiting = asyncio.create_task(person.post(path + "20", {"pick": "right"}))
        await asyncio.sleep(0.05)
        stored = {row.uid: row.pick for row in await site.rows(rounds)}
        assert (stored[duel["round"]["round_id"]], stored[last]) == ("right", "tie")
        await site.work()
        reply = (await asyncio.wait_for(waiting, 15)).json()
        assert reply["round"] is not None
        assert reply["picks"] == len(stored)

    on(play)


def test_a_wait_that_ends_without_images_answers_as_it_is(on):
    async def play(site):
        person = await site.person()
        duel = await person.start()
        reply = await person.get(f"/api/v1/duels/{duel['duel_id']}?wait=0.1")
        assert (reply.status_code, reply.json()["state"]) == (200, "queued")
        for bad in ("31", "-1", "nan", "x"):
            assert (await person.get(f"/api/v1/duels/{duel['duel_id']}?wait={bad}")).status_code == 422

    on(play)


def test_skip_and_undo(on):
    async def play(site):
        person = await site.person()
        duel = await person.start()
        await site.work()
        first = await person.read(duel)
        skipped = (await person.post(f"/api/v1/rounds/{first['round']['round_id']}/skip")).json()
        urls = {image["url"] for image in first["round"]["images"]}
        assert urls.isdisjoint(image["url"] for image in skipped["round"]["images"])
        assert skipped["picks"] == 0
        back = (await person.post(f"/api/v1/rounds/{first['round']['round_id']}/undo")).json()
        assert back["round"]["round_id"] == first["round"]["round_id"]
        assert back["round"]["images"] == first["round"]["images"]
        reply = await person.post(f"/api/v1/rounds/{skipped['round']['round_id']}/undo")
        assert reply.status_code == 409

    on(play)


def test_a_reload_finds_the_open_duel(on):
    async def play(site):
        person = await site.person()
        duel = await person.start()
        me = (await person.get("/api/v1/me")).json()
        assert (me["open_duel_id"], me["duels"], me["picks"], me["kind"]) == (duel["duel_id"], 1, 0, "guest")
        await person.delete(f"/api/v1/duels/{duel['duel_id']}")
        assert (await person.get("/api/v1/me")).json()["open_duel_id"] is None
        assert {row.state for row in await site.rows(jobs)} == {"cancelled"}

    on(play)


def test_my_data_as_a_file_and_forgetting_me(on):
    async def play(site):
        person = await site.person()
        duel = await person.start("my cat")
        await site.work()
        duel = await person.read(duel)
        await person.pick(duel, "tie")
        reply = await person.get("/api/v1/me/export")
        archive = zipfile.ZipFile(io.BytesIO(reply.content))
        picks = json.loads(archive.read("picks.json"))
        (answer,) = picks["picks"]
        assert (answer["prompt"], answer["pick"], answer["round"]) == ("my cat", "tie", 1)
        assert archive.read(answer["left"]).startswith(b"\xff\xd8")

        stolen = dict(person.client.cookies)
        assert (await person.delete("/api/v1/me")).status_code == 204
        assert (await person.get("/api/v1/me")).status_code == 401
        async with site.client() as thief:
            thief.cookies.update(stolen)
            assert (await thief.get("/api/v1/me")).status_code == 401
        assert [row.state for row in await site.rows(rounds)] == ["answered"]

    on(play)
