"""Judge a prompt by its words, before anything is queued.

    index = open_index(None)                              # compiled once; the settings may name a file of one's own
    judge("a n-u-d-e w0man", index).decision              # "review"
    judge("a fox", index, negative="nude").decision       # "allow": it asks to leave that out

A pure function of text and lists. It reads words, so it knows no meaning: docs/moderation.md says what gets past.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pickapic.collect.moderation.ages import ages_below
from pickapic.collect.moderation.categories import CATEGORIES, Decision, Weight
from pickapic.collect.moderation.folding import (
    dense_text,
    fold,
    is_dense,
    latin_letters,
    pieces,
    unleet,
)
from pickapic.collect.moderation.index import (
    GAP_WORDS,
    LONGEST,
    Index,
    Letters,
    Phrase,
    letters_of,
)
from pickapic.collect.moderation.lists import Group, Rule, read_lists

ADULT = 18
_MINOR = Group("minor", "note", "", ())
_RANK: dict[Weight, int] = {"note": 0, "review": 1, "refuse": 2}
_GRAVITY = {name: number for number, name in enumerate(CATEGORIES)}

_SIGN = "@$!|+€£¢"
_ONE = rf"(?:[^\W_]|[{_SIGN}])"
# Three or more single letters with something between them, and no letter right before or after.
_SPELLED = re.compile(rf"(?<![^\W_]){_ONE}(?:[\W_]{{1,3}}{_ONE}){{2,}}(?![^\W_])")
_SINGLE = re.compile(_ONE)
_STARRED = re.compile(r"[^\W\d_]+\*+(?:[^\W\d_]*\*)*[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class Reason:
    """A listed word that was found; `found` is for moderators and never for a page that others see."""

    category: str
    decision: Weight
    found: str
    part: Literal["prompt", "negative"] = "prompt"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a prompt, and why: the gravest reason first; none if it is allowed."""

    decision: Decision
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class _Hit:
    """Words of a group found from piece `first` to piece `last`."""

    group: Group
    first: int
    last: int


@lru_cache(8)
def open_index(own: Path | None) -> Index:
    """Return the compiled lists, with the file `own` beside those that come along; it is read once.

    Raises:
        InputError: the file cannot be read, or something in it does not fit.
    """
    return Index(read_lists(own))


def judge(text: str, index: Index, negative: str = "") -> Verdict:
    """Return what becomes of a prompt: `text` is what it asks for, `negative` what it asks to leave out."""
    reasons = [*_reasons(text, index)]
    if negative:
        reasons += _negative_reasons(negative, index)
    reasons.sort(key=lambda reason: (-_RANK[reason.decision], _GRAVITY[reason.category]))
    gravest: dict[tuple[str, str, str], Reason] = {}
    for reason in reasons:
        gravest.setdefault((reason.category, reason.found, reason.part), reason)
    if not reasons:
        return Verdict("allow")
    return Verdict("refuse" if reasons[0].decision == "refuse" else "review", tuple(gravest.values()))


def _reasons(text: str, index: Index) -> Iterator[Reason]:
    reading = _Reading(text, index)
    found = reading.hits()
    hits = [hit for hit in found if not reading.is_negated(hit, found)]
    for hit in hits:
        if hit.group.weight != "note":
            yield Reason(hit.group.category, hit.group.weight, reading.quote(hit, hit))
    for rule in index.rules:
        yield from reading.together(rule, hits)


def _negative_reasons(text: str, index: Index) -> Iterator[Reason]:
    """Asking to leave something unfit out is fine; what is strict is not said at all, and clothes are left on."""
    reading = _Reading(text, index)
    for hit in reading.hits():
        if hit.group.weight != "note" and CATEGORIES[hit.group.category].strict:
            yield Reason(hit.group.category, hit.group.weight, reading.quote(hit, hit), "negative")
        elif hit.group.category == "clothing":
            yield Reason("nudity", "review", reading.quote(hit, hit), "negative")


class _Reading:
    """One text, cut into pieces, and everything that is found in it."""

    def __init__(self, text: str, index: Index) -> None:
        self.index = index
        self.folded = fold(text)
        self.pieces = pieces(self.folded)
        self.slots: list[list[Letters]] = [
            [letters_of(reading) for reading in piece.readings()] for piece in self.pieces
        ]

    def hits(self) -> list[_Hit]:
        """Return all listed words, less those that stand in a phrase where they mean something else."""
        found: dict[_Hit, None] = dict.fromkeys(self._whole())
        for chunk in self._chunks():
            found.update(dict.fromkeys(self._joined(chunk)))
        for more in (self._halves(), self._leet(), self._spelled(), self._starred(), self._dense()):
            found.update(dict.fromkeys(more))
        phrases = list(self._phrases())
        found.update(
            (_Hit(phrase.group, *span), None) for phrase, span in phrases if phrase.group and not phrase.safe
        )
        found.update((_Hit(_MINOR, *span), None) for span in self._ages())
        safe = [(phrase.group, *span) for phrase, span in phrases if phrase.safe]
        return [
            hit
            for hit in found
            if not any(
                _excuses(group, hit.group) and first <= hit.first and hit.last <= last
                for group, first, last in safe
            )
        ]

    def quote(self, first: _Hit, second: _Hit) -> str:
        """Return the text of one or two hits as it stands in the prompt, folded."""
        quoted = [
            self.folded[self.pieces[hit.first].start : self.pieces[hit.last].end]
            for hit in dict.fromkeys((first, second))
            if self.pieces
        ]
        return " + ".join(quoted)

    def is_negated(self, hit: _Hit, hits: Iterable[_Hit]) -> bool:
        """Return whether `no` stands before a hit, with nothing but other hits, `or` and `and` between them."""
        if CATEGORIES[hit.group.category].strict:
            return False
        listed = {number for other in hits for number in range(other.first, other.last + 1)}
        grammar = self.index.grammar
        for number in range(hit.first - 1, -1, -1):
            word = self.pieces[number].own
            if number in listed or word in grammar.joiners:
                continue
            return word in grammar.negations
        return False

    def together(self, rule: Rule, hits: Sequence[_Hit]) -> Iterator[Reason]:
        """Return the pairs of hits that a rule is about."""
        for one in hits:
            if one.group.category not in rule.first:
                continue
            for other in hits:
                if other.group.category not in rule.second:
                    continue
                apart = max(one.first - other.last, other.first - one.last) - 1
                weight = rule.weight if apart <= rule.within else rule.beyond
                if weight != "note":
                    yield Reason(
                        rule.category, weight, self.quote(*sorted((one, other), key=lambda hit: hit.first))
                    )

    def _whole(self) -> Iterator[_Hit]:
        for number, piece in enumerate(self.pieces):
            for reading in piece.readings():
                yield from self._named(self.index.in_word(reading), number, number)
            for prefix in () if piece.own.isascii() else self.index.grammar.prefixes:
                if piece.own.startswith(prefix):
                    yield from self._named(self.index.exactly(piece.own[len(prefix) :]), number, number)

    def _named(self, groups: Iterable[Group], first: int, last: int) -> Iterator[_Hit]:
        return (_Hit(group, first, last) for group in groups)

    def _chunks(self) -> Iterator[range]:
        """Yield the numbers of pieces that have no white space between them."""
        start = 0
        for number in range(1, len(self.pieces) + 1):
            if number == len(self.pieces) or self.pieces[number].chunk != self.pieces[start].chunk:
                yield range(start, number)
                start = number

    def _joined(self, chunk: range) -> Iterator[_Hit]:
        """Yield words that have signs inside: n.u.d.e, nu-de."""
        for first in chunk[:-1]:
            own, latin = self.pieces[first].own, self.pieces[first].latin
            for last in range(first + 1, chunk.stop):
                own, latin = own + self.pieces[last].own, latin + self.pieces[last].latin
                if len(own) > LONGEST:
                    break
                for word in {own, latin}:
                    yield from self._named(self.index.exactly(word, len(self.pieces[first].own)), first, last)

    def _halves(self) -> Iterator[_Hit]:
        """Yield long words in two halves: hen tai."""
        for number, (left, right) in enumerate(itertools.pairwise(self.pieces)):
            yield from self._named(self.index.halves(left.latin, right.latin), number, number + 1)

    def _leet(self) -> Iterator[_Hit]:
        """Yield words with digits and signs for letters; a chunk that reads as one word also counts in phrases."""
        for chunk in self._chunks():
            start, end = self.pieces[chunk[0]].start, self.pieces[chunk[-1]].end
            # Signs at the edges belong to no piece: $ex, @ss.
            while start and self.folded[start - 1] in _SIGN:
                start -= 1
            while end < len(self.folded) and self.folded[end] in _SIGN:
                end += 1
            for reading in unleet(self.folded[start:end]):
                parts = [piece.own for piece in pieces(reading)]
                for word in {*parts, "".join(parts)}:
                    groups = self.index.in_word(word) if word in parts else self.index.exactly(word)
                    yield from self._named(groups, chunk[0], chunk[-1])
                if len(parts) == len(chunk):
                    for number, part in zip(chunk, parts, strict=True):
                        self.slots[number].append(letters_of(part))

    def _spelled(self) -> Iterator[_Hit]:
        """Yield words that are spelled out: n u d e."""
        for match in _SPELLED.finditer(latin_letters(self.folded)):
            first, last = self._numbers(*match.span())
            row = "".join(_SINGLE.findall(match.group()))
            for word in {row, *unleet(row)}:
                yield from self._named(self.index.spelled(word), first, last)

    def _starred(self) -> Iterator[_Hit]:
        """Yield words with stars for letters: n*de."""
        for match in _STARRED.finditer(latin_letters(self.folded)):
            yield from self._named(self.index.starred(match.group()), *self._numbers(*match.span()))

    def _dense(self) -> Iterator[_Hit]:
        """Yield words of scripts without word borders, wherever they stand."""
        if not is_dense(self.folded):
            return
        text = dense_text(self.folded)
        last = len(self.pieces) - 1
        for group in dict.fromkeys(group for word, group in self.index.dense if word in text):
            bare = text
            for safe, of in self.index.safe_dense:
                if _excuses(of, group):
                    bare = bare.replace(safe, " ")
            if any(word in bare for word, of in self.index.dense if of == group):
                yield _Hit(group, 0, last)

    def _phrases(self) -> Iterator[tuple[Phrase, tuple[int, int]]]:
        for number, slot in enumerate(self.slots):
            for letters in slot:
                for phrase in self.index.phrases.get(letters.key, ()):
                    for last in self._ends(phrase, 0, number):
                        yield phrase, (number, last)

    def _ends(self, phrase: Phrase, word: int, number: int) -> Iterator[int]:
        """Yield where a phrase may end whose `word`-th word should be piece `number`."""
        wanted = phrase.words[word]
        if wanted is None:
            for skipped in range(GAP_WORDS + 1):
                yield from self._ends(phrase, word + 1, number + skipped)
        elif number < len(self.slots) and any(_fits(*wanted, letters) for letters in self.slots[number]):
            if word + 1 == len(phrase.words):
                yield number
            else:
                yield from self._ends(phrase, word + 1, number + 1)

    def _ages(self) -> Iterator[tuple[int, int]]:
        for span in ages_below(ADULT, self.folded):
            yield self._numbers(*span)

    def _numbers(self, start: int, end: int) -> tuple[int, int]:
        """Return the first and the last piece of the folded text from `start` to `end`."""
        starts = [piece.start for piece in self.pieces]
        first = max(0, bisect_right(starts, start) - 1)
        if first < len(self.pieces) - 1 and self.pieces[first].end <= start:
            first += 1
        return first, max(first, bisect_right(starts, end - 1) - 1)


def _excuses(safe: Group | None, group: Group) -> bool:
    """Return whether a phrase of `safe` takes hits of a group away: of its category in any language; None: of all."""
    return safe is None or safe.category == group.category


def _fits(wanted: Letters, goes_on: bool, letters: Letters) -> bool:
    if not (letters.key.startswith(wanted.key) if goes_on else letters.key == wanted.key):
        return False
    return wanted.at(0, letters.runs)
