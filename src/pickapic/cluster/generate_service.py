"""The generators of the settings over the OpenAI images API, as a Ray Serve application: each in replicas of its own.

    serve run pickapic.cluster.generate_service:app generators=miniature-aurora,miniature-dune

What the API itself lacks has the names that vLLM and SGLang gave it: `seed`, `guidance_scale`,
`num_inference_steps`, `negative_prompt`. So `openai-images` with `dialect = "vllm"` is a client of this service.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ray.serve import Application
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pickapic.cluster.generator_replica import (
    Failure,
    GeneratorJob,
    GeneratorReplica,
    Made,
    Outcome,
    Refusal,
    Wish,
)
from pickapic.cluster.replicas import (
    BusyError,
    NobodyError,
    ask,
    deployed,
    deployment_options,
    ingress_options,
)
from pickapic.cluster.requests import first_problem, path_of, read_body
from pickapic.generate.generator import Honours
from pickapic.settings import GeneratorChoice, Settings, load_settings

MOST_IMAGES = 10
LARGEST_SEED = 2**63 - 1
INVALID = "invalid_request_error"


class ApiError(Exception):
    """An error as the API has it."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.error = {"message": message, "type": kind, "param": param, "code": code}

    def response(self) -> Response:
        """Return it as it is sent."""
        headers = {"Retry-After": str(self.retry_after)} if self.retry_after else None
        return JSONResponse({"error": self.error}, self.status, headers)


class _Wanted(BaseModel):
    """A request. A picture has the size of its model: `size` is read, and the answer says what it is."""

    model_config = ConfigDict(extra="forbid")

    prompt: Annotated[str, Field(min_length=1, max_length=32_000)]
    model: str | None = None
    n: Annotated[int, Field(ge=1, le=MOST_IMAGES)] = 1
    size: Annotated[str, Field(pattern=r"^(auto|\d{1,5}x\d{1,5})$")] | None = None
    response_format: Literal["b64_json"] = "b64_json"
    output_format: Literal["png"] = "png"
    user: str | None = None
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED - MOST_IMAGES)] | None = None
    negative_prompt: str | None = None
    guidance_scale: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    num_inference_steps: Annotated[int, Field(ge=1, le=1000)] | None = None


class GenerateIngress:
    """Speaks HTTP: `POST /v1/images/generations`, `GET /v1/models`, `GET /readyz`."""

    def __init__(self, choices: Sequence[GeneratorChoice], replicas: Mapping[str, Any]) -> None:
        self._choices = {choice.name: choice for choice in choices}
        self._replicas = replicas

    async def __call__(self, request: Request) -> Response:
        """Answer one request; every error has the form that the API gives to errors."""
        try:
            match request.method, path_of(request):
                case "POST", "/v1/images/generations":
                    return await self._generate(request)
                case "GET", "/v1/models":
                    return await self._models()
                case "GET", "/readyz":
                    await self._honours()
                    return JSONResponse({"status": "ok"})
                case _:
                    raise ApiError(404, INVALID, f"There is no {request.method} {path_of(request)} here.")
        except ApiError as error:
            return error.response()
        except HTTPException as error:
            return ApiError(error.status_code, INVALID, str(error.detail)).response()
        except BusyError:
            message = "Too many images wait to be made already; try again later."
            return ApiError(429, "rate_limit_error", message, "rate_limit_exceeded", retry_after=2).response()
        except NobodyError:
            message = "No replica of this model answers; try again later."
            return ApiError(503, "server_error", message, "unavailable", retry_after=5).response()

    async def _models(self) -> Response:
        found = await self._honours()
        entries = [
            {
                "id": name,
                "object": "model",
                "created": 0,
                "owned_by": "pickapic",
                "honours": [wish for wish in Honours.__slots__ if getattr(honours, wish)],
            }
            for name, honours in found.items()
        ]
        return JSONResponse({"object": "list", "data": entries})

    async def _honours(self) -> dict[str, Honours]:
        async def of(name: str) -> Honours:
            return await ask(lambda: self._replicas[name].honours.remote())

        return dict(zip(self._replicas, await asyncio.gather(*map(of, self._replicas)), strict=True))

    async def _generate(self, request: Request) -> Response:
        try:
            wanted = _Wanted.model_validate_json(await read_body(request))
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"]) or None
            raise ApiError(400, INVALID, first_problem(error), "invalid_value", where) from error
        choice = self._chosen(wanted.model)
        replicas = self._replicas[choice.name]
        outcomes = await asyncio.gather(
            *(ask(lambda wish=wish: replicas.generate.remote(wish)) for wish in _wishes(wanted, choice))
        )
        return JSONResponse(await asyncio.to_thread(_answer, outcomes))

    def _chosen(self, model: str | None) -> GeneratorChoice:
        if model is None and len(self._choices) == 1:
            return next(iter(self._choices.values()))
        if model in self._choices:
            return self._choices[model]
        known = ", ".join(self._choices)
        if model is None:
            raise ApiError(400, INVALID, f"model is missing; there are: {known}.", "missing", "model")
        raise ApiError(
            404, INVALID, f"There is no model {model!r}; there are: {known}.", "model_not_found", "model"
        )


def _wishes(wanted: _Wanted, choice: GeneratorChoice) -> list[Wish]:
    """Return one wish an image: the first has the seed asked for, the next one more, and so on."""
    seed = secrets.randbits(32) if wanted.seed is None else wanted.seed
    guidance = wanted.guidance_scale
    return [
        Wish(
            wanted.prompt,
            seed + number,
            choice.negative_prompt if wanted.negative_prompt is None else wanted.negative_prompt,
            (choice.guidance_min + choice.guidance_max) / 2 if guidance is None else guidance,
            wanted.num_inference_steps or choice.steps,
        )
        for number in range(wanted.n)
    ]


def _answer(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the answer's body.

    Raises:
        ApiError: an image was refused, or could not be made.
    """
    made: list[Made] = []
    for outcome in outcomes:
        if isinstance(outcome, Refusal):
            raise ApiError(400, INVALID, outcome.message, "content_filter", "prompt")
        if isinstance(outcome, Failure):
            status, code = (503, "unavailable") if outcome.passing else (500, "generation_failed")
            raise ApiError(status, "server_error", outcome.message, code)
        made.append(outcome)
    entries = [
        {
            "b64_json": base64.b64encode(image.png).decode(),
            "revised_prompt": image.revised_prompt,
            "seed": image.seed,
            "guidance_scale": image.guidance_scale,
            "num_inference_steps": image.steps,
            "scheduler": image.scheduler,
        }
        for image in made
    ]
    size = f"{made[0].width}x{made[0].height}"
    return {"created": int(time.time()), "data": entries, "size": size, "output_format": "png"}


def build(settings: Settings) -> Application:
    """Return the application that the settings describe. Nothing is loaded here."""
    scale = settings.generate_service
    options = deployment_options(scale)
    replicas = {
        choice.name: deployed(
            GeneratorReplica,
            f"generator-{number}",
            options,
            GeneratorJob(choice, scale.batch, scale.wait_ms),
        )
        for number, choice in enumerate(settings.generators)
    }
    return deployed(
        GenerateIngress,
        "generate-ingress",
        ingress_options(scale, len(replicas)),
        settings.generators,
        replicas,
    )


def app(args: dict[str, Any]) -> Application:
    """Return the application for `serve run` and for a Serve config file: `args` are settings by name.

    Raises:
        InputError: a setting that is unknown or does not fit.
    """
    return build(load_settings(**args))
