"""Prompts are judged once: when they are written, or by the first export after the words have changed."""

import pytest
from sqlalchemy import select, update

from pickapic.collect.export import verdicts
from pickapic.collect.export.picks import Selection
from pickapic.collect.export.rules import PROMPT_BLOCKED, Rules
from pickapic.collect.moderation.words import judge, open_index
from pickapic.collect.tables import duels
from pickapic.dataset.manifest import LeftOut


@pytest.fixture
def judged(monkeypatch) -> list[str]:
    """The captions that an export judges."""
    seen = []

    def listen(caption, words):
        seen.append(caption)
        return judge(caption, words)

    monkeypatch.setattr(verdicts, "judge", listen)
    return seen


@pytest.fixture
def two_picks(hands) -> None:
    for prompt in ("a fox", "a lighthouse"):
        user = hands.guest()
        uid = hands.start(user, prompt)
        hands.make()
        hands.pick(user, hands.view(user, uid).round.round_uid, "left")


def bring_up_to_date(hands, words) -> int:
    return hands.runner.run(verdicts.judge_prompts(hands.database, words))


def selection(hands, words):
    def look(connection):
        found = Selection(connection, Rules(prompts=words), None)
        return found.count, found.left_out, [row.caption for page in found.picks() for row in page]

    return hands.read(look)


def test_what_was_let_in_is_not_judged_again(hands, two_picks, judged):
    assert bring_up_to_date(hands, open_index(None)) == 0
    assert judged == []
    assert selection(hands, open_index(None)) == (2, (), ["a fox", "a lighthouse"])


def test_other_words_judge_every_prompt_once(hands, two_picks, judged, tmp_path):
    own = tmp_path / "words.toml"
    own.write_text('language = "en"\nblock = ["lighthouse"]\n')
    words = open_index(own)
    assert words.fingerprint != open_index(None).fingerprint
    hands.start(hands.guest(), "a fox")
    # Nobody has asked these words yet: what was let in counts.
    assert selection(hands, words)[0] == 2
    assert bring_up_to_date(hands, words) == 3
    assert judged == ["a fox", "a lighthouse"]
    assert bring_up_to_date(hands, words) == 0
    assert selection(hands, words) == (1, (LeftOut(PROMPT_BLOCKED, 1),), ["a fox"])
    # Without the filter, and by the words of before, it counts again.
    assert selection(hands, None)[0] == 2
    bring_up_to_date(hands, open_index(None))
    assert selection(hands, open_index(None))[0] == 2


def test_prompts_of_an_older_version_are_judged_page_by_page(hands, two_picks, judged, monkeypatch):
    monkeypatch.setattr(verdicts, "PAGE", 1)
    monkeypatch.setattr(verdicts, "REMEMBERED", 0)
    monkeypatch.setattr(verdicts, "_unjudged", verdicts._unjudged.limit(1))
    hands.write(lambda connection: connection.execute(update(duels).values(judged_by=None, refused=None)))
    assert bring_up_to_date(hands, open_index(None)) == 2
    rows = hands.read(lambda connection: connection.execute(select(duels.c.judged_by, duels.c.refused)).all())
    assert rows == [(open_index(None).fingerprint, False)] * 2
