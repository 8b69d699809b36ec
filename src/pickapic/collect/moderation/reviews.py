"""Prompts in the grey zone: kept for a moderator, who decides once for everybody.

reviews.check(connection, settings, user_id, prompt)         # in duel.start; raises ReviewError
await database.write(reviews.hold, error, now)               # that transaction is undone, so this is another
reviews.waiting(connection, limit)                           # for the moderators' page
reviews.decide(connection, uid, True, actor_id, reason, now)
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from pickapic.collect import decisions
from pickapic.collect.moderation.categories import CATEGORIES
from pickapic.collect.moderation.folding import canonical
from pickapic.collect.moderation.words import Reason, judge, open_index
from pickapic.collect.prompts import Prompt
from pickapic.collect.refusals import ConflictError, NotFoundError, PromptError, translatable
from pickapic.collect.tables import prompt_reviews, users
from pickapic.collect.uids import new_uid
from pickapic.settings import Settings

WAITING = "waiting"
APPROVED = "approved"
REFUSED = "refused"
MOST_WAITING = 100
"""How many prompts of one user may wait: a flood of them would bury the others'."""


_WAITS = translatable(
    "A moderator has to look at this prompt first. Nothing was made; try it again later, or change it."
)


class ReviewError(PromptError):
    """A moderator has to look at the prompt first; nothing was queued. `hold` keeps it for them."""

    code = "review"

    def __init__(self, user_id: int, typed: str, digest: bytes, reasons: tuple[Reason, ...]) -> None:
        super().__init__(_WAITS)
        self.user_id = user_id
        self.typed = typed
        self.digest = digest
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class WaitingPrompt:
    """A prompt for a moderator: `users` is how many people wait for it, `user_id` the first of them."""

    uid: str
    typed: str
    reasons: tuple[Reason, ...]
    created_at: datetime
    user_id: int
    users: int


def digest_of(prompt: Prompt) -> bytes:
    """Return the SHA-256 of a prompt as the filter reads it: disguises, case and spacing make no other prompt."""
    return hashlib.sha256(f"{canonical(prompt.caption)}\0{canonical(prompt.negative)}".encode()).digest()


_decided = (
    select(prompt_reviews.c.state)
    .where(prompt_reviews.c.digest == bindparam("digest"), prompt_reviews.c.state.in_((APPROVED, REFUSED)))
    .order_by(prompt_reviews.c.decided_at.desc())
    .limit(1)
)


def load(settings: Settings) -> None:
    """Read the lists that `check` needs, so that a mistake in them shows when a server starts.

    Raises:
        InputError: the file that the setting prompt_words names cannot be used.
    """
    if settings.prompt_filter:
        open_index(settings.prompt_words)


def check(connection: Connection, settings: Settings, user_id: int, prompt: Prompt) -> str | None:
    """Let a prompt pass, or refuse it; return the fingerprint of the words that let it pass, None without a filter.

    Raises:
        ReviewError: it is in the grey zone, and no moderator has decided about it.
        PromptError: it is refused; the message names the rule, never the list.
    """
    if not settings.prompt_filter:
        return None
    index = open_index(settings.prompt_words)
    verdict = judge(prompt.caption, index, prompt.negative)
    if verdict.decision == "allow":
        return index.fingerprint
    category = CATEGORIES[verdict.reasons[0].category]
    if verdict.decision == "refuse":
        raise PromptError(category.reason)
    digest = digest_of(prompt)
    state = connection.execute(_decided, {"digest": digest}).scalar()
    if state == REFUSED:
        raise PromptError(category.reason)
    if state != APPROVED:
        raise ReviewError(user_id, prompt.typed, digest, verdict.reasons)
    return index.fingerprint


def hold(connection: Connection, error: ReviewError, now: datetime) -> None:
    """Keep a prompt for a moderator; the same prompt of the same user is kept once."""
    # Two requests with the same prompt at the same time: the second waits here for the first.
    connection.execute(select(users.c.id).where(users.c.id == error.user_id).with_for_update())
    mine = (prompt_reviews.c.user_id == error.user_id, prompt_reviews.c.state == WAITING)
    digests = connection.execute(select(prompt_reviews.c.digest).where(*mine)).scalars().all()
    if error.digest in digests or len(digests) >= MOST_WAITING:
        return
    connection.execute(
        insert(prompt_reviews).values(
            uid=new_uid(),
            user_id=error.user_id,
            typed=error.typed,
            digest=error.digest,
            reasons=json.dumps([asdict(reason) for reason in error.reasons], ensure_ascii=False),
            state=WAITING,
            created_at=now,
        )
    )


def waiting(connection: Connection, limit: int = 100) -> list[WaitingPrompt]:
    """Return the prompts that wait, the oldest first; what several people asked for is one."""
    groups = (
        select(func.min(prompt_reviews.c.id).label("first"), func.count().label("users"))
        .where(prompt_reviews.c.state == WAITING)
        .group_by(prompt_reviews.c.digest)
        .subquery()
    )
    query = (
        select(prompt_reviews, groups.c.users)
        .join(groups, groups.c.first == prompt_reviews.c.id)
        .order_by(prompt_reviews.c.id)
        .limit(limit)
    )
    return [
        WaitingPrompt(row.uid, row.typed, _read(row.reasons), row.created_at, row.user_id, row.users)
        for row in connection.execute(query)
    ]


def _read(text: str) -> tuple[Reason, ...]:
    found: list[dict[str, Any]] = json.loads(text)
    return tuple(Reason(**reason) for reason in found)


def decide(
    connection: Connection, uid: str, approve: bool, actor_id: int | None, reason: str, now: datetime
) -> int:
    """Approve or refuse a waiting prompt, for everybody who waits for it or asks for it later.

    The same decision again changes nothing. Returns how many waiting prompts it settled.

    Raises:
        NotFoundError: there is no such prompt.
        ConflictError: it was decided otherwise before.
    """
    row = connection.execute(
        select(prompt_reviews).where(prompt_reviews.c.uid == uid).with_for_update()
    ).first()
    state = APPROVED if approve else REFUSED
    if row is None:
        raise NotFoundError("There is no such prompt in review.")
    if row.state == state:
        return 0
    if row.state != WAITING:
        raise ConflictError("This prompt was decided otherwise before.")
    settled = connection.execute(
        update(prompt_reviews)
        .where(prompt_reviews.c.digest == row.digest, prompt_reviews.c.state == WAITING)
        .values(state=state, decided_by=actor_id, decided_at=now)
    ).rowcount
    action = "approve prompt" if approve else "refuse prompt"
    decisions.record(connection, actor_id, action, "prompt", uid, reason, now)
    return settled
