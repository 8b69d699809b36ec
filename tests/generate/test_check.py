from __future__ import annotations

import json

from PIL import Image
from typer.testing import CliRunner

from pickapic.cli.app import make_app
from pickapic.generate.check import check_generators
from pickapic.settings import parse_generators
from provider_server import ProviderServer


def test_each_generator_makes_one_image_and_trouble_with_one_hides_no_other(tmp_path):
    with ProviderServer() as server:
        server.openai()
        choices = parse_generators(
            {
                "miniature-dune": {},
                "mine/xl": {
                    "plugin": "openai-images",
                    "parameters": {"model": "xl", "url": server.url + "/v1", "dialect": "vllm"},
                },
                "gone": {
                    "plugin": "openai-images",
                    "parameters": {"model": "x", "url": "http://127.0.0.1:9", "patience": {"tries": 1}},
                },
                "wrong": {"plugin": "openai-images", "parameters": {"modle": "x"}},
            }
        )
        advanced = []
        dune, xl, gone, wrong = check_generators(choices, "a red cat", tmp_path, advanced.append)
    assert (dune.size, dune.trouble) == ("256 x 256", "")
    assert xl.honours == ("seed", "guidance_scale", "negative_prompt", "steps")
    with Image.open(tmp_path / "mine-xl.png") as image:
        assert image.size == (64, 64)
    assert gone.trouble.startswith("UnavailableError")
    assert "modle" in wrong.trouble
    assert advanced == [1] * 4


def test_the_command_says_what_failed_and_exits_with_1(monkeypatch):
    monkeypatch.setenv("PICKAPIC_GENERATORS", '{"miniature-dune": {}, "x": {"plugin": "openai-images"}}')
    runner = CliRunner()
    result = runner.invoke(make_app(), ["generators", "check", "--json"])
    assert result.exit_code == 1
    dune, broken = json.loads(result.stdout)
    assert not dune["trouble"]
    assert "model" in broken["trouble"]
    assert runner.invoke(make_app(), ["generators", "check", "miniature-dune"]).exit_code == 0
