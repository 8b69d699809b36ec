"""Which answers count as preferences: one rule, for exports and for leaderboards.

A person's status is decided by admins (bans.py): the answers of `banned` and `excluded` people never count,
those of `trusted` people always, and those of `active` ones unless their risk (risks.py) is too high.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Select, and_, or_, select

from pickapic.collect.quality.policy import Policy
from pickapic.collect.tables import risks, rounds, users

ACTIVE, BANNED, EXCLUDED, TRUSTED = "active", "banned", "excluded", "trusted"
VISITOR = "visitor"


def standing_picks(policy: Policy | None) -> ColumnElement[bool]:
    """Return the condition on `rounds` for answers that count, for any query that selects from `rounds`.

    They were answered, are no gold rounds, and come from somebody who signed in and whose answers count under
    `policy`; None counts everybody's, whatever their status or risk.
    """
    answered = and_(rounds.c.state == "answered", rounds.c.gold.is_(None))
    return and_(answered, rounds.c.user_id.not_in(_not_counted(policy)))


def doubted(policy: Policy) -> ColumnElement[bool]:
    """Return the condition on `users` for people left out by their risk alone; nobody decided about them."""
    risky = select(risks.c.user_id).where(risks.c.score >= policy.exclude)
    return and_(users.c.status == ACTIVE, users.c.id.in_(risky))


def _not_counted(policy: Policy | None) -> Select[tuple[int]]:
    # Few people at any time, and no column of `rounds` in it: both databases compute the list once.
    reasons = [users.c.kind == VISITOR]
    if policy is not None:
        reasons += [users.c.status.in_((BANNED, EXCLUDED)), doubted(policy)]
    return select(users.c.id).where(or_(*reasons))
