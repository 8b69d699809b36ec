from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pickapic.plugins import GENERATORS, installed
from pickapic.records import InputError
from pickapic.settings import (
    HIDDEN,
    MINIATURE_GENERATORS,
    GeneratorChoice,
    Settings,
    load_settings,
    parse_generators,
    secret_key,
)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "pickapic.toml"
    path.touch()
    monkeypatch.setenv("PICKAPIC_CONFIG", str(path))
    monkeypatch.delenv("PICKAPIC_HOME")
    monkeypatch.delenv("PICKAPIC_GOLD_SHARE")
    return path


def test_no_setting_at_all_is_enough_to_serve_by_hand(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(config.parent)
    settings = load_settings()
    home = config.parent / "pickapic-data"
    assert settings.home == home
    assert settings.database_url == f"sqlite:///{home}/pickapic.db"
    assert settings.images_url == f"{home}/images"
    assert settings.allow_guests
    assert set(settings.sources.values()) == {"default"}
    assert not home.exists(), "reading settings writes nothing"


def test_the_default_generators_are_the_bundled_ones_with_guidance_between_3_and_12() -> None:
    settings = load_settings()
    bundled = {name for name in installed(GENERATORS) if name.startswith("miniature-")}
    assert {choice.name for choice in settings.generators} == bundled == set(MINIATURE_GENERATORS)
    assert {(c.weight, c.guidance_min, c.guidance_max) for c in settings.generators} == {(1.0, 3.0, 12.0)}


def test_arguments_win_over_the_environment_and_that_over_the_file(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text('host = "0.0.0.0"\nport = 1\nimages_ahead = 2\n')
    monkeypatch.setenv("PICKAPIC_PORT", "2")
    monkeypatch.setenv("PICKAPIC_IMAGES_AHEAD", "3")
    settings = load_settings(images_ahead=5, worker_batch=None)
    assert (settings.host, settings.port, settings.images_ahead, settings.worker_batch) == (
        "0.0.0.0",
        2,
        5,
        8,
    )
    sources = settings.sources
    assert sources["host"] == str(config)
    assert sources["port"] == "environment PICKAPIC_PORT"
    assert sources["images_ahead"] == "argument"
    assert sources["worker_batch"] == "default"
    assert list(sources) == list(Settings.model_fields)


def test_what_depends_on_home_follows_it_unless_it_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICKAPIC_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("PICKAPIC_DATABASE_URL", "postgresql+asyncpg://db/pickapic")
    settings = load_settings()
    assert settings.database_url == "postgresql+asyncpg://db/pickapic"
    assert settings.images_url == str(tmp_path / "elsewhere" / "images")


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICKAPIC_PORT", "")
    monkeypatch.setenv("PICKAPIC_GENERATORS", "")
    settings = load_settings()
    assert (settings.port, len(settings.generators)) == (8000, 6)
    assert settings.sources["port"] == "default"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("PICKAPIC_PROT", "1", "'PICKAPIC_PROT' is unknown; did you mean 'PICKAPIC_PORT'?"),
        ("PICKAPIC_PORT", "many", "setting 'port' (environment PICKAPIC_PORT)"),
        ("PICKAPIC_PORT", "70000", "less than or equal to 65535"),
        ("PICKAPIC_ENVIRONMENT", "prod", "setting 'environment'"),
        ("PICKAPIC_LEASE_SECONDS", "0", "setting 'lease_seconds'"),
        ("PICKAPIC_CONFIG", "/nowhere/pickapic.toml", "PICKAPIC_CONFIG names /nowhere/pickapic.toml"),
        ("PICKAPIC_GENERATORS", ",", "a weight above 0"),
        ("PICKAPIC_GENERATORS", "{broken", "neither JSON nor an inline TOML table"),
    ],
)
def test_a_wrong_variable_is_explained(
    variable: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InputError) as error:
        load_settings()
    assert message in str(error.value)


def test_a_wrong_file_is_explained(config: Path) -> None:
    config.write_text("imagesahead = 3")
    with pytest.raises(InputError, match=r"setting 'imagesahead' is unknown; did you mean 'images_ahead'\?"):
        load_settings()
    config.write_text("port = = 3")
    with pytest.raises(InputError, match="cannot be read as TOML"):
        load_settings()
    with pytest.raises(InputError, match=r"argument 'hots' is unknown; did you mean 'host'\?"):
        load_settings(hots="x")


def test_a_secret_never_shows_in_an_error_or_a_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICKAPIC_DATABASE_URL", "postgresql+asyncpg://me:hunter2@db/pickapic")
    monkeypatch.setenv("PICKAPIC_SECRET_KEY", "hunter2" * 6)
    generators = {"flux": {"plugin": "openai", "parameters": {"api_key": "hunter2", "model": "flux"}}}
    settings = load_settings(generators=generators)
    shown = settings.shown()
    assert "hunter2" not in str(shown)
    assert "hunter2" not in repr(settings.secret_key)
    assert shown["database_url"] == f"postgresql+asyncpg://me:{HIDDEN}@db/pickapic"
    assert shown["generators"][0]["parameters"] == {"api_key": HIDDEN, "model": "flux"}
    monkeypatch.setenv("PICKAPIC_ENVIRONMENT", "production")
    monkeypatch.setenv("PICKAPIC_SECRET_KEY", "hunter2")
    with pytest.raises(InputError) as error:
        load_settings()
    assert "hunter2" not in str(error.value)


def test_production_wants_its_own_secret_and_has_no_guests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICKAPIC_ENVIRONMENT", "production")
    for key in ("", "too short", "s" * 32, "changeme" * 8):
        monkeypatch.setenv("PICKAPIC_SECRET_KEY", key)
        with pytest.raises(InputError, match="production needs a random secret_key"):
            load_settings()
    monkeypatch.setenv("PICKAPIC_SECRET_KEY", "Qz7-kWv2_pLm9XtR4sBn8YhC3dFg6JaE")
    assert load_settings().allow_guests is False
    assert load_settings(allow_guests=True).allow_guests is True
    with pytest.raises(InputError, match="https://"):
        load_settings(public_url="http://pick.example.org")
    assert load_settings(public_url="https://pick.example.org/").public_url == "https://pick.example.org"


def test_a_generated_secret_is_kept_private_and_the_same(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path / "new" / "home")
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: secret_key(settings), range(32)))
    assert len(keys) == 1
    assert len(keys.pop()) >= 32
    kept = settings.home / "secret_key"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert os.listdir(settings.home) == ["secret_key"], "no draft is left behind"
    kept.write_text("short")
    with pytest.raises(InputError, match="delete it"):
        secret_key(settings)
    assert secret_key(load_settings(secret_key="given")) == "given"


FLUX = GeneratorChoice("flux", "openai", 2.0, 4.0, 4.0, 50, "blurry", {"model": "f"})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["a", "b"], (GeneratorChoice("a", "a"), GeneratorChoice("b", "b"))),
        ("a, b", (GeneratorChoice("a", "a"), GeneratorChoice("b", "b"))),
        ({"a": {}}, (GeneratorChoice("a", "a"),)),
        ({"a": {"guidance": [1, 2.5]}}, (GeneratorChoice("a", "a", guidance_min=1.0, guidance_max=2.5),)),
        (
            '{flux = {plugin = "openai", weight = 2, guidance = 4, steps = 50, negative_prompt = "blurry", '
            'parameters = {model = "f"}}}',
            (FLUX,),
        ),
        (
            '{"flux": {"plugin": "openai", "weight": 2, "guidance": 4, "steps": 50, '
            '"negative_prompt": "blurry", "parameters": {"model": "f"}}}',
            (FLUX,),
        ),
        ((FLUX,), (FLUX,)),
    ],
)
def test_generators_may_be_named_or_described(value: object, expected: tuple[GeneratorChoice, ...]) -> None:
    assert parse_generators(value) == expected


def test_generators_from_the_file_are_a_table(config: Path) -> None:
    config.write_text(
        '[generators.flux]\nweight = 2\nguidance = [3, 5]\n[generators.sd]\nplugin = "diffusers"\n'
    )
    flux, sd = load_settings().generators
    assert (flux.weight, flux.guidance_min, flux.guidance_max) == (2.0, 3.0, 5.0)
    assert (sd.name, sd.plugin) == ("sd", "diffusers")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "weight above 0"),
        (["a", "a"], "a is named twice"),
        ({"a": {"weight": 0}}, "weight above 0"),
        ({"a": {"weight": -1}}, "below 0"),
        ({"a": {"weight": float("nan")}}, "no number"),
        ({"a": {"weigth": 1}}, "did you mean 'weight'"),
        ({"a": {"guidance": [5, 3]}}, "5.0 is above 3.0"),
        ({"a": {"guidance": [1, 2, 3]}}, "one number, or"),
        ({"a": {"guidance": "7"}}, "no number"),
        ({"a": {"steps": 0}}, "whole number"),
        ({"a": {"steps": True}}, "whole number"),
        ({"a": {"plugin": 3}}, "are texts"),
        ({"a": {"parameters": 3}}, "keyword arguments"),
        ({"a": 3}, "give a table"),
        ([3], "no name"),
        (3, "give a list"),
    ],
)
def test_a_wrong_generator_is_explained(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_generators(value)


@settings(max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_whatever_is_given_for_generators_ends_in_choices_or_a_value_error(value: object) -> None:
    try:
        choices = parse_generators(value)
    except ValueError:
        return
    assert sum(choice.weight for choice in choices) > 0
    assert all(choice.guidance_min <= choice.guidance_max for choice in choices)


@pytest.mark.slow
def test_importing_settings_reads_nothing_and_loads_no_deep_learning_library() -> None:
    code = (
        "import sys, pickapic.settings\n"
        "heavy = {'torch', 'transformers', 'numpy', 'fastapi', 'sqlalchemy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    environment = {**os.environ, "PICKAPIC_PORT": "wrong", "PICKAPIC_CONFIG": "/nowhere"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)


def test_every_setting_is_documented() -> None:
    page = (Path(__file__).parents[1] / "docs" / "settings.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert rows == list(Settings.model_fields)


def test_the_documented_table_of_generators_is_understood(config: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "settings.md").read_text(encoding="utf-8")
    config.write_text(re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0])
    aurora, mine = load_settings().generators
    assert (aurora.weight, aurora.guidance_min, aurora.guidance_max) == (2.0, 5.0, 9.0)
    assert (mine.plugin, mine.parameters) == ("my-plugin", {"model": "..."})
