"""Generators that a worker has to live with, loaded through real entry points."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from unittest import mock

from PIL import Image

from pickapic import plugins
from pickapic.generate.generator import GeneratedImage, Honours


class Plain:
    """One colour; honours nothing but the seed. `fail_on` seeds raise, the counts are the test's to read."""

    honours = Honours(guidance_scale=False, negative_prompt=False, steps=False)

    def __init__(self, name: str = "plain", failures: int = 0, mode: str = "RGB", size=(32, 32)) -> None:
        self.name = name
        self._failures = failures
        self._mode = mode
        self._size = tuple(size)

    def generate(self, request):
        if self._failures:
            self._failures -= 1
            raise RuntimeError("out of memory")
        # Of few colours, two images of a duel would now and then be the same file, and one be drawn again.
        red, green, blue = request.seeds[0].to_bytes(8, "little")[:3]
        pixels = Image.new("RGB", self._size, (red, green, blue)).convert(self._mode)
        pixels.info["comment"] = b"made by plain"
        return (GeneratedImage(pixels, request.seeds[0], None, None, None),)


def plain(**parameters) -> Plain:
    return Plain(**parameters)


def broken(**parameters) -> Plain:
    raise RuntimeError("no such file: weights")


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """As if a plugin with `plain` and `broken` were installed."""
    real = plugins.installed
    extra = {
        name: EntryPoint(name, f"failing_generators:{name}", plugins.GENERATORS)
        for name in ("plain", "broken")
    }
    with mock.patch.object(plugins, "installed", lambda group: {**real(group), **extra}):
        yield
