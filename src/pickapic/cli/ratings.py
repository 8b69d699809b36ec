"""`pickapic ratings`: which of a dataset's models people prefer."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from pickapic.cli import output


class Method(StrEnum):
    """How comparisons become ratings."""

    ELO = "elo"
    BRADLEY_TERRY = "bradley-terry"


def ratings(
    path: Annotated[
        str, typer.Argument(metavar="DATASET", help="A folder, a Parquet file, or a hub id (owner/name).")
    ],
    method: Annotated[Method, typer.Option(help="How comparisons become ratings.")] = Method.BRADLEY_TERRY,
    split: Annotated[str | None, typer.Option(help="Only this split; all rows by default.")] = None,
    resamples: Annotated[int, typer.Option(min=2, help="Draws of the bootstrap.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the draws, and of the orders of Elo.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Rate the models of a dataset by people's picks, with 95 % intervals.

    Ratings are Elo points around 1000. Bradley-Terry does not depend on the order of the picks; Elo is the mean of
    50 random orders. A tie is half a win for both.

    Example: `pickapic ratings picks --method elo --json`
    """
    from pickapic.dataset.read import read
    from pickapic.evaluate.models import PEOPLE, rate

    table = read(path, ["model_0", "model_1", "label_0"], split)
    found = rate(
        PEOPLE,
        table["model_0"],
        table["model_1"],
        table["label_0"].to_numpy(),
        method=method.value,
        resamples=resamples,
        seed=seed,
    )
    if json:
        output.show_json(found)
        return
    ranked = sorted(found.models, key=lambda model: -model.rating)
    output.show_table(
        ("model", "rating", "95 % from", "to", "win rate %", "comparisons"),
        [
            (
                m.model,
                *(f"{value:.1f}" for value in (m.rating, m.low, m.high, 100 * m.win_rate)),
                m.comparisons,
            )
            for m in ranked
        ],
        note=f"{found.method}; {table.num_rows:,} picks, a tie is half a win",
    )
