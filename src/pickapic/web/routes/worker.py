"""For workers on other machines: jobs out, results in. What they say is checked; see `collect.duels.claims`."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from sqlalchemy import Connection
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from pickapic import __version__
from pickapic.collect.duels import claims, handover, wire
from pickapic.collect.duels.claims import FalseClaimError
from pickapic.collect.duels.handover import ERROR, MADE, Report, Result, Room
from pickapic.collect.duels.wire import FileSaid, Held, JobsSaid, ReportSaid, ResultSaid, RulesSaid, Upload
from pickapic.collect.queue import jobs, workers
from pickapic.collect.refusals import NotFoundError
from pickapic.storage import blobs
from pickapic.storage.failures import StoreError
from pickapic.web.arrivals import Arrivals
from pickapic.web.incoming import Incoming
from pickapic.web.machines import Machines, RemoteWorker, WorkerHere
from pickapic.web.routes.answers import json_of
from pickapic.web.service import Service, ServiceHere, now

router = APIRouter(prefix="/worker", tags=["workers"])

SECONDS_AFTER_NOTHING = 0.2
NO_FILE = "None of your jobs needs such a file."
Sha256 = Annotated[str, Path(pattern=wire.SHA256)]


@dataclass(frozen=True, slots=True)
class _Turn:
    """What was checked of a report, and the files that were brought for it."""

    report: Report
    brought: tuple[str, ...]


async def _arrivals(request: Request) -> Arrivals:
    return request.app.state.arrivals


async def _incoming(request: Request) -> Incoming:
    return request.app.state.incoming


ArrivalsHere = Annotated[Arrivals, Depends(_arrivals)]
IncomingHere = Annotated[Incoming, Depends(_incoming)]


@router.get("/settings", response_model=RulesSaid)
async def read_settings(service: ServiceHere, worker: WorkerHere, incoming: IncomingHere) -> Response:
    """Return what a worker has to know of this server before it begins."""
    settings = service.settings
    rules = RulesSaid(
        protocol=wire.PROTOCOL,
        version=__version__,
        generators=[choice.name for choice in settings.generators],
        lease_seconds=settings.lease_seconds,
        image_size=settings.image_size,
        classifier=await incoming.classifier(),
        image_threshold=settings.image_threshold,
    )
    return json_of(rules)


@router.post("/turn", response_model=JobsSaid)
async def turn(
    request: Request,
    body: ReportSaid,
    service: ServiceHere,
    worker: WorkerHere,
    arrivals: ArrivalsHere,
    incoming: IncomingHere,
) -> Response:
    """Record results, take back the jobs that the worker does not hold, and lease it more.

    The same again changes nothing. Without a job to give, wait up to `wait_s` for one.
    """
    arrivals.supersede(worker.name)
    await arrivals.sweep()
    checked = await _checked(service, incoming, worker, body)
    leased = await _hand_over(service, worker, checked.report)
    await incoming.clear(worker.machine.uid, checked.brought)
    rest = Report((), checked.report.holding, checked.report.rooms)

    async def is_there() -> bool:
        return not await request.is_disconnected() and await _still_holds(request, service, worker)

    end = time.monotonic() + body.wait_s
    while not leased and rest.want and (left := end - time.monotonic()) > 0:
        if not await arrivals.wait(worker.name, rest, left, is_there):
            break
        leased = await _hand_over(service, worker, rest)
        if not leased:  # another worker was quicker
            await asyncio.sleep(SECONDS_AFTER_NOTHING)
    return json_of(JobsSaid(jobs=[wire.job_said(job) for job in leased]))


@router.post("/heartbeat", response_model=Held)
async def heartbeat(body: Held, service: ServiceHere, worker: WorkerHere) -> Response:
    """Prolong the leases of jobs; return which of them are still this worker's."""
    mine = await service.database.write(_heartbeat, worker, body.jobs, service.settings.lease_seconds)
    return json_of(Held(jobs=sorted(mine)))


@router.post("/uploads", response_model=Upload)
async def upload(body: FileSaid, worker: WorkerHere, incoming: IncomingHere) -> Response:
    """Return where to bring a file: an address of the image store, good for ten minutes, or one of this server."""
    return json_of(await incoming.upload(worker.machine.uid, body.sha256))


@router.put("/files/{sha256}", status_code=204, response_class=Response)
async def bring(request: Request, sha256: Sha256, service: ServiceHere, worker: WorkerHere) -> Response:
    """Take a finished image's file, as JPEG; its SHA-256 must be that of the address."""
    hashed = hashlib.sha256()
    parts: list[bytes] = []
    try:
        async for part in request.stream():
            hashed.update(part)
            parts.append(part)
    except ClientDisconnect as error:
        raise HTTPException(400, "The file came to no end.") from error
    if not hmac.compare_digest(hashed.hexdigest(), sha256):
        raise HTTPException(422, "The file has another SHA-256 than its address.")
    data = b"".join(parts)
    if not data.startswith(b"\xff\xd8\xff"):
        raise HTTPException(422, "The file is no JPEG.")
    try:
        await blobs.put(service.store, data, sha256)
    except StoreError as error:
        raise _away() from error
    return Response(status_code=204)


@router.get(
    "/files/{sha256}", response_class=Response, responses={200: {"content": {"application/octet-stream": {}}}}
)
async def fetch(sha256: Sha256, service: ServiceHere, worker: WorkerHere) -> Response:
    """Return a stored file that one of the worker's jobs is made from."""
    if not await service.database.read(claims.needs, worker.name, sha256):
        raise NotFoundError(NO_FILE)
    try:
        data = await blobs.get(service.store, sha256)
    except KeyError as error:
        raise NotFoundError(NO_FILE) from error
    except StoreError as error:
        raise _away() from error
    return Response(data, headers={"Cache-Control": "no-store"}, media_type="application/octet-stream")


async def _checked(service: Service, incoming: Incoming, worker: RemoteWorker, body: ReportSaid) -> _Turn:
    """Return what a worker reports, as far as it is true; an image that is not what it should be is an error."""
    made = [said.job_id for said in body.results if said.outcome == MADE]
    held = await service.database.read(claims.held, worker.name, made)
    told: list[Result] = []
    claimed: list[ResultSaid] = []
    for said in {one.job_id: one for one in body.results}.values():
        if said.outcome != MADE:
            told.append(Result(said.job_id, said.attempt, said.outcome, None, said.message, said.seconds))
        elif said.job_id in held:
            claimed.append(said)
        # Else it was recorded before, or is another's now: in both cases there is nothing to do.
    looked = await asyncio.gather(
        *(_looked_at(incoming, worker, held[said.job_id], said) for said in claimed)
    )
    brought = tuple(said.image.sha256 for said in claimed if said.image)
    known = {choice.name for choice in service.settings.generators}
    rooms = tuple(
        Room(
            tuple(name for name in room.generators if name in known),
            min(room.jobs, service.settings.worker_batch),
            room.at_once,
            room.asides,
        )
        for room in body.rooms
    )
    return _Turn(Report((*told, *looked), tuple(body.holding), rooms), brought)


async def _looked_at(incoming: Incoming, worker: RemoteWorker, job: claims.Held, said: ResultSaid) -> Result:
    try:
        if said.image is None:
            raise FalseClaimError("no image is named")
        image = await incoming.look(worker.machine.uid, job, said.image)
    except FalseClaimError as error:
        return Result(job.job_id, said.attempt, ERROR, None, f"{worker.name}: {error}", said.seconds)
    except StoreError as error:
        raise _away() from error
    return Result(job.job_id, said.attempt, MADE, image, "", said.seconds)


async def _hand_over(service: Service, worker: RemoteWorker, report: Report) -> Sequence[jobs.Job]:
    return await service.database.write(_record, worker, report, service)


def _record(connection: Connection, worker: RemoteWorker, report: Report, service: Service) -> list[jobs.Job]:
    moment = now()
    if report.rooms:
        workers.note(connection, worker.name, report.generators, worker.machine.token_id, moment)
    else:  # it winds up
        workers.forget(connection, worker.name)
    return handover.hand_over(connection, worker.name, report, service.settings, moment, service.rng)


def _heartbeat(connection: Connection, worker: RemoteWorker, ids: Sequence[int], seconds: float) -> set[int]:
    moment = now()
    workers.touch(connection, worker.name, moment)
    return jobs.heartbeat(connection, worker.name, ids, seconds, moment)


async def _still_holds(request: Request, service: Service, worker: RemoteWorker) -> bool:
    """Return whether a worker that waits has a token still: it may have been revoked meanwhile."""
    machines: Machines = request.app.state.machines
    return await machines.machine(service, worker.token, "") is not None


def _away() -> HTTPException:
    return HTTPException(503, "The image store does not answer; try again.", {"Retry-After": "1"})
