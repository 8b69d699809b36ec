"""What a leased job becomes: an image by a generator, a spoiled copy, or an image of an admin's list."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image

from pickapic import plugins
from pickapic.collect import images, jobs
from pickapic.collect.moderation.images import Inspector
from pickapic.collect.states import CORRUPTED, GOLD
from pickapic.generate.corruption import spoil
from pickapic.generate.encoding import encode, fit
from pickapic.generate.generator import GenerationRequest, Generator
from pickapic.records import InputError
from pickapic.settings import Settings
from pickapic.storage import blobs

Size = tuple[int, int]
"""(width, height) in pixels."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A finished image and its JPEG bytes."""

    image: images.Finished
    data: bytes


class Workbench:
    """Makes images, one at a time. All images of a duel get the size of its first, or that of the settings.

    Args:
        settings: the generators by name, and `image_size`.
        inspector: looks at what generators made; None: nobody does.
    """

    def __init__(self, settings: Settings, inspector: Inspector | None = None) -> None:
        self._settings = settings
        self._inspector = inspector
        self._generators: dict[str, Generator] = {}

    def make(self, job: jobs.Job, size: Size | None, source: bytes | None) -> Picture:
        """Make what a job wants; `source` are the stored bytes that a spoiled or listed image is made from.

        Raises whatever a generator raises; InputError: the settings do not know the generator.
        """
        if job.order.kind == jobs.GENERATE:
            return self._generate(job, size)
        if source is None:
            raise InputError("what this image is made from is not there any more")
        pixels = Image.open(io.BytesIO(source)).convert("RGB")
        if job.order.kind == jobs.CORRUPT:
            spoiled = spoil(pixels if size is None else fit(pixels, size), job.order.seed)
            return _aside(job, spoiled.pixels.size, spoiled.data, CORRUPTED, f"{CORRUPTED}-{spoiled.kind}")
        fitted = pixels if size is None else fit(pixels, size)
        return _aside(job, fitted.size, encode(fitted), GOLD, GOLD)

    def size_for(self, job: jobs.Job) -> Size | None:
        """Return the size that an image must have; None if it may be its generator's."""
        if job.size is not None:
            return job.size
        side = self._settings.image_size
        return None if side is None else (side, side)

    def _generate(self, job: jobs.Job, size: Size | None) -> Picture:
        order = job.order
        generator = self._generator(order.generator)
        request = GenerationRequest(
            prompt=order.prompt,
            seeds=(order.seed,),
            negative_prompt=order.negative_prompt,
            guidance_scale=order.guidance_scale,
            steps=order.steps,
        )
        (generated,) = generator.generate(request)
        pixels = generated.pixels if size is None else fit(generated.pixels, size)
        data = encode(pixels)
        found = None if self._inspector is None else self._inspector.inspect(pixels.convert("RGB"))
        honoured = generator.honours
        image = images.Finished(
            job_id=job.id,
            duel_id=job.duel_id,
            sha256=blobs.content_key(data),
            width=pixels.width,
            height=pixels.height,
            model=order.generator,
            prompt=order.prompt,
            negative_prompt=order.negative_prompt if honoured.negative_prompt else "",
            seed=order.seed if generated.seed is None else generated.seed,
            guidance_scale=generated.guidance_scale,
            steps=generated.steps,
            scheduler=generated.scheduler,
            phash=found.phash if found else None,
            unfit=found.unfit if found else None,
            flag=found.flag if found else None,
            sets_size=job.size is None,
        )
        return Picture(image, data)

    def _generator(self, name: str) -> Generator:
        if name not in self._generators:
            choice = next((choice for choice in self._settings.generators if choice.name == name), None)
            if choice is None:
                raise InputError(f"this worker's settings have no generator called {name!r}")
            self._generators[name] = plugins.load(plugins.GENERATORS, choice.plugin)(**choice.parameters)
        return self._generators[name]


def _aside(job: jobs.Job, size: Size, data: bytes, origin: str, model: str) -> Picture:
    image = images.Finished(
        job_id=job.id,
        duel_id=job.duel_id,
        sha256=blobs.content_key(data),
        width=size[0],
        height=size[1],
        model=model,
        prompt=job.order.prompt,
        negative_prompt="",
        seed=job.order.seed,
        guidance_scale=None,
        steps=None,
        scheduler=None,
        origin=origin,
        role=job.order.role,
        source_image_id=job.order.source_image_id,
    )
    return Picture(image, data)
