"""`pickapic rank`: the best of several images for a prompt."""

from __future__ import annotations

from typing import Annotated

import typer

from pickapic.cli import output


def rank(
    images: Annotated[list[str], typer.Argument(help="Image files.", metavar="IMG...")],
    prompt: Annotated[str, typer.Option(help="What the images should show.")],
    top_k: Annotated[int, typer.Option(help="How many of the best to print; 0: all.")] = 0,
    scorer: Annotated[str, typer.Option(help="Scorer: see `pickapic plugins`.")] = "pickscore",
    model: Annotated[str | None, typer.Option(help="Checkpoint: a folder or a hub id.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Rank images by how likely people are to prefer them for a prompt, best first.

    Example: `pickapic rank --prompt "a red fox in the snow" --scorer miniature one.png two.png three.png`
    """
    from pickapic.cli.models import scorer_for
    from pickapic.ranking import rank as best_of

    loaded = scorer_for(scorer, model)
    ranked = best_of(prompt, images, loaded, top_k or len(images))
    rows = [(place, images[found.index], found.score) for place, found in enumerate(ranked, start=1)]
    if json:
        output.show_json([{"rank": place, "image": image, "score": score} for place, image, score in rows])
        return
    output.show_table(("rank", "image", "score"), rows)
