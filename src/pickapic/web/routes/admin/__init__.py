"""The administration: one file a page, all under /admin. Who may see what is in `access`."""

from fastapi import APIRouter

from pickapic.web.routes.admin import (
    decisions,
    exports,
    generators,
    gold,
    images,
    jobs,
    overview,
    reports,
    reviews,
    users,
    workers,
)

router = APIRouter(include_in_schema=False)
for _part in (overview, users, reports, images, reviews, gold, generators, jobs, workers, exports, decisions):
    router.include_router(_part.router)

__all__ = ["router"]
