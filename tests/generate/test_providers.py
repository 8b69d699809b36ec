"""Generators behind HTTP: what they send, what they make of the answer, and what they do when it is none."""

from __future__ import annotations

import base64
import json
import random
import time
from datetime import UTC, datetime

import pytest
from comfy_server import ComfyServer

from pickapic.generate.automatic1111 import Automatic1111
from pickapic.generate.comfyui import ComfyUI
from pickapic.generate.generator import GenerationError, GenerationRequest, RefusedError, UnavailableError
from pickapic.generate.huggingface import HuggingFace
from pickapic.generate.openai_images import OpenAIImages
from pickapic.generate.predictions import Fal, Replicate
from pickapic.generate.provider import LARGEST_IMAGE, Patience, Provider, retry_after
from pickapic.generate.stability import Stability
from pickapic.records import InputError
from provider_server import ProviderServer, as_json, picture

pytestmark = pytest.mark.slow

QUICK = {"poll": 0.01, "first_pause": 0.01, "longest_pause": 0.05, "answer": 2.0, "connect": 1.0}
REQUEST = GenerationRequest("a red cat", (11, 12), "blurry", guidance_scale=6.5, steps=30)


@pytest.fixture
def server():
    with ProviderServer() as server:
        yield server


def openai(server, **options):
    return OpenAIImages("m", server.url + "/v1", patience=QUICK, **options)


# OpenAI and those who speak it.


@pytest.mark.parametrize("dialect", ["vllm", "sglang"])
def test_a_diffusion_server_gets_every_wish_and_a_seed_for_each_image(server, dialect):
    server.openai()
    first, second = openai(server, dialect=dialect).generate(REQUEST)
    bodies = sorted((seen.json for seen in server.seen), key=lambda body: body["seed"])
    assert bodies[0] == {
        "model": "m",
        "prompt": "a red cat",
        "n": 1,
        "size": "1024x1024",
        "response_format": "b64_json",
        "seed": 11,
        "guidance_scale": 6.5,
        "num_inference_steps": 30,
        "negative_prompt": "blurry",
    }
    assert bodies[1]["seed"] == 12
    assert first.pixels.tobytes() != second.pixels.tobytes(), "a default seed would make them identical"
    assert (first.seed, first.guidance_scale, first.steps) == (11, 6.5, 30)
    assert first.sent == bodies[0]


def test_openai_itself_is_sent_nothing_it_refuses_and_nothing_unhonoured_is_stored(server):
    server.openai(revised="A red cat, sitting on a wall")
    generator = openai(server, key="sk-1", extra={"quality": "high"})
    (image,) = generator.generate(GenerationRequest("a red cat", (11,)))
    (seen,) = server.seen
    assert seen.json == {"model": "m", "prompt": "a red cat", "n": 1, "size": "1024x1024", "quality": "high"}
    assert seen.headers["Authorization"] == "Bearer sk-1"
    assert (image.seed, image.guidance_scale, image.steps) == (None, None, None)
    assert image.revised_prompt == "A red cat, sitting on a wall"
    assert "sk-1" not in repr(image.sent)
    assert not any((generator.honours.seed, generator.honours.guidance_scale, generator.honours.steps))


def test_localai_takes_the_negative_prompt_after_a_bar(server):
    server.openai()
    openai(server, dialect="localai").generate(REQUEST)
    assert {seen.json["prompt"] for seen in server.seen} == {"a red cat|blurry"}
    assert {seen.json["step"] for seen in server.seen} == {30}


def test_an_image_given_by_address_is_fetched_without_the_key(server):
    server.openai(answer_by="url")
    (image,) = openai(server, dialect="vllm", key="sk-1").generate(GenerationRequest("a red cat", (3,)))
    assert image.pixels.size == (64, 64)
    fetched = server.seen[-1]
    assert fetched.path.startswith("/files/")
    assert "Authorization" not in fetched.headers


@pytest.mark.parametrize("code", ["moderation_blocked", "content_policy_violation"])
def test_a_refusal_is_told_from_a_mistake_and_not_tried_again(server, code):
    error = {"error": {"code": code, "message": "Your request was rejected by the safety system."}}
    server.trouble.append(as_json(error, 400))
    with pytest.raises(RefusedError, match="safety system"):
        openai(server).generate(GenerationRequest("x", (1,)))
    assert len(server.seen) == 1


def test_an_empty_answer_is_no_image(server):
    server.routes["POST", "/v1/images/generations"] = lambda _: as_json({"data": []})
    with pytest.raises(GenerationError, match="no image"):
        openai(server).generate(GenerationRequest("x", (1,)))


def test_the_key_comes_from_the_environment_variable_named(server, monkeypatch):
    server.openai()
    monkeypatch.setenv("MY_KEY", "from-outside")
    openai(server, key_variable="MY_KEY").generate(GenerationRequest("x", (1,)))
    assert server.seen[0].headers["Authorization"] == "Bearer from-outside"
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(InputError, match="MY_KEY"):
        openai(server, key_variable="MY_KEY")


# Patience.


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_failure_is_waited_out(server, status):
    server.openai()
    server.trouble.extend([as_json({"error": "busy"}, status)] * 2)
    (image,) = openai(server).generate(GenerationRequest("x", (1,)))
    assert image.pixels.size == (64, 64)
    assert len(server.seen) == 3


def test_a_provider_that_stays_down_is_unavailable(server):
    server.trouble.extend([as_json({"error": "down"}, 503)] * 10)
    with pytest.raises(UnavailableError, match="4 tries: status 503: down"):
        openai(server).generate(GenerationRequest("x", (1,)))
    assert len(server.seen) == 4


def test_retry_after_is_kept_to_within_bounds(server):
    server.openai()
    server.trouble.append(as_json({}, 429, **{"Retry-After": "60"}))
    start = time.monotonic()
    OpenAIImages("m", server.url + "/v1", patience={**QUICK, "longest_pause": 0.3}).generate(
        GenerationRequest("x", (1,))
    )
    assert 0.3 <= time.monotonic() - start < 30


def test_a_silent_provider_is_given_up(server):
    server.openai()
    server.trouble.extend([1.0] * 3)
    patience = {**QUICK, "answer": 0.2, "tries": 2}
    with pytest.raises(UnavailableError, match="ReadTimeout"):
        OpenAIImages("m", server.url + "/v1", patience=patience).generate(GenerationRequest("x", (1,)))


def test_nobody_there(server):
    with pytest.raises(UnavailableError, match="ConnectError"):
        OpenAIImages("m", "http://127.0.0.1:9/v1", patience=QUICK).generate(GenerationRequest("x", (1,)))


def test_a_rejected_key_is_not_tried_again(server):
    server.trouble.append(as_json({"error": {"message": "Incorrect API key"}}, 401))
    with pytest.raises(UnavailableError, match="Incorrect API key"):
        openai(server).generate(GenerationRequest("x", (1,)))
    assert len(server.seen) == 1


def test_pauses_double_with_jitter():
    pauses = []
    provider = Provider(
        "p", "http://127.0.0.1:9", patience=Patience(first_pause=1.0, tries=4), rng=random.Random(0)
    )
    original, time.sleep = time.sleep, pauses.append
    try:
        with pytest.raises(UnavailableError):
            provider.ask("GET", "/")
    finally:
        time.sleep = original
    assert len(pauses) == 3
    assert all(0.5 * 2**n <= pause <= 1.5 * 2**n for n, pause in enumerate(pauses))
    assert len({pause / 2**n for n, pause in enumerate(pauses)}) == 3


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("", 0.0), ("soon", 0.0), ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0), ("-3", 0.0)],
)
def test_retry_after_in_both_forms(value, seconds):
    assert retry_after(value, datetime(2026, 1, 1, tzinfo=UTC)) == seconds


def test_patience_is_checked():
    with pytest.raises(InputError, match="no hurry"):
        OpenAIImages("m", patience={"hurry": 1})


# Bytes that are no image.


def test_a_file_that_is_no_image(server):
    encoded = base64.b64encode(b"<html>").decode()
    server.routes["POST", "/v1/images/generations"] = lambda _: as_json({"data": [{"b64_json": encoded}]})
    with pytest.raises(GenerationError, match="no image"):
        openai(server).generate(GenerationRequest("x", (1,)))


def test_a_huge_image_is_not_unpacked():
    provider = Provider("p", "http://127.0.0.1:9")
    side = int(LARGEST_IMAGE**0.5) + 10
    header = picture("x")[:16] + side.to_bytes(4, "big") * 2
    with pytest.raises(GenerationError):
        provider.read(header + picture("x")[24:])


def test_an_address_that_is_none_is_not_fetched():
    with pytest.raises(GenerationError, match="no address"):
        Provider("p", "http://127.0.0.1:9").download("file:///etc/passwd")


# Automatic1111.


def test_automatic1111_sends_the_checkpoint_and_stores_what_was_used(server):
    server.automatic1111()
    generator = Automatic1111(
        "sd15.safetensors", server.url, sampler="DPM++ 2M", width=96, height=64, patience=QUICK
    )
    image, _ = generator.generate(REQUEST)
    assert server.seen[0].json == {
        "prompt": "a red cat",
        "negative_prompt": "blurry",
        "steps": 30,
        "cfg_scale": 6.5,
        "seed": 11,
        "width": 96,
        "height": 64,
        "batch_size": 1,
        "n_iter": 1,
        "override_settings": {"sd_model_checkpoint": "sd15.safetensors"},
        "override_settings_restore_afterwards": False,
        "sampler_name": "DPM++ 2M",
    }
    assert image.pixels.size == (96, 64)
    assert (image.seed, image.guidance_scale, image.steps, image.scheduler) == (11, 6.5, 30, "DPM++ 2M")
    assert generator.progress() == 0.4


def test_automatic1111_with_a_password(server, monkeypatch):
    server.automatic1111()
    monkeypatch.setenv("A1111_PASSWORD", "secret")
    Automatic1111("", server.url, user="me", password_variable="A1111_PASSWORD", patience=QUICK).generate(
        GenerationRequest("x", (1,))
    )
    assert server.seen[0].headers["Authorization"] == "Basic " + base64.b64encode(b"me:secret").decode()


# Stability.


def test_stability_sends_a_multipart_form(server):
    server.stability()
    image, _ = Stability("sd3.5-large", server.url, key="k", patience=QUICK).generate(REQUEST)
    seen = server.seen[0]
    assert seen.headers["Content-Type"].startswith("multipart/form-data")
    assert seen.headers["Accept"] == "application/json"
    for name, value in {"prompt": "a red cat", "model": "sd3.5-large", "negative_prompt": "blurry"}.items():
        assert f'name="{name}"\r\n\r\n{value}\r\n'.encode() in seen.body
    assert (image.seed, image.guidance_scale, image.steps) == (7, 6.5, None)


def test_stability_core_has_no_guidance(server):
    server.stability("core")
    generator = Stability("core", server.url, key="k", patience=QUICK)
    (image,) = generator.generate(GenerationRequest("x", (1,)))
    assert b"cfg_scale" not in server.seen[0].body
    assert image.guidance_scale is None
    assert not generator.honours.guidance_scale


def test_a_filtered_image_comes_with_status_200_and_is_a_refusal(server):
    server.stability(finish_reason="CONTENT_FILTERED")
    with pytest.raises(RefusedError, match="CONTENT_FILTERED"):
        Stability("sd3.5-large", server.url, key="k", patience=QUICK).generate(GenerationRequest("x", (1,)))
    server.trouble.append(as_json({"name": "content_moderation", "errors": ["flagged"]}, 403))
    with pytest.raises(RefusedError, match="flagged"):
        Stability("sd3.5-large", server.url, key="k", patience=QUICK).generate(GenerationRequest("x", (1,)))


# Hugging Face.


def test_hugging_face_sends_only_what_is_honoured(server):
    server.routes["POST", "/models/o/m"] = lambda _: (200, {"Content-Type": "image/png"}, picture("hf"))
    generator = HuggingFace("o/m", server.url, key="hf_x", honours=["seed"], width=512, patience=QUICK)
    image, _ = generator.generate(REQUEST)
    sent = sorted((seen.json for seen in server.seen), key=lambda body: body["parameters"]["seed"])
    assert sent[0] == {"inputs": "a red cat", "parameters": {"seed": 11, "width": 512}}
    assert (image.seed, image.guidance_scale, image.steps) == (11, None, None)


def test_hugging_face_still_loading_is_waited_for(server):
    server.routes["POST", "/models/o/m"] = lambda _: (200, {"Content-Type": "image/png"}, picture("hf"))
    server.trouble.append(as_json({"error": "Model o/m is currently loading", "estimated_time": 20}, 503))
    HuggingFace("o/m", server.url, key="k", patience=QUICK).generate(GenerationRequest("x", (1,)))
    assert len(server.seen) == 2


def test_hugging_face_answering_json_is_no_image(server):
    server.routes["POST", "/models/o/m"] = lambda _: as_json({"error": "?"})
    with pytest.raises(GenerationError, match="no image"):
        HuggingFace("o/m", server.url, key="k", patience=QUICK).generate(GenerationRequest("x", (1,)))


# Replicate and fal.


@pytest.mark.parametrize(
    ("model", "path"),
    [("o/m", "/models/o/m/predictions"), ("o/m:abc", "/predictions")],
    ids=["official", "version"],
)
def test_replicate_is_polled_until_the_image_is_there(server, model, path):
    server.replicate(path)
    names = {"seed": "seed", "guidance_scale": "guidance"}
    (image,) = Replicate(model, server.url, key="r8", names=names, patience=QUICK).generate(
        GenerationRequest("a red cat", (9,), guidance_scale=3.5)
    )
    body = server.seen[0].json
    assert body["input"] == {"prompt": "a red cat", "seed": 9, "guidance": 3.5}
    assert body.get("version") == ("abc" if ":" in model else None)
    assert sum(seen.path == "/predictions/job1" for seen in server.seen) == 3
    assert (image.seed, image.guidance_scale, image.steps) == (9, 3.5, None)


def test_replicate_failures(server):
    def run(error):
        server.replicate("/models/o/m/predictions", 0, {"status": "failed", "error": error})
        return Replicate("o/m", server.url, key="r8", patience=QUICK).generate(GenerationRequest("x", (1,)))

    with pytest.raises(RefusedError, match="NSFW"):
        run("NSFW content detected. Try running it again.")
    with pytest.raises(GenerationError, match="CUDA out of memory"):
        run("CUDA out of memory")


def test_a_job_that_never_ends_is_given_up(server):
    server.replicate("/models/o/m/predictions", polls=10_000)
    with pytest.raises(UnavailableError, match="did not finish within"):
        Replicate("o/m", server.url, key="r8", patience={**QUICK, "answer": 0.1}).generate(
            GenerationRequest("x", (1,))
        )


def test_fal_is_polled_by_the_model_s_first_two_parts(server):
    server.fal("fal-ai/flux/dev")
    (image,) = Fal("fal-ai/flux/dev", server.url, key="f", patience=QUICK).generate(
        GenerationRequest("x", (9,))
    )
    assert server.seen[0].path == "/fal-ai/flux/dev"
    assert server.seen[0].headers["Authorization"] == "Key f"
    assert image.seed == 5, "the seed that was really used"


def test_fal_filtered_image(server):
    server.fal(
        "fal-ai/flux/dev", 0, {"images": [{"url": server.url + "/out.png"}], "has_nsfw_concepts": [True]}
    )
    with pytest.raises(RefusedError, match="filtered"):
        Fal("fal-ai/flux/dev", server.url, key="f", patience=QUICK).generate(GenerationRequest("x", (9,)))


# ComfyUI.

WORKFLOW = {
    "3": {"class_type": "KSampler", "inputs": {"seed": 0, "steps": 20, "cfg": 8.0, "model": ["4", 0]}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 1]}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}},
}
NODES = {
    "prompt": "6.text",
    "negative_prompt": "7.text",
    "seed": "3.seed",
    "guidance_scale": "3.cfg",
    "steps": "3.steps",
}


@pytest.fixture
def workflow(tmp_path):
    path = tmp_path / "portrait.json"
    path.write_text(json.dumps(WORKFLOW))
    return path


def test_comfyui_runs_the_workflow_with_the_wishes_in_their_places(workflow):
    shares = []
    with ComfyServer() as server:
        generator = ComfyUI(workflow, NODES, url=server.url, patience=QUICK, on_progress=shares.append)
        first, second = generator.generate(REQUEST)
    graph = server.graphs[0]
    assert graph["6"]["inputs"]["text"] == "a red cat"
    assert graph["7"]["inputs"]["text"] == "blurry"
    assert graph["3"]["inputs"] | {"model": None} == {"seed": 11, "steps": 30, "cfg": 6.5, "model": None}
    assert generator.name == "portrait"
    assert first.pixels.tobytes() != second.pixels.tobytes()
    assert shares == [0.5, 1.0] * 2


def test_an_equal_graph_is_made_again_instead_of_coming_without_image_from_the_cache(workflow):
    with ComfyServer() as server:
        generator = ComfyUI(workflow, NODES, url=server.url, patience=QUICK)
        request = GenerationRequest("x", (5,))
        assert len(generator.generate(request) + generator.generate(request)) == 2


def test_comfyui_failures(workflow, monkeypatch):
    monkeypatch.setattr("pickapic.generate.comfyui.SECONDS_BETWEEN_LOOKS", 0.01)
    request = GenerationRequest("x", (5,))
    with ComfyServer(fail="execution") as server, pytest.raises(GenerationError, match="out of memory"):
        ComfyUI(workflow, NODES, url=server.url, patience=QUICK).generate(request)
    with ComfyServer(fail="validation") as server, pytest.raises(GenerationError, match="failed validation"):
        ComfyUI(workflow, NODES, url=server.url, patience=QUICK).generate(request)
    with ComfyServer(silent=True) as server, pytest.raises(UnavailableError, match="did not finish"):
        ComfyUI(workflow, NODES, url=server.url, patience={**QUICK, "answer": 0.2}).generate(request)
    with pytest.raises(UnavailableError, match="does not answer"):
        ComfyUI(workflow, NODES, url="http://127.0.0.1:9", patience=QUICK).generate(request)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ({"prompt": "6.text"}, "where seed goes"),
        ({"prompt": "6.text", "seed": "99.seed"}, "no such node.input"),
        ({"prompt": "6.text", "seed": "3.seed", "mood": "3.cfg"}, "'mood' is unknown"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused_at_once(workflow, nodes, message):
    with pytest.raises(InputError, match=message):
        ComfyUI(workflow, nodes)


def test_a_workflow_saved_by_save_is_refused(tmp_path):
    path = tmp_path / "ui.json"
    path.write_text(json.dumps({"nodes": [], "links": []}))
    with pytest.raises(InputError, match=r"Export \(API\)"):
        ComfyUI(path, NODES)
