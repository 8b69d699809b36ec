"""The score service: answers as in one process, many requests in a call, and none lost with its replica."""

from __future__ import annotations

import asyncio
import base64
import time

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from served import free_port, kill, metric, post_all, replicas, served
from typer.testing import CliRunner

from duel_tables import duels
from fake_scorers import expected
from hostile_images import bomb, encoded
from pickapic.cli.app import make_app
from pickapic.cluster.score_service import build
from pickapic.cluster.serving import Place
from pickapic.records import InputError
from pickapic.scorers.load import load_scorer
from pickapic.scorers.remote import RemoteScorer
from pickapic.settings import load_settings

pytestmark = [
    pytest.mark.slow,
    # Ray warns of its own coming changes, and leaves sockets to the garbage collector when its nodes go.
    pytest.mark.filterwarnings("ignore"),
]

PORT = free_port()


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def body(prompt: str, *images: bytes) -> dict:
    return {"prompt": prompt, "images": [text(image) for image in images]}


def settings(scorer: str = "hashing", **scale):
    table = {"replicas": 2, "cpus": 0.5, "batch": 16, "wait_ms": 50, **scale}
    return load_settings(scorer=scorer, score_service=table)


@pytest.fixture(scope="module")
def address(nodes):
    place = Place(port=PORT, ray_address=nodes.address)
    with served(lambda: build(settings()), "score", place) as address:
        yield address


def test_each_of_many_requests_gets_its_own_answer_and_calls_hold_many(address):
    wanted = [(f"prompt {n}", [encoded(10 * n + k) for k in range(1 + n % 4)]) for n in range(40)]
    replies = asyncio.run(post_all(f"{address}/score", [body(prompt, *sent) for prompt, sent in wanted]))
    for (prompt, sent), reply in zip(wanted, replies, strict=True):
        assert reply.status_code == 200, reply.text
        assert reply.json() == {"scorer": "hashing", "scores": [expected(prompt, one) for one in sent]}
    deadline = time.monotonic() + 30
    # Nodes gather their metrics every few seconds; what a replica counts in its first second may be lost.
    while (found := metric("pickapic_score_batch_images")).get("_count{}", 0) < 2:
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
    assert found["_sum{}"] / found["_count{}"] > 4, "many requests went into each call of the scorer"


def test_what_a_replica_that_dies_has_not_answered_another_answers(address):
    before = replicas("scorer")
    assert len(before) == 2
    wanted = [(f"prompt {n} slow", encoded(n)) for n in range(60)]
    bodies = [body(prompt, image) for prompt, image in wanted]
    replies = asyncio.run(post_all(f"{address}/score", bodies, lambda: kill("scorer")))
    for (prompt, image), reply in zip(wanted, replies, strict=True):
        assert reply.status_code == 200, reply.text
        assert reply.json()["scores"] == [expected(prompt, image)]
    deadline = time.monotonic() + 60
    while len(now := replicas("scorer")) < 2 or set(now) == set(before):
        assert time.monotonic() < deadline, "a replica that died is replaced"
        time.sleep(0.5)


def test_a_bad_image_fails_its_own_request_alone(address):
    whole = [encoded(n, size=64) for n in range(12)]
    bodies = [body(str(n), one) for n, one in enumerate(whole)]
    bodies.insert(5, body("cut", whole[0], encoded(99, size=64)[:-400]))
    replies = asyncio.run(post_all(f"{address}/score", bodies))
    broken = replies.pop(5)
    assert broken.status_code == 422
    assert broken.json()["error"]["code"] == "invalid"
    assert "images[1] cannot be read" in broken.json()["error"]["message"]
    assert [reply.json()["scores"] for reply in replies] == [
        [expected(str(n), one)] for n, one in enumerate(whole)
    ]


@pytest.mark.parametrize(
    ("sent", "status", "code", "message"),
    [
        ({"prompt": "a"}, 422, "invalid", "images is missing."),
        ({"prompt": "a", "images": []}, 422, "invalid", "images: List should have at least 1 item"),
        ({"prompt": "a", "images": ["x"], "model": 3}, 422, "invalid", "model is not known here."),
        ({"prompt": "a", "images": ["%"]}, 422, "invalid", "images[0] is neither"),
        ({"prompt": "a", "images": ["https://example.org/a.png"]}, 422, "invalid", "none is fetched"),
        ({"prompt": "a", "images": [text(b"GIF, nearly")]}, 422, "invalid", "images[0] cannot be read"),
        ({"prompt": "a", "images": [text(bomb(40_000))]}, 413, "too_large", "more pixels"),
        (body("a", *[encoded(1)] * 17), 413, "too_large", "17 images; at most 16"),
    ],
)
def test_what_cannot_be_scored_is_refused_as_the_web_app_does(address, sent, status, code, message):
    reply = httpx.post(f"{address}/score", json=sent)
    assert reply.status_code == status
    assert reply.json()["error"]["code"] == code
    assert message in reply.json()["error"]["message"]


def test_other_addresses_and_what_is_not_json(address):
    assert httpx.post(f"{address}/score", content=b"{").json()["error"]["message"] == "The body is not JSON."
    assert httpx.get(f"{address}/score").status_code == 404
    assert httpx.get(f"{address}/readyz").json() == {"status": "ok"}
    assert httpx.get(f"{address}/scorer").json() == {
        "scorer": "hashing",
        "needs_prompt": True,
        "higher_is_better": True,
        "logit_scale": 10.0,
        "max_images": 16,
    }


def test_a_remote_scorer_gives_what_the_scorer_gives(address, tmp_path):
    remote = RemoteScorer(address, max_images=3)
    assert (remote.name, remote.needs_prompt, remote.logit_scale) == ("hashing", True, 10.0)
    images = [encoded(n, kind) for n, kind in enumerate(["JPEG", "PNG", "WEBP"] * 6)]
    path = tmp_path / "one.png"
    path.write_bytes(encoded(50, "PNG"))
    prompts = [f"prompt {n % 4}" for n in range(len(images))]
    found = remote.score([*prompts, "file"], [*images, str(path)])
    wanted = [expected(prompt, image) for prompt, image in zip(prompts, images, strict=True)]
    assert found.tolist() == [*wanted, expected("file", str(path))]
    assert remote.score_matrix(["a", "b"], images[:2]).tolist() == [
        [expected(prompt, image) for image in images[:2]] for prompt in "ab"
    ]
    with pytest.raises(InputError, match=r"images\[0\] cannot be read"):
        remote.score("a", [b"broken"])


def test_a_dataset_is_scored_by_a_service_as_it_is_in_process(address, tmp_path):
    data = tmp_path / "picks.parquet"
    pq.write_table(duels(30), data)
    tables = []
    for options in (["hashing"], ["remote", "--model", address]):
        out = tmp_path / f"{options[0]}.parquet"
        command = ["score", str(data), "--out", str(out), "--scorer", *options]
        result = CliRunner().invoke(make_app(), command)
        assert result.exit_code == 0, result.output
        tables.append(pq.read_table(out))
    assert tables[0].equals(tables[1])


def test_a_service_that_goes_away_is_no_fault_of_the_images(address):
    remote = RemoteScorer(address, pause=0.01)
    remote._url = "http://127.0.0.1:9"
    with pytest.raises(ConnectionError, match="no score service answers"):
        remote.score("a", [encoded(1)])


def test_a_remote_scorer_without_a_service():
    with pytest.raises(InputError, match="no score service answers at"):
        RemoteScorer("http://127.0.0.1:9")
    with pytest.raises(InputError, match="is no address"):
        RemoteScorer("localhost:8000")


def test_a_checkpoint_scores_as_in_one_process(nodes):
    place = Place(port=PORT, route_prefix="/real", ray_address=nodes.address)
    images = [encoded(n, size=96) for n in range(12)]
    with served(lambda: build(settings("miniature", replicas=1)), "real", place) as address:
        replies = asyncio.run(post_all(f"{address}/score", [body("a red cat", one) for one in images]))
        together = httpx.post(f"{address}/score", json=body("a red cat", *images), timeout=60).json()
    here = load_scorer("miniature").score("a red cat", images)
    apart = [reply.json()["scores"][0] for reply in replies]
    # Another batch changes the last digits.
    assert np.abs(np.array(apart) - here).max() < 1e-4
    assert np.abs(np.array(together["scores"]) - here).max() < 1e-4
    assert together["scorer"] == "miniature"


def test_a_service_that_cannot_start_says_why(nodes):
    place = Place(port=PORT, route_prefix="/broken", ray_address=nodes.address)
    with (
        pytest.raises(InputError, match=r"the service cannot start: .*no such file: weights"),
        served(lambda: build(settings("broken", replicas=1)), "broken", place),
    ):
        pass
