"""The prompts of evasions.txt and benign.txt."""

import re
from pathlib import Path

_ESCAPE = re.compile(r"\\u([0-9a-f]{4})|\\U([0-9a-f]{8})")


def prompts(name: str) -> list[str]:
    r"""Return the lines of a file; `\u00e9` in one is read as that character."""
    lines = Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines()
    return [
        _ESCAPE.sub(lambda match: chr(int(match[1] or match[2], 16)), line)
        for line in lines
        if line and not line.startswith("# ")
    ]
