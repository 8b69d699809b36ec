"""What commands that write datasets share: how large their files get, and what is said when the disk is full."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from pickapic.cli import output

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?)(i?)b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3}


def parse_size(text: str) -> int:
    """Return the bytes that `500MB`, `1.5 GB` or `512MiB` stand for.

    Raises:
        typer.BadParameter: it is no such size, or less than a byte.
    """
    found = _SIZE.fullmatch(text.strip())
    size = 0
    if found:
        number, prefix, binary = found.groups()
        size = int(float(number) * (1024 if binary else 1000) ** _POWERS[prefix.lower()])
    if size < 1:
        raise typer.BadParameter(f"{text!r} is no size: write it as 500MB, 1.5GB or 512MiB")
    return size


ShardSize = Annotated[
    int,
    typer.Option(parser=parse_size, metavar="SIZE", help="Size at which a new file is begun: 500MB, 2GiB."),
]


@contextmanager
def writing(out: Path) -> Generator[None]:
    """Leave with one line when `out` cannot be written to its end."""
    try:
        yield
    except OSError as error:
        output.fail(
            f"{out} cannot be written: {error}; what is finished is kept: start the same command again"
        )
