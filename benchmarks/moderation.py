"""What the prompt filter does to real prompts, and what is found in images: rates, distances, time.

A file of prompts has one a line. With --show the prompts that are not allowed are printed with the reason: look at
each of them before you believe the rate. Images are of the miniature world; there are no unfit ones among them, so
nothing here says how many unfit images the classifier finds.

    python benchmarks/moderation.py --prompts prompts.txt --show
    OMP_NUM_THREADS=1 python benchmarks/moderation.py --images 500
"""

from __future__ import annotations

import argparse
import io
import itertools
import platform
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

from pickapic.collect.duels.pairing import TWIN_BITS
from pickapic.collect.moderation.hashes import NEAR_BITS, distance
from pickapic.collect.moderation.images import Inspector, load_classifier, perceptual_hash, widened
from pickapic.collect.moderation.words import Verdict, judge, open_index
from pickapic.collect.prompts import parse_prompt
from pickapic.miniature.depiction import depict
from pickapic.miniature.models import MODELS
from pickapic.miniature.renderer import render
from pickapic.miniature.scene import draw, write


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=Path, help="a file of prompts, one a line")
    parser.add_argument("--words", type=Path, help="a file of words beside the lists that come along")
    parser.add_argument("--show", action="store_true", help="print the prompts that are not allowed")
    parser.add_argument("--images", type=int, default=0, help="how many miniature images to look at")
    arguments = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}; Python {platform.python_version()}")
    if arguments.prompts:
        lines = arguments.prompts.read_text(encoding="utf-8").splitlines()
        report_prompts([line for line in lines if line.strip()], arguments.words, arguments.show)
    if arguments.images:
        report_images(arguments.images)


def report_prompts(typed: Sequence[str], words: Path | None, show: bool) -> None:
    start = time.process_time()
    index = open_index(words)
    print(f"lists read and compiled in {time.process_time() - start:.2f} s of CPU")
    prompts = [parse_prompt(line, max_length=len(line)) for line in typed]
    for label in ("first time", "words seen before"):
        verdicts: list[Verdict] = []
        spent: list[float] = []
        for prompt in prompts:
            begin = time.thread_time()
            verdicts.append(judge(prompt.caption, index, prompt.negative))
            spent.append(time.thread_time() - begin)
        mean, p50, p99, most = (1000 * f(spent) for f in (np.mean, np.median, late, max))
        print(f"{label}: {mean:.3f} ms of CPU a prompt; p50 {p50:.3f}, p99 {p99:.3f}, longest {most:.1f} ms")
    counted = Counter(verdict.decision for verdict in verdicts)
    print(
        ", ".join(f"{name} {count / len(prompts):.2%} ({count:,})" for name, count in counted.most_common())
    )
    by_category = Counter(
        (verdict.decision, verdict.reasons[0].category) for verdict in verdicts if verdict.reasons
    )
    for (decision, category), count in by_category.most_common():
        print(f"  {decision} for {category}: {count} ({count / len(prompts):.2%})")
    if show:
        for line, verdict in zip(typed, verdicts, strict=True):
            if verdict.reasons:
                found = ", ".join(f"{reason.category}: {reason.found}" for reason in verdict.reasons)
                print(f"  {verdict.decision} [{found}] {line[:160]}")


def late(times: Sequence[float]) -> float:
    return float(np.quantile(times, 0.99))


def report_images(count: int) -> None:
    """Each prompt is drawn four times, as the images of a duel are, by models at random."""
    rng = random.Random(0)
    groups = [
        [picture(prompt, rng) for _ in range(4)] for prompt in (write(draw(rng)) for _ in range(count // 4))
    ]
    pictures = [image for group in groups for image in group]
    print(f"{len(pictures)} miniature images, {len(groups)} prompts; ImageHash {version('ImageHash')}")
    begin = time.process_time()
    hashes = [perceptual_hash(image) for image in pictures]
    print(f"perceptual hash: {(time.process_time() - begin) / len(pictures) * 1000:.2f} ms of CPU an image")
    inspector = Inspector(1.0)
    for name, change in CHANGES.items():
        copies = [change(image) for image in pictures]
        moved = [distance(known, perceptual_hash(copy)) for known, copy in zip(hashes, copies, strict=True)]
        caught = 0
        for known, copy in zip(hashes, copies, strict=True):
            inspector.block([known])
            caught += inspector.inspect(copy).flag is not None
        print(f"  {name}: {caught / len(copies):.1%} caught if blocked; {shares(moved)}")
    grouped = np.array_split(np.array(hashes, object), len(groups))
    report_pairs(
        "different images of one prompt",
        [pair for group in grouped for pair in itertools.combinations(group, 2)],
    )
    firsts = [group[0] for group in grouped]
    report_pairs("images of different prompts", list(itertools.combinations(firsts, 2)))
    wide = np.array_split(
        np.array([perceptual_hash(widened(image)) for image in pictures], object), len(groups)
    )
    report_pairs(
        "images of one prompt, one of them widened",
        [
            (a, b)
            for plain, other in zip(grouped, wide, strict=True)
            for i, a in enumerate(plain)
            for j, b in enumerate(other)
            if i != j
        ],
    )
    report_pairs(
        "images of different prompts, one of them widened",
        [(a, other[0]) for i, a in enumerate(firsts) for j, other in enumerate(wide) if i != j],
    )
    report_classifier(pictures)


def picture(prompt: str, rng: random.Random) -> Image.Image:
    return render(depict(prompt, rng.choice(MODELS), rng.getrandbits(32), rng.uniform(3, 12)))


def jpeg(quality: int) -> Callable[[Image.Image], Image.Image]:
    def store(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return store


def cropped(share: float) -> Callable[[Image.Image], Image.Image]:
    def crop(image: Image.Image) -> Image.Image:
        margin_x, margin_y = (round(side * share / 2) for side in image.size)
        return image.crop((margin_x, margin_y, image.width - margin_x, image.height - margin_y))

    return crop


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG at quality 92": jpeg(92),
    "JPEG at quality 60": jpeg(60),
    "JPEG at quality 30": jpeg(30),
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "twice the size": lambda image: image.resize((image.width * 2, image.height * 2)),
    "a tenth darker": lambda image: image.point(lambda value: round(value * 0.9)),
    "cropped by 2 % of each side": cropped(0.02),
    "cropped by 5 % of each side": cropped(0.05),
    "cropped by 10 % of each side": cropped(0.10),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


def shares(distances: Sequence[int]) -> str:
    values = np.array(distances)
    within = ", ".join(f"{bits}: {(values <= bits).mean():.1%}" for bits in (0, 2, 4, 6, 8, 10))
    return f"bits apart at most {values.max()}; share within {within}"


def report_pairs(label: str, pairs: Sequence[tuple[int, int]]) -> None:
    values = np.array([distance(int(a), int(b)) for a, b in pairs])
    print(
        f"  {label}, {len(values):,} pairs: fewest bits apart {values.min()}, median {np.median(values):.0f}"
    )
    for bits in (0, 2, 4, 6, 8, 10):
        marks = {NEAR_BITS: " (NEAR_BITS)", TWIN_BITS: " (TWIN_BITS)"}
        print(
            f"    within {bits}: {(values <= bits).mean():.3%}, {(values <= bits).sum()} pairs{marks.get(bits, '')}"
        )


def report_classifier(pictures: Sequence[Image.Image]) -> None:
    begin = time.process_time()
    classifier = load_classifier("opennsfw")
    if classifier is None:
        return
    print(f"opennsfw loaded in {time.process_time() - begin:.2f} s of CPU")
    times: list[float] = []
    scores: list[float] = []
    for image in pictures:
        begin = time.process_time()
        scores.append(classifier.unfit(image))
        times.append(time.process_time() - begin)
    print(f"  {np.median(times) * 1000:.1f} ms of CPU an image (median)")
    levels = (0.5, 0.9, 0.99, 1.0)
    print("  scores: " + ", ".join(f"{level:.0%} below {np.quantile(scores, level):.3f}" for level in levels))
    for threshold in (0.1, 0.3, 0.5, 0.8):
        print(f"  {threshold} or more: {np.mean(np.array(scores) >= threshold):.2%}")


if __name__ == "__main__":
    main()
