"""The training loop: the paper's objective, schedule and model selection, top to bottom."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pickapic.dataset.read import read
from pickapic.evaluate.results import TrainingPoint
from pickapic.model.clip import Clip, load_clip
from pickapic.model.loss import example_weights, preference_loss
from pickapic.records import InputError
from pickapic.train.batches import (
    COLUMNS,
    Batch,
    Examples,
    in_order,
    prefetched,
    rounds_of_prompts,
    shuffled_rows,
)
from pickapic.train.checkpoint import keep_as
from pickapic.train.config import TrainConfig

TIE = 0.5


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """What a run left behind: the best checkpoint's folder and step, and every point of the curve."""

    folder: Path
    best_step: int
    points: tuple[TrainingPoint, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Validation:
    """Loss over all examples, and the share of picks (ties left out) whose image got the higher score."""

    loss: float
    accuracy: float


def train(config: TrainConfig, on_step: Callable[[TrainingPoint], None] | None = None) -> TrainingRun:
    """Tune a CLIP model on a preference dataset and keep the checkpoint that validates best.

    Everything is read and checked before the first step. `on_step` is called after each step.

    Raises:
        InputError: the dataset, the model or the configuration cannot be used; nothing was written.
    """
    if not config.data or not config.out:
        raise InputError(
            "a run needs data (a dataset) and out (a folder to write): --set data=... --set out=..."
        )
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    clip = load_clip(config.model, dtype="float32")
    examples = Examples(read(config.data, COLUMNS, "train"), clip.transform, f"{config.data} train")
    held_out = read(config.data, COLUMNS, config.validation_split)
    if config.validation_limit:
        held_out = held_out.slice(0, config.validation_limit)
    validation = Examples(held_out, clip.transform, f"{config.data} {config.validation_split}")

    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "run.json").write_text(json.dumps(asdict(config), indent=2) + "\n")
    freeze(clip, config)
    clip.model.train()
    optimizer = make_optimizer(clip, config)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, config))
    micro = config.micro_batch_size or config.batch_size
    points: list[TrainingPoint] = []
    best, best_step, since_best = -np.inf, 0, 0
    started = time.perf_counter()
    groups = rounds_of_prompts(examples.captions, config.rounds_together)
    plan = shuffled_rows(groups, config.batch_size, config.steps, config.seed)
    with (out / "metrics.jsonl").open("w") as metrics:
        for step, batch in enumerate(prefetched(examples, plan), start=1):
            weight_sum = example_weights(torch.from_numpy(batch.num_example_per_prompt)).sum()
            loss = 0.0
            for part in split_batch(batch, micro):
                part_loss = batch_loss(clip, part, config, weight_sum)
                part_loss.backward()
                loss += part_loss.item()
            torch.nn.utils.clip_grad_norm_(clip.model.parameters(), config.grad_clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            scheduler.step()

            found = None
            if step % config.validate_every == 0 or step == config.steps:
                found = validate(clip, validation, config)
                standing = found.accuracy if config.keep_best_by == "accuracy" else -found.loss
                since_best += 1
                if standing > best:
                    best, best_step, since_best = standing, step, 0
                    keep_as(clip, out, "best", step)
            point = TrainingPoint(step, loss, found and found.loss, found and found.accuracy)
            points.append(point)
            line = {
                **asdict(point),
                "lr": scheduler.get_last_lr()[0],
                "seconds": time.perf_counter() - started,
            }
            metrics.write(json.dumps(line) + "\n")
            metrics.flush()
            if on_step is not None:
                on_step(point)
            if config.patience and since_best >= config.patience:
                break
    keep_as(clip, out, "last", len(points))
    return TrainingRun(out / "best", best_step, tuple(points), time.perf_counter() - started)


def batch_loss(clip: Clip, batch: Batch, config: TrainConfig, weight_sum: Tensor | None = None) -> Tensor:
    """Return the preference loss of a batch: each prompt and each picture goes through its tower once."""
    with autocast(clip, config):
        texts = clip.text_features(clip.tokens(batch.prompts))
        images = clip.image_features(batch.pictures)
    return preference_loss(
        texts[torch.from_numpy(batch.text)],
        images[torch.from_numpy(batch.image_0)],
        images[torch.from_numpy(batch.image_1)],
        clip.logit_scale,
        torch.from_numpy(batch.label_0).to(clip.device),
        torch.from_numpy(batch.num_example_per_prompt).to(clip.device),
        None if weight_sum is None else weight_sum.to(clip.device),
    )


@torch.no_grad()
def validate(clip: Clip, examples: Examples, config: TrainConfig) -> Validation:
    """Return loss (weighted as in training, over the whole split) and accuracy on picks."""
    clip.model.eval()
    weight_sum = example_weights(torch.from_numpy(examples.num_example_per_prompt)).sum()
    loss = right = 0.0
    for rows in in_order(len(examples), 128):
        batch = examples.batch(rows)
        with autocast(clip, config):
            texts = clip.text_features(clip.tokens(batch.prompts))[torch.from_numpy(batch.text)]
            images = clip.image_features(batch.pictures)
        image_0, image_1 = images[torch.from_numpy(batch.image_0)], images[torch.from_numpy(batch.image_1)]
        label_0 = torch.from_numpy(batch.label_0).to(clip.device)
        num = torch.from_numpy(batch.num_example_per_prompt).to(clip.device)
        loss += preference_loss(texts, image_0, image_1, clip.logit_scale, label_0, num, weight_sum).item()
        preferred = ((texts * (image_0 - image_1)).sum(-1) > 0).float()
        right += (preferred == label_0).sum().item()
    clip.model.train()
    picks = int((examples.label_0 != TIE).sum())
    return Validation(loss, right / picks if picks else float("nan"))


def split_batch(batch: Batch, size: int) -> list[Batch]:
    """Cut a batch into micro-batches of at most `size` examples, each with only the pictures it needs."""
    if len(batch) <= size:
        return [batch]
    parts: list[Batch] = []
    for rows in in_order(len(batch), size):
        pictures, images = np.unique(
            np.concatenate((batch.image_0[rows], batch.image_1[rows])), return_inverse=True
        )
        texts, text = np.unique(batch.text[rows], return_inverse=True)
        parts.append(
            Batch(
                prompts=tuple(batch.prompts[number] for number in texts),
                pictures=batch.pictures[pictures],
                text=text,
                image_0=images[: len(rows)],
                image_1=images[len(rows) :],
                label_0=batch.label_0[rows],
                num_example_per_prompt=batch.num_example_per_prompt[rows],
            )
        )
    return parts


def freeze(clip: Clip, config: TrainConfig) -> None:
    """Fix the lowest layers of each tower, and the embeddings under them."""
    for tower, layers in (
        (clip.model.text_model, config.freeze_text_layers),
        (clip.model.vision_model, config.freeze_vision_layers),
    ):
        if layers > len(tower.encoder.layers):
            raise InputError(f"cannot freeze {layers} layers of a tower that has {len(tower.encoder.layers)}")
        if layers:
            below = [tower.embeddings, *tower.encoder.layers[:layers]]
            below += [tower.pre_layrnorm] if hasattr(tower, "pre_layrnorm") else []
            for module in below:
                module.requires_grad_(False)


def make_optimizer(clip: Clip, config: TrainConfig) -> torch.optim.AdamW:
    """Return AdamW; biases, gains and the logit scale are not decayed."""
    scale = clip.model.logit_scale
    trained = [p for p in clip.model.parameters() if p.requires_grad and p is not scale]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        {"params": [scale], "weight_decay": 0.0, "lr": config.logit_scale_lr or config.lr},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, fused=True)


def learning_rate_factor(step: int, config: TrainConfig) -> float:
    """Return the share of `lr` for the step after `step` finished ones: up over the warm-up, then down to 0."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    return max(0.0, (config.steps - step) / max(1, config.steps - config.warmup_steps))


def autocast(clip: Clip, config: TrainConfig) -> torch.autocast:
    """Return the precision of the towers' arithmetic; "auto" is bfloat16 on a GPU and float32 on a CPU."""
    wanted = config.precision == "bfloat16" or (config.precision == "auto" and clip.device.type == "cuda")
    return torch.autocast(clip.device.type, torch.bfloat16, enabled=wanted)
