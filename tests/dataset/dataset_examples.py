"""Small valid datasets for the tests, with real JPEG bytes where images are wanted."""

from __future__ import annotations

import io
from collections import Counter
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
from PIL import Image

from pickapic.dataset.schema import SCHEMA, SCHEMA_NO_IMAGES

START = datetime(2023, 3, 1, 12, 0, 0)


def jpeg(seed: int, size: int = 16) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def make(
    captions: list[str],
    users: list[int],
    minutes: list[int] | None = None,
    labels: list[float] | None = None,
    images: bool = False,
) -> pa.Table:
    """Return a valid table with one row for each caption; the rest is filled in deterministically."""
    n = len(captions)
    minutes = list(range(n)) if minutes is None else minutes
    labels = [(1.0, 0.0, 0.5)[i % 3] for i in range(n)] if labels is None else labels
    counts = Counter(captions)
    uids = [(f"left-{i}", f"right-{i}") for i in range(n)]
    columns = {
        "are_different": [True] * n,
        "best_image_uid": [
            {1.0: left, 0.0: right}.get(label, "none")
            for label, (left, right) in zip(labels, uids, strict=True)
        ],
        "caption": captions,
        "created_at": [START + timedelta(minutes=minute) for minute in minutes],
        "has_label": [True] * n,
        "image_0_uid": [left for left, _ in uids],
        "image_0_url": [""] * n,
        "image_1_uid": [right for _, right in uids],
        "image_1_url": [""] * n,
        "label_0": labels,
        "label_1": [1 - label for label in labels],
        "model_0": [f"model-{i % 3}" for i in range(n)],
        "model_1": [f"model-{(i + 1 + i // 3) % 3}" for i in range(n)],
        "ranking_id": list(range(1, n + 1)),
        "user_id": users,
        "num_example_per_prompt": [counts[caption] for caption in captions],
    }
    if images:
        columns["jpg_0"] = [jpeg(2 * i) for i in range(n)]
        columns["jpg_1"] = [jpeg(2 * i + 1) for i in range(n)]
    schema = SCHEMA if images else SCHEMA_NO_IMAGES
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def replace(table: pa.Table, name: str, values: list[object], type_: pa.DataType | None = None) -> pa.Table:
    index = table.schema.get_field_index(name)
    return table.set_column(index, name, pa.array(values, type_ or SCHEMA.field(name).type))
