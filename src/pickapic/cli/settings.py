"""`pickapic settings`: every setting, its value, and where that comes from."""

from __future__ import annotations

from typing import Annotated

import typer


def settings(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print every setting with its source; secrets are hidden.

    The environment (`PICKAPIC_<NAME>`) wins over `pickapic.toml` (here, or where `PICKAPIC_CONFIG` points),
    and that over the defaults.

    Example: `PICKAPIC_PORT=9000 pickapic settings`
    """
    from pickapic.cli import output
    from pickapic.settings import load_settings

    loaded = load_settings()
    values = loaded.shown()
    if json:
        output.show_json(
            {name: {"value": values[name], "source": source} for name, source in loaded.sources.items()}
        )
        return
    values["generators"] = ", ".join(f"{choice.name} x {choice.weight:g}" for choice in loaded.generators)
    rows = [
        (name, None if values[name] is None else str(values[name]), source)
        for name, source in loaded.sources.items()
    ]
    output.show_table(("setting", "value", "source"), rows)
