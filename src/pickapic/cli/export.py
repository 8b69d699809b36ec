"""`pickapic export`: the database's picks as a dataset."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pickapic.cli import output


class PolicyChoice(StrEnum):
    """Whose picks are exported."""

    settings = "settings"
    off = "off"


def export(
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="Folder of the dataset; one of an earlier export is updated."),
    ],
    since: Annotated[
        datetime | None,
        typer.Option(help="Only picks from this time on (UTC), into a new folder.", metavar="TIME"),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Write everything anew, in place of an earlier export.")
    ] = False,
    images: Annotated[
        bool, typer.Option("--images/--no-images", help="With the images, or only what is known of them.")
    ] = True,
    policy: Annotated[
        PolicyChoice,
        typer.Option(help="Leave out people by status and risk, as set by `quality`; or nobody (off)."),
    ] = PolicyChoice.settings,
    title: Annotated[str | None, typer.Option(help="Title of the dataset card.")] = None,
    licence: Annotated[
        str | None, typer.Option("--license", help="Licence on the card, by its Hugging Face identifier.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write the picks of the database that count, with both images, as a dataset: Parquet files and a README card.

    With --no-images the columns jpg_0 and jpg_1 are left out: a million rows take half a minute.

    Left out are people who are banned or whose answers are doubted, check rounds, what was answered before signing
    in, and unfit images and prompts; the card says how many of each.

    The folder opens with `datasets.load_dataset`; `pickapic dataset split` divides it. Database, images and the
    secret key that anonymises users are those of the settings (`pickapic settings`).

    Example: `pickapic export picks` and a day later again, to bring it up to date
    """
    from dataclasses import replace

    from pickapic.collect.export import ABOUT, estimate_picks, rules_from
    from pickapic.collect.export import export as run
    from pickapic.settings import load_settings, secret_key

    settings = load_settings()
    rules = rules_from(settings, policy_off=policy is PolicyChoice.off)
    about = replace(ABOUT, title=title or ABOUT.title, licence=licence or ABOUT.licence)
    with output.progress("exporting picks", estimate_picks(settings.database_url, since, rules)) as advance:
        done = run(
            settings.database_url,
            settings.images_url,
            out,
            secret=secret_key(settings),
            rules=rules,
            since=since,
            full=full,
            images=images,
            about=about,
            on_progress=advance,
        )
    if json:
        output.show_json(done)
        return
    changes = f"{done.added:,} added" + (f", {done.removed:,} removed" if done.removed else "")
    output.show(f"{done.rows:,} picks in {done.folder} ({changes})")
    for item in done.left_out:
        output.show(f"left out: {item.count:,} ({item.reason})")
