"""The generate service: our own client's images are those of the generator in process; errors are the protocol's."""

from __future__ import annotations

import asyncio
import base64
import io
import signal
import subprocess
import sys
import time

import httpx
import numpy as np
import pytest
import ray
from PIL import Image
from served import free_port, kill, metric, post_all, replicas, served

from pickapic.cluster.generate_service import build
from pickapic.cluster.serving import Place
from pickapic.generate import miniature
from pickapic.generate.generator import GenerationError, GenerationRequest, RefusedError, UnavailableError
from pickapic.generate.openai_images import OpenAIImages
from pickapic.settings import load_settings

pytestmark = [
    pytest.mark.slow,
    # Ray warns of its own coming changes, and leaves sockets to the garbage collector when its nodes go.
    pytest.mark.filterwarnings("ignore"),
]

PORT = free_port()
GENERATORS = {
    "miniature-aurora": {},
    "moody": {"guidance": [4, 6], "steps": 7, "negative_prompt": "bad"},
    "slow": {"plugin": "moody", "parameters": {"name": "slow", "seconds": 0.15}},
}


def settings(generators=GENERATORS, **scale):
    table = {"replicas": 1, "cpus": 0.25, "batch": 4, "wait_ms": 30, "queue": 200, **scale}
    return load_settings(generators=generators, generate_service=table)


@pytest.fixture(scope="module")
def address(nodes):
    place = Place(port=PORT, ray_address=nodes.address)
    with served(lambda: build(settings()), "generate", place) as address:
        yield address


def client(address: str, model: str, **options) -> OpenAIImages:
    return OpenAIImages(model, f"{address}/v1", dialect="vllm", patience={"tries": 1}, **options)


def picture(entry: dict) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(entry["b64_json"]))))


def test_our_own_client_gets_the_pixels_of_the_generator_in_process(address):
    request = GenerationRequest("a red cat on a table", (3, 4, 5, 6), guidance_scale=6.5)
    made = client(address, "miniature-aurora").generate(request)
    alone = miniature.aurora().generate(request)
    for there, here in zip(made, alone, strict=True):
        assert there.pixels.tobytes() == here.pixels.tobytes()
        assert there.seed == here.seed


def test_every_wish_arrives_and_what_was_used_is_told(address):
    body = {"model": "moody", "prompt": "a cat", "seed": 40, "n": 3, "size": "1024x1024"}
    wishes = {"guidance_scale": 2.5, "num_inference_steps": 9, "negative_prompt": "ugly"}
    answer = httpx.post(f"{address}/v1/images/generations", json=body | wishes, timeout=60).json()
    assert (answer["size"], answer["output_format"]) == ("16x16", "png")
    assert [entry["seed"] for entry in answer["data"]] == [40, 41, 42]
    for entry in answer["data"]:
        assert picture(entry)[1, 1].tolist() == [entry["seed"], 9, 25]
        assert picture(entry)[0, 0, 1] == len("ugly")
        assert (entry["guidance_scale"], entry["num_inference_steps"]) == (2.5, 9)
        assert entry["revised_prompt"] == "A a cat"
    plain = httpx.post(
        f"{address}/v1/images/generations", json={"model": "moody", "prompt": "a cat"}, timeout=60
    ).json()["data"][0]
    assert (plain["guidance_scale"], plain["num_inference_steps"]) == (5.0, 7), "the settings' own"
    assert picture(plain)[0, 0, 1] == len("bad")
    assert 0 <= plain["seed"] < 2**32


def test_wishes_that_differ_in_the_seed_alone_are_made_together(address):
    bodies = [{"model": "slow", "prompt": f"cat {n // 12}", "seed": n} for n in range(24)]
    replies = asyncio.run(post_all(f"{address}/v1/images/generations", bodies))
    together = []
    for number, reply in enumerate(replies):
        entry = reply.json()["data"][0]
        assert picture(entry)[1, 1, 0] == number
        together.append(int(picture(entry)[0, 0, 0]))
    assert max(together) <= 4
    assert sum(together) / len(together) >= 2, together
    deadline = time.monotonic() + 30
    while not (found := metric("pickapic_generate_batch_images")).get("_count{'generator': 'slow'}"):
        assert time.monotonic() < deadline, found
        time.sleep(0.5)


def test_what_a_replica_that_dies_has_not_made_another_makes(nodes):
    place = Place(port=PORT, route_prefix="/two", ray_address=nodes.address)
    chosen = {"slow": GENERATORS["slow"]}
    with served(lambda: build(settings(chosen, replicas=2)), "two", place) as address:
        before = replicas("generator-0", "two")
        bodies = [{"prompt": f"cat {n}", "seed": n} for n in range(30)]
        url = f"{address}/v1/images/generations"
        replies = asyncio.run(post_all(url, bodies, lambda: kill("generator-0", "two")))
        for number, reply in enumerate(replies):
            assert reply.status_code == 200, reply.text
            assert picture(reply.json()["data"][0])[1, 1, 0] == number
        deadline = time.monotonic() + 60
        while len(now := replicas("generator-0", "two")) < 2 or set(now) == set(before):
            assert time.monotonic() < deadline, "a replica that died is replaced"
            time.sleep(0.5)


@pytest.mark.parametrize(
    ("prompt", "status", "code", "error", "message"),
    [
        ("refuse this", 400, "content_filter", RefusedError, "we do not draw this"),
        ("filter this", 400, "content_filter", RefusedError, "the filter took it away"),
        ("fail at this", 500, "generation_failed", GenerationError, "no memory"),
        ("go away", 503, "unavailable", UnavailableError, "nobody there"),
        ("crash at this", 503, "unavailable", UnavailableError, "moody failed: ZeroDivisionError"),
    ],
)
def test_what_went_wrong_is_said_in_the_protocols_words(address, prompt, status, code, error, message):
    body = {"model": "moody", "prompt": prompt, "seed": 1}
    reply = httpx.post(f"{address}/v1/images/generations", json=body, timeout=60)
    assert reply.status_code == status
    assert reply.json()["error"]["code"] == code
    assert message in reply.json()["error"]["message"]
    assert "secret" not in reply.text
    with pytest.raises(error, match=message):
        client(address, "moody").generate(GenerationRequest(prompt, (1,)))


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"prompt": "a"}, 400, "model"),
        ({"model": "other", "prompt": "a"}, 404, "model"),
        ({"model": "moody"}, 400, "prompt"),
        ({"model": "moody", "prompt": ""}, 400, "prompt"),
        ({"model": "moody", "prompt": "a", "n": 11}, 400, "n"),
        ({"model": "moody", "prompt": "a", "size": "big"}, 400, "size"),
        ({"model": "moody", "prompt": "a", "response_format": "url"}, 400, "response_format"),
        ({"model": "moody", "prompt": "a", "seed": -1}, 400, "seed"),
        ({"model": "moody", "prompt": "a", "stepps": 3}, 400, "stepps"),
    ],
)
def test_a_request_that_cannot_be_meant_names_its_parameter(address, body, status, param):
    reply = httpx.post(f"{address}/v1/images/generations", json=body)
    assert reply.status_code == status
    assert reply.json()["error"]["param"] == param
    assert reply.json()["error"]["type"] == "invalid_request_error"
    assert reply.json()["error"]["message"][-1] == "."


def test_models_and_readiness(address):
    found = httpx.get(f"{address}/v1/models", timeout=60).json()["data"]
    assert [entry["id"] for entry in found] == list(GENERATORS)
    assert found[0]["honours"] == ["seed", "guidance_scale"]
    assert httpx.get(f"{address}/readyz", timeout=60).json() == {"status": "ok"}
    assert httpx.get(f"{address}/v1/files").status_code == 404


def test_a_diffusers_pipeline_is_served_as_it_is_in_process(nodes, tmp_path):
    from pickapic.generate.diffusers_pipeline import DiffusersGenerator
    from pipelines import save_sd15

    parameters = {"model": save_sd15(tmp_path), "width": 32, "height": 32, "device": "cpu"}
    chosen = {"tiny": {"plugin": "diffusers", "parameters": parameters}}
    request = GenerationRequest("a red cat", (1, 2, 3), "blurry", guidance_scale=5.0, steps=2)
    place = Place(port=PORT, route_prefix="/tiny", ray_address=nodes.address)
    with served(lambda: build(settings(chosen)), "tiny", place) as address:
        made = client(address, "tiny").generate(request)
    alone = DiffusersGenerator(**parameters).generate(request)
    for there, here in zip(made, alone, strict=True):
        # Another number of images in a call changes the rounding.
        difference = np.asarray(there.pixels).astype(int) - np.asarray(here.pixels).astype(int)
        assert np.abs(difference).max() <= 2
    assert len({image.pixels.tobytes() for image in made}) == 3


def test_the_command_serves_until_it_is_told_to_stop(nodes):
    port = free_port()
    command = [sys.executable, "-m", "pickapic", "generate-service", "miniature-aurora", "--port", str(port)]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    try:
        ready = f"the generators are ready: POST http://127.0.0.1:{port}/v1/images/generations"
        assert any(ready in line for line in process.stderr)
        body = {"prompt": "a red cat", "seed": 3}
        entry = httpx.post(f"http://127.0.0.1:{port}/v1/images/generations", json=body, timeout=60).json()
        (alone,) = miniature.aurora().generate(GenerationRequest("a red cat", (3,)))
        assert picture(entry["data"][0]).tobytes() == alone.pixels.tobytes()
        process.send_signal(signal.SIGTERM)
        assert process.wait(90) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert ray.is_initialized()
    assert len([node for node in ray.nodes() if node["Alive"]]) == 2, "the cluster beside it is left alone"
