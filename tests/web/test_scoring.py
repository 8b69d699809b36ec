"""POST /api/v1/score: many requests in one call, each with its own answer, and nothing that breaks another's."""

import asyncio
import base64

import numpy as np
import pytest
from web_site import Person, Site

import fake_scorers
from fake_scorers import expected
from hostile_images import bomb, encoded
from pickapic.collect.tables import images
from pickapic.scorers.load import load_scorer
from pickapic.settings import load_settings

pytestmark = pytest.mark.slow


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def assert_error(reply, status, *words):
    assert reply.status_code == status, reply.text
    message = reply.json()["error"]["message"]
    assert message[-1] in ".!?"
    for word in words:
        assert word in message, message


async def ask(person: Person, prompt: str, *sent: bytes | str):
    body = {"prompt": prompt, "images": [image if isinstance(image, str) else text(image) for image in sent]}
    return await person.post("/api/v1/score", body)


async def ready(site: Site) -> fake_scorers.Hashing:
    while site.service.scoring.state != "ok":
        await asyncio.sleep(0.01)
    return site.service.scoring._scorer


async def held(site: Site, scorer: fake_scorers.Hashing, asked) -> list:
    """Send all requests while the scorer is held back in its first call, then let it go; return the replies."""
    real, arrived = site.service.scoring.score, 0

    async def counted(prompt, images):
        nonlocal arrived
        arrived += 1
        return await real(prompt, images)

    site.service.scoring.score = counted
    scorer.free.clear()
    tasks = [asyncio.create_task(one) for one in asked]
    while arrived < len(tasks):
        await asyncio.sleep(0.01)
    scorer.free.set()
    return await asyncio.gather(*tasks)


@pytest.fixture
def scoring(tmp_path, on):
    """Run `async def play(site, scorer)` on a site with the hashing scorer and the settings given."""

    def run(play, **settings):
        async def with_scorer(site):
            return await play(site, await ready(site))

        with fake_scorers.installed():
            given = {"home": tmp_path / "scoring", "scorer": "hashing", **settings}
            return on(with_scorer, Site(load_settings(**given)))

    return run


def test_many_requests_are_scored_in_few_calls_and_each_gets_its_own_answer(scoring):
    async def play(site, scorer):
        person = await site.person()
        wanted = [(f"prompt {n}", [encoded(10 * n + k) for k in range(1 + n % 4)]) for n in range(24)]
        replies = await held(site, scorer, [ask(person, prompt, *sent) for prompt, sent in wanted])
        for (prompt, sent), reply in zip(wanted, replies, strict=True):
            assert reply.status_code == 200, reply.text
            assert reply.json() == {"scorer": "hashing", "scores": [expected(prompt, one) for one in sent]}
        assert sum(scorer.calls) == sum(len(sent) for _, sent in wanted), "no image is scored twice"
        assert len(scorer.calls) <= 6, scorer.calls
        assert max(scorer.calls) <= 16
        text = (await person.get("/metrics")).text
        assert f"pickapic_scorer_batch_images_count {len(scorer.calls)}.0" in text
        assert "pickapic_scorer_wait_seconds_count 24.0" in text
        assert "pickapic_scorer_waiting_images 0.0" in text

    scoring(play, scorer_batch=16)


def test_a_single_request_waits_for_no_full_batch(scoring):
    async def play(site, scorer):
        person = await site.person()
        await ask(person, "warm", encoded(0))
        start = asyncio.get_running_loop().time()
        assert (await ask(person, "a", encoded(1), encoded(2))).status_code == 200
        assert asyncio.get_running_loop().time() - start < 1
        assert scorer.calls == [1, 2]

    scoring(play, scorer_batch=1000)


def test_a_request_larger_than_a_batch_is_scored_whole(scoring):
    async def play(site, scorer):
        person = await site.person()
        sent = [encoded(n) for n in range(9)]
        replies = await asyncio.gather(*(ask(person, str(n), *sent) for n in range(3)))
        assert [reply.json()["scores"] for reply in replies] == [
            [expected(str(n), one) for one in sent] for n in range(3)
        ]
        assert scorer.calls == [9, 9, 9]

    scoring(play, scorer_batch=4)


def test_an_image_that_breaks_off_fails_its_own_request_alone(scoring):
    async def play(site, scorer):
        person = await site.person()
        whole = [encoded(n, size=64) for n in range(12)]
        cut = encoded(99, size=64)[:-400]
        asked = [ask(person, str(n), one) for n, one in enumerate(whole)]
        asked.insert(5, ask(person, "cut", whole[0], cut))
        replies = await held(site, scorer, asked)
        broken = replies.pop(5)
        assert_error(broken, 422, "images[1] cannot be read", "truncated")
        assert "0x" not in broken.text
        for n, (one, reply) in enumerate(zip(whole, replies, strict=True)):
            assert reply.json()["scores"] == [expected(str(n), one)]
        assert len(scorer.calls) <= 4, "the others of its batch are scored together again"

    scoring(play)


def test_what_the_scorer_alone_refuses_fails_its_own_request_alone(scoring):
    async def play(site, scorer):
        scorer._seconds = 0.02
        person = await site.person()
        real = scorer.score

        def picky(prompts, sent):
            if any("forbidden" in prompt for prompt in prompts):
                raise fake_scorers.InputError("the prompt cannot be tokenized.")
            if any("crash" in prompt for prompt in prompts):
                raise RuntimeError("out of memory")
            return real(prompts, sent)

        scorer.score = picky
        prompts = ["a", "forbidden", "b", "crash", "c"]
        replies = await asyncio.gather(*(ask(person, prompt, encoded(1)) for prompt in prompts))
        assert [reply.status_code for reply in replies] == [200, 422, 200, 500, 200]
        assert_error(replies[1], 422, "tokenized")
        assert replies[4].json()["scores"] == [expected("c", encoded(1))]

    scoring(play)


def test_a_score_that_is_no_number_is_no_answer(scoring):
    async def play(site, scorer):
        scorer.score = lambda prompts, sent: np.array([np.nan if p == "bad" else 1.0 for p in prompts])
        person = await site.person()
        bad, good = await asyncio.gather(ask(person, "bad", encoded(1)), ask(person, "good", encoded(1)))
        assert_error(bad, 422, "no number")
        assert good.json()["scores"] == [1.0]

    scoring(play)


def test_when_too_much_waits_the_next_is_told_when_to_come_back(scoring):
    async def play(site, scorer):
        person = await site.person()
        scorer.free.clear()
        asked = [asyncio.create_task(ask(person, str(n), encoded(n))) for n in range(12)]
        while sum(task.done() for task in asked) < 6:
            await asyncio.sleep(0.01)
        scorer.free.set()
        replies = await asyncio.gather(*asked)
        codes = [reply.status_code for reply in replies]
        refused = [reply for reply in replies if reply.status_code == 429]
        assert set(codes) == {200, 429}
        assert codes.count(200) in (4, 5, 6), "four wait while none, one or two are being scored"
        assert 1 <= int(refused[0].headers["retry-after"]) <= 60
        assert_error(refused[0], 429, "wait to be scored")
        after = await ask(person, "later", *(encoded(n) for n in range(6)))
        assert after.status_code == 200, "a request larger than the queue is served when nothing waits"

    scoring(play, scorer_queue=4, scorer_batch=2)


def test_someone_who_leaves_costs_the_others_nothing(scoring):
    async def play(site, scorer):
        person = await site.person()
        scorer.free.clear()
        first = asyncio.create_task(ask(person, "first", encoded(1)))
        await asyncio.sleep(0.1)  # it is being scored; the next two wait
        leaving = asyncio.create_task(ask(person, "leaving", encoded(2)))
        staying = asyncio.create_task(ask(person, "staying", encoded(3)))
        while site.service.scoring.images_waiting < 2:
            await asyncio.sleep(0.01)
        leaving.cancel()
        await asyncio.wait([leaving])
        scorer.free.set()
        assert (await first).json()["scores"] == [expected("first", encoded(1))]
        assert (await staying).json()["scores"] == [expected("staying", encoded(3))]
        assert "leaving" not in [prompt for prompt, _ in scorer.seen]
        scorer.free.clear()
        first = asyncio.create_task(ask(person, "now", encoded(4)))
        await asyncio.sleep(0.1)
        first.cancel()  # in the middle of being scored
        scorer.free.set()
        assert (await ask(person, "after", encoded(5))).status_code == 200

    scoring(play)


ADDRESS = "http://test/api/v1/images/"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"prompt": "", "images": ["aaaa"]}, 422, ["empty"]),
        ({"prompt": " \n", "images": ["aaaa"]}, 422, ["empty"]),
        ({"prompt": "x" * 501, "images": ["aaaa"]}, 422, ["501 characters"]),
        ({"prompt": "a\u0000", "images": ["aaaa"]}, 422, ["not text"]),
        ({"prompt": "a", "images": []}, 422, ["images"]),
        ({"prompt": "a"}, 422, ["images is missing"]),
        ({"images": ["aaaa"]}, 422, ["prompt is missing"]),
        ({"prompt": "a", "images": ["aaaa"], "model": "x"}, 422, ["model is not known"]),
        ({"prompt": ["a"], "images": ["aaaa"]}, 422, ["prompt"]),
        ({"prompt": "a", "images": "aaaa"}, 422, ["images"]),
        ({"prompt": "a", "images": [1]}, 422, ["images.0"]),
        ({"prompt": "a", "images": ["no base64!"]}, 422, ["images[0]", "base64"]),
        ({"prompt": "a", "images": ["é"]}, 422, ["images[0]", "base64"]),
        ({"prompt": "a", "images": [""]}, 422, ["images[0]", "image"]),
        ({"prompt": "a", "images": [text(encoded(1)), "aaaa"]}, 422, ["images[1]", "JPEG"]),
        (
            {"prompt": "a", "images": [text(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")]},
            422,
            ["images[0]"],
        ),
        (
            {"prompt": "a", "images": ["https://evil.example/cat.png"]},
            422,
            ["images[0]", "outside this server"],
        ),
        ({"prompt": "a", "images": ["http://evil.example/api/v1/images/x"]}, 422, ["outside this server"]),
        ({"prompt": "a", "images": ["http://test@evil.example/api/v1/images/x"]}, 422, ["outside"]),
        ({"prompt": "a", "images": [ADDRESS + "nothing"]}, 422, ["images[0]", "no image of yours"]),
        ({"prompt": "a", "images": ["/api/v1/images/../../x"]}, 422, ["no image of yours"]),
        ({"prompt": "a", "images": ["file:///etc/passwd"]}, 422, ["images[0]"]),
        ({"prompt": "a", "images": [text(encoded(1))] * 17}, 413, ["17 images", "at most 16"]),
        ({"prompt": "a", "images": [text(encoded(1)), text(bomb(5001))]}, 413, ["images[1]", "5001 x 5001"]),
        ({"prompt": "a", "images": [text(bomb(12_000))]}, 413, ["images[0]", "25,000,000"]),
        ({"prompt": "a", "images": [text(bomb(40_000))]}, 413, ["images[0]", "25,000,000"]),
        ({"prompt": "a", "images": ["a" * 17_000_000]}, 413, ["16777216 bytes"]),
    ],
)
def test_what_cannot_be_scored_is_refused_with_the_reason(scoring, body, status, words):
    async def play(site, scorer):
        person = await site.person()
        assert_error(await person.post("/api/v1/score", body), status, *words)
        assert scorer.calls == []

    scoring(play)


def test_images_may_be_addresses_of_ones_own_images_and_data_urls(scoring):
    async def play(site, scorer):
        person, stranger = await site.person(), await site.person()
        duel = await person.start()
        await site.work()
        urls = [image["url"] for image in (await person.read(duel))["round"]["images"]]
        files = [(await person.get(url)).content for url in urls]
        data = "data:image/png;base64," + text(encoded(3, "PNG"))
        reply = await ask(person, "a", urls[0], f"http://test{urls[1]}", data)
        assert reply.json()["scores"] == [expected("a", one) for one in (*files, encoded(3, "PNG"))]
        assert_error(await ask(stranger, "a", urls[0]), 422, "no image of yours")
        row = next(row for row in await site.rows(images) if urls[0].endswith(row.token))
        (site.settings.home / "images" / row.sha256[:2] / row.sha256).unlink()
        assert_error(await ask(person, "a", urls[1], urls[0]), 422, "images[1]", "not stored")

    scoring(play)


def test_a_scorer_that_cannot_be_loaded_is_told_of_and_tried_again(scoring, tmp_path, on):
    async def play(site):
        person = await site.person()
        assert_error(await ask(person, "a", encoded(1)), 503, "no such file: weights")
        readiness = await person.get("/readyz")
        assert readiness.status_code == 503
        assert "no such file: weights" in readiness.json()["checks"]["scorer"]
        fake_scorers.broken = fake_scorers.hashing
        assert (await ask(person, "a", encoded(1))).status_code == 200
        for _ in range(200):  # what is ready is looked at once a second
            readiness = await person.get("/readyz")
            if readiness.status_code == 200:
                break
            await asyncio.sleep(0.1)
        assert (readiness.status_code, readiness.json()["checks"]["scorer"]) == (200, "ok")

    broken = fake_scorers.broken
    try:
        with fake_scorers.installed():
            on(play, Site(load_settings(home=tmp_path / "broken", scorer="broken")))
    finally:
        fake_scorers.broken = broken


def test_a_scorer_that_is_not_installed_is_an_error_at_the_start(tmp_path):
    with pytest.raises(fake_scorers.InputError, match="did you mean 'pickscore'"):
        Site(load_settings(home=tmp_path, scorer="pikscore"))


@pytest.mark.slow
def test_the_service_and_the_library_agree(tmp_path, on):
    """With the bundled model itself: requests of all sizes at once, against one call for each."""

    async def play(site):
        await ready(site)
        person = await site.person()
        wanted = [
            (
                prompt,
                [
                    encoded(10 * n + k, kind, 300)
                    for k, kind in enumerate(("JPEG", "PNG", "WEBP", "GIF")[: 1 + n % 4])
                ],
            )
            for n, prompt in enumerate(
                ["a red cat", "two blue cars on the beach at night", "x", "a red cat"] * 2
            )
        ]
        replies = await asyncio.gather(*(ask(person, prompt, *sent) for prompt, sent in wanted))
        library = load_scorer("miniature")
        for (prompt, sent), reply in zip(wanted, replies, strict=True):
            assert reply.json()["scorer"] == "miniature"
            np.testing.assert_allclose(reply.json()["scores"], library.score(prompt, sent), atol=1e-4)
        assert (await person.get("/readyz")).json()["checks"]["scorer"] == "ok"
        calls = site.service.metrics.text().decode()
        assert "pickapic_scorer_batch_images_sum 20.0" in calls

    on(play, Site(load_settings(home=tmp_path / "real", scorer="miniature")))
