"""`pickapic ratings`: which of a dataset's models people prefer, and how sure that is."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pickapic.cli import output

if TYPE_CHECKING:
    from pickapic.ratings import DropK, Standings, Tally

ONE_SIDE = {1.0: "image 0", 0.0: "image 1"}


class Method(StrEnum):
    """How comparisons become ratings."""

    ELO = "elo"
    BRADLEY_TERRY = "bradley-terry"
    DAVIDSON = "davidson"


class Weights(StrEnum):
    """What counts alike."""

    NONE = "none"
    PAIRS = "pairs"
    MODELS = "models"


def ratings(
    path: Annotated[
        str, typer.Argument(metavar="DATASET", help="A folder, a Parquet file, or a hub id (owner/name).")
    ],
    method: Annotated[Method, typer.Option(help="How comparisons become ratings.")] = Method.BRADLEY_TERRY,
    split: Annotated[str | None, typer.Option(help="Only this split; all rows by default.")] = None,
    resamples: Annotated[
        int, typer.Option("--bootstrap", "--resamples", min=2, help="Draws of the bootstrap.")
    ] = 1000,
    weights: Annotated[
        Weights, typer.Option(help="Let every pair of models, or every model, count alike.")
    ] = Weights.NONE,
    prior_ties: Annotated[
        float, typer.Option(min=0, help="Imagined ties between every two models, against infinite ratings.")
    ] = 0.0,
    provisional_below: Annotated[
        int, typer.Option(min=0, help="Comparisons that a model needs for its row to be settled.")
    ] = 100,
    win_rates: Annotated[
        bool, typer.Option("--win-rates", help="Also print how often each model beats each other one.")
    ] = False,
    drop: Annotated[
        bool, typer.Option("--drop-k", help="Also print how few comparisons the first place hangs on.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the draws, and of the orders of Elo.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Rate the models of a dataset by people's picks, with 95 % intervals and shared ranks.

    Ratings are Elo points around 1000. Bradley-Terry and Davidson do not depend on the order of the picks; Elo is the
    mean of 50 random orders. A rank is 1 + the number of models that are surely better (their whole interval lies
    above), so that models which the picks do not tell apart share it.

    Examples: `pickapic ratings picks --win-rates` or `pickapic ratings picks --method davidson --weights pairs --json`
    """
    from pickapic.dataset.clean import judged
    from pickapic.dataset.read import column_names, read
    from pickapic.ratings import comparisons, standings

    marked = ["has_label"] if "has_label" in column_names(path, split) else []
    whole = read(path, ["model_0", "model_1", "label_0", *marked], split)
    table = judged(whole)
    if table.num_rows < whole.num_rows:
        output.say(f"left out: {whole.num_rows - table.num_rows:,} rows without a judgement")
    rows = (table["model_0"], table["model_1"], table["label_0"].to_numpy())
    tally = comparisons(*rows).tally()
    tally.require_decided()
    sides = set(rows[2].tolist())
    if len(sides) == 1:
        output.say(
            f"warning: every pick is of {ONE_SIDE[sides.pop()]}. That is right only where winners were put on one "
            "side; otherwise the labels are broken"
        )
    found = standings(
        *rows,
        method=method.value,
        resamples=resamples,
        seed=seed,
        prior_ties=prior_ties,
        weighting=weights.value,
        provisional_below=provisional_below,
    )
    fragile = _fragile(rows, prior_ties) if drop else None
    if json:
        output.show_json(_plain(found, tally if win_rates else None, fragile))
        return
    _show(found, table.num_rows)
    if win_rates:
        _show_win_rates(tally, [row.model for row in found.models])
    if fragile is not None:
        output.show(_in_words(fragile))


def _fragile(rows: tuple[Any, Any, Any], prior_ties: float) -> DropK:
    from pickapic.ratings import UnboundedError, drop_k
    from pickapic.ratings.standings import FALLBACK_TIES

    try:
        return drop_k(*rows, prior_ties=prior_ties)
    except UnboundedError:
        return drop_k(*rows, prior_ties=FALLBACK_TIES)


def _plain(found: Standings, tally: Tally | None, fragile: DropK | None) -> dict[str, object]:
    by_name = replace(found, models=tuple(sorted(found.models, key=lambda row: row.model)))
    plain: dict[str, object] = {"judge": "people", **output.plain(by_name)}
    if tally is not None:
        rates = tally.win_rate_matrix().tolist()
        plain["win_rates"] = {
            model: dict(zip(tally.models, row, strict=True))
            for model, row in zip(tally.models, rates, strict=True)
        }
    return plain if fragile is None else {**plain, "drop_k": fragile}


def _show(found: Standings, picks: int) -> None:
    provisional = any(row.provisional for row in found.models)
    output.show_table(
        (
            "rank",
            "model",
            "rating",
            "95 % from",
            "to",
            "win rate %",
            "comparisons",
            *([""] if provisional else []),
        ),
        [
            (
                row.rank,
                row.model,
                *(f"{value:.1f}" for value in (row.rating, row.low, row.high, 100 * row.win_rate)),
                row.comparisons,
                *(["provisional" if row.provisional else ""] if provisional else []),
            )
            for row in found.models
        ],
        note="; ".join(
            (
                found.method,
                *([f"tie parameter {found.tie:.3f}"] if found.tie is not None else []),
                *([f"weights: all {found.weighting} alike"] if found.weighting != "none" else []),
                f"{found.comparisons:,} comparisons of two models in {picks:,} picks, {found.ties:,} of them ties",
                "a rank is shared where intervals overlap",
            )
        ),
    )


def _show_win_rates(tally: Tally, order: list[str]) -> None:
    rates, games = tally.win_rate_matrix(), tally.games
    place = {model: i for i, model in enumerate(tally.models)}
    output.show_table(
        ("row beats column, %", *order),
        [
            (
                row,
                *(
                    f"{100 * rates[place[row], place[column]]:.0f}"
                    if games[place[row], place[column]]
                    else "–"
                    for column in order
                ),
            )
            for row in order
        ],
        note="a tie is half a win; – where two models were never compared",
    )


def _in_words(fragile: DropK) -> str:
    kinds = ", ".join(
        f"{kind.count:,} {f'ties of {kind.winner} with' if kind.tie else f'wins of {kind.winner} over'} {kind.loser}"
        for kind in fragile.left_out
    )
    return (
        f"without {fragile.k:,} of {fragile.comparisons:,} comparisons ({100 * fragile.k / fragile.comparisons:.2g} %) "
        f"{fragile.challenger} would be before {fragile.first} (Bradley-Terry): {kinds}"
    )
