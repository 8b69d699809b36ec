"""Fit the bundled aesthetic head: a ridge regression from CLIP image features to ratings of pictures without prompts.

    python runs/train_aesthetic.py

As LAION's predictor: the raters see pictures, never their prompts, and are other people than those of any demo. It is
written beside the bundled checkpoint, so run it after pretrain_miniature.py. Two minutes on two cores.
"""

from dataclasses import astuple
from random import Random

import numpy as np
import torch
from safetensors.torch import save_file

from pickapic.miniature.depiction import Depiction, depict
from pickapic.miniature.look import displeasure
from pickapic.miniature.models import MODELS
from pickapic.miniature.people import Person, Population
from pickapic.miniature.renderer import render
from pickapic.miniature.scene import draw, write
from pickapic.model.clip import MINIATURE
from pickapic.scorers.aesthetic import HEAD
from pickapic.scorers.miniature import load

PICTURES, RATERS, RIDGE = 6000, 3, 10.0
RATING_POPULATION = 987_654_321  # no demo has this seed


def main() -> None:
    random = Random(f"aesthetic{RATING_POPULATION}")
    people = Population(RATING_POPULATION, 500)
    raters = [person for person in map(people.person, range(500)) if person.habit == "honest"]
    pictures, ratings = [], []
    for _ in range(PICTURES):
        depiction = depict(
            write(draw(random)), random.choice(MODELS), random.getrandbits(32), random.uniform(3, 12)
        )
        pictures.append(render(depiction))
        ratings.append(np.mean([rating(rater, depiction, random) for rater in random.sample(raters, RATERS)]))
    features = load(dtype="float32").image_features(pictures).double().numpy()
    target = np.array(ratings)
    fitted, held_out = slice(0, -1000), slice(-1000, None)
    center, mean = features[fitted].mean(0), target[fitted].mean()
    x = features[fitted] - center
    weight = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]) * x.var(), x.T @ (target[fitted] - mean))
    bias = mean - center @ weight
    found = np.corrcoef(features[held_out] @ weight + bias, target[held_out])[0, 1]
    print(f"correlation with the ratings of 1,000 pictures left out: {found:.3f}")
    tensors = {"weight": torch.tensor(weight).float(), "bias": torch.tensor(bias).float()}
    save_file(tensors, MINIATURE / HEAD)


def rating(rater: Person, depiction: Depiction, random: Random) -> float:
    costs = displeasure(depiction.look, rater.ideal)
    assert len(costs) == len(astuple(rater.ideal))
    return -float(np.dot(rater.attribute_weights, costs)) / len(costs) * 6 + random.gauss(0, rater.noise)


if __name__ == "__main__":
    main()
