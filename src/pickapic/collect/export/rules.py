"""Which answered rounds are exported, and for each of the others why not."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from sqlalchemy import ColumnElement, and_, case, false, func, not_, or_

from pickapic.collect.moderation.index import Index
from pickapic.collect.moderation.words import open_index
from pickapic.collect.quality.counting import BANNED, EXCLUDED, VISITOR, doubted, standing_picks
from pickapic.collect.quality.policy import Policy, fingerprint, policy_from
from pickapic.collect.states import WITHHELD
from pickapic.collect.tables import duels, images, rounds, users
from pickapic.settings import Settings

LEFT = images.alias("l")
RIGHT = images.alias("r")
OFF = "off"

BEFORE_SIGN_IN = "the person had not signed in: the free prompt"
CHECK_ROUND = "a check round: its better image was known beforehand"
BY_BANNED = "the person is banned"
BY_EXCLUDED = "an admin left the person out"
DOUBTED = "the person's answers are doubted"
IMAGE_WITHHELD = "an image was taken away"
PROMPT_BLOCKED = "the prompt is one that is refused"


@dataclass(frozen=True, slots=True)
class Rules:
    """`policy` says whose answers count, None everybody's; `prompts` holds the words that refuse a prompt, if any."""

    policy: Policy | None = None
    prompts: Index | None = None

    @property
    def fingerprint(self) -> str:
        """The policy's, or `off`."""
        return fingerprint(self.policy) if self.policy else OFF

    @property
    def notes(self) -> tuple[str, ...]:
        """What the card says about them."""
        if self.policy is None:
            return ("Everybody's answers are in, whatever their status or risk: the quality policy was off.",)
        values = ", ".join(f"{name} {value:g}" for name, value in asdict(self.policy).items())
        return (
            f"People whose risk is {self.policy.exclude:g} or more of 100 are left out, unless an admin trusts them. "
            f"The quality policy is `{self.fingerprint}`: {values}.",
        )

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """What the manifest keeps of them."""
        values = json.dumps(asdict(self.policy)) if self.policy else "{}"
        return (("policy", self.fingerprint), ("policy_parameters", values))


def rules_from(settings: Settings, policy_off: bool = False) -> Rules:
    """Return the rules of an instance; `policy_off` counts everybody's answers.

    Raises:
        InputError: the setting `quality` or the file of words cannot be used.
    """
    words = open_index(settings.prompt_words) if settings.prompt_filter else None
    return Rules(None if policy_off else policy_from(settings), words)


def stands(rules: Rules) -> ColumnElement[bool]:
    """Return the condition for rounds to be exported, in a query that joins `rounds`, `duels`, `LEFT` and `RIGHT`.

    Prompts have to be judged before (`verdicts.judge_prompts`); one that is not yet was let in a moment ago.
    """
    images_stand = and_(LEFT.c.state.not_in(WITHHELD), RIGHT.c.state.not_in(WITHHELD))
    stand = and_(standing_picks(rules.policy), images_stand)
    return stand if rules.prompts is None else and_(stand, not_(_blocked(rules.prompts)))


def _blocked(words: Index) -> ColumnElement[bool]:
    judged = func.coalesce(duels.c.judged_by, "") == words.fingerprint
    return and_(judged, func.coalesce(duels.c.refused, false()))


def why_not(rules: Rules) -> ColumnElement[str]:
    """Return why an answered round is left out, NULL if it stands, in a query that joins `users` too."""
    reasons: list[tuple[ColumnElement[bool], str]] = [
        (users.c.kind == VISITOR, BEFORE_SIGN_IN),
        (rounds.c.gold.is_not(None), CHECK_ROUND),
    ]
    if rules.policy is not None:
        reasons += [
            (users.c.status == BANNED, BY_BANNED),
            (users.c.status == EXCLUDED, BY_EXCLUDED),
            (doubted(rules.policy), DOUBTED),
        ]
    reasons.append((or_(LEFT.c.state.in_(WITHHELD), RIGHT.c.state.in_(WITHHELD)), IMAGE_WITHHELD))
    if rules.prompts is not None:
        reasons.append((_blocked(rules.prompts), PROMPT_BLOCKED))
    return case(*reasons, else_=None)
