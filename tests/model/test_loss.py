"""The loss against the stored outputs of the authors' code, a slow second version, and gradients by differences."""

import json
import math
from pathlib import Path

import pytest
import torch

from pickapic.model.loss import preference_loss

CASES = json.loads((Path(__file__).parents[1] / "golden" / "preference_loss.json").read_text())


def tensors(case):
    def double(name):
        return torch.tensor(case[name], dtype=torch.float64)

    return {name: double(name) for name in ("text", "image_0", "image_1", "logit_scale", "label_0", "num")}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"B{case['B']}-D{case['D']}")
def test_loss_and_gradients_equal_the_released_code(case):
    given = tensors(case)
    for name in ("text", "image_0", "logit_scale"):
        given[name].requires_grad_()
    loss = preference_loss(
        given["text"],
        given["image_0"],
        given["image_1"],
        given["logit_scale"].exp(),
        given["label_0"],
        given["num"],
    )
    loss.backward()
    assert loss.item() == pytest.approx(case["loss"], abs=1e-10)
    assert given["text"].grad.norm().item() == pytest.approx(case["grad_text_norm"], abs=1e-10)
    assert given["image_0"].grad.norm().item() == pytest.approx(case["grad_0_norm"], abs=1e-10)
    assert given["logit_scale"].grad.item() == pytest.approx(case["grad_scale"], abs=1e-10)


def slow_loss(text, image_0, image_1, scale, label_0, num):
    total = weights = 0.0
    for row in range(len(text)):
        scores = [
            scale * sum(a * b for a, b in zip(text[row], image[row], strict=True))
            for image in (image_0, image_1)
        ]
        denominator = sum(math.exp(score) for score in scores)
        weight = 1 / num[row]
        for target, score in zip((label_0[row], 1 - label_0[row]), scores, strict=True):
            if target:
                total += weight * target * (math.log(target) - math.log(math.exp(score) / denominator))
        weights += weight
    return total / weights


@pytest.mark.parametrize("case", CASES[:2], ids=lambda case: f"B{case['B']}-D{case['D']}")
def test_loss_equals_a_plain_loop(case):
    expected = slow_loss(
        case["text"],
        case["image_0"],
        case["image_1"],
        math.exp(case["logit_scale"]),
        case["label_0"],
        case["num"],
    )
    given = tensors(case)
    loss = preference_loss(
        given["text"],
        given["image_0"],
        given["image_1"],
        given["logit_scale"].exp(),
        given["label_0"],
        given["num"],
    )
    assert loss.item() == pytest.approx(
        expected, rel=1e-6
    )  # the loop weighs in float64, the released code in float32


def test_a_tie_costs_nothing_where_the_scores_are_equal():
    rows = torch.nn.functional.normalize(
        torch.randn(3, 8, dtype=torch.float64, generator=torch.manual_seed(0)), dim=-1
    )
    loss = preference_loss(rows, rows, rows, torch.tensor(20.0), torch.full((3,), 0.5), torch.ones(3))
    assert loss.item() == pytest.approx(0.0, abs=1e-7)


def test_parts_of_a_batch_add_up_to_the_whole():
    given = tensors(CASES[-1])
    arguments = [given[name] for name in ("text", "image_0", "image_1", "label_0", "num")]
    weight_sum = (1 / given["num"]).sum()

    def loss(rows, **options):
        text, image_0, image_1, label_0, num = (value[rows] for value in arguments)
        return preference_loss(text, image_0, image_1, given["logit_scale"].exp(), label_0, num, **options)

    half = len(arguments[0]) // 2
    parts = loss(slice(0, half), weight_sum=weight_sum) + loss(slice(half, None), weight_sum=weight_sum)
    assert parts.item() == pytest.approx(loss(slice(None)).item(), rel=1e-6)
