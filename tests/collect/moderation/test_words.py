"""The filter: what it finds however it is written, what it leaves alone, and how words change each other."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from phrasebook import prompts

from pickapic.collect.moderation.words import judge, open_index

EVASIONS = prompts("evasions.txt")
BENIGN = prompts("benign.txt")


@pytest.fixture(scope="module")
def index():
    return open_index(None)


def categories(text, index, negative=""):
    return {reason.category for reason in judge(text, index, negative).reasons}


def test_there_is_enough_to_test_with():
    assert len(set(EVASIONS)) >= 250
    assert len(set(BENIGN)) >= 230


def test_a_listed_word_is_found_however_it_is_written(index):
    assert [prompt for prompt in EVASIONS if judge(prompt, index).decision == "allow"] == []


def test_it_is_found_inside_a_longer_prompt_too(index):
    longer = [f"oil painting of a castle, {prompt}, 8k, highly detailed" for prompt in EVASIONS]
    assert [prompt for prompt in longer if judge(prompt, index).decision == "allow"] == []


def test_what_only_looks_like_it_is_allowed(index):
    verdicts = {prompt: judge(prompt, index) for prompt in BENIGN}
    assert {prompt: verdict for prompt, verdict in verdicts.items() if verdict.reasons} == {}


def test_all_that_is_benign_may_stand_in_one_prompt(index):
    asking = [prompt for prompt in BENIGN if not prompt.isascii() or len(prompt) > 12]
    for first, second in zip(asking, asking[7:], strict=False):
        assert judge(f"{first}. {second}", index).decision != "refuse", (first, second)


@pytest.mark.parametrize(
    ("prompt", "decision", "category"),
    [
        ("naked child", "refuse", "sexual-minors"),
        ("n4ked ch1ld", "refuse", "sexual-minors"),
        ("nude, aged 15", "refuse", "sexual-minors"),
        ("eight-year-old, topless", "refuse", "sexual-minors"),
        ("una niña desnuda", "refuse", "sexual-minors"),
        ("голая девочка", "refuse", "sexual-minors"),
        ("ילדה עירומה", "refuse", "sexual-minors"),
        ("裸の少女", "refuse", "sexual-minors"),
        ("a sexy teen", "refuse", "sexual-minors"),
        ("a sexy woman with her kids", "review", "sexual-minors"),
        (
            "a nude by the sea and, a long way off behind many trees and rocks, children",
            "review",
            "sexual-minors",
        ),
        ("Taylor Swift naked", "refuse", "real-person"),
        ("porn", "refuse", "sexual"),
        ("an erotic statue", "review", "sexual"),
        ("a nude by Modigliani", "review", "nudity"),
        ("gore", "review", "violence"),
        ("cutting herself", "review", "self-harm"),
        ("swastika", "review", "hate"),
    ],
)
def test_the_gravest_reason_comes_first(index, prompt, decision, category):
    verdict = judge(prompt, index)
    assert (verdict.decision, verdict.reasons[0].category) == (decision, category)


@pytest.mark.parametrize(
    "prompt",
    [
        "a child with a kite",
        "a 25 year old woman in lingerie",
        "Taylor Swift on stage",
        "a sexy car, and in the far corner of the yard three small children",
        "a naked mole rat and a boy",
    ],
)
def test_words_that_mean_something_only_together_are_allowed_alone(index, prompt):
    assert judge(prompt, index).decision == "allow"


def test_asking_to_leave_it_out_is_allowed(index):
    assert judge("a woman", index, "nsfw, nude, porn, gore, child").decision == "allow"
    assert judge("a castle, no nudity, without gore or porn", index).decision == "allow"


def test_what_is_never_said_is_not_said_to_be_left_out_either(index):
    assert judge("a woman", index, "l0li").decision == "refuse"
    assert judge("a woman, no loli", index).decision == "refuse"


def test_leaving_the_clothes_out_is_asking_for_nudity(index):
    (reason,) = judge("a woman", index, "blurry, clothes").reasons
    assert (reason.category, reason.decision, reason.part) == ("nudity", "review", "negative")


def test_a_negation_reaches_no_further_than_its_list(index):
    assert categories("no hat, naked", index) == {"nudity"}
    assert categories("no clothes, naked", index) == {"nudity"}
    assert categories("nude, no gore", index) == {"nudity"}


def test_a_phrase_that_excuses_a_word_excuses_no_other(index):
    (reason,) = judge("nude lipstick on a naked man", index).reasons
    assert reason.found == "naked"


def test_repeats_are_those_of_the_word_or_more(index):
    assert categories("faggott", index) == {"hate"}
    assert categories("fagot", index) == set()


def test_a_reason_quotes_what_was_found(index):
    (reason,) = judge("a N.U.D.E statue", index).reasons[:1]
    assert "N.U.D.E" in reason.found


@given(st.text(max_size=60))
def test_no_text_trips_it(text):
    assert judge(text, open_index(None), text).decision in ("allow", "review", "refuse")


@given(
    st.sampled_from(["nude", "naked", "hentai"]),
    st.lists(st.sampled_from(["", ".", "-", "_", "\u200b", "\u0301", " "]), min_size=6, max_size=6),
)
def test_signs_between_letters_hide_nothing(word, between):
    spaced = "".join(letter + gap for letter, gap in zip(word, between, strict=False)).rstrip()
    # Only single letters may be far apart: "nu de" may be two words.
    if " " not in spaced or all(gap == " " for gap in between[: len(word) - 1]):
        assert judge(f"x-ray, {spaced}, 8k", open_index(None)).decision != "allow"


@pytest.mark.parametrize(
    "text",
    [
        "a1!" * 167,
        "a." * 250,
        "child nude " * 46,
        "*a" * 250,
        "nude" * 125,
        "\ufdfa" * 500,
        "裸 " * 250,
        "1 " * 250,
    ],
    ids=ascii,
)
def test_no_prompt_takes_long(index, text):
    judge(text, index)
    start = time.thread_time()
    judge(text, index)
    assert time.thread_time() - start < 0.3  # measured: 0.04 at most
