"""Time and memory of counting, dividing and checking 959,040 rows, beside pandas and `datasets` doing the same.

Every measurement is a process of its own, the programs in turns: its time is from start to end with all imports, its
memory the highest resident size (VmHWM), and what it read is counted by the system (rchar in /proc/self/io, which
includes the program's own files). Results are compared: whoever is fast must also be right.

    python runs/full_size.py /tmp/v2-like
    python benchmarks/full_size.py /tmp/v2-like
    python benchmarks/full_size.py /tmp/v2-like --rounds 5 --work stats split
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import io
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

WORK = {
    "read": ("ours", "pandas", "datasets"),
    "stats": ("ours", "pandas"),
    "split": ("ours", "pandas"),
    "check": ("ours",),
    "copy": ("ours",),
}
TOLD = {
    "read": "the six columns that are counted, of all rows",
    "stats": "dataset stats --json",
    "split": "dataset split --no-images: five splits written, with manifest and card",
    "check": "dataset check --no-images",
    "copy": "dataset copy --no-images: all splits written, with manifest and card",
}
COLUMNS = ["caption", "created_at", "label_0", "model_0", "model_1", "user_id"]
REPEATED = ("validation_unique", "test_unique")
MB = 1e6


def main() -> None:
    arguments = parsed()
    if arguments.child:
        work, who = arguments.child
        print(json.dumps(measured(work, who, arguments)))
        return
    if not any(Path(arguments.data).glob("data/*.parquet")):
        raise SystemExit(
            f"{arguments.data} holds no data/*.parquet: python runs/full_size.py {arguments.data}"
        )
    files = list(Path(arguments.data).glob("data/*.parquet"))
    packages = ", ".join(f"{name} {version(name)}" for name in ("polars", "pyarrow", "pandas", "datasets"))
    today = datetime.datetime.now(datetime.UTC).date()
    print(
        f"{today}, {cpu()}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}; {packages}"
    )
    print(f"{len(files)} files, {sum(file.stat().st_size for file in files) / MB:,.0f} MB")
    for work in arguments.work:
        found: dict[str, list[dict[str, Any]]] = {who: [] for who in WORK[work]}
        for _ in range(arguments.rounds):
            for who in WORK[work]:
                found[who].append(child(work, who, arguments))
        agree(work, found)
        report(work, found)
    print(f"load at the end: {os.getloadavg()[0]:.1f}")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", help="folder that runs/full_size.py wrote, or a release")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", nargs="+", choices=WORK, default=list(WORK))
    parser.add_argument("--prompts", type=int, default=1000, help="held out by split")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def child(work: str, who: str, arguments: argparse.Namespace) -> dict[str, Any]:
    command = [
        sys.executable,
        __file__,
        arguments.data,
        "--child",
        work,
        who,
        "--prompts",
        str(arguments.prompts),
    ]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{who} failed at {work}:\n{done.stderr}")
    return {"seconds": seconds, **json.loads(done.stdout.splitlines()[-1])}


def measured(work: str, who: str, arguments: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=Path(arguments.data).resolve().parent) as folder:
        result = CHILDREN[work, who](arguments, folder)
        peak = field("/proc/self/status", "VmHWM") * 1024
        return {"result": result, "peak": peak, "read": field("/proc/self/io", "rchar")}


def field(path: str, name: str) -> int:
    for line in Path(path).read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise SystemExit(f"{path} has no {name}: this benchmark needs Linux")


def agree(work: str, found: dict[str, list[dict[str, Any]]]) -> None:
    results = {json.dumps(run["result"], sort_keys=True) for runs in found.values() for run in runs}
    if len(results) != 1:
        raise SystemExit(f"{work}: the results differ:\n" + "\n".join(sorted(results)))


def report(work: str, found: dict[str, list[dict[str, Any]]]) -> None:
    print(f"\n{work}: {TOLD[work]}")
    print(f"{'':>10} {'seconds':>8} {'(range)':>14} {'peak MB':>8} {'read MB':>8} {'time / ours':>12}")
    ours = [run["seconds"] for run in found["ours"]]
    for who, runs in found.items():
        seconds = [run["seconds"] for run in runs]
        ratio = statistics.median(other / own for other, own in zip(seconds, ours, strict=True))
        spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
        peak, read = (max(run[key] for run in runs) / MB for key in ("peak", "read"))
        print(
            f"{who:>10} {statistics.median(seconds):8.2f} {spread:>14} {peak:8,.0f} {read:8,.0f} {ratio:12.2f}"
        )


# What is measured


def command(*arguments: str) -> str:
    """Run one of our commands as a person would, and return what it prints."""
    from pickapic.cli.app import main as pickapic

    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        pickapic(list(arguments))
    return out.getvalue()


def our_read(arguments: argparse.Namespace, folder: str) -> Any:
    from pickapic.dataset.read import read

    return read(arguments.data, COLUMNS).num_rows


def pandas_read(arguments: argparse.Namespace, folder: str) -> Any:
    import pandas as pd

    return len(pd.concat([pd.read_parquet(path, columns=COLUMNS) for path in whole_files(arguments)]))


def datasets_read(arguments: argparse.Namespace, folder: str) -> Any:
    os.environ["HF_HUB_OFFLINE"] = "1"
    import datasets

    datasets.disable_progress_bars()
    files = [str(path) for path in whole_files(arguments)]
    found = datasets.load_dataset(
        "parquet", data_files=files, columns=COLUMNS, split="train", cache_dir=f"{folder}/cache"
    )
    return found.num_rows


def our_stats(arguments: argparse.Namespace, folder: str) -> Any:
    found = json.loads(command("dataset", "stats", arguments.data, "--json"))
    kept = ("rows", "prompts", "users", "ties", "picks_per_prompt_max", "picks_per_user_max", "first", "last")
    return {
        split: {name: counts[name] for name in kept}
        | {"left": round(counts["left_share"], 9)}
        | {"models": {m["model"]: [m["shown"], round(m["win_rate"], 9)] for m in counts["models"]}}
        for split, counts in found.items()
    }


def pandas_stats(arguments: argparse.Namespace, folder: str) -> Any:
    import pandas as pd

    found: dict[str, Any] = {}
    for split, paths in files_by_split(arguments).items():
        frame = pd.concat([pd.read_parquet(path, columns=COLUMNS) for path in paths])
        decided = frame[frame["label_0"] != 0.5]
        other = frame["model_0"] != frame["model_1"]
        label = frame["label_0"].where(other)
        sides = pd.concat(
            [
                pd.DataFrame({"model": frame["model_0"], "won": label}),
                pd.DataFrame({"model": frame["model_1"], "won": 1 - label}),
            ]
        )
        models = sides.groupby("model")["won"].agg(["size", "mean"])
        found[split] = {
            "rows": len(frame),
            "prompts": frame["caption"].nunique(),
            "users": frame["user_id"].nunique(),
            "ties": len(frame) - len(decided),
            "picks_per_prompt_max": int(frame["caption"].value_counts().iloc[0]),
            "picks_per_user_max": int(frame["user_id"].value_counts().iloc[0]),
            "first": frame["created_at"].min().strftime("%Y-%m-%dT%H:%M:%SZ"),
            "last": frame["created_at"].max().strftime("%Y-%m-%dT%H:%M:%SZ"),
            "left": round(float((decided["label_0"] == 1).mean()), 9),
            "models": {name: [int(row["size"]), round(row["mean"], 9)] for name, row in models.iterrows()},
        }
    return found


def our_split(arguments: argparse.Namespace, folder: str) -> Any:
    told = command(
        "dataset",
        "split",
        arguments.data,
        f"{folder}/out",
        "--prompts",
        str(arguments.prompts),
        "--no-images",
        "--json",
    )
    return held_out(json.loads(told)["rows"], arguments)


def pandas_split(arguments: argparse.Namespace, folder: str) -> Any:
    """The rule as one writes it down in pandas (benchmarks/paper_split.py), from files to files."""
    import pandas as pd
    import pyarrow.parquet as pq

    paths = whole_files(arguments)
    columns = [
        name for name in pq.read_schema(paths[0]).names if name not in ("jpg_0", "jpg_1", "__index_level_0__")
    ]
    frame = pd.concat([pd.read_parquet(path, columns=columns) for path in paths], ignore_index=True)
    earliest = frame.sort_values(["created_at", "ranking_id"]).drop_duplicates("caption")
    shuffled = earliest.sample(frac=1, random_state=0).drop_duplicates("user_id").head(arguments.prompts)
    chosen = shuffled["caption"].sample(frac=1, random_state=1)
    half = arguments.prompts // 2
    validation = frame[frame["caption"].isin(chosen[:half])]
    test = frame[frame["caption"].isin(chosen[half:])]
    splits = {
        "train": frame[~frame["caption"].isin(chosen)],
        "validation": validation,
        "test": test,
        "validation_unique": validation.groupby("caption").sample(1, random_state=0),
        "test_unique": test.groupby("caption").sample(1, random_state=0),
    }
    for name, rows in splits.items():
        rows.to_parquet(f"{folder}/{name}.parquet", compression="zstd", index=False)
    return held_out({name: len(rows) for name, rows in splits.items()}, arguments)


def held_out(rows: dict[str, int], arguments: argparse.Namespace) -> Any:
    """The draws differ, so the sizes do; their sum and the `_unique` splits must not."""
    return [rows["train"] + rows["validation"] + rows["test"], rows["validation_unique"], rows["test_unique"]]


def our_check(arguments: argparse.Namespace, folder: str) -> Any:
    return json.loads(command("dataset", "check", arguments.data, "--no-images", "--json"))


def our_copy(arguments: argparse.Namespace, folder: str) -> Any:
    told = json.loads(command("dataset", "copy", arguments.data, f"{folder}/out", "--no-images", "--json"))
    shutil.rmtree(f"{folder}/out")
    return told["rows"]


def files_by_split(arguments: argparse.Namespace) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(Path(arguments.data).glob("data/*.parquet")):
        found.setdefault(path.name.partition("-")[0], []).append(path)
    return found


def whole_files(arguments: argparse.Namespace) -> list[Path]:
    return [
        path for split, paths in files_by_split(arguments).items() if split not in REPEATED for path in paths
    ]


CHILDREN = {
    ("read", "ours"): our_read,
    ("read", "pandas"): pandas_read,
    ("read", "datasets"): datasets_read,
    ("stats", "ours"): our_stats,
    ("stats", "pandas"): pandas_stats,
    ("split", "ours"): our_split,
    ("split", "pandas"): pandas_split,
    ("check", "ours"): our_check,
    ("copy", "ours"): our_copy,
}

if __name__ == "__main__":
    main()
