"""Where a checkpoint comes from: the resolved configuration, the data, the program and the machine, as `run.json`."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

from pickapic.dataset import shards
from pickapic.dataset.bucket import is_url, read_bytes
from pickapic.dataset.hub import revision
from pickapic.dataset.manifest import MANIFEST, load
from pickapic.dataset.read import fingerprint_of, locate, row_counts
from pickapic.records import InputError
from pickapic.train.config import TrainConfig

RUN = "run.json"
LIBRARIES = ("pickapic", "torch", "transformers", "numpy", "pyarrow")
_GIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class GitState:
    """The commit of the folder that the run was started in; `dirty`: its files differ from that commit."""

    commit: str
    dirty: bool


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """What was trained on: for shards, the dataset that they were made from.

    `fingerprint` begins with what it was made from: "manifest" (a hash of every byte), "files" (names, sizes and
    footers), "revision" (the hub's) or "shards".
    """

    name: str
    fingerprint: str
    splits: tuple[tuple[str, int], ...]
    licence: str | None


@dataclass(frozen=True, slots=True)
class Provenance:
    """Everything that decides a run's result, as far as it can be written down.

    `mfu_peak` says what the reported utilisation (MFU) is a share of, and how that is known.
    """

    config: Mapping[str, Any]
    dataset: DatasetFacts
    versions: tuple[tuple[str, str], ...]
    platform: str
    device: str
    git: GitState | None
    mfu_peak: str = ""

    def save(self, folder: Path) -> Path:
        """Write `run.json` into `folder`: under a temporary name, then renamed."""
        content = asdict(self)
        content["versions"] = dict(self.versions)
        content["dataset"]["splits"] = dict(self.dataset.splits)
        partial = folder / f".{RUN}.partial"
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        os.replace(partial, folder / RUN)
        return folder / RUN


def provenance(config: TrainConfig, dataset: str, device: str = "", mfu_peak: str = "") -> Provenance:
    """Return where a run comes from that is about to start; `device` says what it runs on ("8 x NVIDIA H100").

    Raises:
        InputError: there is no such dataset.
    """
    return Provenance(
        config=asdict(config),
        dataset=dataset_facts(dataset),
        versions=(("Python", platform.python_version()), *_versions()),
        platform=platform.platform(),
        device=device,
        git=git_state(Path.cwd()),
        mfu_peak=mfu_peak,
    )


def load_provenance(folder: Path) -> Provenance:
    """Return what `save` wrote.

    Raises:
        InputError: there is no `run.json` in `folder`, or it is not one of ours.
    """
    path = folder / RUN
    try:
        content = cast(dict[str, Any], json.loads(path.read_text(encoding="utf-8")))
        git = content["git"]
        dataset: dict[str, Any] = {
            **content["dataset"],
            "splits": tuple(content["dataset"]["splits"].items()),
        }
        return Provenance(
            config=content["config"],
            dataset=DatasetFacts(**dataset),
            versions=tuple(content["versions"].items()),
            platform=content["platform"],
            device=content["device"],
            git=GitState(**git) if git else None,
            mfu_peak=str(content.get("mfu_peak", "")),
        )
    except FileNotFoundError:
        raise InputError(f"{folder} has no {RUN}: no training run was started there") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not what a training run writes: {error!r}") from error


def dataset_facts(dataset: str) -> DatasetFacts:
    """Return a dataset's fingerprint and sizes without reading its rows.

    Our own folders have a manifest with the hash of every file; on the hub the revision says it; of other files the
    names, sizes and Parquet footers are hashed.

    Raises:
        InputError: there is no such dataset.
    """
    made = _shards(dataset)
    if made is not None:
        fingerprint = f"shards {made.fingerprint} of {made.dataset_fingerprint}"
        return DatasetFacts(made.dataset, fingerprint, tuple(made.splits.items()), None)
    folder = Path(dataset)
    if not is_url(dataset) and (folder / MANIFEST).is_file():
        manifest = load(folder)
        splits = tuple((split, manifest.rows(split)) for split in manifest.splits)
        return DatasetFacts(dataset, f"manifest {manifest.fingerprint}", splits, manifest.about.licence)
    source = locate(dataset)
    if folder.exists() or is_url(dataset):
        fingerprint = f"files {fingerprint_of(source, list(source.files))}"
    else:
        fingerprint = f"revision {revision(dataset)}"
    return DatasetFacts(dataset, fingerprint, tuple(row_counts(dataset).items()), None)


def _shards(dataset: str) -> shards.ShardsManifest | None:
    if is_url(dataset):
        text = read_bytes(dataset, shards.MANIFEST)
    else:
        path = Path(dataset) / shards.MANIFEST
        text = path.read_bytes() if path.is_file() else None
    return None if text is None else shards.read_manifest(text, f"{dataset}/{shards.MANIFEST}")


def git_state(folder: Path) -> GitState | None:
    """Return the commit that `folder` is at; None where it is in no repository, or git is not installed."""
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    changes = _git(folder, "status", "--porcelain")
    return None if not commit or changes is None else GitState(commit, bool(changes))


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        found = subprocess.run(
            # Without this, `git status` takes the index lock, and a commit made meanwhile would fail.
            ["git", "--no-optional-locks", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def _versions() -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for name in LIBRARIES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return tuple(found)
