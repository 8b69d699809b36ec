"""The one image transform against `transformers`' PIL image processor: equal to the bit, whatever comes in."""

import io
import json
import subprocess
import sys
from random import Random

import numpy as np
import pytest
import transformers
from encoded_pictures import OPAQUE, TRANSPARENT, by_pillow, pixels
from PIL import Image

from pickapic.miniature.depiction import depict
from pickapic.miniature.models import MODELS
from pickapic.miniature.renderer import render
from pickapic.miniature.scene import draw, write
from pickapic.model import picture, resize
from pickapic.model.picture import Header, read_header
from pickapic.model.preprocess import ImageTransform, read_transform
from pickapic.records import InputError

# Version 4 has one class, which is the PIL one.
CLIP = getattr(transformers, "CLIPImageProcessorPil", None) or transformers.CLIPImageProcessor
SIGLIP = getattr(transformers, "SiglipImageProcessorPil", None) or transformers.SiglipImageProcessor
OVER_WHITE = (
    transformers.image_transforms.convert_to_rgb(Image.new("LA", (1, 1))).getpixel((0, 0)) == (255,) * 3
)

SIZES = (
    (64, 64),
    (200, 200),
    (65, 64),
    (63, 201),
    (31, 17),
    (1, 1),
    (1, 37),
    (37, 1),
    (150, 49),
    (30, 300),
    (300, 30),
)
TRANSFORMS = {
    "clip": ImageTransform(64, (64, 64)),
    "odd-crop": ImageTransform(65, (50, 33)),
    "padded": ImageTransform(30, (45, 64)),
    "bilinear": ImageTransform(64, (64, 64), Image.Resampling.BILINEAR),
    "siglip": ImageTransform(None, (48, 48), mean=(0.5,) * 3, std=(0.5,) * 3),
    "squashed-lanczos": ImageTransform(None, (40, 70), Image.Resampling.LANCZOS),
}


def processor(transform, **options):
    return (SIGLIP if transform.size is None else CLIP).from_dict({**transform.config(), **options})


THEIRS = {name: processor(transform) for name, transform in TRANSFORMS.items()}
THEIR_LEVELS = {
    name: processor(transform, do_rescale=False, do_normalize=False) for name, transform in TRANSFORMS.items()
}


def by_transformers(processor, given):
    # Version 4 has to guess otherwise, and takes an image 1 pixel high for one with 1 channel.
    return processor(images=given, return_tensors="np", input_data_format="channels_last")["pixel_values"]


@pytest.fixture(params=["fast", pytest.param("pillow", marks=pytest.mark.slow)])
def decoder(request, monkeypatch):
    """Run a test by the fast libraries and, as on a platform that they have no wheel for, without them."""
    if request.param == "pillow":
        monkeypatch.setattr(picture, "decode_jpeg", None)
        monkeypatch.setattr(resize, "AutoImageProcessor", None)
    elif picture.decode_jpeg is None or resize.AutoImageProcessor is None:
        pytest.skip("simplejpeg or hf-processors-rs is not installed")
    resize._native.cache_clear()
    yield request.param
    resize._native.cache_clear()


@pytest.mark.parametrize(
    "sizes", [SIZES[::3], pytest.param(SIZES, marks=pytest.mark.slow)], ids=["few", "all"]
)
@pytest.mark.parametrize("kind", [*OPAQUE, *TRANSPARENT])
def test_every_encoding_size_and_transform_equals_transformers(kind, sizes, decoder):
    if kind in TRANSPARENT and not OVER_WHITE:
        pytest.skip("transformers before 5.21 drops the alpha channel instead of showing white behind it")
    for number, (width, height) in enumerate(sizes):
        data = {**OPAQUE, **TRANSPARENT}[kind](pixels(width, height, number))
        for name, transform in TRANSFORMS.items():
            what = f"{name} {width}x{height}"
            square = transform.square_of(data)
            levels = by_transformers(THEIR_LEVELS[name], Image.open(io.BytesIO(data)))[0]
            np.testing.assert_array_equal(square.transpose(2, 0, 1), levels, what)
            floats = by_transformers(THEIRS[name], Image.open(io.BytesIO(data)))
            ours = transform.normalize(square[None])
            assert ours.dtype == floats.dtype == np.float32
            np.testing.assert_array_equal(ours, floats, what)


@pytest.mark.slow
def test_hundreds_of_random_jpegs_and_pngs_equal_transformers():
    transform = ImageTransform(224, (224, 224))
    theirs = processor(transform)
    random = Random(0)
    for number in range(300):
        width, height = (int(2 ** random.uniform(4, 9.5)) for _ in range(2))
        options = random.choice(
            [
                {"file_format": "PNG", "compress_level": random.randrange(10)},
                {"file_format": "JPEG", "mode": "L"},
                {
                    "file_format": "JPEG",
                    "quality": random.randrange(1, 101),
                    "subsampling": random.randrange(3),
                    "progressive": random.random() < 0.5,
                },
            ]
        )
        data = by_pillow(**options)(pixels(width, height, number, noisy=random.random() < 0.7))
        theirs_now = by_transformers(theirs, Image.open(io.BytesIO(data)))
        ours = transform.normalize(transform.square_of(data)[None])
        np.testing.assert_array_equal(ours, theirs_now, f"{number}: {width}x{height} {options}")


def test_the_miniature_world_equals_transformers(decoder):
    transform = ImageTransform(96, (96, 96))
    theirs = processor(transform)
    for seed, model in enumerate(MODELS):
        image = render(depict(write(draw(Random(seed))), model, seed, 5.0))
        for data in (by_pillow("JPEG", quality=90)(np.asarray(image)), by_pillow("PNG")(np.asarray(image))):
            theirs_now = by_transformers(theirs, Image.open(io.BytesIO(data)))
            np.testing.assert_array_equal(transform.normalize(transform.square_of(data)[None]), theirs_now)


def test_a_path_bytes_an_image_and_an_array_give_the_same_square(decoder, tmp_path):
    transform = ImageTransform(64, (64, 64))
    data = OPAQUE["png-rgb"](pixels(90, 70, 0))
    (tmp_path / "picture.jpg").write_bytes(data)  # the name says nothing, the content does
    image = Image.open(io.BytesIO(data))
    expected = transform.square(image)
    assert expected.shape == (64, 64, 3)
    assert expected.flags.writeable
    for given in (
        data,
        tmp_path / "picture.jpg",
        str(tmp_path / "picture.jpg"),
        image,
        np.asarray(image),
        np.asfortranarray(np.asarray(image)),
        np.asarray(image)[::-1][::-1],
    ):
        np.testing.assert_array_equal(transform.square_of(given), expected)


def test_a_square_is_the_callers_own():
    transform = ImageTransform(64, (64, 64))
    given = pixels(64, 64, 0)
    square = transform.square_of(given)
    np.testing.assert_array_equal(square, given)
    square[:] = 0
    assert given.any()


@pytest.mark.parametrize(
    ("kind", "plain"),
    [
        *(
            (kind, True)
            for kind in ("jpeg-420", "jpeg-progressive", "jpeg-grey", "jpeg-rotated", "jpeg-keeps-rgb")
        ),
        *((kind, True) for kind in ("png-rgb", "png-grey", "png-interlaced")),
        *(
            (kind, False)
            for kind in ("jpeg-cmyk", "png-palette", "png-1-bit", "png-rgb-16-bit", "png-animated")
        ),
        *(
            (kind, False)
            for kind in ("png-rgba", "png-grey-alpha", "png-rgb-one-colour", "png-grey-one-colour")
        ),
    ],
)
def test_the_header_tells_what_the_fast_way_may_take(kind, plain):
    data = {**OPAQUE, **TRANSPARENT}[kind](pixels(40, 30, 0))
    assert read_header(data) == Header(kind[: kind.index("-")].upper(), 40, 30, plain)


@pytest.mark.skipif(picture.decode_jpeg is None, reason="simplejpeg is not installed")
@pytest.mark.parametrize("kind", ["jpeg-420", "png-rgb"])
def test_the_fast_way_is_taken(kind, monkeypatch):
    monkeypatch.setattr(picture, "open_encoded", lambda *_: pytest.fail("Pillow was asked"))
    assert ImageTransform(64, (64, 64)).square_of(OPAQUE[kind](pixels(90, 70, 0))).shape == (64, 64, 3)


def test_a_forked_process_is_served(tmp_path):
    """The Rust library's threads do not survive a fork; a call that needed them would wait for ever."""
    script = """
import os, signal
import numpy as np
from pickapic.model.preprocess import ImageTransform
transform = ImageTransform(64, (64, 64))
pixels = np.random.default_rng(0).integers(0, 256, (1999, 1888, 3), dtype=np.uint8)
square = transform.square_of(pixels)
if child := os.fork():
    assert os.waitpid(child, 0)[1] == 0
    print("served")
else:
    signal.alarm(20)
    os._exit(0 if np.array_equal(transform.square_of(pixels), square) else 1)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.returncode) == ("served\n", 0), done.stderr


@pytest.mark.parametrize("threads", [None, 1, 3])
def test_many_pictures_in_threads_are_the_same_in_order(threads):
    transform = ImageTransform(64, (64, 64))
    given = [encode(pixels(80, 70, seed)) for seed, encode in enumerate(OPAQUE.values())]
    squares = transform.squares_of(given, threads=threads)
    assert (squares.shape, squares.dtype) == ((len(given), 64, 64, 3), np.uint8)
    for square, picture_ in zip(squares, given, strict=True):
        np.testing.assert_array_equal(square, transform.square_of(picture_))
    assert transform.squares_of([]).shape == (0, 64, 64, 3)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_picture_that_fails_is_named(threads, tmp_path):
    transform = ImageTransform(64, (64, 64))
    good = OPAQUE["png-rgb"](pixels(80, 70, 0))
    (tmp_path / "cut.png").write_bytes(good[:500])
    with pytest.raises(
        InputError, match=r"^image 2 of 4: .*cut\.png: cannot be read as an image \(.*truncated"
    ):
        transform.squares_of([good, good, tmp_path / "cut.png", b""], threads=threads)


def test_normalising_a_batch_is_normalising_each_level():
    transform = TRANSFORMS["clip"]
    every_level = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    expected = (np.float32(every_level / 255) - np.float32(transform.mean)) / np.float32(transform.std)
    batch = np.concatenate((every_level, every_level[:, ::-1]))
    expected = np.concatenate((expected, expected[:, ::-1])).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(transform.normalize(batch), expected, rtol=3e-7, atol=1e-7)
    assert transform.normalize(batch).flags.c_contiguous
    assert transform.normalize(batch[:0]).shape == (0, 3, 16, 16)


def test_a_transform_survives_being_written_and_read(tmp_path):
    for transform in TRANSFORMS.values():
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(transform.config()))
        assert read_transform(tmp_path) == transform


SIGLIP_FIELDS = {"image_processor_type": "SiglipImageProcessor", "size": {"height": 48, "width": 40}}
HALF = (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ImageTransform(224, (224, 224))),
        (
            {"feature_extractor_type": "CLIPFeatureExtractor", "size": 96, "crop_size": 80},
            ImageTransform(96, (80, 80)),
        ),
        (
            {
                "image_processor_type": "CLIPImageProcessorFast",
                "size": {"shortest_edge": 96},
                "crop_size": [64, 48],
            },
            ImageTransform(96, (64, 48)),
        ),
        ({"size": {"height": 224, "width": 224}}, ImageTransform(None, (224, 224))),
        ({"size": 224, "default_to_square": True}, ImageTransform(None, (224, 224))),
        ({"do_center_crop": False, "size": [60, 70]}, ImageTransform(None, (60, 70))),
        ({"resample": 2}, ImageTransform(224, (224, 224), Image.Resampling.BILINEAR)),
        ({"do_rescale": False}, ImageTransform(224, (224, 224), rescale=1.0)),
        ({"rescale_factor": 0.01}, ImageTransform(224, (224, 224), rescale=0.01)),
        ({"do_normalize": False}, ImageTransform(224, (224, 224), mean=(0.0,) * 3, std=(1.0,) * 3)),
        (
            {"image_mean": 0.4, "image_std": [1, 2, 3]},
            ImageTransform(224, (224, 224), mean=(0.4,) * 3, std=(1, 2, 3)),
        ),
        (SIGLIP_FIELDS, ImageTransform(None, (48, 40), mean=HALF, std=HALF)),
        (
            {
                **SIGLIP_FIELDS,
                "crop_size": None,
                "do_center_crop": None,
                "do_convert_rgb": None,
                "resample": 2,
            },
            ImageTransform(None, (48, 40), Image.Resampling.BILINEAR, mean=HALF, std=HALF),
        ),
        (
            {
                "processor_class": "CLIPProcessor",
                "use_square_size": False,
                "do_pad": None,
                "data_format": "x",
            },
            ImageTransform(224, (224, 224)),
        ),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_a_checkpoints_fields_mean_what_they_mean_to_transformers(fields, expected, tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(fields))
    transform = read_transform(tmp_path)
    assert transform == expected
    if "default_to_square" in fields and not hasattr(transformers, "CLIPImageProcessorPil"):
        pytest.skip("version 4 of transformers does not read default_to_square")
    family = SIGLIP if "Siglip" in fields.get("image_processor_type", "") else CLIP
    given = Image.fromarray(pixels(70, 90, 0))
    np.testing.assert_array_equal(
        transform.normalize(transform.square_of(given)[None]),
        by_transformers(family.from_dict(fields), given),
    )


def test_the_fields_within_a_whole_processors_file_come_first(tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": 32}))
    (tmp_path / "processor_config.json").write_text(json.dumps({"processor_class": "CLIPProcessor"}))
    assert read_transform(tmp_path).size == 32
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": {"size": 48}}))
    assert read_transform(tmp_path).size == 48


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"image_processor_type": "ViTImageProcessor"}, "image_processor_type"),
        ({"do_resize": False}, "do_resize"),
        ({"do_pad": True}, "do_pad"),
        ({"do_split_image": True}, "do_split_image"),
        ({"use_square_size": True}, "use_square_size"),
        ({"do_center_crop": False}, "size"),
        ({"size": {"longest_edge": 224}}, "size"),
        ({"size": {"shortest_edge": 224, "longest_edge": 448}}, "size"),
        ({"size": {"height": 256, "width": 256}}, "size"),
        ({"size": -1}, "size"),
        ({"size": "224"}, "size"),
        ({"crop_size": {"shortest_edge": 224}}, "crop_size"),
        ({"crop_size": [1, 2, 3]}, "crop_size"),
        ({"resample": 9}, "resample"),
        ({"image_mean": [0.5]}, "image_mean"),
        ({"image_std": [0.5, 0.0, 0.5]}, "image_std"),
        ({"image_std": "half"}, "image_std"),
        ({"rescale_factor": "small"}, "rescale_factor"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_what_clip_does_not_do_is_refused_by_its_field(fields, named, tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(fields))
    with pytest.raises(InputError, match=rf"preprocessor_config\.json: {named} is "):
        read_transform(tmp_path)


def test_a_folder_without_a_transform_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_transform(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(InputError, match="is no JSON"):
        read_transform(tmp_path)
