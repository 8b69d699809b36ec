"""`pickapic dataset ...`: check, count, divide and describe datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from pickapic.cli import output
from pickapic.cli.convert import convert
from pickapic.cli.copy import copy
from pickapic.cli.dpo import export_dpo
from pickapic.cli.files import ShardSize, writing
from pickapic.cli.overlap import overlap
from pickapic.cli.shards import shards

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Dataset = Annotated[
    str, typer.Argument(metavar="DATASET", help="A folder, a Parquet file, or a hub id (owner/name).")
]

dataset = typer.Typer(no_args_is_help=True, help="Check, count, divide and describe datasets.")
dataset.callback(epilog="Example: `pickapic dataset stats picks` counts what an export holds.")(lambda: None)
dataset.command("shards")(shards)
dataset.command("export-dpo")(export_dpo)
dataset.command("overlap")(overlap)
dataset.command("convert")(convert)
dataset.command("copy")(copy)


@dataset.command("check")
def check(
    path: Dataset,
    images: Annotated[bool, typer.Option(help="Look at the bytes of images and files too.")] = True,
    json: Json = False,
) -> None:
    """Check every row, the splits and the files of a dataset; leave with 1 if anything is wrong.

    Example: `pickapic dataset check picks`
    """
    from pickapic.dataset.read import row_counts
    from pickapic.dataset.verify import verify

    counts = row_counts(path)
    with output.progress("checking rows", sum(counts.values())) as advance:
        faults = verify(path, images=images, on_progress=advance)
    if json:
        output.show_json({"rows": counts, "faults": faults})
    else:
        for fault in faults:
            output.show(fault)
        if not faults:
            rows = ", ".join(f"{split} {count:,}" for split, count in counts.items())
            output.show(f"nothing wrong: {rows} rows")
    if faults:
        raise typer.Exit(output.BAD_DATA)


@dataset.command("stats")
def stats(
    path: Dataset,
    split: Annotated[str | None, typer.Option(help="Only this split.")] = None,
    json: Json = False,
) -> None:
    """Count rows, prompts, people, ties, sides and models of each split.

    Example: `pickapic dataset stats picks --json`
    """
    from pickapic.dataset.read import column_names, locate, read
    from pickapic.dataset.stats import stats as count
    from pickapic.dataset.stats import stats_columns

    names = [split] if split else list(locate(path).files)
    columns = {name: stats_columns(column_names(path, name)) for name in names}
    found = {name: count(read(path, columns[name], name)) for name in names}
    if json:
        output.show_json(found)
        return
    heads = (
        "split",
        "rows",
        "prompts",
        "people",
        "no judgement",
        "ties %",
        "left picked %",
        "95 % from",
        "to",
        "picks/prompt",
    )
    lines: list[tuple[object, ...]] = []
    for name, s in found.items():
        shares = [_percent(share) for share in (s.tie_share, s.left_share, s.left_low, s.left_high)]
        lines.append((name, s.rows, s.prompts, s.users, s.unlabelled, *shares, s.picks_per_prompt))
    note = "Left picked: share of decided picks that went to the left image; 50 % is no side bias."
    output.show_table(heads, lines, note=note)
    rows = [(name, m.model, m.shown, _percent(m.win_rate)) for name, s in found.items() for m in s.models]
    output.show_table(("split", "model", "shown", "win rate %"), rows)


@dataset.command("split")
def split_(
    path: Dataset,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the five splits.")],
    prompts: Annotated[int, typer.Option(help="Prompts held out, validation and test together.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the random choices.")] = 0,
    user_disjoint: Annotated[
        bool, typer.Option("--user-disjoint", help="No person in two splits; drops the rows between.")
    ] = False,
    images: Annotated[bool, typer.Option(help="Write the images too.")] = True,
    shard_size: ShardSize = cast(int, "500MB"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a dataset at OUT.")] = False,
    json: Json = False,
) -> None:
    """Divide a dataset by the paper's rule into train, validation, test and their _unique splits.

    Each held-out prompt was created by a different person; none of them is in another split. A run that was stopped
    goes on when it is started again.

    Example: `pickapic dataset split picks picks-split --prompts 200`
    """
    from pickapic.dataset.divide import divide
    from pickapic.dataset.read import REPEATED, row_counts

    counts = row_counts(path)
    total = sum(rows for name, rows in counts.items() if name not in REPEATED) or sum(counts.values())
    with writing(out), output.progress("writing splits", total) as advance:
        manifest = divide(
            path,
            out,
            prompts,
            seed,
            user_disjoint,
            images=images,
            shard_bytes=shard_size,
            overwrite=overwrite,
            on_progress=advance,
        )
    rows = {name: manifest.rows(name) for name in manifest.splits}
    if json:
        output.show_json({"folder": out, "rows": rows, "fingerprint": manifest.fingerprint})
        return
    output.show_table(("split", "rows"), rows.items())
    for item in manifest.left_out:
        output.show(f"left out: {item.count:,} ({item.reason})")


@dataset.command("card")
def card(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A dataset folder written by pickapic.")],
    title: Annotated[str | None, typer.Option(help="New title.")] = None,
    licence: Annotated[
        str | None, typer.Option("--license", help="New licence, by its Hugging Face identifier.")
    ] = None,
    json: Json = False,
) -> None:
    """Write a folder's README.md anew: counts, columns, what was left out, and the YAML Hugging Face reads.

    Example: `pickapic dataset card picks --title "Ducks in hats" --license cc-by-4.0`
    """
    from dataclasses import replace

    from pickapic.dataset.manifest import load
    from pickapic.dataset.write import write_card

    manifest = load(folder)
    about = replace(
        manifest.about, title=title or manifest.about.title, licence=licence or manifest.about.licence
    )
    manifest = replace(manifest, about=about)
    write_card(folder, manifest)
    manifest.write(folder)
    if json:
        output.show_json({"card": folder / "README.md", "about": about})
        return
    output.show(f"written: {folder / 'README.md'}")


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
