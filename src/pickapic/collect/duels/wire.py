"""What a worker that comes over HTTPS and the server say to one another, as JSON.

Both sides read it strictly: a field too many, a text too long, a number that is none, and the whole message is
refused. PROTOCOL changes whenever a message does; a worker of another version is told so before it gets a job.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pickapic.collect.duels import handover, images
from pickapic.collect.duels.handover import Outcome
from pickapic.collect.queue import jobs

PROTOCOL = 1
PROTOCOL_HEADER = "Pickapic-Protocol"
WORKER_HEADER = "Pickapic-Worker"
PATH = "/api/v1/worker"
LONGEST_WAIT = 25.0
"""Seconds that a turn may wait for something to do; proxies often hang up after thirty."""
LARGEST_IMAGE = 32 * 2**20
"""Bytes of a finished image's file."""
LARGEST_SIDE = 4096
"""Pixels: settings allow 2048, but a generator may have its own size."""
TEXT_LENGTH = 4_000
"""Characters of what a provider was asked, and of the prompt that it made of ours."""
MOST_RESULTS = 256
MOST_HELD = 1024
SHA256 = r"^[0-9a-f]{64}$"

Key = Annotated[int, Field(ge=1, lt=2**63)]
Sha256 = Annotated[str, Field(pattern=SHA256)]
Pixels = Annotated[int, Field(ge=1, le=LARGEST_SIDE)]
Name = Annotated[str, Field(min_length=1, max_length=128)]
Seconds = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class Message(BaseModel):
    """A message, or a part of one."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ImageSaid(Message):
    """What a worker says of an image that it made, and only it can know; the rest is in the job."""

    sha256: Sha256
    width: Pixels
    height: Pixels
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)]
    follows_negative: bool
    guidance_scale: Annotated[float | None, Field(ge=-1e6, le=1e6, allow_inf_nan=False)] = None
    steps: Annotated[int | None, Field(ge=0, le=1_000_000)] = None
    scheduler: Annotated[str | None, Field(max_length=64)] = None
    unfit: Annotated[float | None, Field(ge=0, le=1)] = None
    is_flagged: bool = False
    sent: Annotated[str | None, Field(max_length=TEXT_LENGTH)] = None
    revised_prompt: Annotated[str | None, Field(max_length=TEXT_LENGTH)] = None
    source_sha256: Sha256 | None = None
    seconds: Seconds | None = None


class ResultSaid(Message):
    """What became of a job; see `handover.Result`."""

    job_id: Key
    attempt: Annotated[int, Field(ge=0, le=1_000_000)]
    outcome: Outcome
    image: ImageSaid | None = None
    message: Annotated[str, Field(max_length=jobs.ERROR_LENGTH)] = ""
    seconds: Seconds = 0.0


class RoomSaid(Message):
    """Generators that take turns; see `handover.Room`."""

    generators: Annotated[list[Name], Field(max_length=100)]
    jobs: Annotated[int, Field(ge=0, le=256)]
    at_once: Annotated[int, Field(ge=1, le=1024)] = 1
    asides: bool = False


class ReportSaid(Message):
    """A turn: results, the jobs that the worker goes on with, and room for more; it may wait so many seconds."""

    results: Annotated[list[ResultSaid], Field(max_length=MOST_RESULTS)]
    holding: Annotated[list[Key], Field(max_length=MOST_HELD)]
    rooms: Annotated[list[RoomSaid], Field(max_length=100)]
    wait_s: Annotated[float, Field(ge=0, le=LONGEST_WAIT, allow_inf_nan=False)] = 0.0


class JobSaid(Message):
    """A leased job. `duel` tells which images must have one size, and nothing else."""

    id: Key
    duel: Key
    kind: jobs.Kind
    generator: str
    prompt: str
    negative_prompt: str
    guidance_scale: float
    steps: int
    seed: int
    attempt: int
    size: Annotated[list[Pixels] | None, Field(min_length=2, max_length=2)] = None
    source_sha256: Sha256 | None = None


class JobsSaid(Message):
    """What a turn gives."""

    jobs: list[JobSaid]


class Held(Message):
    """The jobs that a worker holds; and, in the answer, those of them that are still its own."""

    jobs: Annotated[list[Key], Field(max_length=MOST_HELD)]


class FileSaid(Message):
    """A file that a worker wants to bring."""

    sha256: Sha256
    size: Annotated[int, Field(ge=1, le=LARGEST_IMAGE)]


class Upload(Message):
    """Where to bring it, by PUT: an address that needs nothing but these headers, or a path of this server.

    Of a path, which begins with a slash, the call needs the token as any other.
    """

    url: str
    headers: dict[str, str]


class RulesSaid(Message):
    """What a worker has to know of the server's settings.

    `classifier` is the image classifier that the worker has to ask, where the server cannot ask it itself; or `none`.
    """

    protocol: int
    version: str
    generators: list[str]
    lease_seconds: float
    image_size: int | None
    classifier: str
    image_threshold: float


def report_said(report: handover.Report, wait_s: float) -> ReportSaid:
    """Return a worker's report as it is sent; texts that are too long are cut."""
    return ReportSaid(
        results=[_result_said(result) for result in report.results[:MOST_RESULTS]],
        holding=list(report.holding),
        rooms=[
            RoomSaid(
                generators=list(room.generators), jobs=room.jobs, at_once=room.at_once, asides=room.asides
            )
            for room in report.rooms
        ],
        wait_s=wait_s,
    )


def _result_said(result: handover.Result) -> ResultSaid:
    try:
        image = None if result.image is None else _image_said(result.image)
    except ValidationError as error:
        # It would be refused, and with it all that is sent beside it, again and again.
        problem = error.errors(include_url=False, include_input=False)[0]
        message = f"the image cannot be handed over: {problem['loc'][0]}: {problem['msg']}"
        result = replace(result, outcome=handover.ERROR, message=message)
        image = None
    return ResultSaid(
        job_id=result.job_id,
        attempt=result.attempt,
        outcome=result.outcome,
        image=image,
        message=result.message[: jobs.ERROR_LENGTH],
        seconds=min(max(result.seconds, 0.0), 1e6),
    )


def _image_said(image: images.Finished) -> ImageSaid:
    return ImageSaid(
        sha256=image.sha256,
        width=image.width,
        height=image.height,
        seed=image.seed,
        follows_negative=bool(image.negative_prompt),
        guidance_scale=image.guidance_scale,
        steps=image.steps,
        scheduler=_cut(image.scheduler, 64),
        unfit=image.unfit,
        is_flagged=image.flag is not None,
        sent=_cut(image.sent, TEXT_LENGTH),
        revised_prompt=_cut(image.revised_prompt, TEXT_LENGTH),
        source_sha256=image.source_sha256,
        seconds=image.seconds,
    )


def _cut(text: str | None, length: int) -> str | None:
    return None if text is None else text[:length]


def job_said(job: jobs.Job) -> JobSaid:
    """Return a leased job as a worker gets it: nothing of who asked for it, or which of a pair is the better."""
    order = job.order
    return JobSaid(
        id=job.id,
        duel=job.duel_id,
        kind=order.kind,
        generator=order.generator,
        prompt=order.prompt,
        negative_prompt=order.negative_prompt,
        guidance_scale=order.guidance_scale,
        steps=order.steps,
        seed=order.seed,
        attempt=job.attempts,
        size=None if job.size is None else list(job.size),
        source_sha256=job.source_sha256,
    )


def job_of(said: JobSaid) -> jobs.Job:
    """Return the job that a server gave."""
    return jobs.Job(
        id=said.id,
        duel_id=said.duel,
        order=jobs.Order(
            said.generator,
            said.prompt,
            said.negative_prompt,
            said.guidance_scale,
            said.steps,
            said.seed,
            said.kind,
        ),
        attempts=said.attempt,
        size=None if said.size is None else (said.size[0], said.size[1]),
        source_sha256=said.source_sha256,
    )
