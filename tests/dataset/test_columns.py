import pyarrow as pa
import pytest
from dataset_examples import make, replace

from pickapic.dataset.schema import COLUMNS, SCHEMA, check, require
from pickapic.records import InputError

RELEASED = {
    "are_different": "bool",
    "best_image_uid": "string",
    "caption": "string",
    "created_at": "timestamp[ns]",
    "has_label": "bool",
    "image_0_uid": "string",
    "image_0_url": "string",
    "image_1_uid": "string",
    "image_1_url": "string",
    "jpg_0": "binary",
    "jpg_1": "binary",
    "label_0": "double",
    "label_1": "double",
    "model_0": "string",
    "model_1": "string",
    "ranking_id": "int64",
    "user_id": "int64",
    "num_example_per_prompt": "int64",
}


def test_schema_is_the_released_one():
    assert [(field.name, str(field.type)) for field in SCHEMA] == list(RELEASED.items())
    assert all(column.meaning for column in COLUMNS)


@pytest.mark.parametrize("images", [True, False])
def test_a_valid_table_has_no_problems(images):
    table = make(["a cat", "a dog", "a cat", "a hat"], [1, 2, 3, 4], images=images)
    assert check(table) == []
    require(table)


def test_old_spellings_of_a_tie_are_valid():
    table = make(["a"] * 3, [1, 1, 1], labels=[0.5, 0.5, 0.5])
    assert check(replace(table, "best_image_uid", ["", None, "none"])) == []


@pytest.mark.parametrize(
    ("column", "values", "row", "says"),
    [
        ("label_0", [1.0, 0.7, 0.5], 1, "0.7 is not 0, 0.5 or 1"),
        ("label_0", [1.0, float("nan"), 0.5], 1, "nan is not 0, 0.5 or 1"),
        ("label_1", [0.0, 0.0, 0.5], 1, "do not add up to 1"),
        ("num_example_per_prompt", [1, 1, 0], 2, "0 is less than 1"),
        ("has_label", [True, False, True], 1, "is false"),
        ("caption", ["a", "", "b"], 1, "is empty"),
        ("caption", [None, "c", "b"], 0, "has no value"),
        ("best_image_uid", ["left-0", "left-1", "none"], 1, "does not name the image"),
        ("best_image_uid", ["left-0", "right-1", "left-2"], 2, "does not name the image"),
        ("jpg_0", [b"x", b"", b"y"], 1, "is empty"),
    ],
)
def test_one_wrong_value_is_named_by_column_and_row(column, values, row, says):
    table = replace(make(["a", "b", "c"], [1, 2, 3], images=True), column, values)
    problems = [problem for problem in check(table) if says in problem.message]
    assert [(problem.column, problem.row) for problem in problems] == [(column, row)]
    with pytest.raises(InputError, match=f"column '{column}', row {row}"):
        require(table)


def test_row_numbers_start_where_the_caller_says():
    table = replace(make(["a", "b"], [1, 2]), "num_example_per_prompt", [1, -3])
    assert check(table, first_row=1000)[0].row == 1001


def test_missing_and_mistyped_columns():
    table = make(["a", "b"], [1, 2])
    assert [str(p) for p in check(table.rename_columns({"caption": "captoin"}))] == [
        "column 'caption': is missing; did you mean 'captoin'?"
    ]
    floats = replace(table, "user_id", [1.0, 2.0], pa.float64())
    assert [str(p) for p in check(floats)] == ["column 'user_id': has the type double, expected int64"]


def test_images_are_asked_for_or_not():
    without = make(["a"], [1])
    assert [p.column for p in check(without, images=True)] == ["jpg_0", "jpg_1"]
    one = without.append_column("jpg_0", pa.array([b"x"], pa.binary()))
    assert [p.column for p in check(one)] == ["jpg_1"]


def test_several_faults_are_counted():
    table = replace(make(["a"] * 4, [1] * 4), "num_example_per_prompt", [0, 0, 4, 0])
    assert str(check(table)[0]) == "column 'num_example_per_prompt', row 0 (and 2 more): 0 is less than 1"
