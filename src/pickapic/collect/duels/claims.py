"""What a worker that comes over HTTPS claims to have made, held against what it was asked to make.

Nothing that decides what people see or what is published is taken from the worker's words: model, prompt, kind and
pair come from the job's own row, size and hash from the file as the server itself reads it. What only the worker can
know (the seed that was used, steps, what a provider answered) is stored as it says.
"""

from __future__ import annotations

import io
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from PIL import Image
from sqlalchemy import Connection, Row, and_, bindparam, case, literal_column, or_, select

from pickapic.collect.duels.images import Finished
from pickapic.collect.duels.wire import ImageSaid
from pickapic.collect.moderation.images import BLOCKED, CLASSIFIER, Inspector
from pickapic.collect.queue import jobs
from pickapic.collect.states import CORRUPTED, GENERATED, GOLD
from pickapic.collect.tables import duels, gold_pairs, images
from pickapic.collect.tables import jobs as jobs_table
from pickapic.generate import corruption
from pickapic.storage import blobs

# The one segment that a JPEG of `generate.encoding` has beside the picture itself: JFIF, without a thumbnail.
_JFIF = "APP0"
_JFIF_LENGTH = 14
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_SCAN, _END = b"\xff\xda", b"\xff\xd9"


class FalseClaimError(Exception):
    """A file is not what its worker says, or not what it was asked for; the message is for admins."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a job that a worker holds is for."""

    job_id: int
    duel_id: int
    kind: str
    generator: str
    prompt: str
    negative_prompt: str
    seed: int
    role: str | None
    source_image_id: int | None
    size: tuple[int, int] | None


_is_its = and_(
    jobs_table.c.worker == bindparam("worker_name"),
    # Queued again since the worker was silent, but nobody else has it yet: see `jobs.finish`.
    or_(jobs_table.c.state == literal_column("'leased'"), jobs_table.c.state == literal_column("'queued'")),
)
_held = (
    select(jobs_table, duels.c.image_width, duels.c.image_height)
    .join(duels, duels.c.id == jobs_table.c.duel_id)
    .where(jobs_table.c.id.in_(bindparam("ids", expanding=True)), _is_its)
)


def held(connection: Connection, worker: str, ids: Collection[int]) -> dict[int, Held]:
    """Return those of the jobs `ids` that are the worker's now."""
    if not ids:
        return {}
    rows = connection.execute(_held, {"worker_name": worker, "ids": list(ids)})
    return {row.id: _read(row) for row in rows}


def _read(row: Row[Any]) -> Held:
    return Held(
        job_id=row.id,
        duel_id=row.duel_id,
        kind=row.kind,
        generator=row.generator,
        prompt=row.prompt,
        negative_prompt=row.negative_prompt,
        seed=row.seed,
        role=row.role,
        source_image_id=row.source_image_id,
        size=(row.image_width, row.image_height) if row.image_width else None,
    )


_of_pair = case(
    (jobs_table.c.role == jobs.BETTER, gold_pairs.c.better_sha256), else_=gold_pairs.c.worse_sha256
)
_needed = (
    select(jobs_table.c.id)
    .join(images, images.c.id == jobs_table.c.source_image_id, isouter=True)
    .join(gold_pairs, gold_pairs.c.id == jobs_table.c.gold_pair_id, isouter=True)
    .where(
        jobs_table.c.worker == bindparam("worker_name"),
        jobs_table.c.state == literal_column("'leased'"),
        or_(images.c.sha256 == bindparam("sha256"), _of_pair == bindparam("sha256")),
    )
    .limit(1)
)


def needs(connection: Connection, worker: str, sha256: str) -> bool:
    """Return whether a job that the worker holds is made from the stored file `sha256`."""
    return connection.execute(_needed, {"worker_name": worker, "sha256": sha256}).first() is not None


def finished(
    job: Held, said: ImageSaid, data: bytes, inspector: Inspector, classifier: str, threshold: float
) -> Finished:
    """Return the row that an image gets, from the job, the file `data` and, where nobody else knows, the worker.

    Args:
        job: what the image was to be.
        said: what the worker says of it.
        data: the file as it lies in the store.
        inspector: the server's own.
        classifier: what the worker was told to ask, as the server cannot; or `none`.
        threshold: images to which that gave so much or more are never shown.

    Raises:
        FalseClaimError: the file is no plain JPEG of that hash and size, or nobody looked whether it is fit.
    """
    pixels = checked(data, said)
    if job.size is not None and job.size != pixels.size:
        raise FalseClaimError(
            f"its duel has images of {job.size[0]} x {job.size[1]} pixels, not {_size(pixels)}"
        )
    found = inspector.inspect(pixels)
    unfit, flag = found.unfit, found.flag
    if classifier != "none" and unfit is None and flag is None and job.kind == jobs.GENERATE:
        if said.unfit is None:
            raise FalseClaimError(f"the worker did not ask the image classifier {classifier}")
        unfit = said.unfit
        flag = None if unfit < threshold else CLASSIFIER
    if said.is_flagged and flag is None:
        flag = CLASSIFIER
    generated = job.kind == jobs.GENERATE
    if flag is not None and not generated:
        raise FalseClaimError(
            "what it was made from is not fit to be shown" if flag == BLOCKED else "it is unfit"
        )
    return Finished(
        job_id=job.job_id,
        duel_id=job.duel_id,
        sha256=said.sha256,
        width=pixels.width,
        height=pixels.height,
        model=_model(job),
        prompt=job.prompt,
        negative_prompt=job.negative_prompt if generated and said.follows_negative else "",
        seed=said.seed if generated else job.seed,
        guidance_scale=said.guidance_scale if generated else None,
        steps=said.steps if generated else None,
        scheduler=said.scheduler if generated else None,
        origin={jobs.CORRUPT: CORRUPTED, jobs.GOLD: GOLD}.get(job.kind, GENERATED),
        role=job.role,
        source_image_id=job.source_image_id,
        phash=found.phash if generated else None,
        unfit=unfit if generated else None,
        flag=flag,
        sets_size=generated and job.size is None,
        sent=said.sent,
        revised_prompt=said.revised_prompt,
        source_sha256=said.source_sha256,
        seconds=said.seconds,
    )


def checked(data: bytes, said: ImageSaid) -> Image.Image:
    """Return the pixels of a file that is what is said of it, and holds nothing beside them. Raises as `finished`."""
    if blobs.content_key(data) != said.sha256:
        raise FalseClaimError("the file that was brought has another SHA-256")
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            if image.size != (said.width, said.height):
                raise FalseClaimError(f"the file has {_size(image)} pixels, not {said.width} x {said.height}")
            # A comment or a profile could name the model to whoever looks at the file.
            segments = [(name, len(content)) for name, content in getattr(image, "applist", ())]
            is_over = data.find(_END, data.find(_SCAN)) == len(data) - len(_END)
            if image.mode != "RGB" or segments != [(_JFIF, _JFIF_LENGTH)] or not is_over:
                raise FalseClaimError("the file has more in it than a plain JPEG")
            image.load()
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, *_BOMBS) as error:
        raise FalseClaimError("the file is no JPEG that can be read") from error


def _model(job: Held) -> str:
    if job.kind == jobs.CORRUPT:
        return f"{CORRUPTED}-{corruption.kind_of(job.seed)}"
    return GOLD if job.kind == jobs.GOLD else job.generator


def _size(pixels: Image.Image) -> str:
    return f"{pixels.width} x {pixels.height}"
