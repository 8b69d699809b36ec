"""One copy of a generator on a cluster: wishes that differ in nothing but their seed go through the model together."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ray import serve
from ray.serve.metrics import Histogram

from pickapic.cluster.replicas import Failures
from pickapic.generate.check import open_generator
from pickapic.generate.generator import (
    GeneratedImage,
    GenerationError,
    GenerationRequest,
    Honours,
    RefusedError,
    UnavailableError,
)
from pickapic.records import InputError
from pickapic.settings import GeneratorChoice

BATCH_SIZES = [1.0, 2, 4, 8, 16, 32]


@dataclass(frozen=True, slots=True)
class GeneratorJob:
    """What every replica must know: names, not things. Weights lie on a shared disk, or come from the hub."""

    choice: GeneratorChoice
    batch: int
    wait_ms: float


@dataclass(frozen=True, slots=True)
class Wish:
    """One image wanted."""

    prompt: str
    seed: int
    negative_prompt: str
    guidance_scale: float
    steps: int


@dataclass(frozen=True, slots=True)
class Made:
    """One image as PNG, and the parameters that were really used; None where the generator has no such parameter."""

    png: bytes
    width: int
    height: int
    seed: int | None
    guidance_scale: float | None
    steps: int | None
    scheduler: str | None
    revised_prompt: str | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """The model's own filter, or its provider, will not have this image."""

    message: str


@dataclass(frozen=True, slots=True)
class Failure:
    """No image came; `passing` if another try may do better."""

    message: str
    passing: bool


Outcome = Made | Refusal | Failure


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    wish: Wish
    outcome: asyncio.Future[Outcome]


class GeneratorReplica:
    """One copy of a generator, loaded before the first request comes."""

    def __init__(self, job: GeneratorJob) -> None:
        self._choice = job.choice
        self._generator = open_generator(job.choice)
        self._honours = self._generator.honours  # loads the pipeline of those that have one
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="generator")
        self._failures = Failures()
        self._sizes = Histogram(
            "pickapic_generate_batch_images",
            description="Images made in one call of the generator",
            boundaries=BATCH_SIZES,
            tag_keys=("generator",),
        )
        gather: Any = self._together
        gather.set_max_batch_size(job.batch)
        gather.set_batch_wait_timeout_s(job.wait_ms / 1000)

    async def honours(self) -> Honours:
        """Return what the generator follows of a request."""
        return self._honours

    def check_health(self) -> None:
        """Raise if the generator fails again and again."""
        self._failures.raise_if_ill()

    async def generate(self, wish: Wish) -> Outcome:
        """Make one image, together with others that come at the same time and differ in the seed alone."""
        waiting = _Waiting(wish, asyncio.get_running_loop().create_future())
        gather: Any = self._together
        gathering = asyncio.ensure_future(gather(waiting))
        # An image is sent as soon as it is there: the batch may hold others of another prompt.
        await asyncio.wait((waiting.outcome, gathering), return_when=asyncio.FIRST_COMPLETED)
        if not waiting.outcome.done():
            gathering.result()  # raises what went wrong before any image was begun
        return await waiting.outcome

    @serve.batch
    async def _together(self, batch: list[_Waiting]) -> list[None]:
        loop = asyncio.get_running_loop()
        for group in _alike([waiting for waiting in batch if not waiting.outcome.cancelled()]):
            outcomes = await loop.run_in_executor(
                self._thread, self._make, [waiting.wish for waiting in group]
            )
            for waiting, outcome in zip(group, outcomes, strict=True):
                if not waiting.outcome.done():
                    waiting.outcome.set_result(outcome)
        return [None] * len(batch)

    def _make(self, wishes: Sequence[Wish]) -> list[Outcome]:
        first = wishes[0]
        request = GenerationRequest(
            first.prompt,
            tuple(wish.seed for wish in wishes),
            first.negative_prompt,
            first.guidance_scale,
            first.steps,
        )
        self._sizes.observe(len(wishes), tags={"generator": self._choice.name})
        try:
            images = self._generator.generate(request)
        except RefusedError as error:
            return [Refusal(str(error))] * len(wishes)
        except (GenerationError, InputError) as error:
            return [Failure(str(error), isinstance(error, UnavailableError))] * len(wishes)
        except Exception as error:
            # Whatever a plugin raises: the request is answered, and Serve replaces a replica that goes on so.
            self._failures.note(True)
            return [Failure(f"{self._choice.name} failed: {type(error).__name__}", True)] * len(wishes)
        self._failures.note(False)
        return [_outcome(image) for image in images]


def _alike(batch: Sequence[_Waiting]) -> list[list[_Waiting]]:
    """Return those that one call of the generator can make, in the order of their arrival."""
    groups: dict[tuple[object, ...], list[_Waiting]] = {}
    for waiting in batch:
        wish = waiting.wish
        key = (wish.prompt, wish.negative_prompt, wish.guidance_scale, wish.steps)
        groups.setdefault(key, []).append(waiting)
    return list(groups.values())


def _outcome(image: GeneratedImage) -> Outcome:
    if image.refusal:
        return Refusal(image.refusal)
    file = io.BytesIO()
    plain = image.pixels.convert("RGB")
    plain.info.clear()
    plain.save(file, "PNG")
    return Made(
        file.getvalue(),
        plain.width,
        plain.height,
        image.seed,
        image.guidance_scale,
        image.steps,
        image.scheduler,
        image.revised_prompt,
    )
