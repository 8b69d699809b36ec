"""Which prompts the present words refuse: judged once for each prompt and each change of the words.

Most are judged when they are written (`reviews.check`), and their duel remembers by which words. Only what those words
have not seen is judged here: everything after a change of the lists, a quarter of a millisecond each, and then never
again.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, func, select, update

from pickapic.collect.database import Database
from pickapic.collect.moderation.index import Index
from pickapic.collect.moderation.words import judge
from pickapic.collect.tables import duels

PAGE = 1_000
REMEMBERED = 100_000
"""Captions of this run whose verdict is not looked for again: the same are often written by many."""

_unjudged = (
    select(duels.c.id, duels.c.caption)
    .where(duels.c.id > bindparam("after"), func.coalesce(duels.c.judged_by, "") != bindparam("words"))
    .order_by(duels.c.id)
    .limit(PAGE)
)
_keep = (
    update(duels)
    .where(duels.c.id == bindparam("key"))
    .values(judged_by=bindparam("words"), refused=bindparam("verdict"))
)


async def judge_prompts(database: Database, words: Index) -> int:
    """Judge the captions that `words` have not seen, and keep the verdicts; return how many duels had one."""
    known: dict[str, bool] = {}
    done = last = 0
    while page := await database.read(_page, last, words.fingerprint):
        verdicts = [(key, _is_refused(caption, words, known)) for key, caption in page]
        await database.write(_store, verdicts, words.fingerprint)
        done, last = done + len(page), page[-1][0]
        if len(known) > REMEMBERED:
            known.clear()
    return done


def _page(connection: Connection, after: int, words: str) -> list[tuple[int, str]]:
    return [(row.id, row.caption) for row in connection.execute(_unjudged, {"after": after, "words": words})]


def _store(connection: Connection, verdicts: Sequence[tuple[int, bool]], words: str) -> None:
    connection.execute(_keep, [{"key": key, "words": words, "verdict": refused} for key, refused in verdicts])


def _is_refused(caption: str, words: Index, known: dict[str, bool]) -> bool:
    verdict = known.get(caption)
    if verdict is None:
        verdict = known[caption] = judge(caption, words).decision == "refuse"
    return verdict
