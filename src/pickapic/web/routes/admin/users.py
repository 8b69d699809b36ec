"""Users: found by number or by risk, looked at, and decided about."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response
from pydantic import Field
from starlette.responses import RedirectResponse

from pickapic.collect import decisions
from pickapic.collect.people import bans, profiles
from pickapic.collect.quality import policy_from
from pickapic.records import InputError
from pickapic.web.routes.admin.access import Chief, FormRoute, Staff, back, page
from pickapic.web.service import ServiceHere, now

router = APIRouter(prefix="/admin/users", route_class=FormRoute)

PAGE_USERS = 50
LARGEST_KEY = 2**53

Key = Annotated[int, Field(ge=1, le=LARGEST_KEY)]
Reason = Annotated[str, Form(max_length=decisions.REASON_LENGTH)]


@router.get("")
async def users_page(
    request: Request,
    service: ServiceHere,
    person: Staff,
    find: Annotated[str, Query(max_length=20)] = "",
    order: profiles.Order = "risk",
    show: profiles.Show = "all",
    start: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> Response:
    """Show users, the most doubtful first; a number goes to that user."""
    number = find.strip().lstrip("#")
    if number.isascii() and number.isdigit() and 0 < int(number) <= LARGEST_KEY:
        return RedirectResponse(f"/admin/users/{int(number)}", 303)
    flag = policy_from(service.settings).flag
    found, total = await service.database.read(profiles.listed, order, show, flag, PAGE_USERS, start)
    context = {
        "users": found,
        "total": total,
        "start": start,
        "size": PAGE_USERS,
        "order": order,
        "show": show,
        "orders": profiles.ORDERS,
        "shows": profiles.SHOWS,
        "find": find,
    }
    return await page(request, service, person, "users", context)


@router.get("/{user_id}")
async def user_page(request: Request, service: ServiceHere, person: Staff, user_id: Key) -> Response:
    """Show all that is known of a user, and their last rounds."""
    policy = policy_from(service.settings)
    profile = await service.database.read(profiles.profile, user_id, round(policy.fast_seconds * 1000))
    rounds = await service.database.read(profiles.last_rounds, user_id)
    log = await service.database.read(decisions.recent, 20, None, "user", user_id)
    context = {
        "profile": profile,
        "user": profile.listed,
        "rounds": rounds,
        "decisions": log,
        "roles": bans.ROLES,
        "fast_seconds": policy.fast_seconds,
        "may_decide": bans.stands_above(person.role, profile.listed.role) and person.user_id != user_id,
    }
    return await page(request, service, person, "user", context)


@router.post("/{user_id}/status")
async def change_status(
    service: ServiceHere,
    person: Staff,
    user_id: Key,
    action: Annotated[bans.Action, Form()],
    reason: Reason = "",
) -> Response:
    """Ban, exclude or trust a user, or take that back."""
    await service.database.write(bans.ACTIONS[action], person.user_id, user_id, reason, now())
    service.forget_user(user_id)
    return back(f"/admin/users/{user_id}", action)


@router.post("/{user_id}/role")
async def change_role(
    service: ServiceHere,
    person: Chief,
    user_id: Key,
    role: Annotated[bans.Role, Form()],
    reason: Reason = "",
) -> Response:
    """Give a user a role."""
    await service.database.write(bans.set_role, person.user_id, user_id, role, reason, now())
    service.forget_user(user_id)
    return back(f"/admin/users/{user_id}", "role")


@router.post("/{user_id}/allowance")
async def change_allowance(
    service: ServiceHere,
    person: Chief,
    user_id: Key,
    answers: Annotated[str, Form(max_length=12)] = "",
    reason: Reason = "",
) -> Response:
    """Set how many answers a user may give; empty: as their standing allows."""
    text = answers.strip()
    if text and not (text.isascii() and text.isdigit()):
        raise InputError(f"{text!r} is no number of answers.")
    await service.database.write(
        bans.set_allowance, person.user_id, user_id, int(text) if text else None, reason, now()
    )
    return back(f"/admin/users/{user_id}", "allowance")
