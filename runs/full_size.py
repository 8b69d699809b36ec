"""Write a made-up dataset of the size, columns and file layout of the public releases, to try things at full size.

    python runs/full_size.py v2-like                                        959,040 rows to train on, no images
    python runs/full_size.py small --images real-size --scale 0.005         331 KB of images a row, as released
    python runs/full_size.py v1-like --release v1 --images tiny

The rows are drawn, not copied: prompts with few rows and with many, people who make many prompts and few, rounds in
which the winner stays and meets the next image, ties, times. Prompts of validation and test are each somebody else's
and in no other split. The same seed gives the same bytes (with the same versions of pyarrow and Pillow).
"""

from __future__ import annotations

import argparse
import hashlib
import io
import itertools
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from pickapic.dataset.schema import SCHEMA, SCHEMA_NO_IMAGES

Integers = NDArray[np.int64]

ROWS = {
    "v1": {"train": 583_747, "validation": 17_439, "test": 14_073},
    "v2": {"train": 959_040, "validation": 20_596, "test": 20_716},
}
HELD_OUT = 500
"""Prompts of validation, and of test."""

PROMPTS_A_ROW, PEOPLE_A_ROW = 37_523 / 583_747, 4_375 / 583_747
"""Of the first release's training rows (the paper)."""

MODELS = {
    "v1": (
        "CompVis/stable-diffusion-v1-4",
        "stabilityai/stable-diffusion-2-1",
        "dreamlike-art/dreamlike-photoreal-2.0",
    ),
    "v2": (
        "CompVis/stable-diffusion-v1-4",
        "stabilityai/stable-diffusion-2-1",
        "dreamlike-art/dreamlike-photoreal-2.0",
        "stabilityai/sdxl-beta",
        "prompthero/openjourney",
    ),
}
TIES = 0.12
ROW_GROUP = {"none": 1000, "tiny": 1000, "real-size": 100}
ROWS_A_FILE = {"none": 120_000, "tiny": 120_000, "real-size": 1_500}
"""With images of the real size that makes 500 MB a file."""

SIDE = {"tiny": 16, "real-size": 512}
POOL = {"tiny": 64, "real-size": 16}
WORDS = (
    "a the of in with at by and on castle dragon golden misty neon oil owl painting river robot winter portrait "
    "astronaut cinematic light detailed city forest cat sword ocean dream sunset ancient temple girl old man horse "
    "street photo watercolor sketch blue red giant tiny flying house mountain storm moon garden glass clockwork"
)


@dataclass(frozen=True, slots=True)
class Rows:
    """All rows of train, validation and test, in order of time: indices and labels, but no text."""

    split: NDArray[np.int8]
    prompt: Integers
    user: Integers
    time: Integers
    label: NDArray[np.float64]
    images: NDArray[np.int64]
    examples: Integers
    unique: NDArray[np.bool_]


def main() -> None:
    arguments = parsed()
    out: Path = arguments.out
    if out.exists():
        raise SystemExit(f"{out} is there already")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "data").mkdir(parents=True)
    started, written = time.perf_counter(), 0
    rows = draw(arguments.release, arguments.scale, arguments.seed)
    captions = texts(int(rows.prompt.max()) + 1, arguments.seed)
    pool = pictures(arguments.images, arguments.seed)
    for split, places in splits(rows):
        per_file = arguments.rows_per_file or ROWS_A_FILE[arguments.images]
        files = max(1, -(-len(places) // per_file))
        for number, chosen in enumerate(np.array_split(places, files)):
            path = partial / "data" / name(arguments, split, number, files)
            write(path, rows, chosen, captions, arguments, pool)
            written += path.stat().st_size
        print(f"{split}: {len(places):,} rows in {files} files", flush=True)
    partial.rename(out)
    print(f"{out}: {written / 1e6:,.0f} MB in {time.perf_counter() - started:.1f} s")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument(
        "--release", choices=sorted(ROWS), default="v2", help="whose numbers of rows and models"
    )
    parser.add_argument(
        "--images", choices=sorted(ROW_GROUP), default="none", help="tiny: 16 px; real-size: 512 px"
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, help="share of the rows, for images of the real size"
    )
    parser.add_argument("--rows-per-file", type=int, help="otherwise 1,500 with real images, 120,000 without")
    parser.add_argument("--row-group", type=int, help="rows; otherwise 100 with real images, 1,000 without")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def name(arguments: argparse.Namespace, split: str, number: int, files: int) -> str:
    """The released names end in sixteen hex digits that `datasets` made."""
    mark = hashlib.sha256(f"{arguments.release} {arguments.seed} {split} {number}".encode()).hexdigest()[:16]
    return f"{split}-{number:05d}-of-{files:05d}-{mark}.parquet"


def draw(release: str, scale: float, seed: int) -> Rows:
    """Draw who judged what and how; a prompt's rounds follow one another in time."""
    rng = np.random.default_rng(seed)
    rows = {split: max(4, round(count * scale)) for split, count in ROWS[release].items()}
    held_out = max(2, round(HELD_OUT * min(1.0, scale)))
    people = max(2 * held_out + 1, round(PEOPLE_A_ROW * rows["train"]))
    prompts = {split: min(held_out, count) for split, count in rows.items()}
    prompts["train"] = max(1, round(PROMPTS_A_ROW * rows["train"]))
    sizes = np.concatenate([shares(rows[split], prompts[split], rng) for split in rows])
    split_of = np.repeat(np.arange(3, dtype=np.int8), [prompts[split] for split in rows])
    creators = rng.permutation(people)[: prompts["validation"] + prompts["test"]]
    busy = rng.zipf(1.6, prompts["train"]) % people
    creator = np.concatenate([busy, creators])

    prompt = np.repeat(np.arange(len(sizes)), sizes)
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    begins = np.zeros(len(prompt), np.bool_)
    begins[first] = True
    start = rng.integers(1_672_531_200, 1_696_118_400, len(sizes))  # January to September 2023, in seconds
    gaps = rng.exponential(12.0, len(prompt)) + 1.0
    elapsed = np.cumsum(gaps)
    moment = start[prompt] + elapsed - elapsed[first][prompt]
    visitor = (rng.random(len(prompt)) < 0.03) & ~begins
    user = np.where(visitor, rng.integers(0, people, len(prompt)), creator[prompt])
    label = rng.choice([1.0, 0.0, 0.5], len(prompt), p=[(1 - TIES) / 2, (1 - TIES) / 2, TIES])

    order = np.argsort(moment, kind="stable")
    unique = np.zeros(len(prompt), np.bool_)
    unique[first + (rng.random(len(sizes)) * sizes).astype(np.int64)] = True
    columns = (
        split_of[prompt],
        prompt,
        user,
        (moment * 1e6).astype(np.int64),
        label,
        duels(begins, prompt, label),
        sizes[prompt],
        unique,
    )
    return Rows(*(column[order] for column in columns))


def shares(rows: int, prompts: int, rng: np.random.Generator) -> Integers:
    """Divide rows among prompts, at least one each: a few prompts have very many."""
    weights = rng.lognormal(0.0, 1.3, prompts)
    return 1 + rng.multinomial(rows - prompts, weights / weights.sum())


def duels(begins: NDArray[np.bool_], prompt: Integers, label: NDArray[np.float64]) -> Integers:
    """Number the two images of each row, (n, 2): the winner stays on the left and meets the prompt's next image."""
    new = np.arange(len(prompt)) + prompt + 1  # a prompt of n rows has n + 1 images
    came = np.where(begins, new - 1, 0)
    right_won = np.flatnonzero(label[:-1] == 0.0)
    came[right_won + 1] = np.where(begins[right_won + 1], came[right_won + 1], new[right_won])
    return np.stack([np.maximum.accumulate(came), new], axis=1)


def splits(rows: Rows) -> Iterator[tuple[str, Integers]]:
    for number, split in enumerate(("train", "validation", "test")):
        yield split, np.flatnonzero(rows.split == number)
        if number:
            yield f"{split}_unique", np.flatnonzero((rows.split == number) & rows.unique)


def texts(count: int, seed: int) -> pa.Array:
    """Return one prompt a number; some 12 words, and no two the same."""
    rng = np.random.default_rng([seed, 1])
    lengths = np.minimum(3 + rng.poisson(6, count) + rng.geometric(0.25, count), 60)
    words = np.array(WORDS.split())[rng.integers(0, len(WORDS.split()), int(lengths.sum()))].tolist()
    ends = np.cumsum(lengths).tolist()
    starts = [0, *ends[:-1]]
    return pa.array(
        [" ".join(words[a:b]) + f" {n:x}" for n, (a, b) in enumerate(zip(starts, ends, strict=True))]
    )


def write(
    path: Path,
    rows: Rows,
    chosen: Integers,
    captions: pa.Array,
    arguments: argparse.Namespace,
    pool: list[bytes],
) -> None:
    """Write one file in row groups as the release has them; images are made a row group at a time."""
    group = arguments.row_group or ROW_GROUP[arguments.images]
    schema = SCHEMA if pool else SCHEMA_NO_IMAGES
    schema = schema.append(pa.field("__index_level_0__", pa.int64()))
    with pq.ParquetWriter(path, schema, compression="snappy") as writer:
        step = group if pool else len(chosen)
        for start in range(0, len(chosen), step):
            part = chosen[start : start + step]
            writer.write_table(table(rows, part, captions, arguments, pool, schema), row_group_size=group)


def table(
    rows: Rows,
    chosen: Integers,
    captions: pa.Array,
    arguments: argparse.Namespace,
    pool: list[bytes],
    schema: pa.Schema,
) -> pa.Table:
    left, right = rows.images[chosen].T
    label = rows.label[chosen]
    uids = {"0": uids_of(left, arguments.seed), "1": uids_of(right, arguments.seed)}
    models = pa.array(MODELS[arguments.release])
    best = np.where(label == 1.0, left, right)
    chose_none = pa.array(label == 0.5)
    columns: dict[str, pa.Array] = {
        "are_different": pa.array(np.ones(len(chosen), np.bool_)),
        "best_image_uid": pa.compute.if_else(chose_none, "none", uids_of(best, arguments.seed)),
        "caption": captions.take(pa.array(rows.prompt[chosen])),
        "created_at": pa.array(rows.time[chosen] * 1000, pa.timestamp("ns")),
        "has_label": pa.array(np.ones(len(chosen), np.bool_)),
        "label_0": pa.array(label),
        "label_1": pa.array(1 - label),
        "ranking_id": pa.array(chosen + 1),
        "user_id": pa.array(rows.user[chosen] + 1),
        "num_example_per_prompt": pa.array(rows.examples[chosen]),
        "__index_level_0__": pa.array(chosen),
    }
    for side, images in (("0", left), ("1", right)):
        columns[f"image_{side}_uid"] = uids[side]
        columns[f"image_{side}_url"] = urls_of(uids[side])
        columns[f"model_{side}"] = models.take(pa.array(scramble(images, 7) % len(models)))
        if pool:
            columns[f"jpg_{side}"] = pa.array(
                [picture(pool, image) for image in images.tolist()], pa.binary()
            )
    return pa.table([columns[field.name] for field in schema], schema=schema)


def scramble(numbers: Integers, salt: int) -> NDArray[np.uint64]:
    """Make 64 bits of each number (the finaliser of splitmix64): the same image has the same uid everywhere."""
    x = numbers.astype(np.uint64) + np.uint64((0x9E3779B97F4A7C15 * (salt + 1)) % 2**64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def uids_of(images: Integers, seed: int) -> pa.Array:
    """Return uids of the release's form, 8-4-4-4-12 hex digits, without a step of Python for each."""
    halves = np.stack([scramble(images, 2 * seed + 101), scramble(images, 2 * seed + 102)], axis=1)
    digits = np.frombuffer(halves.astype(">u8").tobytes().hex().encode(), np.uint8).reshape(-1, 32)
    dash = np.full((len(images), 1), ord("-"), np.uint8)
    cuts = (0, 8, 12, 16, 20, 32)
    parts = [part for a, b in itertools.pairwise(cuts) for part in (digits[:, a:b], dash)][:-1]
    return fixed_text(np.concatenate(parts, axis=1))


def urls_of(uids: pa.Array) -> pa.Array:
    head, tail = b"https://images.example.org/images/", b".png"
    middle = np.frombuffer(uids.buffers()[2], np.uint8).reshape(-1, 36)
    around = [np.tile(np.frombuffer(text, np.uint8), (len(uids), 1)) for text in (head, tail)]
    return fixed_text(np.concatenate([around[0], middle, around[1]], axis=1))


def fixed_text(characters: NDArray[np.uint8]) -> pa.Array:
    """Make an Arrow column of ASCII texts of one length, (n, length)."""
    offsets = np.arange(len(characters) + 1, dtype=np.int32) * characters.shape[1]
    data = pa.py_buffer(np.ascontiguousarray(characters).tobytes())
    return pa.StringArray.from_buffers(len(characters), pa.py_buffer(offsets.tobytes()), data)


def pictures(kind: str, seed: int) -> list[bytes]:
    """Return JPEGs that images are made of; none for no images. At 512 px they have some 165 kB, as released."""
    if kind == "none":
        return []
    rng, side = np.random.default_rng([seed, 2]), SIDE[kind]
    found: list[bytes] = []
    for _ in range(POOL[kind]):
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((side, side))
        noise = rng.normal(0, 26, (side, side, 1))
        pixels = np.clip(np.asarray(coarse, np.float64) + noise, 0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=92)
        found.append(file.getvalue())
    return found


def picture(pool: list[bytes], image: int) -> bytes:
    """One of the pool with a comment after its first two bytes, so that every image has bytes of its own."""
    data = pool[image % len(pool)]
    return data[:2] + b"\xff\xfe\x00\x0a" + image.to_bytes(8, "big") + data[2:]


if __name__ == "__main__":
    main()
