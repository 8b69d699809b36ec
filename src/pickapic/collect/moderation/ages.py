"""Ages in a prompt: `a 12 year old`, `aged 9`, `14 años`, `пятнадцать` is left to the lists."""

from __future__ import annotations

import re
from collections.abc import Iterator

_NAMED: tuple[str, ...] = (
    *(
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
    ),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_NUMBER = rf"(?P<{{0}}>\d{{{{1,3}}}}|{'|'.join(_NAMED)})"
# Before what says that it is an age, or after it.
_AGE = re.compile(
    r"(?<![^\W_])(?:"
    + _NUMBER.format("before")
    + r"[\s\-_/.]*(?:y(?:ea)?rs?[\s\-_.]*olds?|y[\s\-_./]*o(?![^\W_])|year[\s\-_]olds?|jährige?[rnms]?|jahrige?[rnms]?|"
    r"jahre?[\s-]+alt|an(?:o|ni|os|s)(?![^\W_])(?:[\s-]+(?:de[\s-]+(?:edad|idade)))?|лет(?:н\w*)?|года?(?![^\W_])|歳|才|岁|歲|살)"
    r"|(?:aged?|alter|edad|idade|בן|בת|возраст\w*)[\s:\-_]*(?:of[\s]+)?"
    + _NUMBER.format("after")
    + r"(?![^\W_]))",
    re.IGNORECASE,
)


def ages_below(limit: int, folded: str) -> Iterator[tuple[int, int]]:
    """Yield where in a folded text an age below `limit` years stands, as (start, end)."""
    for match in _AGE.finditer(folded):
        number = (match["before"] or match["after"]).casefold()
        years = int(number) if number.isdecimal() else _NAMED.index(number)
        if years < limit:
            yield match.span()
