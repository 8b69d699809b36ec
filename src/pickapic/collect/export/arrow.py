"""Rows of the database as rows of the released schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pickapic.collect.anonymity import anonymous_id
from pickapic.collect.export.picks import FIELDS, Record
from pickapic.dataset.schema import TIE

LABELS = {"left": 1.0, "right": 0.0, "tie": 0.5}
UTC_MICROSECONDS = pa.timestamp("us", "UTC")


class Rows:
    """Makes tables of `schema`: the released columns, with or without images. `secret` anonymises people."""

    def __init__(self, schema: pa.Schema, secret: str) -> None:
        self._schema = schema
        self._secret = secret
        self._users: dict[int, int] = {}

    def table(self, rows: Sequence[Record], files: Mapping[str, bytes]) -> pa.Table:
        """Return the picks as a table; `files` has the bytes of all images by content, if the schema has any."""
        if not rows:
            return self._schema.empty_table()
        column = dict(zip(FIELDS, zip(*rows, strict=True), strict=True))
        picks, uid_0, uid_1 = column["pick"], column["uid_0"], column["uid_1"]
        sha256_0, sha256_1 = column["sha256_0"], column["sha256_1"]
        labels = [LABELS[pick] for pick in picks]
        best = [
            left if pick == "left" else right if pick == "right" else TIE
            for pick, left, right in zip(picks, uid_0, uid_1, strict=True)
        ]
        values: dict[str, Sequence[Any]] = {
            "are_different": [left != right for left, right in zip(sha256_0, sha256_1, strict=True)],
            "best_image_uid": best,
            "caption": column["caption"],
            "has_label": [True] * len(rows),
            "image_0_uid": uid_0,
            "image_0_url": [""] * len(rows),
            "image_1_uid": uid_1,
            "image_1_url": [""] * len(rows),
            "label_0": labels,
            "label_1": [1 - label for label in labels],
            "model_0": column["model_0"],
            "model_1": column["model_1"],
            "ranking_id": column["ranking_id"],
            "user_id": [self._user(user_id) for user_id in column["user_id"]],
            "num_example_per_prompt": column["examples"],
        }
        if "jpg_0" in self._schema.names:
            values["jpg_0"] = [files[key] for key in sha256_0]
            values["jpg_1"] = [files[key] for key in sha256_1]
        arrays: dict[str, pa.Array[Any]] = {
            name: pa.array(some, self._schema.field(name).type) for name, some in values.items()
        }
        times = pa.array(column["picked_at"], UTC_MICROSECONDS)
        arrays["created_at"] = times.cast(self._schema.field("created_at").type)
        return pa.table([arrays[field.name] for field in self._schema], schema=self._schema)

    def _user(self, user_id: int) -> int:
        known = self._users.get(user_id)
        if known is None:
            known = self._users[user_id] = anonymous_id(self._secret, user_id)
        return known
