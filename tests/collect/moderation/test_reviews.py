"""Prompts in the grey zone: nothing is queued, they wait once, and one decision is for everybody."""

import json

import pytest
from sqlalchemy import select

from pickapic.collect import decisions
from pickapic.collect.moderation import reviews
from pickapic.collect.moderation.reviews import ReviewError
from pickapic.collect.prompts import parse_prompt
from pickapic.collect.refusals import ConflictError, LimitError, NotFoundError, PromptError
from pickapic.collect.tables import duels, jobs, prompt_reviews

GREY = "a nude statue"


def ask(hands, user, prompt=GREY):
    """Start a duel as the web does: a prompt for a moderator is kept in a transaction of its own."""
    try:
        return hands.start(user, prompt)
    except ReviewError as error:
        hands.write(reviews.hold, error, hands.now)
        raise


def waiting(hands):
    return hands.read(reviews.waiting)


def decide(hands, uid, approve, actor=None):
    return hands.write(reviews.decide, uid, approve, actor, "because", hands.now)


def nothing_is_queued(hands):
    return hands.rows(duels) == [] and hands.rows(jobs) == []


def test_a_grey_prompt_waits_once_and_nothing_is_queued(hands):
    user = hands.guest()
    for prompt in (GREY, GREY, "a NUDE  statue", "a nu\u200bde statue"):
        with pytest.raises(ReviewError) as refused:
            ask(hands, user, prompt)
        assert refused.value.code == "review"
    assert nothing_is_queued(hands)
    (prompt,) = waiting(hands)
    assert (prompt.typed, prompt.user_id, prompt.users) == (GREY, user, 1)
    assert [(reason.category, reason.found) for reason in prompt.reasons] == [("nudity", "nude")]


def test_the_refusal_names_the_rule_and_never_the_word(hands):
    user = hands.guest()
    for prompt in ("porn", "loli", GREY):
        with pytest.raises(PromptError) as refused:
            hands.start(user, prompt)
        message = str(refused.value)
        assert prompt not in message
        assert not {"porn", "loli", "nude"} & set(message.lower().replace(":", " ").split())
    assert nothing_is_queued(hands)
    assert hands.rows(prompt_reviews) == []  # nobody kept it


def test_an_approved_prompt_is_free_for_everybody_however_it_is_spaced(hands):
    first, second, moderator = hands.guest(), hands.guest(), hands.guest()
    for user in (first, second):
        with pytest.raises(ReviewError):
            ask(hands, user)
    (prompt,) = waiting(hands)
    assert prompt.users == 2
    assert decide(hands, prompt.uid, True, moderator) == 2
    assert waiting(hands) == []
    for user in (first, second, hands.guest()):
        hands.start(user, f"  {GREY.upper()} ")
    with pytest.raises(ReviewError):
        hands.start(first, GREY + " and another nude")
    with pytest.raises(ReviewError):
        hands.start(first, GREY + " [clothes]")
    rows = hands.rows(prompt_reviews)
    assert {(row.state, row.decided_by, row.decided_at) for row in rows} == {
        ("approved", moderator, hands.now)
    }
    (decision,) = hands.read(decisions.recent)
    assert (decision.action, decision.target_kind, decision.target, decision.actor_id, decision.reason) == (
        "approve prompt",
        "prompt",
        prompt.uid,
        moderator,
        "because",
    )


def test_a_refused_prompt_is_refused_for_everybody_and_does_not_wait_again(hands):
    with pytest.raises(ReviewError):
        ask(hands, hands.guest())
    decide(hands, waiting(hands)[0].uid, False)
    with pytest.raises(PromptError) as refused:
        ask(hands, hands.guest())
    assert refused.value.code == "prompt"
    assert waiting(hands) == []
    assert nothing_is_queued(hands)


def test_deciding_again(hands):
    with pytest.raises(ReviewError):
        ask(hands, hands.guest())
    uid = waiting(hands)[0].uid
    assert decide(hands, uid, True) == 1
    assert decide(hands, uid, True) == 0
    with pytest.raises(ConflictError):
        decide(hands, uid, False)
    with pytest.raises(NotFoundError):
        decide(hands, "none", True)
    assert len(hands.read(decisions.recent)) == 1


def test_an_approval_does_not_reach_what_is_refused_outright(hands):
    user = hands.guest()
    prompt = parse_prompt("a hentai statue", 500)
    error = ReviewError(user, prompt.typed, reviews.digest_of(prompt), ())
    hands.write(reviews.hold, error, hands.now)
    decide(hands, waiting(hands)[0].uid, True)
    with pytest.raises(PromptError):
        hands.start(user, prompt.typed)


def test_waiting_prompts_come_oldest_first_and_limited(hands):
    user = hands.guest()
    for number in range(5):
        with pytest.raises(ReviewError):
            ask(hands, user, f"{GREY} {number}")
    assert [prompt.typed[-1] for prompt in hands.read(reviews.waiting, 3)] == ["0", "1", "2"]


def test_one_user_cannot_bury_the_others(hands, monkeypatch):
    monkeypatch.setattr(reviews, "MOST_WAITING", 3)
    user, other = hands.guest(), hands.guest()
    for number in range(5):
        with pytest.raises(ReviewError):
            ask(hands, user, f"{GREY} {number}")
    with pytest.raises(ReviewError):
        ask(hands, other, GREY)
    assert [prompt.user_id for prompt in waiting(hands)] == [user, user, user, other]


def test_limits_come_before_the_filter(hands):
    user = hands.guest()
    hands.settings = hands.settings.model_copy(update={"prompts_per_minute": 1})
    hands.start(user)
    with pytest.raises(LimitError):
        hands.start(user, GREY)


def test_without_the_filter_everything_passes(hands):
    hands.settings = hands.settings.model_copy(update={"prompt_filter": False})
    hands.start(hands.guest(), "porn")


def test_a_file_of_ones_own_is_read(hands, tmp_path):
    path = tmp_path / "words.toml"
    path.write_text('block = ["zorgle"]\nallow = ["a nude statue"]')
    hands.settings = hands.settings.model_copy(update={"prompt_words": path})
    hands.start(hands.guest(), GREY)
    with pytest.raises(PromptError, match="rule of this site"):
        hands.start(hands.guest(), "a zorgle")


def test_what_was_typed_is_stored_to_the_letter(hands):
    typed = "a cat's / dog's _nest_ (it's naked eye) [don't; `'`]"
    uid = hands.start(hands.guest(), typed)
    row = hands.read(lambda connection: connection.execute(select(duels).where(duels.c.uid == uid)).one())
    assert row.typed == typed
    with pytest.raises(ReviewError):
        ask(hands, hands.guest(), f"{GREY} — it's 'new'")
    assert hands.rows(prompt_reviews)[0].typed == f"{GREY} — it's 'new'"
    assert json.loads(hands.rows(prompt_reviews)[0].reasons)[0]["category"] == "nudity"


def test_the_lookup_of_a_decision_uses_an_index(hands):
    if hands.database.dialect != "sqlite":
        pytest.skip("with few rows PostgreSQL rightly reads them all")
    plan = hands.read(
        lambda connection: connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT state FROM prompt_reviews WHERE digest = x'00' "
            "AND state IN ('approved', 'refused') ORDER BY decided_at DESC LIMIT 1"
        ).all()
    )
    assert "ix_prompt_reviews_digest" in str(plan)
