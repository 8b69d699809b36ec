"""Scoring a dataset with `--engine ray` beside `--engine local`: the same images, in one run, in turns.

A Parquet file of miniature pictures (512 px JPEG, a prompt for every two) is scored to a table by both engines with the
bundled 5 M-parameter CLIP, as `pickapic score` does it, and the tables are compared byte for byte. The cluster stands
already, as two nodes of one core each (`--nodes 1`: one of all cores), and each turn of Ray starts its actors anew.

    python benchmarks/ray_scoring.py --images 20000 --rounds 1
    python benchmarks/ray_scoring.py --units       # what one core does, what a task and a part cost

Three rates are given: with loading the scorer (once in this process, by every actor on the cluster); from the fifth
part to the fifth last, which is what a long run comes to; and, since other work on the machine disturbs both, images
for each second of the processor that all processes together used meanwhile. Goal: within 15 % of the local engine's.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from random import Random

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import torch
from PIL import Image
from ray.cluster_utils import Cluster as Nodes

from pickapic.cluster.nodes import connect
from pickapic.cluster.scoring import Cluster, Job, RayEngine
from pickapic.miniature.depiction import depict
from pickapic.miniature.models import MODELS
from pickapic.miniature.renderer import render
from pickapic.miniature.scene import draw, write
from pickapic.scorers.load import load_scorer
from pickapic.scorers.sources import Wanted, open_source
from pickapic.scorers.table import IMAGES_A_PART, ScoreTable, identify

GOAL = 0.85
DISTINCT = 512


def main() -> None:
    arguments = parsed()
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    folder = Path(tempfile.mkdtemp(prefix="ray-scoring-", dir=arguments.folder))
    cluster = standing(arguments.nodes, arguments.cores)
    try:
        data = dataset(folder / "images.parquet", arguments.images)
        print(where(arguments), flush=True)
        found = units(data, folder) if arguments.units else turns(data, folder, arguments)
        print(json.dumps(found, indent=1))
    finally:
        ray.shutdown()
        cluster.shutdown()
        shutil.rmtree(folder)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=1, help="turns of each engine")
    parser.add_argument("--nodes", type=int, default=2, help="Ray nodes on this machine")
    parser.add_argument("--cores", type=int, default=2, help="processor cores, divided among the nodes")
    parser.add_argument("--units", action="store_true", help="unit costs instead of the comparison")
    parser.add_argument("--scorer", default="miniature")
    parser.add_argument("--folder", help="where files are written; otherwise the temporary folder")
    return parser.parse_args()


def standing(nodes: int, cores: int) -> Nodes:
    """Start the nodes and join them."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    each = {"num_cpus": cores // nodes, "object_store_memory": 512 * 2**20}
    cluster = Nodes(initialize_head=True, head_node_args={**each, "include_dashboard": False})
    for _ in range(nodes - 1):
        cluster.add_node(**each)
    connect(cluster.address)
    return cluster


def where(arguments: argparse.Namespace) -> str:
    load = os.getloadavg()[0]
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {platform.machine()}, {os.cpu_count()} cores, load {load:.1f}; "
        f"Python {platform.python_version()}, torch {torch.__version__}, ray {version('ray')}; "
        f"{arguments.nodes} Ray nodes, {arguments.images:,} images, scorer {arguments.scorer}"
    )


def dataset(path: Path, n: int) -> Path:
    """Write n images, of which 512 are different: each is decoded and scored for itself all the same."""
    files: list[bytes] = []
    for number in range(min(n, DISTINCT)):
        prompt = write(draw(Random(number)))
        picture = render(depict(prompt, MODELS[number % len(MODELS)], number, 7.0))
        file = io.BytesIO()
        picture.resize((512, 512), Image.Resampling.LANCZOS).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    schema = pa.schema([("image", pa.binary()), ("caption", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, n, 256):
            rows = range(start, min(start + 256, n))
            images = [files[row % len(files)] for row in rows]
            captions = [write(draw(Random(row // 2))) for row in rows]
            writer.write_table(pa.table([images, captions], schema=schema))
    return path


@dataclass(frozen=True, slots=True)
class Moment:
    """When a part was finished: seconds, images so far, seconds of the processor of all processes and of this one."""

    seconds: float
    images: int
    cpu: float
    cpu_here: float


def run(data: Path, out: Path, scorer: str, engine: str, actors: int | None = None) -> dict[str, float]:
    """Score `data` to `out`, and return seconds: until the first part, to the end, and of loading."""
    started = time.perf_counter()
    loaded = load_scorer(scorer)
    loading = time.perf_counter() - started
    source = open_source([str(data)], Wanted())
    table = ScoreTable(out, source, loaded, identify(source, loaded))
    chosen = None
    if engine == "ray":
        job = Job((str(data),), Wanted(), scorer, {}, "logit", table.part_rows)
        chosen = RayEngine(job, Cluster(actors=actors), source, table.columns, loaded)
    moments: list[Moment] = []

    def note(images: int) -> None:
        done = images + (moments[-1].images if moments else 0)
        moments.append(Moment(time.perf_counter() - started, done, cpu_seconds(), time.process_time()))

    table.begin(fresh=True)
    started = time.perf_counter()
    table.fill("fail", note, chosen)
    table.finish()
    seconds = time.perf_counter() - started + (loading if engine == "local" else 0.0)
    # At either end some actors have nothing to do.
    edge = min(4, (len(moments) - 1) // 3)
    first, last = moments[edge], moments[len(moments) - 1 - edge]
    images = last.images - first.images
    result = {
        "seconds": seconds,
        "images_a_second": source.count / seconds,
        "steady_images_a_second": images / (last.seconds - first.seconds),
        "images_a_cpu_second": images / (last.cpu - first.cpu),
        "cpu_seconds_an_image_here": (last.cpu_here - first.cpu_here) / images,
        "until_first_part": moments[0].seconds,
        "loading": loading,
    }
    return result | ({"bytes_over_the_cluster": chosen.received} if chosen is not None else {})


def cpu_seconds() -> float:
    """Return what this process and all below it (the nodes are) have used of the processor."""
    here = psutil.Process()
    seconds = 0.0
    for process in [here, *here.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds += times.user + times.system
    return seconds


def turns(data: Path, folder: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """Let both engines score, in turns."""
    found: dict[str, list[dict[str, float]]] = {"local": [], "ray": []}
    order = ["local", "ray"]
    for number in range(arguments.rounds):
        for engine in order if number % 2 == 0 else order[::-1]:
            result = run(data, folder / f"{engine}.parquet", arguments.scorer, engine)
            found[engine].append(result)
            print(
                f"round {number + 1}, {engine}: {result['seconds']:.1f} s, {result['images_a_second']:.0f} images/s, "
                f"{result['steady_images_a_second']:.0f} in the middle, "
                f"{result['images_a_cpu_second']:.0f} a second of the processor; load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    same = (folder / "local.parquet").read_bytes() == (folder / "ray.parquet").read_bytes()
    ratios = {
        kind: statistics.median(
            there[kind] / here[kind] for there, here in zip(found["ray"], found["local"], strict=True)
        )
        for kind in ("images_a_second", "steady_images_a_second", "images_a_cpu_second")
    }
    for kind, ratio in ratios.items():
        print(f"{kind}: ray / local {ratio:.3f}, goal {GOAL}: {'met' if ratio >= GOAL else 'missed'}")
    print(f"the tables are {'the same, byte for byte' if same else 'NOT the same'}")
    return {"rounds": found, "ratios": ratios, "same": same}


def units(data: Path, folder: Path) -> dict[str, object]:
    """Measure what a planned number is made of: one core, two, and what Ray itself takes for a part."""
    one = run(data, folder / "one.parquet", "miniature", "ray", actors=1)
    two = run(data, folder / "two.parquet", "miniature", "ray", actors=2)
    idle = run(data, folder / "idle.parquet", "random", "ray", actors=1)
    images = pq.read_metadata(data).num_rows
    parts = images / IMAGES_A_PART
    return {
        "images_a_second_and_core": one["steady_images_a_second"],
        "images_a_cpu_second": one["images_a_cpu_second"],
        "images_a_cpu_second_on_two_nodes": two["images_a_cpu_second"],
        "scaling_to_two_nodes": two["steady_images_a_second"] / one["steady_images_a_second"] / 2,
        "start_seconds": one["until_first_part"],
        "seconds_a_part_without_a_model": (idle["seconds"] - idle["until_first_part"]) / (parts - 1),
        "driver_cpu_seconds_an_image": two["cpu_seconds_an_image_here"],
        "bytes_over_the_cluster_an_image": one["bytes_over_the_cluster"] / images,
        "load": os.getloadavg()[0],
    }


if __name__ == "__main__":
    main()
