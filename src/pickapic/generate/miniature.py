"""The six bundled miniature models as generators."""

from __future__ import annotations

import functools

from pickapic.generate.generator import GeneratedImage, GenerationRequest, Honours
from pickapic.miniature import models
from pickapic.miniature.depiction import depict
from pickapic.miniature.renderer import render


class MiniatureGenerator:
    """Draws pictures of the miniature world; deterministic in (prompt, seed, guidance scale)."""

    def __init__(self, model: models.Model) -> None:
        self._model = model
        self.name = model.name
        self.honours = Honours(seed=True, guidance_scale=True, negative_prompt=False, steps=False)

    def generate(self, request: GenerationRequest) -> tuple[GeneratedImage, ...]:
        """Return one 256 x 256 picture a seed; the guidance scale is used as given, 3 to 12 is its useful range."""
        return tuple(
            GeneratedImage(
                pixels=render(depict(request.prompt, self._model, seed, request.guidance_scale)),
                seed=seed,
                guidance_scale=request.guidance_scale,
                steps=None,
                scheduler=None,
            )
            for seed in request.seeds
        )


aurora = functools.partial(MiniatureGenerator, models.AURORA)
bramble = functools.partial(MiniatureGenerator, models.BRAMBLE)
cobalt = functools.partial(MiniatureGenerator, models.COBALT)
dune = functools.partial(MiniatureGenerator, models.DUNE)
ember = functools.partial(MiniatureGenerator, models.EMBER)
fjord = functools.partial(MiniatureGenerator, models.FJORD)
