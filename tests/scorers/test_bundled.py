"""The bundled checkpoint: small, in the true format, and it knows what words of its world mean."""

from random import Random

import numpy as np
import pytest

from pickapic.miniature.depiction import Depiction
from pickapic.miniature.look import PLEASING, Look
from pickapic.miniature.renderer import render
from pickapic.miniature.scene import draw, read, write
from pickapic.model.clip import MINIATURE, load_clip
from pickapic.scorers.load import load_scorer


@pytest.fixture(scope="module")
def pictures():
    """32 faultless pictures and their prompts, from no seed that pretraining saw."""
    random = Random("bundled")
    prompts = [write(draw(random)) for _ in range(32)]
    return prompts, [render(Depiction(read(p), PLEASING, "noto", n, p)) for n, p in enumerate(prompts)]


def test_it_is_small():
    assert sum(file.stat().st_size for file in MINIATURE.iterdir()) < 16 * 2**20
    parameters = sum(p.numel() for p in load_clip("miniature").model.parameters())
    assert 3e6 < parameters < 8e6


def test_a_prompt_is_encoded_anew_once_all_is_forgotten():
    """In another batch the last digits are others: a part of a table may not depend on the parts before it."""
    random = Random("forgotten")
    prompts = [write(draw(random)) for _ in range(150)]
    used, fresh = load_scorer("miniature", dtype="float32"), load_scorer("miniature", dtype="float32")
    used.text_features(prompts[:100])
    used.forget()
    assert used.text_features(prompts[50:]).equal(fresh.text_features(prompts[50:]))


def test_it_finds_the_prompt_of_a_picture(pictures):
    prompts, images = pictures
    matrix = load_scorer("miniature", dtype="float32").score_matrix(prompts, images)
    assert (matrix.argmax(axis=0) == np.arange(32)).mean() >= 0.8


def test_the_aesthetic_head_sees_the_look_and_not_the_prompt(pictures):
    prompts, images = pictures
    scorer = load_scorer("aesthetic", dtype="float32")
    assert np.array_equal(scorer.score(prompts, images), scorer.score("anything", images))
    spoilt = Look(
        exposure=-1.0, saturation=0.2, contrast=0.6, subject=0.5, off_center=0.3, clutter=9.0, relief=0.0
    )
    worse = [render(Depiction(read(p), spoilt, "noto", n, p)) for n, p in enumerate(prompts)]
    assert (scorer.score("", images) > scorer.score("", worse)).mean() > 0.9
    assert scorer.score_matrix(["a", "b"], images[:3]).shape == (2, 3)
