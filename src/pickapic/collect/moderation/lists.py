"""Word lists: TOML files, those that come along and the one that the settings name.

    language = "en"

    [[words]]
    category = "nudity"
    words = ["nude", "skinny dipping", "bare .. breasts", "undress*"]
    unless = ["nude lipstick", "naked mole rat"]

A word matches whole words, however they are disguised; `undress*` what begins with it, `*porn*` what contains it.
The words of a phrase may have punctuation between them, and `..` stands for up to three words more. Chinese,
Japanese, Korean and Thai words match anywhere.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from pickapic.collect.moderation.categories import CATEGORIES, Weight
from pickapic.collect.moderation.folding import WORDS, fold, latin
from pickapic.records import InputError
from pickapic.settings.names import nearest

WEIGHTS = ("note", "review", "refuse")
OWN_KEYS = ("language", "words", "block", "review", "allow", "without", "glin")
GROUP_KEYS = ("category", "decision", "language", "words", "unless")
GLIN_SHORTEST = 5
"""Shorter words of glin-profanity are left out if they look Latin: too many mean something in another language."""


@dataclass(frozen=True, slots=True)
class Group:
    """Words of one category and language; `unless` are phrases in which words of the category mean nothing of it."""

    category: str
    weight: Weight
    language: str
    words: tuple[str, ...]
    unless: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """A word of a category of `first` near to one of `second` is of `category`.

    `weight` is what becomes of a prompt with no more than `within` words between the two, `beyond` of others.
    """

    first: frozenset[str]
    second: frozenset[str]
    category: str
    within: int
    weight: Weight
    beyond: Weight


@dataclass(frozen=True, slots=True)
class Grammar:
    """Small words that the filter has to understand: `no`, `and`, and nouns that make compounds."""

    negations: frozenset[str]
    joiners: frozenset[str]
    parts: frozenset[str]
    glue: frozenset[str]
    prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lists:
    """All that the filter knows, before it is compiled (`index.py`)."""

    groups: tuple[Group, ...]
    rules: tuple[Rule, ...]
    grammar: Grammar
    allow: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change with the lists, and with the version of the program that reads them."""
        text = json.dumps([importlib.metadata.version("pickapic"), asdict(self)], default=sorted)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(slots=True)
class _Own:
    groups: list[Group] = field(default_factory=list[Group])
    allow: list[str] = field(default_factory=list[str])
    without: set[str] = field(default_factory=set[str])


def read_lists(own: Path | None = None) -> Lists:
    """Read the lists that come along, and the file `own` beside them.

    Raises:
        InputError: `own` cannot be read, or something in it does not fit; the message says where.
    """
    rules = tomllib.loads((WORDS / "rules.toml").read_text(encoding="utf-8"))
    grammar = Grammar(
        *(frozenset(rules["grammar"][name]) for name in ("negations", "joiners", "parts", "glue")),
        prefixes=tuple(rules["grammar"]["prefixes"]),
    )
    groups = [
        group
        for path in sorted(WORDS.glob("words-*.toml"))
        for group in _groups(tomllib.loads(path.read_text(encoding="utf-8")), path.name)
    ]
    mine = _read_own(own) if own is not None else _Own()
    groups += mine.groups
    listed = [word for group in groups for word in group.words]
    for word in sorted(mine.without.difference(listed)):
        raise InputError(f"{own}: without: {word!r} is in no list{nearest(word, listed)}")
    return Lists(
        tuple(group for group in (_less(group, mine.without) for group in groups) if group.words),
        tuple(
            Rule(
                frozenset(rule["first"]),
                frozenset(rule["second"]),
                rule["category"],
                rule["within"],
                rule["decision"],
                rule["beyond"],
            )
            for rule in rules["together"]
        ),
        grammar,
        tuple(mine.allow),
    )


def _less(group: Group, without: set[str]) -> Group:
    if without.isdisjoint(group.words):
        return group
    words = tuple(word for word in group.words if word not in without)
    return Group(group.category, group.weight, group.language, words, group.unless)


def _read_own(path: Path) -> _Own:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"prompt_words: {path} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no TOML file: {error}") from error
    _known(table, OWN_KEYS, str(path))
    own = _Own(list(_groups(table, str(path))))
    for key, weight in (("block", "refuse"), ("review", "review")):
        words = _texts(table.get(key, []), f"{path}: {key}")
        own.groups.append(Group("other", cast(Weight, weight), "", words))
    own.allow = list(_texts(table.get("allow", []), f"{path}: allow"))
    own.without = set(_texts(table.get("without", []), f"{path}: without"))
    for language in _texts(table.get("glin", []), f"{path}: glin"):
        own.groups.append(_glin(language, path))
    return own


def _groups(table: Mapping[str, Any], where: str) -> Iterator[Group]:
    language = table.get("language", "")
    entries = table.get("words", [])
    if not isinstance(entries, list) or not isinstance(language, str):
        raise InputError(f"{where}: language is a text, and words are tables: [[words]]")
    for number, entry in enumerate(cast(list[object], entries), 1):
        place = f"{where}: [[words]] number {number}"
        if not isinstance(entry, Mapping):
            raise InputError(f"{place}: give a table with {', '.join(GROUP_KEYS)}")
        group = cast(Mapping[str, Any], entry)
        _known(group, GROUP_KEYS, place)
        category = group.get("category", "other")
        if category not in CATEGORIES:
            raise InputError(
                f"{place}: no category is called {category!r}{nearest(str(category), list(CATEGORIES))}"
            )
        weight = group.get("decision", CATEGORIES[category].weight)
        if weight not in WEIGHTS:
            raise InputError(f"{place}: decision is one of {', '.join(WEIGHTS)}, not {weight!r}")
        yield Group(
            category,
            weight,
            str(group.get("language", language)),
            _texts(group.get("words", []), f"{place}: words"),
            _texts(group.get("unless", []), f"{place}: unless"),
        )


def _known(table: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in keys:
            raise InputError(f"{where}: nothing is called {key!r}{nearest(key, keys)}")


def _texts(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise InputError(f"{where}: give a list of texts")
    for text in cast(list[object], value):
        if not isinstance(text, str) or not any(character.isalnum() for character in text):
            raise InputError(f"{where}: {text!r} is no word or phrase")
    return tuple(cast(list[str], value))


def glin_languages() -> dict[str, Path]:
    """Return the lists of the package glin-profanity by language; none if it is not installed."""
    found = importlib.util.find_spec("glin_profanity")  # found, not imported: only its data is wanted
    folders = found.submodule_search_locations if found and found.submodule_search_locations else []
    files = [path for folder in folders for path in Path(folder, "data", "dictionaries").glob("*.json")]
    return {path.stem: path for path in sorted(files) if path.stem != "globalWhitelist"}


def _glin(language: str, own: Path) -> Group:
    """Return a list of glin-profanity, for review: it has many words that are coarse and some that are nothing."""
    languages = glin_languages()
    if not languages:
        raise InputError(f'{own}: glin needs the package glin-profanity: pip install "pickapic[moderation]"')
    if language not in languages:
        raise InputError(f"{own}: glin has no list {language!r}{nearest(language, list(languages))}")
    listed: list[str] = json.loads(languages[language].read_text(encoding="utf-8"))["words"]
    words = tuple(
        word
        for word in listed
        if (len(word) >= GLIN_SHORTEST or (not latin(fold(word)).isascii() and len(word) > 1))
        and word.replace(" ", "").isalpha()
    )
    return Group("profanity", "review", language, words)
