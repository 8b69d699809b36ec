"""The miniature world: prompts read and written, pictures drawn, faults and looks as documented."""

import hashlib
import statistics
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from pickapic.generate.generator import GenerationRequest
from pickapic.miniature import sprites, taste
from pickapic.miniature.depiction import adherence, depict
from pickapic.miniature.models import AURORA, EMBER, FJORD, MODELS
from pickapic.miniature.objects import KINDS, find
from pickapic.miniature.renderer import render
from pickapic.miniature.scene import BACKGROUNDS, COLORS, STYLES, Scene, Thing, draw, read, write
from pickapic.plugins import GENERATORS, load, names

ODD_PROMPTS = (
    "",
    "   ",
    "?!",
    "a",
    "pikachu eating spagetti, \U0001f35d\U0001f35d",
    "一只可爱的小猫",
    "кот в космосе",
    "criança comendo salada",
    "<script>alert('x')</script>",
    "word" * 3000,
    "x " * 5000,
    "((masterpiece)), (best quality:1.4), [blurry], ___",
    "a\0b\x1b[31m",
    "999999999999 cats",
    "٣ cats and Ⅳ dogs, ² owls",
    "\u202eright to left\u202c",
)


def test_what_the_grammar_writes_it_reads_back():
    for number in range(3000):
        scene = draw(Random(number))
        assert read(write(scene)) == scene, write(scene)


def test_the_grammar_is_as_rich_as_promised():
    assert len(KINDS) >= 60
    assert (len(COLORS), len(BACKGROUNDS)) == (10, 10)
    assert len(STYLES) >= 6
    seen = [draw(Random(number)) for number in range(2000)]
    assert {len(scene.things) for scene in seen} == {1, 2, 3}
    assert {thing.count for scene in seen for thing in scene.things} == {1, 2, 3, 4}
    assert len({scene.relation for scene in seen}) == 6


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("jedi duck", ["duck"]),
        ("two kittens and a puppy", ["cat", "dog"]),
        ("catwoman", ["woman"]),
        ("a spaceship over a spooky mansion", ["rocket", "house"]),
        ("berries", ["strawberry"]),
        ("prose about taking a test", []),
        ("OWL", ["owl"]),
    ],
)
def test_words_find_the_nearest_known_things(text, kinds):
    assert [thing.kind for thing in read(text).things] == kinds


def test_attributes_are_read():
    scene = read("Watercolour of three tiny scarlet foxes to the left of a house in the snow")
    assert scene == Scene(
        (Thing("fox", 3, "red", "small"), Thing("house")), "left of", "in the snow", "watercolor"
    )


def test_no_word_hides_in_prose():
    words = ["making", "thinking", "story", "theme", "drawer", "scared", "monkeying"]
    assert [word for word in words if find(word)] == ["monkeying"]


@pytest.mark.parametrize("prompt", ODD_PROMPTS, ids=range(len(ODD_PROMPTS)))
def test_any_prompt_gets_a_picture(prompt):
    for seed, model in enumerate(MODELS):
        picture = render(depict(prompt, model, seed, 7.0))
        assert (picture.size, picture.mode) == ((256, 256), "RGB")
        low, high = picture.convert("L").getextrema()
        assert high - low > 30, "the picture is blank"


def picture_digest(prompt, model, seed):
    return hashlib.sha256(render(depict(prompt, model, seed, 7.5)).tobytes()).hexdigest()


def test_pictures_depend_on_prompt_seed_and_parameters_alone():
    program = (
        "import hashlib; from pickapic.miniature.depiction import depict\n"
        "from pickapic.miniature.models import AURORA; from pickapic.miniature.renderer import render\n"
        "picture = render(depict('two red foxes, neon', AURORA, 5, 7.5))\n"
        "print(hashlib.sha256(picture.tobytes()).hexdigest())"
    )
    again = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "77"},
    )
    first = picture_digest("two red foxes, neon", AURORA, 5)
    assert again.stdout.strip() == first
    assert picture_digest("two red foxes, neon", AURORA, 6) != first
    assert picture_digest("two red foxes, neon", FJORD, 5) != first
    assert picture_digest("two red foxes", AURORA, 5) != first


def share(model, guidance, fault, n=3000):
    asked = read("two red foxes to the left of a blue car in the snow, neon")
    depictions = [depict(write(asked), model, seed, guidance).scene for seed in range(n)]
    return statistics.mean(fault(asked, drawn) for drawn in depictions)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_fault_rates_are_the_documented_ones(model):
    found = share(model, 7.0, lambda asked, drawn: asked.style != drawn.style)
    assert found == pytest.approx(model.fault_rate("style", 7.0), abs=0.03)
    found = share(model, 7.0, lambda asked, drawn: asked.background != drawn.background)
    assert found == pytest.approx(model.fault_rate("background", 7.0), abs=0.03)
    found = share(model, 7.0, lambda asked, drawn: len(drawn.things) < 2)
    assert found == pytest.approx(model.fault_rate("drop", 7.0), abs=0.03)


def test_guidance_trades_adherence_against_artefacts():
    prompts = [write(draw(Random(number))) for number in range(1500)]

    def mean(measure, guidance):
        return statistics.mean(measure(p, depict(p, EMBER, s, guidance)) for s, p in enumerate(prompts))

    def present(prompt, depiction):
        return adherence(read(prompt), depiction.scene)

    assert mean(present, 3) < mean(present, 7) < mean(present, 12)
    for artefact in ("saturation", "contrast", "clutter"):
        assert mean(lambda _, d, name=artefact: getattr(d.look, name), 12) > mean(
            lambda _, d, name=artefact: getattr(d.look, name), 6
        )
    quality = {g: mean(lambda p, d: taste.quality(p, d).overall, g) for g in (3, 7, 12)}
    assert quality[7] > quality[3]
    assert quality[7] > quality[12]


@pytest.mark.slow
def test_models_differ_as_documented_and_quality_is_standardised():
    random = Random(1)
    found = {model.name: [] for model in MODELS}
    for _ in range(9000):
        prompt, model = write(draw(random)), random.choice(MODELS)
        found[model.name].append(
            taste.quality(prompt, depict(prompt, model, random.getrandbits(32), random.uniform(3, 12)))
        )
    means = [statistics.mean(quality.overall for quality in found[model.name]) for model in MODELS]
    assert means == sorted(means, reverse=True)
    everything = [quality for qualities in found.values() for quality in qualities]
    for part in ("adherence", "look"):
        values = [getattr(quality, part) for quality in everything]
        assert statistics.mean(values) == pytest.approx(0, abs=0.05)
        assert statistics.stdev(values) == pytest.approx(1, abs=0.05)


def test_what_is_drawn_as_asked_adheres_fully_and_what_is_not_does_not():
    asked = read("two red foxes to the left of a blue car in the snow, neon")
    assert adherence(asked, asked) == 1.0
    nothing = Scene((Thing("cat"),))
    assert adherence(asked, nothing) == 0.0
    assert 0 < adherence(asked, Scene(asked.things, "right of", None, "neon")) < 1
    assert adherence(read("gibberish"), nothing) == 1.0


def test_every_kind_has_artwork_in_every_set_with_its_licence():
    for sprite_set in sprites.SETS:
        for kind in KINDS:
            assert sprites.sprite(sprite_set, kind.name).getchannel("A").getextrema()[1] > 250
    files = list(Path(sprites.FOLDER).glob("*.png"))
    assert len(files) == 3
    assert sum(file.stat().st_size for file in files) < 6 * 2**20
    licences = (Path(sprites.FOLDER) / "LICENSES.md").read_text()
    assert all(file.name in licences for file in files)


def test_the_models_are_generators_behind_the_plugin_door():
    assert set(names(GENERATORS)) >= {model.name for model in MODELS}
    generator = load(GENERATORS, "miniature-cobalt")()
    images = generator.generate(GenerationRequest("a fox", seeds=(1, 2), guidance_scale=5.0))
    assert [image.seed for image in images] == [1, 2]
    assert images[0].pixels.tobytes() != images[1].pixels.tobytes()
    assert generator.honours.guidance_scale
    assert not generator.honours.negative_prompt
