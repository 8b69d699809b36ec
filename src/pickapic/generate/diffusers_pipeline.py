"""Any text-to-image pipeline of diffusers, in this process: SD 1.5 to 3, SDXL, Dreamlike, FLUX and whatever comes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import diffusers
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline

from pickapic.generate.generator import GeneratedImage, GenerationError, GenerationRequest, Honours
from pickapic.records import InputError

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
# A wish of a request -> the argument of a pipeline's call.
_ARGUMENTS = {
    "seed": "generator",
    "guidance_scale": "guidance_scale",
    "negative_prompt": "negative_prompt",
    "steps": "num_inference_steps",
}
_FILTERED = "the model's own filter took the image away"


class DiffusersGenerator:
    """One pipeline. It is loaded at the first image, so that a worker starts at once.

    Args:
        model: a hub id or a folder in diffusers format.
        device: cpu, cuda, cuda:1, mps; `auto` takes a GPU if there is one.
        dtype: float32, float16, bfloat16; `auto`: float16 on a GPU (bfloat16 where it has it), float32 on a CPU.
        offload: `model` keeps only the part at work on the GPU, `sequential` only the layer: slow, for small GPUs.
        scheduler: a class of diffusers to use in place of the pipeline's own, such as DPMSolverMultistepScheduler.
        width: pixels; None leaves it to the model.
        height: pixels; None leaves it to the model.
        batch: images made in one call.
        compile: compile the denoiser with torch.compile; minutes at the first image, faster afterwards.
        variant: of the files, such as fp16.
        revision: of the hub repository.
        load: further arguments of `from_pretrained`.
        call: further arguments of every call, such as `{"true_cfg_scale": 4.0}`.
        name: what is stored with each image; default: `model`.

    Raises:
        InputError: an unknown dtype, offload or scheduler.
    """

    concurrency = 1

    def __init__(
        self,
        model: str,
        *,
        device: str = "auto",
        dtype: str = "auto",
        offload: Literal["none", "model", "sequential"] = "none",
        scheduler: str = "",
        width: int | None = None,
        height: int | None = None,
        batch: int = 4,
        compile: bool = False,
        variant: str | None = None,
        revision: str | None = None,
        load: Mapping[str, Any] | None = None,
        call: Mapping[str, Any] | None = None,
        name: str = "",
    ) -> None:
        if dtype != "auto" and dtype not in DTYPES:
            raise InputError(f"dtype {dtype!r} is unknown; known: auto, {', '.join(DTYPES)}")
        if offload not in ("none", "model", "sequential"):
            raise InputError(f"offload {offload!r} is unknown; known: none, model, sequential")
        if scheduler and not hasattr(diffusers, scheduler):
            raise InputError(f"diffusers has no scheduler called {scheduler!r}")
        self.name = name or model
        self._model = model
        self._device = _device() if device == "auto" else device
        self._dtype = _dtype(self._device) if dtype == "auto" else DTYPES[dtype]
        self._offload = offload
        self._scheduler = scheduler
        self._batch = batch
        self._compile = compile
        self._load = {"variant": variant, "revision": revision, **dict(load or {})}
        self._call = {key: value for key, value in (("width", width), ("height", height)) if value}
        self._call |= dict(call or {})
        self._pipeline: Any = None

    @property
    def honours(self) -> Honours:
        """What the pipeline's call has an argument for."""
        return self._honours_of(self._loaded())

    def generate(self, request: GenerationRequest) -> tuple[GeneratedImage, ...]:
        """Return one image a seed; the same seed gives the same image on the same machine.

        Raises:
            GenerationError: the pipeline failed, for instance for want of memory.
        """
        pipeline = self._loaded()
        made: list[GeneratedImage] = []
        for start in range(0, len(request.seeds), self._batch):
            made += self._call_pipeline(pipeline, request, request.seeds[start : start + self._batch])
        return tuple(made)

    def _call_pipeline(
        self, pipeline: Any, request: GenerationRequest, seeds: Sequence[int]
    ) -> list[GeneratedImage]:
        honours = self._honours_of(pipeline)
        # Random numbers of the CPU: the same seed starts from the same noise on every device.
        arguments: dict[str, Any] = {"generator": [torch.Generator().manual_seed(seed) for seed in seeds]}
        sent: dict[str, Any] = {"prompt": request.prompt, **self._call}
        if honours.guidance_scale:
            sent["guidance_scale"] = request.guidance_scale
        if honours.steps:
            sent["num_inference_steps"] = request.steps
        if honours.negative_prompt and request.negative_prompt:
            sent["negative_prompt"] = request.negative_prompt
        lists = {key: [sent[key]] * len(seeds) for key in ("prompt", "negative_prompt") if key in sent}
        try:
            with torch.inference_mode():
                result = pipeline(**{**sent, **lists, **arguments})
        except (RuntimeError, ValueError, TypeError) as error:
            raise GenerationError(f"{self.name} failed: {error}") from error
        flagged = getattr(result, "nsfw_content_detected", None) or [False] * len(seeds)
        return [
            GeneratedImage(
                pixels=image.convert("RGB"),
                seed=seed,
                guidance_scale=sent.get("guidance_scale"),
                steps=sent.get("num_inference_steps"),
                scheduler=type(pipeline.scheduler).__name__,
                sent={**sent, "seed": seed},
                refusal=_FILTERED if is_flagged else None,
            )
            for image, seed, is_flagged in zip(result.images, seeds, flagged, strict=True)
        ]

    def _honours_of(self, pipeline: Any) -> Honours:
        names = inspect.signature(pipeline.__call__).parameters
        present = {wish: argument in names for wish, argument in _ARGUMENTS.items()}
        # FLUX and its like ignore a negative prompt unless true guidance is switched on.
        if "true_cfg_scale" in names and float(self._call.get("true_cfg_scale", 1.0)) <= 1.0:
            present["negative_prompt"] = False
        return Honours(**present)

    def _loaded(self) -> Any:
        if self._pipeline is None:
            self._pipeline = self._open()
        return self._pipeline

    def _open(self) -> Any:
        try:
            pipeline: Any = DiffusionPipeline.from_pretrained(
                self._model,
                dtype=self._dtype,
                **{key: value for key, value in self._load.items() if value is not None},
            )
        except (OSError, ValueError) as error:
            raise InputError(f"{self._model} cannot be loaded as a diffusers pipeline: {error}") from error
        if self._scheduler:
            kind = getattr(diffusers, self._scheduler)
            pipeline.scheduler = kind.from_config(pipeline.scheduler.config)
        pipeline.set_progress_bar_config(disable=True)
        if self._offload == "model":
            pipeline.enable_model_cpu_offload(device=self._device)
        elif self._offload == "sequential":
            pipeline.enable_sequential_cpu_offload(device=self._device)
        else:
            pipeline.to(self._device)
        if self._compile:
            part = "transformer" if getattr(pipeline, "transformer", None) is not None else "unet"
            setattr(pipeline, part, torch.compile(getattr(pipeline, part)))
        return pipeline


def _device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _dtype(device: str) -> torch.dtype:
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.float16 if device == "mps" else torch.float32
