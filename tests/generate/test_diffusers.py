"""Tiny random pipelines, saved in diffusers' own format and loaded again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    StableDiffusionXLPipeline,
)
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
)

from pickapic.generate.diffusers_pipeline import DiffusersGenerator
from pickapic.generate.generator import GenerationError, GenerationRequest
from pickapic.records import InputError
from pipelines import ddim, save_sd15, text_config, tokenizer, unet, vae

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sd15(tmp_path_factory):
    return save_sd15(tmp_path_factory.mktemp("pipelines"))


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("pipelines") / "sdxl"
    StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=CLIPTextModel(text_config()),
        text_encoder_2=CLIPTextModelWithProjection(text_config(projection_dim=32)),
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(),
        unet=unet(
            cross_attention_dim=64,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=80,
        ),
        scheduler=ddim(),
    ).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def flux(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("pipelines") / "flux"
    t5 = T5Config(vocab_size=len(tokenizer()), d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
    FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=vae(channels=1),
        text_encoder=CLIPTextModel(text_config(projection_dim=32)),
        tokenizer=tokenizer(),
        text_encoder_2=T5EncoderModel(t5),
        tokenizer_2=tokenizer(),
        transformer=FluxTransformer2DModel(
            patch_size=1,
            in_channels=4,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            axes_dims_rope=[4, 4, 8],
            guidance_embeds=True,
        ),
    ).save_pretrained(folder)
    return str(folder)


REQUEST = GenerationRequest("a red cat", (1, 2, 3), "blurry", guidance_scale=5.0, steps=2)
SMALL = {"width": 32, "height": 32, "device": "cpu"}


def pixels(image) -> np.ndarray:
    return np.asarray(image.pixels).astype(int)


@pytest.mark.parametrize("kind", ["sd15", "sdxl", "flux"])
def test_a_saved_pipeline_makes_a_different_image_for_each_seed_and_the_same_again(kind, request):
    generator = DiffusersGenerator(request.getfixturevalue(kind), batch=2, **SMALL)
    made = generator.generate(REQUEST)
    again = generator.generate(GenerationRequest("a red cat", (2,), "blurry", guidance_scale=5.0, steps=2))
    assert [image.seed for image in made] == [1, 2, 3]
    assert all(image.pixels.size == (32, 32) and image.pixels.mode == "RGB" for image in made)
    assert len({image.pixels.tobytes() for image in made}) == 3
    # Two in a batch and one alone differ by rounding at most.
    assert np.abs(pixels(made[1]) - pixels(again[0])).max() <= 2
    assert (made[0].guidance_scale, made[0].steps) == (5.0, 2)


def test_what_is_honoured_is_what_the_pipeline_has(sd15, flux):
    assert DiffusersGenerator(sd15, **SMALL).honours.negative_prompt
    plain = DiffusersGenerator(flux, **SMALL)
    (image,) = plain.generate(GenerationRequest("a cat", (1,), "blurry", steps=1))
    assert not plain.honours.negative_prompt
    assert "negative_prompt" not in image.sent
    assert DiffusersGenerator(flux, call={"true_cfg_scale": 4.0}, **SMALL).honours.negative_prompt


def test_the_negative_prompt_and_the_guidance_change_the_image(sd15):
    generator = DiffusersGenerator(sd15, **SMALL)
    images = [
        generator.generate(GenerationRequest("a red cat", (1,), negative, guidance, 2))[0]
        for negative, guidance in (("", 5.0), ("blurry", 5.0), ("", 9.0))
    ]
    assert len({image.pixels.tobytes() for image in images}) == 3


# diffusers' own solver hands NumPy a tensor in the old way.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_another_scheduler_is_used_and_stored(sd15):
    generator = DiffusersGenerator(sd15, scheduler="DPMSolverMultistepScheduler", **SMALL)
    (image,) = generator.generate(GenerationRequest("a cat", (1,), steps=2))
    assert image.scheduler == "DPMSolverMultistepScheduler"


def test_an_image_that_the_model_s_filter_took_away_is_marked(sd15):
    generator = DiffusersGenerator(sd15, **SMALL)
    pipeline = generator._loaded()
    pipeline.run_safety_checker = lambda image, device, dtype: (image, [True] * len(image))
    (image,) = generator.generate(GenerationRequest("a cat", (1,), steps=1))
    assert image.refusal


def test_bfloat16_and_a_failure_in_words(sd15):
    generator = DiffusersGenerator(sd15, dtype="bfloat16", **SMALL)
    assert generator._loaded().unet.dtype == torch.bfloat16
    with pytest.raises(GenerationError, match="failed"):
        DiffusersGenerator(sd15, width=33, height=32, device="cpu").generate(REQUEST)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int4"}, "dtype 'int4'"),
        ({"offload": "moon"}, "offload 'moon'"),
        ({"scheduler": "Nope"}, "no scheduler called 'Nope'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_loaded(options, message):
    with pytest.raises(InputError, match=message):
        DiffusersGenerator("nowhere", **options)


def test_a_folder_without_a_pipeline(tmp_path):
    with pytest.raises(InputError, match="cannot be loaded"):
        DiffusersGenerator(str(tmp_path), device="cpu").generate(REQUEST)
