"""Generators: switched on and off, weighed, and what became of their images."""

from __future__ import annotations

import math
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response

from pickapic.collect import decisions
from pickapic.collect.oversight import live
from pickapic.collect.queue import breakers, generator_states
from pickapic.records import InputError
from pickapic.web.routes.admin.access import Chief, FormRoute, back, page
from pickapic.web.service import ServiceHere, now

router = APIRouter(prefix="/admin/generators", route_class=FormRoute)

Reason = Annotated[str, Form(max_length=decisions.REASON_LENGTH)]


@router.get("")
async def generators_page(request: Request, service: ServiceHere, person: Chief) -> Response:
    """Show the generators of the settings."""
    figures = await service.database.read(live.generator_figures, service.settings.generators, now())
    total = sum(one.state.weight for one in figures if one.state.enabled)
    context = {
        "figures": figures,
        "total": total,
        "last_picks": live.LAST_PICKS,
        "failing": await service.database.read(breakers.read),
        "now": now(),
    }
    return await page(request, service, person, "generators", context)


@router.post("/{name}/switch")
async def switch(
    service: ServiceHere, person: Chief, name: str, to: Annotated[str, Form()], reason: Reason = ""
) -> Response:
    """Switch a generator `on` or `off`."""
    if to not in ("on", "off"):
        raise InputError("A generator is switched on or off.")
    await service.database.write(
        generator_states.switch,
        service.settings.generators,
        name,
        to == "on",
        person.user_id,
        reason,
        now(),
        service.rng,
    )
    service.drawn.clear()
    return back("/admin/generators", to)


@router.post("/{name}/weight")
async def weigh(
    service: ServiceHere,
    person: Chief,
    name: str,
    weight: Annotated[str, Form(max_length=20)] = "",
    reason: Reason = "",
) -> Response:
    """Set a generator's weight; empty: as the settings say."""
    value = _number(weight) if weight.strip() else None
    await service.database.write(
        generator_states.set_weight,
        service.settings.generators,
        name,
        value,
        person.user_id,
        reason,
        now(),
    )
    service.drawn.clear()
    return back("/admin/generators", "weight")


@router.post("/{name}/try")
async def try_now(service: ServiceHere, person: Chief, name: str) -> Response:
    """Let the next image try a generator that is benched."""
    names = [choice.name for choice in service.settings.generators]
    await service.database.write(breakers.try_now, names, name, person.user_id, now())
    service.drawn.clear()
    return back("/admin/generators", "try")


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{text!r} is no number.")
    return value
