"""The one image transform against `transformers`' own, and checkpoints it cannot serve."""

import json

import numpy as np
import pytest
from PIL import Image
from transformers import CLIPImageProcessor

from pickapic.model.preprocess import ImageTransform, read_transform
from pickapic.records import InputError


def pictures():
    rng = np.random.default_rng(0)
    for height, width in ((256, 256), (100, 301), (301, 100), (33, 32), (512, 511), (20, 24), (97, 1000)):
        yield Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    yield Image.fromarray(rng.integers(0, 256, (70, 90), dtype=np.uint8))
    yield Image.fromarray(rng.integers(0, 256, (70, 90, 4), dtype=np.uint8), "RGBA").convert("P")


@pytest.mark.parametrize(
    "picture", list(pictures()), ids=lambda picture: f"{picture.mode}-{picture.width}x{picture.height}"
)
@pytest.mark.parametrize("size", [32, 96])
def test_pixels_are_those_of_transformers(picture, size, tmp_path):
    transform = ImageTransform(size=size, crop=(size, size))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(transform.config()))
    theirs = CLIPImageProcessor.from_pretrained(tmp_path)(images=picture, return_tensors="np")["pixel_values"]
    ours = transform.normalize(transform.square(picture)[None])
    np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_a_transform_survives_being_written_and_read(tmp_path):
    for transform in (
        ImageTransform(size=96, crop=(96, 96)),
        ImageTransform(size=None, crop=(64, 64), mean=(0.5,) * 3),
    ):
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(transform.config()))
        assert read_transform(tmp_path) == transform


def test_a_folder_without_a_transform_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_transform(tmp_path)
