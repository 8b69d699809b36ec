"""The stages of the demo in order. Each leaves files; a demo that was interrupted goes on where it stopped."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pyarrow as pa

from pickapic.collect.export import count_picks, export, rules_from
from pickapic.dataset.manifest import MANIFEST, About
from pickapic.dataset.read import read
from pickapic.dataset.schema import TEST, TRAIN, VALIDATION, VALIDATION_UNIQUE
from pickapic.dataset.split import paper_split
from pickapic.dataset.write import write
from pickapic.demo.services import TIMELESS, running
from pickapic.demo.truth import write_truth
from pickapic.demo.verdict import evaluate
from pickapic.evaluate.report import write_report
from pickapic.evaluate.results import Evaluation, TrainingPoint
from pickapic.records import InputError
from pickapic.settings import Settings, load_settings, secret_key
from pickapic.simulate import simulate
from pickapic.train.config import TrainConfig, load_config
from pickapic.train.loop import train
from pickapic.train.progress import StepReport

Advance = Callable[[int], None]
Progress = Callable[[str, int | None], AbstractContextManager[Advance]]
"""Shows a bar: `with progress("training", 100) as advance: advance(1)`."""

HELD_OUT = 0.28
"""Share of the prompts that are held out, validation and test together."""
EPOCHS = 1
ABOUT = About(
    title="Pick-a-Pic in miniature",
    licence="cc-by-4.0",
    notes=(
        "Simulated people picked between pictures of a miniature world; see docs/miniature.md of the software.",
        "The pictures contain artwork of Noto Emoji (Apache-2.0), Fluent Emoji (MIT) and Twemoji (CC-BY 4.0).",
        "Split by the paper's rule, with fewer prompts held out.",
    ),
)


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What a demo does. Two demos in one folder must agree in `picks`, `people` and `seed`."""

    folder: Path
    picks: int = 16_000
    people: int = 2500
    seed: int = 0
    host: str = "127.0.0.1"
    port: int = 8000
    concurrency: int = 60

    @property
    def report(self) -> Path:
        """The report: the last thing that is written."""
        return self.folder / "report.html"

    def settings(self) -> Settings:
        """Return the settings of the demo's own server, whatever the environment says of another one."""
        return load_settings(
            home=self.folder / "data",
            host=self.host,
            port=self.port,
            allow_guests=True,
            quality=dict(TIMELESS),
        )


@contextmanager
def demo(plan: DemoPlan, progress: Progress, say: Callable[[str], None]) -> Generator[str]:
    """Run what is left of the loop, with the server up; yield the page's address, still served.

    Raises:
        InputError: the folder holds another demo, or the port is taken.
    """
    _claim(plan)
    with running(plan.folder / "data", plan.host, plan.port, plan.folder / "logs") as url:
        say(f"The page is up, and you can pick along: {url}")
        if plan.report.exists():
            say("This demo has been run before; its report is kept. For a new one choose another --dir.")
        else:
            _run(plan, url, progress, say)
        yield url


def _claim(plan: DemoPlan) -> None:
    """Make the folder this demo's own, or check that it is."""
    wanted = {"picks": plan.picks, "people": plan.people, "seed": plan.seed}
    mark = plan.folder / "demo.json"
    if mark.exists():
        found = json.loads(mark.read_text())
        if found != wanted:
            had = ", ".join(f"{name} {value}" for name, value in found.items())
            raise InputError(
                f"{plan.folder} holds a demo with {had}; nothing was changed. Choose another --dir, or delete it."
            )
        return
    if plan.folder.exists() and any(plan.folder.iterdir()):
        raise InputError(f"{plan.folder} holds something else; nothing was changed. Choose another --dir.")
    plan.folder.mkdir(parents=True, exist_ok=True)
    mark.write_text(json.dumps(wanted) + "\n")


def _run(plan: DemoPlan, url: str, progress: Progress, say: Callable[[str], None]) -> None:
    seconds: dict[str, float] = {}
    settings = plan.settings()
    dataset = plan.folder / "dataset"
    if not (dataset / MANIFEST).exists():
        with _timed(seconds, "people pick"):
            _collect(plan, url, settings, progress, say)
        with _timed(seconds, "export and split"):
            _make_dataset(plan, settings, dataset, progress)
    splits = {name: read(dataset, split=name) for name in (TRAIN, VALIDATION_UNIQUE, TEST)}
    held_out = {name: splits[name] for name in (VALIDATION_UNIQUE, TEST)}
    with _timed(seconds, "truth"):
        truth = {
            name: write_truth(settings.database_url, table, plan.seed, plan.folder / f"truth-{name}.parquet")
            for name, table in held_out.items()
        }
    with _timed(seconds, "training"):
        points = _train(plan, splits[TRAIN].num_rows, dataset, progress, say)
    with _timed(seconds, "evaluation"):
        found = evaluate(held_out, truth, plan.folder / "pickscore" / "best", progress)
    write_report(
        replace(
            found,
            training=points,
            facts=_facts(plan, dataset, found),
            command=shlex.join(_command(plan)),
            seconds=tuple(seconds.items()),
        ),
        plan.report,
    )


def _collect(
    plan: DemoPlan, url: str, settings: Settings, progress: Progress, say: Callable[[str], None]
) -> None:
    missing = plan.picks - count_picks(settings.database_url)
    if missing <= 0:
        return
    with progress("people pick", missing) as advance:
        done = simulate(
            url,
            settings.database_url,
            people=plan.people,
            concurrency=plan.concurrency,
            picks=missing,
            seed=plan.seed,
            advance=advance,
        )
    rate, answer = done.picks_per_second, 1000 * done.pick_median
    say(
        f"{done.picks:,} picks by {done.people:,} people, {rate:.0f} a second; an answer took {answer:.0f} ms"
    )


def _make_dataset(plan: DemoPlan, settings: Settings, dataset: Path, progress: Progress) -> None:
    exported = plan.folder / "export"
    with progress("exporting", count_picks(settings.database_url)) as advance:
        export(
            settings.database_url,
            settings.images_url,
            exported,
            secret=secret_key(settings),
            rules=rules_from(settings),
            about=ABOUT,
            on_progress=advance,
        )
    table = read(exported)
    write(dataset, paper_split(table, n_prompts=held_out_prompts(table), seed=plan.seed), ABOUT)


def held_out_prompts(table: pa.Table) -> int:
    """Return how many prompts the demo holds out: an even number, at most one a person, at least four."""
    prompts = len(table["caption"].unique())
    people = len(table["user_id"].unique())
    return max(4, min(int(prompts * HELD_OUT), int(people * HELD_OUT * 2), 1000) // 2 * 2)


def _train(
    plan: DemoPlan, examples: int, dataset: Path, progress: Progress, say: Callable[[str], None]
) -> tuple[TrainingPoint, ...]:
    config = _train_config(plan, examples, dataset)
    with progress("training", config.steps) as advance:

        def on_step(report: StepReport) -> None:
            advance(1)
            if found := report.validation:
                say(f"step {report.step}: validation loss {found.loss:.4f}, accuracy {found.accuracy:.3f}")

        reports = train(config, on_step).reports
    return tuple(
        TrainingPoint(one.step, one.loss, found and found.loss, found and found.accuracy)
        for one in reports
        for found in (one.validation,)
    )


def _train_config(plan: DemoPlan, examples: int, dataset: Path) -> TrainConfig:
    config = load_config(
        "miniature", [f"data={dataset}", f"out={plan.folder / 'pickscore'}", f"seed={42 + plan.seed}"]
    )
    steps = max(4, min(config.steps, EPOCHS * examples // config.batch_size))
    return replace(
        config,
        steps=steps,
        warmup_steps=min(config.warmup_steps, steps // 4),
        validate_every=max(1, min(config.validate_every, steps // 2)),
    )


def _facts(plan: DemoPlan, dataset: Path, found: Evaluation) -> tuple[tuple[str, str], ...]:
    rows = {name: read(dataset, ("caption", "user_id"), name) for name in (TRAIN, VALIDATION, TEST)}
    people = len(pa.chunked_array([c for t in rows.values() for c in t["user_id"].chunks]).unique())
    facts = [("people who picked", f"{people:,} of a population of {plan.people:,}")]
    facts += [
        (name, f"{table.num_rows:,} examples of {len(table['caption'].unique()):,} prompts")
        for name, table in rows.items()
    ]
    return (*facts, *found.facts)


def _command(plan: DemoPlan) -> list[str]:
    default = DemoPlan(plan.folder)
    command = ["pickapic", "demo", "--dir", str(plan.folder)]
    for name in ("picks", "people", "seed"):
        if asdict(plan)[name] != asdict(default)[name]:
            command += [f"--{name}", str(asdict(plan)[name])]
    return command


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Generator[None]:
    started = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - started
