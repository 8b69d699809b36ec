"""Text as the filter reads it: one form for all the ways in which the same letters can be written.

What Unicode itself calls the same (full width, mathematical alphabets, circled letters, ligatures) goes by NFKD;
accents, points and whatever is invisible go away; look-alikes of other scripts go by a table of Unicode's. A
word of another script stays readable too: each piece of text has a `plain` form in its own script and a `latin`
one that says which Latin letters it looks like.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

WORDS = Path(__file__).parent / "words"

# Marks that are drawn over, under or through a letter of any script, vowel points of Hebrew and Arabic, and
# selectors of glyph variants. The vowel signs of Indic scripts are letters in all but name and stay.
_MARKS = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640"
    "\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff"
    "\ufe00-\ufe0f\ufe20-\ufe2f\U000e0100-\U000e01ef"
    # Invisible: fillers of Hangul, and all of category Cf that text has any use for.
    "\u115f\u1160\u3164\uffa0\u00ad\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)
# Scripts that Python's \w does not cover whole: to it a vowel sign is no letter.
_LETTER = (
    "[^\\W_\u0900-\u0dff\u0e00-\u109f\u1780-\u17ff]"
    "|[\u0900-\u0963\u0966-\u0dff\u0e01-\u0e3a\u0e40-\u109f\u1780-\u17d3]"
)
_PIECE = re.compile(f"(?:{_LETTER})+")
# Scripts that are written without spaces, or that glue endings to a word: a listed word may stand anywhere.
_DENSE = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u3400-\u9fff"
    "\uac00-\ud7af\uff66-\uff9f\U00020000-\U0003ffff]"
)
_CAMEL = re.compile("(?<=[a-z])(?=[A-Z])")
_SPACE = re.compile(r"[\s\u2800]+")
_CHUNK = re.compile(r"[^\s\u2800]+")
_DIGITS = "0123456789"
_NAMED = re.compile("LATIN (?:SMALL|CAPITAL) LETTER ([A-Z])(?: WITH .*)?|LATIN LETTER SMALL CAPITAL ([A-Z])")
_SYMBOL = re.compile(
    "(?:NEGATIVE (?:CIRCLED|SQUARED)|REGIONAL INDICATOR SYMBOL) (?:LATIN CAPITAL )?(?:LETTER )?([A-Z])"
)

LEET = {
    "0": "o", "1": "il", "2": "z", "3": "e", "4": "a", "5": "s", "6": "gb", "7": "t", "8": "b", "9": "g",
    "@": "a", "$": "s", "!": "il", "|": "il", "+": "t", "€": "e", "£": "l", "¢": "c",
}  # fmt: skip
"""Which letters a digit or sign may stand for."""

_LEET_SIGNS = re.compile("[0-9@$!|+€£¢]")
_EDGE_SIGNS = "!@$|+€£¢"
_VARIANTS = 8
"""How many readings of one chunk are tried: a chunk of many 1s has more, of which most are no words."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Letters and digits without anything between them, in small letters.

    Attributes:
        own: as it is written.
        latin: in the Latin letters that it looks like; the same as `own` for most.
        start, end: where it is in the folded text.
        chunk: pieces of the same number have no white space between them.
    """

    own: str
    latin: str
    start: int
    end: int
    chunk: int

    def readings(self) -> tuple[str, ...]:
        """Return how it may be read; digits before and after a word are no part of it: `2nudes` is `nudes` too."""
        bare = self.own.strip(_DIGITS)
        if self.own == self.latin:
            return (self.own,) if bare in ("", self.own) else (self.own, bare)
        return tuple(
            dict.fromkeys((self.own, bare or self.own, self.latin, self.latin.strip(_DIGITS) or self.latin))
        )


def fold(text: str) -> str:
    """Return `text` without accents, points and invisible characters, in compatible letters; case is kept."""
    if text.isascii():
        return text
    plain = _MARKS.sub("", unicodedata.normalize("NFKD", text))
    return unicodedata.normalize("NFC", plain).translate(_symbols())


def canonical(text: str) -> str:
    """Return what two prompts have in common that the filter cannot tell apart, but for white space and case."""
    return _SPACE.sub(" ", latin(fold(text))).strip()


def latin(folded: str) -> str:
    """Return folded text in small letters, look-alikes of other scripts as the Latin letter they look like."""
    return folded.lower() if folded.isascii() else latin_letters(folded).casefold()


def latin_letters(folded: str) -> str:
    """Return the same as `latin`, but character for character: an index means the same place in both."""
    if folded.isascii():
        return folded.lower()
    return "".join(
        letter if len(letter) == 1 else character
        for character in folded.translate(_lookalikes())
        for letter in (character.lower(),)
    )


def pieces(folded: str) -> list[Piece]:
    """Cut folded text into pieces; a small letter followed by a capital is a cut too."""
    found: list[Piece] = []
    for number, chunk in enumerate(_CHUNK.finditer(folded)):
        for match in _PIECE.finditer(chunk.group()):
            start = chunk.start() + match.start()
            word = match.group()
            for part in (word,) if word[1:].islower() else _CAMEL.split(word):
                own = part.casefold()
                found.append(
                    Piece(own, own if part.isascii() else latin(part), start, start + len(part), number)
                )
                start += len(part)
    return found


def unleet(chunk: str) -> Iterator[str]:
    """Yield the readings of a chunk (no white space in it) in which digits and signs stand for letters.

    Nothing for a chunk without letters, or without such signs inside: `$100`, `wow!` and `2023` mean themselves.
    """
    if chunk.isascii() and not _LEET_SIGNS.search(chunk):
        return
    plain = latin(chunk).strip(_EDGE_SIGNS.replace("$", "").replace("@", ""))
    if not _LEET_SIGNS.search(plain) or not any(character.isalpha() for character in plain):
        return
    options = [LEET.get(character, character) for character in plain]
    for reading in itertools.islice(itertools.product(*options), _VARIANTS):
        yield "".join(reading)


def is_dense(text: str) -> bool:
    """Return whether `text` has a letter of a script in which words have no sure borders."""
    return not text.isascii() and _DENSE.search(text) is not None


def dense_text(folded: str) -> str:
    """Return the letters of scripts without word borders, with anything between two of them left out."""
    own = folded.casefold()
    return re.sub(rf"(?<={_DENSE.pattern})[\W_]+(?={_DENSE.pattern})", "", own)


class _Table(dict[int, str]):
    """A table for `str.translate` that finds out about a character when it first sees it."""

    def __missing__(self, code: int) -> str:
        self[code] = letter = self.find(chr(code))
        return letter

    def find(self, character: str) -> str:
        raise NotImplementedError


class _Symbols(_Table):
    """Signs that are drawn letters: flags, letters in black squares."""

    def find(self, character: str) -> str:
        match = _SYMBOL.fullmatch(unicodedata.name(character, ""))
        return match[1] if match else character


class _Lookalikes(_Table):
    """Letters that look Latin: those of the table, and those whose name says so."""

    def find(self, character: str) -> str:
        match = _NAMED.fullmatch(unicodedata.name(character, ""))
        return (match[1] or match[2]).lower() if match and not character.isascii() else character


@cache
def _symbols() -> _Table:
    return _Symbols()


@cache
def _lookalikes() -> _Table:
    table = _Lookalikes()
    for line in (WORDS / "homoglyphs.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            letter, _, others = line.partition("\t")
            table.update({ord(other): letter for other in others})
    return table
