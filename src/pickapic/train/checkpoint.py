"""A trained model on disk: a folder that `transformers` opens, written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from pickapic.model.clip import Clip


def save_model(clip: Clip, folder: Path) -> None:
    """Write model, tokenizer and image transform into `folder`, replacing what was there.

    The files are complete before they get their name: a crash leaves the old checkpoint or the new one.
    """
    part = folder.with_name(f".{folder.name}.part")
    old = folder.with_name(f".{folder.name}.old")
    for left_over in (part, old):
        if left_over.exists() and (left_over is part or folder.exists()):
            shutil.rmtree(left_over)
    clip.model.save_pretrained(part)
    clip.tokenizer.save_pretrained(part)
    (part / "preprocessor_config.json").write_text(json.dumps(clip.transform.config(), indent=2) + "\n")
    if folder.exists():
        os.rename(folder, old)
    os.rename(part, folder)
    shutil.rmtree(old, ignore_errors=True)
