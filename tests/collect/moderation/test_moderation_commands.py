"""`pickapic admin check-prompt` and `pickapic admin blocked`."""

import io
import json
import random
from datetime import UTC, datetime

import pytest

from pickapic.cli.app import main
from pickapic.collect.oversight import blocked


def run(capsys, *arguments, code=0):
    with pytest.raises(SystemExit) as left:
        main([*arguments])
    assert left.value.code == code
    return capsys.readouterr()


def test_a_prompt_and_why(capsys):
    shown = run(capsys, "admin", "check-prompt", "a n.u.d.e statue [clothes]").out
    assert "review" in shown
    assert "nudity (review): n.u.d.e" in shown
    assert "clothes [to leave out]" in shown
    one = json.loads(run(capsys, "admin", "check-prompt", "a fox", "--json").out)
    assert one == {"prompt": "a fox", "verdict": {"decision": "allow", "reasons": []}}


def test_many_prompts_from_standard_input(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("a fox\n\nhentai\na naked mole rat\n"))
    found = json.loads(run(capsys, "admin", "check-prompt", "-", "--json").out)
    assert [one["verdict"]["decision"] for one in found] == ["allow", "refuse", "allow"]
    assert found[1]["verdict"]["reasons"][0]["category"] == "sexual"


@pytest.mark.slow
def test_words_are_tried_before_they_are_set(capsys, tmp_path, monkeypatch):
    path = tmp_path / "words.toml"
    path.write_text('block = ["zorgle"]')
    prompt = ("admin", "check-prompt", "a zorgle", "--json")
    assert json.loads(run(capsys, *prompt).out)["verdict"]["decision"] == "allow"
    tried = json.loads(run(capsys, *prompt, "--words", str(path)).out)
    assert tried["verdict"]["decision"] == "refuse"
    monkeypatch.setenv("PICKAPIC_PROMPT_WORDS", str(path))
    assert json.loads(run(capsys, *prompt).out)["verdict"]["decision"] == "refuse"


def test_a_prompt_that_is_none_and_words_that_are_wrong(capsys, tmp_path):
    assert "empty" in run(capsys, "admin", "check-prompt", " ", code=1).err
    path = tmp_path / "words.toml"
    path.write_text('blocks = ["zorgle"]')
    said = run(capsys, "admin", "check-prompt", "a", "--words", str(path), code=1).err
    assert "did you mean 'block'" in said


def test_the_list_of_blocked_images(hands, database_url, capsys):
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    hands.write(
        blocked.block_image, -1, "grey square", None, moment, hands.settings.generators, random.Random(0)
    )
    url = ("--database", database_url)
    shown = run(capsys, "admin", "blocked", "list", *url).out
    assert "ffffffffffffffff" in shown
    (entry,) = json.loads(run(capsys, "admin", "blocked", "list", *url, "--json").out)
    assert (entry["phash"], entry["reason"]) == (-1, "grey square")
    run(capsys, "admin", "blocked", "remove", str(entry["id"]), *url)
    assert json.loads(run(capsys, "admin", "blocked", "list", *url, "--json").out) == []
    assert "no such blocked image" in run(capsys, "admin", "blocked", "remove", "7", *url, code=1).err
