"""Word lists: that those which come along are sound, what an operator's file may say, and what is wrong in it."""

import sys

import pytest

from pickapic.collect.moderation import lists
from pickapic.collect.moderation.categories import CATEGORIES
from pickapic.collect.moderation.folding import WORDS
from pickapic.collect.moderation.index import Index
from pickapic.collect.moderation.lists import glin_languages, read_lists
from pickapic.collect.moderation.words import judge
from pickapic.records import InputError


@pytest.fixture
def own(tmp_path):
    def write(text):
        path = tmp_path / "words.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def decision(path, prompt):
    return judge(prompt, Index(read_lists(path))).decision


def test_every_list_names_its_licence():
    for path in WORDS.glob("*.toml"):
        assert "Apache-2.0" in path.read_text(encoding="utf-8")[:600], path.name
    assert "LICENSE-unicode.txt" in (WORDS / "homoglyphs.txt").read_text(encoding="utf-8")[:900]
    assert "UNICODE LICENSE V3" in (WORDS / "LICENSE-unicode.txt").read_text(encoding="utf-8")
    assert (WORDS / "LICENSE.txt").is_file()


def test_every_listed_word_is_found():
    found = read_lists()
    index = Index(found)
    missed = [
        (group.category, word)
        for group in found.groups
        if group.weight != "note"
        for word in group.words
        if judge(word.replace("..", "").replace("*", ""), index).decision == "allow"
        # "suck* dick" is listed for its endings.
        and judge(word.replace("..", "some").replace("*", "ing"), index).decision == "allow"
    ]
    assert missed == []


def test_every_excuse_excuses():
    found = read_lists()
    index = Index(found)
    useless = [
        (group.category, phrase)
        for group in found.groups
        for phrase in group.unless
        if any(
            reason.category == group.category and reason.decision == group.weight
            for reason in judge(phrase.replace("..", "").replace("*", ""), index).reasons
        )
    ]
    assert useless == []


def test_rules_name_categories_that_words_have():
    found = read_lists()
    used = {group.category for group in found.groups}
    for rule in found.rules:
        assert rule.first | rule.second <= used
        assert rule.category in CATEGORIES
        assert CATEGORIES[rule.category].reason


def test_an_operators_words_are_blocked_reviewed_and_allowed(own):
    path = own(
        """
        block = ["zorgle", "blue .. moon*"]
        review = ["quux"]
        allow = ["nude descending", "a naked man rides a goat"]
        without = ["topless*"]

        [[words]]
        category = "violence"
        language = "en"
        words = ["trebuchet"]
        unless = ["trebuchet font"]
        """
    )
    assert decision(path, "a z.o.r.g.l.e") == "refuse"
    assert decision(path, "a blue and large moonlight") == "refuse"
    assert decision(path, "Quuux") == "review"
    assert decision(path, "Nude, descending a staircase") == "allow"
    assert decision(path, "a naked man rides a goat") == "allow"
    assert decision(path, "a naked man rides a horse") == "review"
    assert decision(path, "a topless car") == "allow"
    assert decision(path, "a trebuchet in flames") == "review"
    assert decision(path, "set in Trebuchet font") == "allow"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("blok = ['x']", "'blok'; did you mean 'block'"),
        ("block = 'x'", "block: give a list"),
        ("block = ['--']", "'--' is no word"),
        ("block = [3]", "3 is no word"),
        ("allow = [''", "no TOML"),
        ("words = 3", "words are tables"),
        ("words = [3]", "number 1: give a table"),
        ("[[words]]\ncategory = 'nudiy'\nwords = ['x']", "'nudiy'; did you mean 'nudity'"),
        ("[[words]]\nword = ['x']", "'word'; did you mean 'words'"),
        ("[[words]]\nwords = ['x']\ndecision = 'shout'", "decision is one of"),
        ("without = ['topless']", "without: 'topless' is in no list; did you mean 'topless*'"),
        ("glin = ['klingon']", "no list 'klingon'"),
    ],
)
def test_what_is_wrong_in_an_operators_file_is_said(own, text, said):
    path = own(text)
    with pytest.raises(InputError, match=said.replace("*", r"\*")) as refused:
        read_lists(path)
    assert str(path) in str(refused.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_lists(tmp_path / "none.toml")


def test_lists_of_glin_profanity_are_for_review_and_only_on_request(own):
    assert {"turkish", "russian", "chinese"} <= set(glin_languages())
    assert "glin_profanity" not in sys.modules
    prompt = "un hombre gilipollas"
    assert judge(prompt, Index(read_lists())).decision == "allow"
    path = own("glin = ['spanish', 'russian']\nwithout = ['martillo']")
    (reason,) = judge(prompt, Index(read_lists(path))).reasons
    assert (reason.category, reason.decision) == ("profanity", "review")
    assert decision(path, "un martillo de hierro") == "allow"


def test_without_the_package_its_lists_are_missed_by_name(own, monkeypatch):
    monkeypatch.setattr(lists, "glin_languages", dict)
    with pytest.raises(InputError, match=r"pip install \"pickapic\[moderation\]\""):
        read_lists(own("glin = ['spanish']"))
