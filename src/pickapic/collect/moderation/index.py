"""Word lists compiled for matching: every listed word by its letters without repeats, phrases by their first word.

`nuuuude` is found because it has at least the repeats of `nude`; `as` is not taken for a word with two of them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from pickapic.collect.moderation.folding import dense_text, fold, is_dense, latin
from pickapic.collect.moderation.folding import pieces as cut
from pickapic.collect.moderation.lists import Group, Lists

GAP = ".."
GAP_WORDS = 3
LONGEST = 24
"""Letters (without repeats) beyond which nothing is listed; a longer entry is matched as a phrase of one word."""
SHORTEST_IN_COMPOUND = 4
SHORTEST_JOINED = 6
"""Letters that a phrase must have to be known as one word too, and a word to be known in two halves: "pen is"."""
REMEMBERED = 50_000

_RUN = re.compile(r"(.)\1*")


@dataclass(frozen=True, slots=True)
class Letters:
    """A word: its letters without repeats, and how often each stands there."""

    key: str
    runs: tuple[int, ...]

    def at(self, start: int, runs: Sequence[int]) -> bool:
        """Return whether letters that begin at `start` of others repeat at least as often as these."""
        return all(mine <= runs[start + index] for index, mine in enumerate(self.runs))


@dataclass(frozen=True, slots=True)
class Pattern:
    """A listed word; `before` and `after`: more letters may stand there."""

    letters: Letters
    before: bool
    after: bool
    group: Group


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words in a row, each with whether it may go on; None is a gap. `safe` phrases take hits of `group` away."""

    words: tuple[tuple[Letters, bool] | None, ...]
    group: Group | None
    safe: bool


@lru_cache(REMEMBERED)
def letters_of(word: str) -> Letters:
    """Return the letters of a word in small letters."""
    found = [match.span() for match in _RUN.finditer(word)]
    return Letters("".join(word[start] for start, _ in found), tuple(end - start for start, end in found))


class Index:
    """What `words.judge` asks. It remembers what it found in a word: most words of prompts are seen again."""

    def __init__(self, lists: Lists) -> None:
        self.fingerprint = lists.fingerprint
        self.rules = lists.rules
        self.grammar = lists.grammar
        self.dense: list[tuple[str, Group]] = []
        self.safe_dense: list[tuple[str, Group | None]] = []
        self.phrases: dict[str, list[Phrase]] = defaultdict(list)
        self._patterns: dict[str, list[Pattern]] = defaultdict(list)
        self._by_length: dict[int, list[Pattern]] = defaultdict(list)
        self._halves: dict[str, set[str]] = defaultdict(set)
        self._parts = {letters_of(latin(fold(part))).key for part in lists.grammar.parts}
        self._glue = {letters_of(word).key for word in lists.grammar.glue} | self._parts
        for group in lists.groups:
            for entry in group.words:
                self._add(entry, group)
            for entry in group.unless:
                self._add_safe(entry, group)
        for entry in lists.allow:
            self._add_safe(entry, None)
        self.in_word = lru_cache(REMEMBERED)(self._in_word)
        self.exactly = lru_cache(REMEMBERED)(self._exactly)

    def _add(self, entry: str, group: Group) -> None:
        if is_dense(entry):
            self.dense.append((dense_text(fold(entry)), group))
            return
        words = _words(entry)
        if len(words) > 1:
            self._add_phrase(words, group, safe=False)
            entry = "" if None in words else "".join(word for word, _ in filter(None, words))
            entry += "*" if words[-1] is not None and words[-1][1] else ""
            if len(entry) < SHORTEST_JOINED:
                return
        bare = fold(entry.strip("*"))
        for reading in {bare.casefold(), latin(bare)} - {""}:
            letters = letters_of(reading)
            pattern = Pattern(letters, entry.startswith("*"), entry.endswith("*"), group)
            self._patterns[letters.key].append(pattern)
            self._by_length[len(reading)].append(pattern)
            if len(reading) >= SHORTEST_JOINED:
                for cut_at in range(2, len(reading) - 1):
                    self._halves[reading[:cut_at]].add(reading[cut_at:])

    def _add_safe(self, entry: str, group: Group | None) -> None:
        if is_dense(entry):
            self.safe_dense.append((dense_text(fold(entry)), group))
        else:
            self._add_phrase(_words(entry), group, safe=True)

    def _add_phrase(self, words: Sequence[tuple[str, bool] | None], group: Group | None, safe: bool) -> None:
        for read in (str.casefold, latin):
            row = tuple((letters_of(read(word[0])), word[1]) if word else None for word in words)
            if row and row[0] is not None:
                phrase = Phrase(row, group, safe)
                known = self.phrases[row[0][0].key]
                if phrase not in known:
                    known.append(phrase)

    def _in_word(self, word: str) -> tuple[Group, ...]:
        """Return the groups of which a word is or contains a listed one, as far as the list allows that."""
        letters = letters_of(word)
        key, length = letters.key, len(letters.key)
        found: dict[Group, None] = {}
        inside: dict[int, list[tuple[int, Group | None]]] = defaultdict(list)
        for start in range(length):
            # A single letter is a word only where it is all there is: xxx.
            for end in range(start + min(2, length), min(length, start + LONGEST) + 1):
                part = key[start:end]
                for pattern in self._patterns.get(part, ()):
                    if not pattern.letters.at(start, letters.runs):
                        continue
                    if (start == 0 or pattern.before) and (end == length or pattern.after):
                        found[pattern.group] = None
                    elif end - start >= SHORTEST_IN_COMPOUND:
                        inside[start].append((end, pattern.group))
                if part in self._parts:
                    inside[start].append((end, None))
        for group in _compound(inside, letters.runs):
            found[group] = None
        return tuple(found)

    def _exactly(self, word: str, first: int = 0) -> tuple[Group, ...]:
        """Return the groups that list a word itself, or what it begins with.

        `first` letters of it were a piece of their own: what lies within them was found there.
        """
        letters = letters_of(word)
        length = len(letters.key)
        shortest = max(3, len(letters_of(word[:first]).key) + 1)
        found: dict[Group, None] = {}
        for end in range(shortest, min(length, LONGEST) + 1):
            for pattern in self._patterns.get(letters.key[:end], ()):
                if (end == length or pattern.after) and pattern.letters.at(0, letters.runs):
                    found[pattern.group] = None
        return tuple(found)

    def halves(self, left: str, right: str) -> tuple[Group, ...]:
        """Return the groups that list a word of which these are the halves; short ones are too often two words."""
        return self.exactly(left + right) if right in self._halves.get(left, ()) else ()

    def spelled(self, word: str) -> tuple[Group, ...]:
        """Return the groups of the listed words in a row of letters that were spelled out one by one.

        The row must be made of listed words and of `parts` and `glue` alone: `c l a s s` is a class.
        """
        letters = letters_of(word)
        key, length = letters.key, len(letters.key)
        inside: dict[int, list[tuple[int, Group | None]]] = defaultdict(list)
        for start in range(length):
            for end in range(start + 1, min(length, start + LONGEST) + 1):
                part = key[start:end]
                inside[start] += [
                    (end, pattern.group)
                    for pattern in self._patterns.get(part, ())
                    if pattern.letters.at(start, letters.runs)
                ]
                if part in self._glue:
                    inside[start].append((end, None))
        return _compound(inside, letters.runs)

    def starred(self, pattern: str) -> tuple[Group, ...]:
        """Return the groups of refused or reviewed words that fit a word with `*` in place of letters."""
        rule = re.compile("".join("." if letter == "*" else re.escape(letter) for letter in pattern))
        return tuple(
            dict.fromkeys(
                known.group
                for known in self._by_length.get(len(pattern), ())
                if known.group.weight != "note" and rule.fullmatch(_spell(known.letters))
            )
        )


def _spell(letters: Letters) -> str:
    return "".join(letter * count for letter, count in zip(letters.key, letters.runs, strict=True))


def _words(entry: str) -> list[tuple[str, bool] | None]:
    """Return the words of an entry, each with whether it may go on; None for a gap."""
    words: list[tuple[str, bool] | None] = []
    for part in entry.split():
        if part == GAP:
            words.append(None)
            continue
        found = cut(fold(part).lower())
        words += [(piece.own, False) for piece in found[:-1]]
        words += [(piece.own, part.endswith("*")) for piece in found[-1:]]
    return words


def _compound(steps: dict[int, list[tuple[int, Group | None]]], runs: tuple[int, ...]) -> tuple[Group, ...]:
    """Return the groups of a way to cover all letters by steps, of which at least one has a group; () if none has."""
    reached: dict[int, frozenset[Group]] = {0: frozenset()}
    for position in range(len(runs)):
        if position not in reached:
            continue
        # One word may end, and the next begin, with the same letter: "womannude".
        doubled = steps.get(position - 1, []) if position and runs[position - 1] > 1 else []
        for end, group in [*steps.get(position, []), *doubled]:
            more = reached[position] | ({group} if group else frozenset())
            if end > position and (end not in reached or len(more) > len(reached[end])):
                reached[end] = more
    return tuple(sorted(reached.get(len(runs), ()), key=lambda group: (group.category, group.language)))
