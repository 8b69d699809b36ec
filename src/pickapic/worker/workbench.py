"""What a leased job becomes: an image by a generator, a spoiled copy, or an image of an admin's list."""

from __future__ import annotations

import io
import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog
from PIL import Image

from pickapic import plugins
from pickapic.collect.duels import images
from pickapic.collect.duels.handover import ERROR, MADE, REFUSED, UNAVAILABLE, Outcome, Result
from pickapic.collect.moderation.images import Inspector
from pickapic.collect.queue import jobs
from pickapic.collect.states import CORRUPTED, GOLD
from pickapic.generate.corruption import spoil
from pickapic.generate.encoding import encode, fit
from pickapic.generate.generator import GenerationRequest, Generator, RefusedError, UnavailableError
from pickapic.logs import told
from pickapic.records import InputError
from pickapic.settings import Settings
from pickapic.storage import blobs

Size = tuple[int, int]
"""(width, height) in pixels."""


SENT_LENGTH = 20_000
"""Characters of what was sent to a provider that are kept: a ComfyUI workflow is a few thousand."""
_SECRET = re.compile(r"key|token|secret|password|auth", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a job, and the JPEG bytes of its image if there is one."""

    result: Result
    data: bytes = b""


class Workbench:
    """Makes images. All images of a duel get the size of its first, or that of the settings.

    A generator is called from as many threads at once as it declares; different ones side by side.

    Args:
        settings: the generators by name, which of them are made here, and `image_size`.
        inspector: looks at what generators made; None: nobody does.
    """

    def __init__(self, settings: Settings, inspector: Inspector | None = None) -> None:
        self._settings = settings
        self._inspector = inspector
        self._inspecting = threading.Lock()
        self._generators: dict[str, Generator] = {}
        self._log = structlog.get_logger("pickapic.worker")

    @property
    def names(self) -> list[str]:
        """The generators of the settings that are made here."""
        only = self._settings.worker_generators
        return [choice.name for choice in self._settings.generators if not only or choice.name in only]

    def open(self) -> dict[str, int]:
        """Open all generators; return the names of those of providers, with how many requests each takes at once.

        One that cannot be opened now is tried again at its next job, which then says why not.
        """
        providers: dict[str, int] = {}
        for name in self.names:
            try:
                generator = self._generator(name)
            except UnavailableError as error:
                self._log.error("a generator cannot be opened", generator=name, error=str(error))
                continue
            if not getattr(generator, "in_process", True):
                providers[name] = max(1, int(getattr(generator, "concurrency", 1)))
        return providers

    def make(self, job: jobs.Job, size: Size | None, source: bytes | None) -> Made:
        """Make what a job wants; `source` are the stored bytes that a spoiled or listed image is made from."""
        name = job.order.generator or job.order.kind
        start = time.perf_counter()
        try:
            made = self._make(job, size, source)
        except RefusedError as error:
            return _without(job, REFUSED, str(error))
        except (UnavailableError, TimeoutError, ConnectionError) as error:
            # What a provider says may quote the prompt: the job's row has it, for admins.
            self._log.warning("a generator does not answer", generator=name, job=job.id, error=told(error))
            return _without(job, UNAVAILABLE, str(error) or type(error).__name__)
        except Exception as error:  # a generator may raise anything; the job says what, the worker goes on
            self._log.warning("a generator failed", generator=name, job=job.id, exc_info=error)
            return _without(job, ERROR, f"{type(error).__name__}: {error}")
        image, data = made
        seconds = time.perf_counter() - start
        if job.order.kind == jobs.GENERATE:
            image = replace(image, seconds=round(seconds, 4))
        return Made(Result(job.id, job.attempts, MADE, image, seconds=seconds), data)

    def _make(self, job: jobs.Job, size: Size | None, source: bytes | None) -> tuple[images.Finished, bytes]:
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

    def _generate(self, job: jobs.Job, size: Size | None) -> tuple[images.Finished, bytes]:
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
        if generated.refusal:
            raise RefusedError(generated.refusal)
        pixels = generated.pixels if size is None else fit(generated.pixels, size)
        data = encode(pixels)
        found = None
        if self._inspector is not None:
            with self._inspecting:
                found = self._inspector.inspect(pixels.convert("RGB"))
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
            sent=_shown(generated.sent),
            revised_prompt=_text(generated.revised_prompt) if generated.revised_prompt else None,
            source_sha256=generated.source_sha256,
        )
        return image, data

    def _generator(self, name: str) -> Generator:
        if name not in self._generators:
            choice = next((choice for choice in self._settings.generators if choice.name == name), None)
            if choice is None:
                raise UnavailableError(f"this worker's settings have no generator called {name!r}")
            try:
                factory = plugins.load(plugins.GENERATORS, choice.plugin)
                self._generators[name] = factory(**choice.parameters)
            except Exception as error:  # of a plugin's own making
                raise UnavailableError(f"it cannot be opened: {type(error).__name__}: {error}") from error
        return self._generators[name]


def _without(job: jobs.Job, outcome: Outcome, message: str) -> Made:
    return Made(Result(job.id, job.attempts, outcome, message=_text(message)))


def _text(said: str) -> str:
    """Return what a provider said as a database takes it."""
    return said.replace("\0", "").encode(errors="replace").decode()[:SENT_LENGTH]


def _shown(sent: Mapping[str, Any]) -> str | None:
    """Return what a provider was asked as JSON, without secrets; None if it was asked nothing."""
    if not sent:
        return None
    return json.dumps(_without_secrets(sent), ensure_ascii=False, default=str)[:SENT_LENGTH]


def _without_secrets(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            str(key): "(hidden)"
            if _SECRET.search(str(key)) and not isinstance(inner, int)
            else _without_secrets(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without_secrets(inner) for inner in value]
    return value


def _aside(job: jobs.Job, size: Size, data: bytes, origin: str, model: str) -> tuple[images.Finished, bytes]:
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
    return image, data
