"""One evaluation as one HTML file, without scripts or network, and beside it the same as JSON."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import jinja2
from markupsafe import Markup

from pickapic.evaluate import plots
from pickapic.evaluate.results import (
    Evaluation,
    ExampleResult,
    ModelRating,
    ModelRatings,
    PreferenceResult,
    TrainingPoint,
)
from pickapic.records import InputError

FORMAT = "pickapic.evaluation/1"


def write_report(evaluation: Evaluation, path: str | os.PathLike[str]) -> Path:
    """Write `path` (HTML) and the same numbers beside it with the suffix `.json`; return the HTML's path.

    The first of `evaluation.tests` is taken for the question that was asked: its first scorer is set off, and
    the sentence at the top answers it. Both files appear whole or not at all; the HTML comes last.

    Raises:
        InputError: `path` is a folder, or would be its own JSON file.
    """
    target = Path(path)
    beside = target.with_suffix(".json")
    if target.is_dir() or beside == target:
        raise InputError(f"a report is written to a file such as report.html, not to {target}")
    target.parent.mkdir(parents=True, exist_ok=True)
    page, numbers = render_report(evaluation), json.dumps(as_json(evaluation), indent=2, ensure_ascii=False)
    for file, text in ((beside, numbers + "\n"), (target, page)):
        draft = file.with_name(f".{file.name}.part")
        draft.write_text(text, encoding="utf-8")
        draft.replace(file)
    return target


def render_report(evaluation: Evaluation) -> str:
    """Return the HTML of the report."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pickapic.evaluate"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(  # pyright: ignore[reportUnknownMemberType]
        percent=percent, points=points, data_url=data_url, thousands=thousands, p=p_value
    )
    tables = protocol_tables(evaluation)
    return environment.get_template("report.html").render(
        evaluation=evaluation,
        answer=answer(evaluation),
        tables=tables,
        training=training_charts(evaluation.training),
        ratings=rating_rows(evaluation.ratings),
        groups=[
            ("Where it was right and sure", evaluation.best_examples),
            ("Where it was wrong and sure", evaluation.worst_examples),
        ],
        judged=judged,
        stages=stage_bars(evaluation.seconds),
        total_seconds=sum(seconds for _, seconds in evaluation.seconds),
        main=main_scorer(evaluation),
    )


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return the evaluation as JSON values: a figure that does not exist is null, an image is its SHA-256."""
    return {"format": FORMAT, **cast(dict[str, Any], _plain(dataclasses.asdict(evaluation)))}


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in cast(Mapping[object, object], value).items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in cast(list[object], value)]
    if isinstance(value, bytes):
        return f"sha256:{hashlib.sha256(value).hexdigest()}"
    return None if isinstance(value, float) and not math.isfinite(value) else value


# What the page says


def main_scorer(evaluation: Evaluation) -> str | None:
    """Return the scorer that the report is about: the first test's, or the first row's."""
    if evaluation.tests:
        return evaluation.tests[0].scorer_a
    return evaluation.preferences[0].scorer if evaluation.preferences else None


def answer(evaluation: Evaluation) -> tuple[str, str]:
    """Return the report's first two sentences: how well the main scorer predicts, how sure its lead is."""
    if not evaluation.preferences:
        return "No preferences were predicted.", ""
    rows = {row.scorer: row for row in reversed(evaluation.preferences)}
    row = rows.get(main_scorer(evaluation) or "", evaluation.preferences[0])
    said = f"{row.scorer} predicts people’s picks at {percent(row.accuracy)} %"
    basis = f"{thousands(row.n)} held-out judgements of {thousands(row.prompts)} prompts"
    if not evaluation.tests or not math.isfinite(evaluation.tests[0].difference):
        return f"{said}.", f"95 % interval {percent(row.low)} to {percent(row.high)}, from {basis}."
    test = evaluation.tests[0]
    side = "above" if test.difference >= 0 else "below"
    sure = "more than chance explains" if test.low > 0 or test.high < 0 else "which chance may explain"
    return (
        f"{said}, {abs(test.difference) * 100:.1f} points {side} {test.scorer_b}.",
        f"95 % interval of the difference {points(test.low)} to {points(test.high)} points, {sure}. "
        f"From {basis}.",
    )


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table of scorers, with its drawing."""

    result: PreferenceResult
    plot: Markup
    main: bool


@dataclass(frozen=True, slots=True)
class ProtocolTable:
    """All scorers under one protocol on one split."""

    protocol: str
    split: str
    rows: tuple[Row, ...]
    axis: Markup
    floor: float


def protocol_tables(evaluation: Evaluation) -> list[ProtocolTable]:
    """Return one table for each (protocol, split), in order of appearance."""
    main = main_scorer(evaluation)
    tables: list[ProtocolTable] = []
    for protocol, split in dict.fromkeys((row.protocol, row.split) for row in evaluation.preferences):
        results = [row for row in evaluation.preferences if (row.protocol, row.split) == (protocol, split)]
        axis = plots.scale([end for row in results for end in (row.low, row.high, row.accuracy, row.floor)])
        rows = tuple(
            Row(
                result,
                Markup(
                    plots.intervals(axis, [_accuracy_mark(result, result.scorer == main)], line=result.floor)
                ),
                result.scorer == main,
            )
            for result in results
        )
        labels = Markup(plots.axis_labels(axis, lambda tick: f"{tick:.0%}".replace("%", " %")))
        tables.append(ProtocolTable(protocol, split, rows, labels, results[0].floor))
    return tables


def _accuracy_mark(row: PreferenceResult, main: bool) -> plots.Mark:
    title = (
        f"{row.scorer}: {percent(row.accuracy)} %, 95 % interval {percent(row.low)} to {percent(row.high)}"
    )
    return plots.Mark(row.accuracy, row.low, row.high, "main" if main else "other", title)


@dataclass(frozen=True, slots=True)
class TrainingCharts:
    """The two training curves; `accuracy` is None where nothing was validated."""

    loss: Markup
    accuracy: Markup | None
    has_validation_loss: bool
    best: TrainingPoint | None


def training_charts(training: tuple[TrainingPoint, ...]) -> TrainingCharts | None:
    """Return the drawings of a run, or None if there was none."""
    if not training:
        return None
    smooth = plots.Curve("training loss", tuple((point.step, point.loss) for point in training), "other")
    held_out = plots.Curve(
        "validation loss",
        tuple((point.step, point.validation_loss) for point in training if point.validation_loss is not None),
        "main",
    )
    validated = [point for point in training if point.validation_accuracy is not None]
    best = max(validated, key=lambda point: point.validation_accuracy or 0.0, default=None)
    accuracy: Markup | None = None
    if best is not None:
        curve = plots.Curve(
            "validation accuracy",
            tuple((point.step, point.validation_accuracy or 0.0) for point in validated),
            "main",
        )
        ring = (float(best.step), best.validation_accuracy or 0.0)
        accuracy = Markup(plots.chart([curve], lambda tick: f"{tick * 100:g} %", marked=ring))
    loss = Markup(plots.chart([smooth, held_out], lambda tick: f"{tick:g}"))
    return TrainingCharts(loss, accuracy, bool(held_out.points), best)


@dataclass(frozen=True, slots=True)
class RatingRow:
    """One model as every judge rates it; `ratings` stands beside the judges, None where one lacks it."""

    model: str
    plot: Markup
    ratings: tuple[ModelRating | None, ...]


@dataclass(frozen=True, slots=True)
class RatingTable:
    """All models, best by the first judge first. `kinds` are the judges' classes in the style sheet."""

    judges: tuple[ModelRatings, ...]
    kinds: tuple[str, ...]
    rows: tuple[RatingRow, ...]
    axis: Markup


def rating_rows(ratings: tuple[ModelRatings, ...]) -> RatingTable | None:
    """Return the models with their ratings by every judge, or None if nobody rated any."""
    if not any(judge.models for judge in ratings):
        return None
    ends = [
        end for judge in ratings for model in judge.models for end in (model.low, model.high, model.rating)
    ]
    axis = plots.scale(ends, pieces=4)
    kinds = tuple(f"judge-{index}" for index in range(len(ratings)))
    by_judge = [{rating.model: rating for rating in judge.models} for judge in ratings]
    first = sorted(ratings[0].models, key=lambda rating: -rating.rating)
    names = dict.fromkeys([rating.model for rating in first] + [name for judge in by_judge for name in judge])
    rows: list[RatingRow] = []
    for name in names:
        found = [judge.get(name) for judge in by_judge]
        marks = [
            plots.Mark(
                rating.rating, rating.low, rating.high, kind, f"{name} by {judge.judge}: {rating.rating:.0f}"
            )
            for rating, kind, judge in zip(found, kinds, ratings, strict=True)
            if rating is not None
        ]
        drawing = plots.intervals(axis, marks, height=18 + 11 * len(ratings))
        rows.append(RatingRow(name, Markup(drawing), tuple(found)))
    return RatingTable(
        ratings, kinds, tuple(rows), Markup(plots.axis_labels(axis, lambda tick: f"{tick:,.0f}"))
    )


@dataclass(frozen=True, slots=True)
class Judged:
    """An example in words: who was picked, what the scorer expected, and the bar of its probability."""

    pick: str
    left_share: str
    right_share: str
    bar: Markup


def judged(example: ExampleResult) -> Judged:
    """Return what the page says about one example."""
    pick = "left" if example.label_0 > 0.5 else "right" if example.label_0 < 0.5 else "tie"
    left, right = f"{example.prob_0 * 100:.0f} %", f"{(1.0 - example.prob_0) * 100:.0f} %"
    side = "left" if example.prob_0 >= 0.5 else "right"
    drawing = plots.bar(example.prob_0, f"versus {side}", f"expected: left {left}, right {right}")
    return Judged(pick, left, right, Markup(drawing))


def stage_bars(seconds: tuple[tuple[str, float], ...]) -> list[tuple[str, float, Markup]]:
    """Return each stage with its seconds and a bar of its share of the longest."""
    longest = max((spent for _, spent in seconds), default=0.0) or 1.0
    return [
        (name, spent, Markup(plots.bar(spent / longest, "time", f"{name}: {spent:.1f} s")))
        for name, spent in seconds
    ]


# How numbers are written


def percent(share: float | None) -> str:
    """Write a share (0..1) in percent with one decimal, without the sign."""
    return "–" if share is None or not math.isfinite(share) else f"{share * 100:.1f}"


def points(share: float) -> str:
    """Write a difference of shares in percentage points, with its sign."""
    return f"{share * 100:+.1f}".replace("-", "−") if math.isfinite(share) else "–"


def thousands(number: float) -> str:
    """Write a whole number with separators."""
    return f"{number:,.0f}" if math.isfinite(number) else "–"


def p_value(value: float) -> str:
    """Write a p-value as far as it says something."""
    return "–" if not math.isfinite(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def data_url(image: bytes) -> str:
    """Return an encoded image as a data URL.

    Raises:
        InputError: neither JPEG, PNG nor WebP.
    """
    if image.startswith(b"\xff\xd8\xff"):
        kind = "jpeg"
    elif image.startswith(b"\x89PNG\r\n\x1a\n"):
        kind = "png"
    elif image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        kind = "webp"
    else:
        raise InputError("an example's image is neither JPEG, PNG nor WebP")
    return f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}"
