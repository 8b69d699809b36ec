"""Clearing orphaned image files away beside the server, if the setting `sweep_hours` says how often.

Every server process does so, at a time of its own: sweeps may overlap, and the one that finds nothing only lists.
"""

from __future__ import annotations

import asyncio
from random import random

import structlog
from sqlalchemy.exc import SQLAlchemyError

from pickapic.collect.upkeep.sweep import sweep
from pickapic.storage.failures import StoreError
from pickapic.web.service import Service, now

SECONDS_AN_HOUR = 3600.0


async def sweeping(service: Service) -> None:
    """Do so until cancelled; a database or a store that is away for a while ends nothing."""
    hours = service.settings.sweep_hours
    log = structlog.get_logger("pickapic.web")
    while hours:
        await asyncio.sleep(hours * SECONDS_AN_HOUR * (0.5 + random()))
        try:
            found = await sweep(service.database, service.store, now(), delete=True)
        except (StoreError, SQLAlchemyError, OSError) as error:
            log.warning("the sweep is done later", error=str(error)[:500])
            continue
        log.info("swept", moved=found.moved, deleted=found.deleted, restored=found.restored)
        if found.gaps:
            log.error("images are missing", count=found.gaps, first=found.gap_keys[0])
