"""The dataset card: README.md with the YAML that Hugging Face reads, and what a person wants to know."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import pyarrow as pa

from pickapic.dataset.manifest import Manifest
from pickapic.dataset.schema import COLUMNS, SPLITS
from pickapic.dataset.stats import Stats

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def render(manifest: Manifest, stats: Mapping[str, Stats], schema: pa.Schema) -> str:
    """Return the text of README.md for a dataset with the files of `manifest`."""
    return "\n".join([*_front_matter(manifest, schema), "", *_body(manifest, stats, schema)])


def _front_matter(manifest: Manifest, schema: pa.Schema) -> list[str]:
    about = manifest.about
    # JSON strings are YAML strings, so that no title or licence can break out of its line.
    lines = ["---", f"pretty_name: {json.dumps(about.title)}", f"license: {json.dumps(about.licence)}"]
    lines += ["task_categories:", "- text-to-image", "tags:", "- human-preferences", "- pick-a-pic"]
    lines += ["size_categories:", f"- {_size(manifest.rows())}"]
    lines += ["configs:", "- config_name: default", "  data_files:"]
    for split in manifest.splits:
        lines += [f"  - split: {split}", f"    path: data/{split}-*.parquet"]
    lines += ["dataset_info:", "  features:"]
    for field in schema:
        lines += [f"  - name: {field.name}", f"    dtype: {_dtype(field.type)}"]
    lines += ["  splits:"]
    for split in manifest.splits:
        memory = sum(shard.memory for shard in manifest.shards if shard.split == split)
        lines += [
            f"  - name: {split}",
            f"    num_bytes: {memory}",
            f"    num_examples: {manifest.rows(split)}",
        ]
    lines += [f"  download_size: {sum(shard.bytes for shard in manifest.shards)}"]
    lines += [f"  dataset_size: {sum(shard.memory for shard in manifest.shards)}", "---"]
    return lines


def _body(manifest: Manifest, stats: Mapping[str, Stats], schema: pa.Schema) -> Iterable[str]:
    about = manifest.about
    yield from (f"# {about.title}", "", about.summary, "")
    yield from ("## Counts", "")
    yield from _table(
        ("split", "rows", "prompts", "people", "no judgement", "ties", "left picked", "from", "to"),
        [
            (
                name,
                *(f"{count:,}" for count in (s.rows, s.prompts, s.users, s.unlabelled)),
                *(_share(share) for share in (s.tie_share, s.left_share)),
                s.first or "",
                s.last or "",
            )
            for name, s in stats.items()
        ],
    )
    yield from (
        "",
        '"Left picked" is the share of decided picks that went to image 0; 50 % is no side bias.',
        "",
    )
    if set(SPLITS) <= set(manifest.splits):
        yield from _split_rule()
    yield from ("## Models", "")
    for name, s in stats.items():
        if name.endswith("_unique"):
            continue
        rows = [(m.model, f"{m.shown:,}", _share(m.win_rate)) for m in s.models]
        yield from (f"{name}:", "", *_table(("model", "shown", "win rate (tie = half)"), rows), "")
    yield from ("## Columns", "")
    documented = [column for column in COLUMNS if column.name in schema.names]
    yield from _table(
        ("column", "type", "meaning"), [(f"`{c.name}`", str(c.type), c.meaning) for c in documented]
    )
    yield from ("", "## What was left out", "")
    if manifest.left_out:
        yield from _table(
            ("reason", "rows"), [(item.reason, f"{item.count:,}") for item in manifest.left_out]
        )
    else:
        yield "Nothing."
    if about.notes:
        yield from ("", "## How it was made", "", *(f"- {note}" for note in about.notes))
    yield from ("", "## Reading it", "", "```python")
    yield from ("from datasets import load_dataset", 'data = load_dataset("path/to/this/folder")', "```", "")
    yield f"Fingerprint of the data: `{manifest.fingerprint}`."
    yield ""


def _split_rule() -> Iterable[str]:
    yield from ("## Splits", "")
    yield (
        "`validation` and `test` hold every row of their prompts, and those prompts are in no other split. "
        "Each of those prompts was created by a different person. `validation_unique` and `test_unique` "
        "repeat one row of each prompt. `train` holds the rest."
    )
    yield ""


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterable[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(_cell(cell) for cell in row)} |"


def _cell(text: str) -> str:
    """A model's name comes from outside: keep it in its cell, and keep it from being HTML."""
    for raw, safe in (("&", "&amp;"), ("<", "&lt;"), ("|", "&#124;"), ("\r", " "), ("\n", " ")):
        text = text.replace(raw, safe)
    return text


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _size(rows: int) -> str:
    return next((name for limit, name in SIZES if rows < limit), "1M<n<10M")


def _dtype(type_: pa.DataType) -> str:
    return {"double": "float64"}.get(str(type_), str(type_))
