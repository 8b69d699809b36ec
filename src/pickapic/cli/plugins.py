"""`pickapic plugins`: which generators and scorers are installed."""

from __future__ import annotations

from typing import Annotated

import typer


def plugins(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the installed generators and scorers, and the package that each comes from; nothing is imported.

    Example: `pickapic plugins --json`
    """
    from pickapic.cli import output
    from pickapic.plugins import GROUPS, installed, kind

    rows = [
        (kind(group), name, point.value, point.dist.name if point.dist else None)
        for group in GROUPS
        for name, point in installed(group).items()
    ]
    columns = ("kind", "name", "made by", "package")
    if json:
        output.show_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    output.show_table(columns, rows)
