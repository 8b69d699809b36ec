"""docs/generators.md: every block on it works, and what it says generators honour is what they do."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from pickapic import plugins
from pickapic.generate.check import open_generator
from pickapic.generate.generator import GenerationRequest
from pickapic.generate.provider import Patience
from pickapic.settings import load_settings

PAGE = (Path(__file__).parents[2] / "docs" / "generators.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
WORKFLOW = {
    "3": {"class_type": "KSampler", "inputs": {"seed": 1, "cfg": 7.0, "steps": 20}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ""}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": ""}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["8", 0]}},
}
KEYS = ("OPENAI_API_KEY", "A1111_PASSWORD", "STABILITY_API_KEY", "HF_TOKEN", "REPLICATE_API_TOKEN", "FAL_KEY")
# The line of the table -> the entry of the page that it is about.
LINES = {
    "`openai-images`, dialect `openai`": "gpt-image",
    "`openai-images`, dialect `vllm` or `sglang`": "qwen-image",
    "`openai-images`, dialect `localai`": "local-flux",
    "`automatic1111`": "dreamlike",
    "`stability`, other models": "sd35-large",
}


def choices():
    found = {}
    for block in BLOCKS:
        found |= {one.name: one for one in load_settings(**tomllib.loads(block)).generators}
    return found


@pytest.fixture
def around(tmp_path, monkeypatch):
    """Keys, and the workflow where the commands run."""
    for key in KEYS:
        monkeypatch.setenv(key, "a key")
    (tmp_path / "workflow_api.json").write_text(json.dumps(WORKFLOW))
    monkeypatch.chdir(tmp_path)


def test_every_plugin_has_a_block():
    used = {choice.plugin for choice in choices().values()}
    known = {name for name in plugins.installed(plugins.GENERATORS) if not name.startswith("miniature")}
    assert used == known


@pytest.mark.parametrize("name", [name for name, choice in choices().items() if choice.plugin != "diffusers"])
def test_every_block_of_a_provider_opens(around, name):
    generator = open_generator(choices()[name])
    assert generator.in_process is False
    assert generator.concurrency >= 1


@pytest.mark.slow
def test_the_blocks_of_diffusers_open():
    for choice in choices().values():
        if choice.plugin == "diffusers":
            open_generator(choice)


def test_the_table_says_what_they_honour(around):
    found = choices()
    for line, name in LINES.items():
        row = next(row for row in PAGE.splitlines() if row.startswith(f"| {line} |"))
        said = [cell.strip() for cell in row.strip("|").split("|")][1:]
        generator = open_generator(found[name])
        honours = generator.honours
        real = (honours.seed, honours.guidance_scale, honours.negative_prompt, honours.steps)
        assert [cell == "yes" for cell in said[:4]] == list(real), line
        if "concurrency" not in found[name].parameters:
            assert said[4] == str(generator.concurrency), line


def test_the_patience_of_the_page_is_the_default():
    assert Patience(**choices()["patient"].parameters["patience"]) == Patience()


def test_the_generator_of_the_page_works():
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    names = {}
    exec(compile(code, "docs/generators.md", "exec"), names)
    made = names["OneColour"](side=8).generate(GenerationRequest("a cat", (255, 256)))
    assert [image.pixels.getpixel((0, 0)) for image in made] == [(0, 0, 255), (0, 1, 0)]
