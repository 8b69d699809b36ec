"""The one Arrow schema of a preference dataset: the released columns, and what must hold in them."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from pickapic.plugins import nearest
from pickapic.records import InputError

TRAIN, VALIDATION, TEST = "train", "validation", "test"
VALIDATION_UNIQUE, TEST_UNIQUE = "validation_unique", "test_unique"
SPLITS = (TRAIN, VALIDATION, TEST, VALIDATION_UNIQUE, TEST_UNIQUE)
"""The split names of the release. A `_unique` split repeats one row per prompt of its namesake."""

TIE = "none"
"""What `best_image_uid` holds where neither image was preferred; an empty string or null is read as this."""


@dataclass(frozen=True, slots=True)
class Column:
    """One released column: its name, Arrow type and meaning."""

    name: str
    type: pa.DataType
    meaning: str


COLUMNS = (
    Column("are_different", pa.bool_(), "The two images differ (their bytes are not the same)."),
    Column("best_image_uid", pa.string(), "Uid of the preferred image; `none` on a tie (or empty)."),
    Column("caption", pa.string(), "The prompt both images were made from, as the person typed it."),
    Column("created_at", pa.timestamp("ns"), "When the pick was made, UTC."),
    Column("has_label", pa.bool_(), "A person judged this pair (a pick or a tie)."),
    Column("image_0_uid", pa.string(), "Uid of image 0, the one shown on the left."),
    Column("image_0_url", pa.string(), "Where image 0 was served; empty, or dead, once released."),
    Column("image_1_uid", pa.string(), "Uid of image 1, the one shown on the right."),
    Column("image_1_url", pa.string(), "Where image 1 was served; empty, or dead, once released."),
    Column("jpg_0", pa.binary(), "Image 0 as the bytes of a JPEG or PNG file."),
    Column("jpg_1", pa.binary(), "Image 1 as the bytes of a JPEG or PNG file."),
    Column("label_0", pa.float64(), "1 if image 0 was preferred, 0 if image 1 was, 0.5 on a tie."),
    Column("label_1", pa.float64(), "1 - label_0."),
    Column("model_0", pa.string(), "The model that made image 0."),
    Column("model_1", pa.string(), "The model that made image 1."),
    Column("ranking_id", pa.int64(), "Number of the judgement; unique in a dataset."),
    Column("user_id", pa.int64(), "Who judged: an anonymised number, the same in every row of one person."),
    Column(
        "num_example_per_prompt",
        pa.int64(),
        "Rows of the whole dataset with this prompt.",
    ),
)

SCHEMA = pa.schema([pa.field(column.name, column.type) for column in COLUMNS])
"""The released columns in released order, without pandas' leftover `__index_level_0__`."""

IMAGE_COLUMNS = ("jpg_0", "jpg_1")
SCHEMA_NO_IMAGES = pa.schema([field for field in SCHEMA if field.name not in IMAGE_COLUMNS])

IGNORED = ("__index_level_0__",)
"""Columns found in released files that mean nothing: never read, never written."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a table. `row` is the first row at fault (0-based), None for a whole column."""

    column: str
    row: int | None
    count: int
    message: str

    def __str__(self) -> str:
        if self.row is None:
            return f"column {self.column!r}: {self.message}"
        more = f" (and {self.count - 1:,} more)" if self.count > 1 else ""
        return f"column {self.column!r}, row {self.row:,}{more}: {self.message}"


def check(table: pa.Table, *, images: bool | None = None, first_row: int = 0) -> list[Problem]:
    """Return everything wrong with `table`, in column order; an empty list if it is a valid dataset.

    Args:
        table: any table; unknown extra columns are allowed.
        images: True if `jpg_0` and `jpg_1` must be there, False if they must not be looked at, None to check
            them where present (the variants without images lack both).
        first_row: number of the first row, for tables that are checked piece by piece.
    """
    problems: list[Problem] = []
    wanted = [column for column in COLUMNS if _wanted(column.name, table, images)]
    for column in wanted:
        if column.name not in table.column_names:
            hint = nearest(column.name, [name for name in table.column_names if name not in SCHEMA.names])
            problems.append(Problem(column.name, None, 1, f"is missing{hint}"))
        elif table.schema.field(column.name).type != column.type:
            found = table.schema.field(column.name).type
            problems.append(Problem(column.name, None, 1, f"has the type {found}, expected {column.type}"))
    usable = {column.name for column in wanted} - {problem.column for problem in problems}
    frame = pl.DataFrame(table.select([name for name in SCHEMA.names if name in usable]))
    for rule in RULES:
        if usable.issuperset(rule.columns):
            problems.extend(_broken(rule, frame, first_row))
    return sorted(problems, key=lambda problem: (SCHEMA.get_field_index(problem.column), problem.row or -1))


def require(table: pa.Table, *, images: bool | None = None, source: str = "the dataset") -> None:
    """Raise `InputError` with the first problems of `table` (called `source`), if there are any."""
    problems = check(table, images=images)
    if problems:
        shown = "; ".join(str(problem) for problem in problems[:5])
        more = f"; and {len(problems) - 5} more problems" if len(problems) > 5 else ""
        raise InputError(f"{source} is not a valid preference dataset: {shown}{more}")


def require_columns(table: pa.Table, names: tuple[str, ...], what_for: str) -> None:
    """Raise `InputError` unless `table` has all of `names`."""
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise InputError(
            f"{what_for} needs the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; "
            f"this table has {', '.join(table.column_names) or 'no columns'}"
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """What must hold in every row. `broken` is true where it does not; the first of `columns` is at fault."""

    columns: tuple[str, ...]
    broken: pl.Expr
    message: str


_LABELS = (0.0, 0.5, 1.0)
_MAY_BE_NULL = ("best_image_uid", "image_0_url", "image_1_url")
_TIE = pl.col("best_image_uid").fill_null("").is_in(["", TIE])

RULES = (
    *(
        Rule((name,), pl.col(name).is_null(), "has no value")
        for name in SCHEMA.names
        if name not in _MAY_BE_NULL
    ),
    *(
        Rule((name,), pl.col(name).str.len_bytes() == 0, "is empty")
        for name in ("caption", "image_0_uid", "image_1_uid")
    ),
    *(Rule((name,), pl.col(name).bin.size() == 0, "is empty") for name in IMAGE_COLUMNS),
    Rule(("has_label",), ~pl.col("has_label"), "is false: the row holds no judgement"),
    *(Rule((name,), ~pl.col(name).is_in(_LABELS), "is not 0, 0.5 or 1") for name in ("label_0", "label_1")),
    Rule(
        ("label_1", "label_0"), pl.col("label_0") + pl.col("label_1") != 1, "and label_0 do not add up to 1"
    ),
    Rule(
        ("best_image_uid", "label_0", "image_0_uid", "image_1_uid"),
        pl.when(pl.col("label_0") == 1)
        .then(pl.col("best_image_uid").fill_null("") != pl.col("image_0_uid"))
        .when(pl.col("label_0") == 0)
        .then(pl.col("best_image_uid").fill_null("") != pl.col("image_1_uid"))
        .otherwise(~_TIE),
        "does not name the image that label_0 prefers",
    ),
    Rule(("num_example_per_prompt",), pl.col("num_example_per_prompt") < 1, "is less than 1"),
)


def _wanted(name: str, table: pa.Table, images: bool | None) -> bool:
    if name not in IMAGE_COLUMNS or images is True:
        return True
    # One image column without the other is a fault, so each asks for both.
    return images is None and any(column in table.column_names for column in IMAGE_COLUMNS)


def _broken(rule: Rule, frame: pl.DataFrame, first_row: int) -> list[Problem]:
    """Return the rule's problem, if some row breaks it. Null values are left to the rule on nulls."""
    rows = frame.select(rule.broken.fill_null(False).arg_true()).to_series()
    if not len(rows):
        return []
    value = frame[rule.columns[0]][int(rows[0])]
    shown = f"{value} " if isinstance(value, int | float) and not isinstance(value, bool) else ""
    return [Problem(rule.columns[0], first_row + int(rows[0]), len(rows), f"{shown}{rule.message}")]
