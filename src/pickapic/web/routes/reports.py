"""Reporting a picture that should not be here."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from pickapic.collect.oversight import reports
from pickapic.web.service import ServiceHere, UserId, now

router = APIRouter(prefix="/images", tags=["images"])


class Report(BaseModel):
    """What is wrong with an image; `person`: it shows somebody real."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: reports.Reason
    note: Annotated[str, Field(max_length=reports.NOTE_LENGTH)] = ""


@router.post("/{token}/report", status_code=204)
async def report(token: str, body: Report, service: ServiceHere, user_id: UserId) -> Response:
    """Report one of my images, or one that is shared: `token` is the last part of the image's or the page's address.

    One of mine is in no later round of mine. The same image again changes nothing.
    """
    await service.database.write(
        reports.report,
        user_id,
        token,
        body.reason,
        body.note,
        service.settings.generators,
        now(),
        service.rng,
    )
    return Response(status_code=204)
