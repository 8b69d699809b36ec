"""Forgetting a person: what ties their picks to them goes, or the picks go too.

`anonymise` keeps the answered rounds and the images in them, under a number that nothing ties to a person any more.
`remove` deletes those as well. Either way images that nobody's example needs go; their files are deleted after the
transaction (`unused` says which): whoever is stopped in between leaves a file without a row, never a row without one.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, ScalarSelect, Table, and_, delete, select, update

from pickapic.collect.people import bans, identities
from pickapic.collect.people.users import BANNED
from pickapic.collect.queue import jobs
from pickapic.collect.states import ANSWERED, CLOSED, OPEN
from pickapic.collect.tables import (
    consents,
    downloads,
    duels,
    gold_pairs,
    images,
    links,
    marks,
    prompt_reviews,
    reports,
    risks,
    rounds,
    sessions,
    shares,
    sign_ins,
    users,
)
from pickapic.collect.tables import jobs as jobs_table

How = Literal["anonymise", "remove"]

# Rows of one person and nobody else, whatever becomes of the picks.
TIES: tuple[Table, ...] = (sessions, links, sign_ins, consents, marks, risks, downloads, shares)
# Databases take only so many values in one statement.
KEYS_AT_ONCE = 500


def forget(connection: Connection, user_id: int, how: How, secret: str, now: datetime) -> set[str]:
    """Forget a user, and return the files (by SHA-256) of the images whose rows went.

    The ban of a banned person outlives them: see `identities.forget`.
    """
    user = connection.execute(select(users).where(users.c.id == user_id).with_for_update()).one()
    end_duels(connection, user_id, now)
    # A worker that is about to finish one of these is waited for, or finds its job gone.
    connection.execute(select(jobs_table.c.id).where(jobs_table.c.user_id == user_id).with_for_update()).all()
    for table in TIES:
        connection.execute(delete(table).where(table.c.user_id == user_id))
    identities.forget(connection, user_id, secret, user.status == BANNED, now)
    connection.execute(
        delete(prompt_reviews).where(prompt_reviews.c.user_id == user_id, prompt_reviews.c.state == "waiting")
    )
    # What was decided about a prompt holds for all; whose words they were does not matter for that.
    connection.execute(update(prompt_reviews).where(prompt_reviews.c.user_id == user_id).values(typed=""))
    connection.execute(update(reports).where(reports.c.user_id == user_id).values(note=""))
    files = _remove(connection, user_id) if how == "remove" else _anonymise(connection, user_id)
    connection.execute(
        update(users).where(users.c.id == user_id).values(deleted_at=now, role=bans.ROLES[0], allowance=None)
    )
    return files


def end_duels(connection: Connection, user_id: int, now: datetime) -> None:
    """Close the open duels of a user; what is not yet made for them is cancelled."""
    mine = (duels.c.user_id == user_id) & (duels.c.state == OPEN)
    open_duels = connection.execute(select(duels.c.id).where(mine).order_by(duels.c.id).with_for_update())
    for duel_id in list(open_duels.scalars()):
        jobs.cancel(connection, duel_id)
    connection.execute(update(duels).where(mine).values(state=CLOSED, closed_at=now))


def unused(connection: Connection, files: Collection[str]) -> set[str]:
    """Return those files (by SHA-256) that no row refers to."""
    left = set(files)
    wanted = sorted(left)
    for start in range(0, len(wanted), KEYS_AT_ONCE):
        part = wanted[start : start + KEYS_AT_ONCE]
        for column in (images.c.sha256, gold_pairs.c.better_sha256, gold_pairs.c.worse_sha256):
            left.difference_update(connection.execute(select(column).where(column.in_(part))).scalars())
    return left


def _anonymise(connection: Connection, user_id: int) -> set[str]:
    """Keep the answered rounds with their images, and cut what else there is."""
    connection.execute(delete(rounds).where(rounds.c.user_id == user_id, rounds.c.state != ANSWERED))
    connection.execute(update(rounds).where(rounds.c.user_id == user_id).values(session_key=None))
    connection.execute(update(duels).where(duels.c.user_id == user_id).values(typed=duels.c.caption))
    mine = rounds.c.user_id == user_id
    needed = [
        select(column).where(mine, column.is_not(None))
        for column in (rounds.c.left_image_id, rounds.c.right_image_id)
    ]
    files = _delete_images(
        connection, user_id, and_(*(images.c.id.not_in(column.scalar_subquery()) for column in needed))
    )
    connection.execute(
        delete(jobs_table).where(
            jobs_table.c.user_id == user_id,
            jobs_table.c.id.not_in(
                select(images.c.job_id).where(images.c.duel_id.in_(_duels_of(user_id))).scalar_subquery()
            ),
        )
    )
    return files


def _remove(connection: Connection, user_id: int) -> set[str]:
    connection.execute(delete(rounds).where(rounds.c.user_id == user_id))
    files = _delete_images(connection, user_id, images.c.id.is_not(None))
    connection.execute(delete(jobs_table).where(jobs_table.c.user_id == user_id))
    connection.execute(delete(duels).where(duels.c.user_id == user_id))
    return files


def _delete_images(connection: Connection, user_id: int, which: object) -> set[str]:
    """Delete those of a user's images for which the condition `which` holds, and what others said of them."""
    chosen = images.c.duel_id.in_(_duels_of(user_id)) & which
    keys = select(images.c.id).where(chosen).scalar_subquery()
    for table in (reports, downloads, shares):
        connection.execute(delete(table).where(table.c.image_id.in_(keys)))
    files = set(connection.execute(select(images.c.sha256).where(chosen)).scalars())
    connection.execute(delete(images).where(chosen))
    return files


def _duels_of(user_id: int) -> ScalarSelect[int]:
    return select(duels.c.id).where(duels.c.user_id == user_id).scalar_subquery()
