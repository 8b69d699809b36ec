"""The list of images that are never shown again, and what becomes of those that are there when one is added.

Workers read the list now and then (`images.BLOCKED_SECONDS`) and flag what is near to it. What was recorded before
an image is blocked is searched then; what a worker inspects by its old list after that passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random

import numpy as np
from sqlalchemy import Connection, delete, insert, select

from pickapic.collect import decisions
from pickapic.collect.duels import removals
from pickapic.collect.moderation.hashes import near_ones
from pickapic.collect.moderation.images import BLOCKED, CLASSIFIER
from pickapic.collect.refusals import NotFoundError
from pickapic.collect.states import ASIDE, FLAGGED, READY, REMOVED, SHOWN
from pickapic.collect.tables import blocked_images, duels, images
from pickapic.settings import GeneratorChoice

ROWS_AT_ONCE = 50_000
KEYS_AT_ONCE = 1_000
"""Values in one statement, of which databases take some thousand."""


@dataclass(frozen=True, slots=True)
class BlockedImage:
    """An entry of the list; nobody in `added_by`: the command line."""

    id: int
    phash: int
    reason: str
    added_by: int | None
    added_at: datetime


def hashes(connection: Connection) -> list[int]:
    """Return the perceptual hashes of the list, for `Inspector.block`."""
    return list(connection.execute(select(blocked_images.c.phash)).scalars())


def listed(connection: Connection, limit: int = 100) -> list[BlockedImage]:
    """Return the list, the latest first."""
    query = select(
        blocked_images.c.id,
        blocked_images.c.phash,
        blocked_images.c.reason,
        blocked_images.c.added_by,
        blocked_images.c.added_at,
    )
    rows = connection.execute(query.order_by(blocked_images.c.id.desc()).limit(limit))
    return [BlockedImage(*row) for row in rows]


def block_image(
    connection: Connection,
    phash: int,
    reason: str,
    actor_id: int | None,
    now: datetime,
    choices: Sequence[GeneratorChoice],
    rng: Random,
) -> int:
    """Put an image on the list, and take away all that are near to it; return how many those were.

    Those that nobody has seen are flagged; those that were shown are removed, for everybody. `choices` are the
    generators of the settings, which make the images that take their place. Blocking the same again is fine.
    """
    known = select(blocked_images.c.id).where(blocked_images.c.phash == phash)
    if connection.execute(known).first() is None:
        connection.execute(
            insert(blocked_images).values(phash=phash, reason=reason.strip(), added_by=actor_id, added_at=now)
        )
    taken: dict[int, int] = {}
    keys = list(_near_keys(connection, phash))
    for start in range(0, len(keys), KEYS_AT_ONCE):
        taken |= _take_away(connection, keys[start : start + KEYS_AT_ONCE])
    for duel_id in sorted(set(taken.values())):
        removals.make_up(connection, duel_id, choices, now, rng)
    decisions.record(connection, actor_id, "block image", "phash", phash, reason, now)
    return len(taken)


def unblock_image(
    connection: Connection, entry_id: int, reason: str, actor_id: int | None, now: datetime
) -> None:
    """Take an entry off the list; images that were removed because of it stay removed.

    Raises:
        NotFoundError: there is no such entry.
    """
    entry = blocked_images.c.id == entry_id
    phash = connection.execute(select(blocked_images.c.phash).where(entry)).scalar()
    if phash is None:
        raise NotFoundError("There is no such blocked image.")
    connection.execute(delete(blocked_images).where(entry))
    decisions.record(connection, actor_id, "unblock image", "phash", phash, reason, now)


def _near_keys(connection: Connection, phash: int) -> Iterator[int]:
    """Yield the images near to a hash; all hashes are read, a block of rows at a time."""
    query = (
        select(images.c.id, images.c.phash)
        .where(images.c.phash.is_not(None), images.c.state != REMOVED)
        .order_by(images.c.id)
        .limit(ROWS_AT_ONCE)
    )
    last = 0
    while rows := connection.execute(query.where(images.c.id > last)).all():
        keys, found = (np.array(column, np.int64) for column in zip(*rows, strict=True))
        yield from keys[near_ones(phash, found)].tolist()
        last = int(keys[-1])


def _take_away(connection: Connection, keys: Sequence[int]) -> dict[int, int]:
    """Flag or remove images; return the duels of those that were, by image."""
    duel_ids = set(connection.execute(select(images.c.duel_id).where(images.c.id.in_(keys))).scalars())
    # As those who pick do, and always in the same order: no image is taken while a round with it is being made.
    connection.execute(
        select(duels.c.id).where(duels.c.id.in_(duel_ids)).order_by(duels.c.id).with_for_update()
    )
    taken: dict[int, int] = {}
    query = select(images.c.id, images.c.duel_id, images.c.state, images.c.flag)
    for image in connection.execute(query.where(images.c.id.in_(keys)).order_by(images.c.id)).all():
        if image.state in (READY, ASIDE):
            removals.hide(connection, image.id, BLOCKED)
        elif image.state == SHOWN or (image.state == FLAGGED and image.flag not in (BLOCKED, CLASSIFIER)):
            removals.remove(connection, image.id, BLOCKED)
        else:
            continue
        taken[image.id] = image.duel_id
    return taken
