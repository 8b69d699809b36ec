"""POST /score as a Ray Serve application: the scorer in replicas, many requests in one call of it.

The ingress reads requests and hands their images to a replica; if that one dies, it asks another. The protocol is
that of the web app's `POST /api/v1/score`, less what needs its database: images come in base64.

    serve run pickapic.cluster.score_service:app scorer=pickscore
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ray import serve
from ray.serve import Application
from ray.serve.metrics import Histogram
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pickapic.cluster.replicas import (
    BusyError,
    Failures,
    NobodyError,
    ask,
    deployed,
    deployment_options,
    ingress_options,
)
from pickapic.cluster.requests import first_problem, path_of, read_body
from pickapic.records import InputError
from pickapic.scorers.load import load_scorer
from pickapic.settings import Settings, load_settings
from pickapic.settings.services import ServiceScale
from pickapic.web import uploads
from pickapic.web.score_calls import Asked, Scored, Scorer, score_apart, score_together

DEFAULT_SCORER = "pickscore"
BATCH_SIZES = [1.0, 2, 4, 8, 16, 32, 64, 128, 256]


@dataclass(frozen=True, slots=True)
class ScoreJob:
    """What every replica must know: names, not things. The checkpoint lies on a shared disk, or comes from the hub."""

    scorer: str
    options: Mapping[str, Any]
    batch: int
    wait_ms: float


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may have."""

    images: int
    pixels: int


@dataclass(frozen=True, slots=True)
class Question:
    """One request on its way to a replica."""

    prompt: str
    images: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """Why an image of a request cannot be scored; the message is fit to be shown."""

    message: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What a client may want to know of the scorer."""

    scorer: str
    needs_prompt: bool
    higher_is_better: bool
    logit_scale: float | None


def _images_in(group: Sequence[Question]) -> int:
    return sum(len(question.images) for question in group)


class ScoreReplica:
    """One copy of the scorer."""

    def __init__(self, job: ScoreJob) -> None:
        self._scorer = load_scorer(job.scorer, **job.options)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scorer")
        self._failures = Failures()
        self._sizes = Histogram(
            "pickapic_score_batch_images",
            description="Images scored in one call of the scorer",
            boundaries=BATCH_SIZES,
        )
        gather: Any = self._together
        gather.set_max_batch_size(job.batch)
        gather.set_batch_wait_timeout_s(job.wait_ms / 1000)

    async def facts(self) -> Facts:
        """Return what there is to know of the scorer."""
        scorer = self._scorer
        scale = getattr(scorer, "logit_scale", None)
        return Facts(
            scorer.name,
            bool(scorer.needs_prompt),
            bool(scorer.higher_is_better),
            None if scale is None else float(scale),
        )

    async def score(self, question: Question) -> Scored | Refused:
        """Score the images of a request, together with those of others that come at the same time."""
        gather: Any = self._together
        answer: Scored | Exception = await gather(question)
        if isinstance(answer, InputError):
            return Refused(str(answer))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def check_health(self) -> None:
        """Raise if the scorer fails again and again."""
        self._failures.raise_if_ill()

    @serve.batch(batch_size_fn=_images_in)
    async def _together(self, group: list[Question]) -> list[Scored | Exception]:
        loop = asyncio.get_running_loop()
        return list(await loop.run_in_executor(self._thread, self._answers, group))

    def _answers(self, group: Sequence[Question]) -> Sequence[Scored | Exception]:
        answers = score_apart(self._call, group)
        failed = all(
            isinstance(answer, Exception) and not isinstance(answer, InputError) for answer in answers
        )
        self._failures.note(failed)
        return answers

    def _call(self, group: Sequence[Asked]) -> list[Scored]:
        scorer: Scorer = self._scorer
        self._sizes.observe(sum(len(question.images) for question in group))
        return score_together(scorer, group)


class _Wanted(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: str
    images: Annotated[list[str], Field(min_length=1)]


class ScoreIngress:
    """Speaks HTTP: `POST /score`, `GET /scorer`, `GET /readyz`."""

    def __init__(self, replicas: Any, limits: Limits) -> None:
        self._replicas = replicas
        self._limits = limits

    async def __call__(self, request: Request) -> Response:
        """Answer one request; every error is `{"error": {"code", "message"}}`, as the web app's are."""
        try:
            match request.method, path_of(request):
                case "POST", "/score":
                    return await self._score(request)
                case "GET", "/scorer":
                    facts = await ask(lambda: self._replicas.facts.remote())
                    return JSONResponse(
                        {name: getattr(facts, name) for name in Facts.__slots__}
                        | {"max_images": self._limits.images}
                    )
                case "GET", "/readyz":
                    await ask(lambda: self._replicas.facts.remote())
                    return JSONResponse({"status": "ok"})
                case _:
                    return _error(404, "not_found", "There is no such address: POST /score scores images.")
        except InputError as error:
            return _error(422, "invalid", str(error))
        except HTTPException as error:
            code = "too_large" if error.status_code == 413 else "invalid"
            return _error(error.status_code, code, str(error.detail))
        except BusyError:
            message = "Too many images wait to be scored already; try again later."
            return _error(429, "too_many", message, {"Retry-After": "1"})
        except NobodyError:
            message = "No replica of the scorer answers; try again later."
            return _error(503, "service_unavailable", message, {"Retry-After": "5"})

    async def _score(self, request: Request) -> Response:
        body = await read_body(request)
        question = await asyncio.to_thread(_question, body, self._limits)
        answer = await ask(lambda: self._replicas.score.remote(question))
        if isinstance(answer, Refused):
            raise InputError(answer.message)
        return JSONResponse({"scorer": answer.scorer, "scores": answer.scores})


def _question(body: bytes, limits: Limits) -> Question:
    try:
        wanted = _Wanted.model_validate_json(body)
    except ValidationError as error:
        raise InputError(first_problem(error)) from error
    if len(wanted.images) > limits.images:
        raise HTTPException(
            413, f"The request has {len(wanted.images)} images; at most {limits.images} are possible."
        )
    for index, image in enumerate(wanted.images):
        if image.startswith(("http://", "https://")):
            raise InputError(f"images[{index}] is an address, and none is fetched: send the file in base64.")
    images = [uploads.decoded(image, f"images[{index}]") for index, image in enumerate(wanted.images)]
    uploads.check(images, limits.pixels)
    return Question(wanted.prompt, tuple(images))


def _error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


def scorer_options(settings: Settings) -> dict[str, Any]:
    """Return the options of the scorer that the settings name."""
    precision = settings.scorer_precision
    options = {
        "model": settings.scorer_model,
        "device": settings.scorer_device,
        "precision" if precision == "int8" else "dtype": precision,
    }
    return {name: value for name, value in options.items() if value is not None}


def build(settings: Settings) -> Application:
    """Return the application that the settings describe. Nothing is loaded here."""
    scale: ServiceScale = settings.score_service
    # A request is never cut in two: a batch holds the largest.
    batch = max(scale.batch, settings.scorer_max_images)
    job = ScoreJob(settings.scorer or DEFAULT_SCORER, scorer_options(settings), batch, scale.wait_ms)
    replicas = deployed(ScoreReplica, "scorer", deployment_options(scale), job)
    limits = Limits(settings.scorer_max_images, settings.scorer_max_pixels)
    return deployed(ScoreIngress, "score-ingress", ingress_options(scale), replicas, limits)


def app(args: dict[str, Any]) -> Application:
    """Return the application for `serve run` and for a Serve config file: `args` are settings by name.

    Raises:
        InputError: a setting that is unknown or does not fit.
    """
    return build(load_settings(**args))
