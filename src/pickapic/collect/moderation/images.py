"""Look at a finished image before anybody else does: a perceptual hash, a classifier, and images that are blocked.

    inspector = open_inspector(settings)                       # in the worker, once; loads the classifier
    inspector.block(await database.read(blocked.hashes))       # now and then: BLOCKED_SECONDS
    inspection = inspector.inspect(pixels)                     # in the generator thread
    inspection.flag                                            # None, "classifier" or "blocked"

An image with a flag is never shown and never votable; it is stored, so that a moderator can see why.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import imagehash
import numpy as np
from PIL import Image

from pickapic.collect.moderation.hashes import Blocked, signed
from pickapic.records import InputError
from pickapic.settings import Settings
from pickapic.settings.generators import MINIATURE_GENERATORS
from pickapic.settings.names import nearest

CLASSIFIER = "classifier"
BLOCKED = "blocked"
BLOCKED_SECONDS = 10.0
"""How often a worker should read the list of blocked images anew."""

SMALL = 128
CROP = 0.05
"""The share of a side by which a copy of a blocked image may be cropped and is still known (docs/moderation.md)."""

CLASSIFIERS = ("none", "opennsfw")


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found: the 64-bit perceptual hash as a signed integer, the classifier's 0 to 1, and why it is unfit.

    `unfit` is None where no classifier looked; `flag` is None for an image that may be shown.
    """

    phash: int
    unfit: float | None
    flag: str | None


class ImageClassifier(Protocol):
    """Says how sure it is that an image is unfit to be shown."""

    def unfit(self, pixels: Image.Image) -> float:
        """Return 0 (fit) to 1 (unfit) for one image."""
        ...


class Inspector:
    """Inspects images, one at a time; used by one thread, while another may call `block`.

    Args:
        threshold: images to which the classifier gives this much or more are flagged.
        classifier: None to look at hashes only.
        blocked: hashes of images that must not be shown again.
    """

    def __init__(
        self, threshold: float, classifier: ImageClassifier | None = None, blocked: Iterable[int] = ()
    ) -> None:
        self._threshold = threshold
        self._classifier = classifier
        self._blocked = Blocked(blocked)

    def block(self, hashes: Iterable[int]) -> None:
        """Replace the list of blocked images."""
        self._blocked = Blocked(hashes)

    def inspect(self, pixels: Image.Image) -> Inspection:
        """Return what is found in an image; the classifier is not asked about one that is blocked anyway."""
        phash = perceptual_hash(pixels)
        blocked = self._blocked
        if len(blocked) and (blocked.match(phash) or blocked.match(perceptual_hash(widened(pixels)))):
            return Inspection(phash, None, BLOCKED)
        if self._classifier is None:
            return Inspection(phash, None, None)
        unfit = self._classifier.unfit(pixels)
        # Not "unfit >= threshold": what a broken model answers (NaN) is not fit to be shown.
        fit = unfit < self._threshold
        return Inspection(phash, unfit if np.isfinite(unfit) else None, None if fit else CLASSIFIER)


def open_inspector(settings: Settings) -> Inspector:
    """Return the inspector that the settings ask for; its list of blocked images is still empty.

    Raises:
        InputError: no such classifier, or its libraries are not installed.
    """
    return Inspector(settings.image_threshold, load_classifier(classifier_name(settings)))


def classifier_name(settings: Settings) -> str:
    """Return the classifier to use: the setting, or opennsfw unless all generators are the miniature ones."""
    if settings.image_classifier:
        return settings.image_classifier
    miniature = all(choice.plugin in MINIATURE_GENERATORS for choice in settings.generators)
    return "none" if miniature else "opennsfw"


def load_classifier(name: str) -> ImageClassifier | None:
    """Return the classifier called `name`; None for `none`.

    Raises:
        InputError: no such classifier, or its libraries are not installed.
    """
    if name == "none":
        return None
    if name not in CLASSIFIERS:
        raise InputError(f"image_classifier: none is called {name!r}{nearest(name, CLASSIFIERS)}")
    try:
        # An optional extra, and half a second to import: only for who asked for it.
        from pickapic.collect.moderation.opennsfw import OpenNsfw
    except ModuleNotFoundError as error:
        raise InputError(
            f"the image classifier {name!r} needs the package {error.name!r}: "
            'pip install "pickapic[moderation]"; or go without by image_classifier = "none"'
        ) from error
    return OpenNsfw()


def perceptual_hash(pixels: Image.Image) -> int:
    """Return the 64-bit pHash of an image, as the signed integer that databases store.

    The hash of the library imagehash: the signs, against their median, of the 8 x 8 lowest frequencies of a
    32 x 32 grey picture. Pictures of one colour are all alike.
    """
    bits = imagehash.phash(pixels).hash
    return signed(int.from_bytes(np.packbits(bits).tobytes(), "big"))


def widened(pixels: Image.Image) -> Image.Image:
    """Return an image with its edges drawn out: what is cropped a little is then nearly where it was."""
    grey = pixels.convert("L").resize((SMALL, SMALL), Image.Resampling.BOX)
    return Image.fromarray(np.pad(np.asarray(grey), round(SMALL * CROP / 2), mode="edge"))
