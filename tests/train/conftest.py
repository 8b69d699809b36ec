"""A dataset of people who like brighter pictures better."""

import io
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pickapic.dataset.schema import SCHEMA
from pickapic.dataset.write import write


def jpeg(level, rng):
    pixels = np.clip(rng.normal(level, 12, (40, 48, 3)), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def rows(n, seed, first_prompt):
    rng = np.random.default_rng(seed)
    for number in range(n):
        levels = rng.uniform(20, 235, 2)
        tie = abs(levels[0] - levels[1]) < 15
        label_0 = 0.5 if tie else float(levels[0] > levels[1])
        uids = [f"{seed}-{number}-{side}" for side in (0, 1)]
        yield {
            "are_different": True,
            "best_image_uid": "none" if tie else uids[0 if label_0 else 1],
            "caption": f"a cat {first_prompt + number // 4}",
            "created_at": datetime(2026, 1, 1) + timedelta(seconds=number),
            "has_label": True,
            "image_0_uid": uids[0],
            "image_0_url": "",
            "image_1_uid": uids[1],
            "image_1_url": "",
            "jpg_0": jpeg(levels[0], rng),
            "jpg_1": jpeg(levels[1], rng),
            "label_0": label_0,
            "label_1": 1 - label_0,
            "model_0": "a",
            "model_1": "b",
            "ranking_id": seed * 100_000 + number,
            "user_id": number % 7,
            "num_example_per_prompt": 4,
        }


@pytest.fixture(scope="session")
def brightness(tmp_path_factory):
    """A dataset folder with `train` (320 rows) and `validation_unique` (80)."""
    folder = tmp_path_factory.mktemp("data") / "brightness"
    tables = {
        "train": pa.Table.from_pylist(list(rows(320, 1, 0)), schema=SCHEMA),
        "validation_unique": pa.Table.from_pylist(list(rows(80, 2, 1000)), schema=SCHEMA),
    }
    write(folder, tables)
    return folder
