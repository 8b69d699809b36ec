"""Reading the settings from where they are set, and saying what is wrong with them."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pickapic.records import InputError
from pickapic.settings.names import nearest
from pickapic.settings.service import PREFIX, Settings, config_file

# Not settings themselves: where the file is, a worker's token, and what only the test suite reads.
_RESERVED = re.compile(r"PICKAPIC_(CONFIG$|WORKER_TOKEN$|TEST_)")


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; `overrides` win over all, those that are None count as not given.

    Raises:
        InputError: an unknown name (the nearest is named), a value that does not fit (its source is named),
            or a settings file that cannot be read.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    _refuse_unknown(given, "argument")
    environment = {
        key.upper().removeprefix(PREFIX).lower(): key
        for key, value in os.environ.items()
        if value and key.upper().startswith(PREFIX) and not _RESERVED.match(key.upper())
    }
    _refuse_unknown(environment, "environment variable", PREFIX)
    path = config_file()
    in_file = _read_file(path)
    _refuse_unknown(in_file, f"{path}: setting")
    sources = (
        dict.fromkeys(in_file, str(path))
        | {name: f"environment {key}" for name, key in environment.items()}
        | dict.fromkeys(given, "argument")
    )
    try:
        settings = Settings(**given)
    except ValidationError as error:
        raise InputError(_explain(error, sources)) from error
    settings._sources.update(sources)  # pyright: ignore[reportPrivateUsage]
    return settings


def _read_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} cannot be read as TOML: {error}") from error


def _refuse_unknown(names: Iterable[str], what: str, prefix: str = "") -> None:
    known = list(Settings.model_fields)
    for name in names:
        if name not in known:
            shown, fields = (
                (prefix + name.upper(), [prefix + field.upper() for field in known])
                if prefix
                else (name, known)
            )
            raise InputError(f"{what} {shown!r} is unknown{nearest(shown, fields)}")


def _explain(error: ValidationError, sources: Mapping[str, str]) -> str:
    lines: list[str] = []
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        name = str(problem["loc"][0]) if problem["loc"] else ""
        message = problem["msg"].removeprefix("Value error, ")
        lines.append(f"setting {name!r} ({sources.get(name, 'default')}): {message}" if name else message)
    return "; ".join(lines)
