"""The command `pickapic`: which commands there are, and what becomes of errors.

Each command lives in its own file and imports what it runs inside its body, so `pickapic --help` loads no
stage. The last paragraph of a command's docstring starts with `Example:` or `Examples:`: the end of `--help`.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, cast

import typer

from pickapic import __version__
from pickapic.cli import output
from pickapic.records import InputError
from pickapic.storage.failures import StoreError


@dataclass(frozen=True, slots=True)
class Entry:
    """A command or group of commands: its name, and the panel of `--help` it stands in.

    It is the attribute of that name (`_` for `-`) in the module of that name: a function, or a `typer.Typer`.
    """

    name: str
    panel: str


ENTRIES = (
    Entry("demo", "Start here"),
    Entry("serve", "Collect"),
    Entry("worker", "Collect"),
    Entry("simulate", "Collect"),
    Entry("db", "Collect"),
    Entry("admin", "Collect"),
    Entry("generators", "Collect"),
    Entry("generate-service", "Collect"),
    Entry("export", "Data"),
    Entry("dataset", "Data"),
    Entry("train", "Model"),
    Entry("score", "Model"),
    Entry("rank", "Model"),
    Entry("best", "Model"),
    Entry("score-service", "Model"),
    Entry("quantize", "Model"),
    Entry("evaluate", "Evaluate"),
    Entry("ratings", "Evaluate"),
    Entry("settings", "About this installation"),
    Entry("plugins", "About this installation"),
)

# What `pip install pickapic` leaves out, by the extra that brings it.
EXTRAS = {
    "web": ("fastapi", "starlette", "uvicorn", "sqlalchemy", "alembic", "obstore", "structlog"),
    "postgresql": ("asyncpg",),
    "models": ("torch", "transformers", "safetensors"),
    "generate": ("diffusers",),
    "openvino": ("openvino", "nncf"),
    "lora": ("peft",),
    "tracking": ("tensorboard", "wandb"),
    "ray": ("ray",),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; leave with 0, 1 (the data or settings cannot be used) or 2 (wrong usage)."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    named = arguments[0] if arguments else None
    warnings.showwarning = output.show_warning
    try:
        app = make_app(tuple(entry for entry in ENTRIES if entry.name == named) or ENTRIES)
        app(arguments, prog_name="pickapic")
    except (InputError, StoreError) as error:
        output.fail(str(error))
    except ConnectionError as error:  # of a scorer elsewhere
        output.fail(str(error))
    except ModuleNotFoundError as error:
        extra = _extra_of(error.name)
        if extra is None:
            raise
        output.fail(f"this needs the package {error.name!r}: pip install 'pickapic[{extra}]'")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        output.fail(f"{error.strerror}: {error.filename}" if error.filename else str(error))


def make_app(entries: Sequence[Entry] = ENTRIES) -> typer.Typer:
    """Return the Typer application that holds `entries`, importing only their files."""
    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        add_completion=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(
        epilog="Example: `pickapic demo` shows the whole loop; `pickapic COMMAND --help` explains one."
    )(_root)
    for entry in entries:
        _register(app, entry)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        output.show(f"pickapic {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Collect preferences between images, train a PickScore on them, and evaluate models with it."""


def _register(app: typer.Typer, entry: Entry) -> None:
    attribute = entry.name.replace("-", "_")
    command = getattr(importlib.import_module(f"pickapic.cli.{attribute}"), attribute)
    if isinstance(command, typer.Typer):
        _split_examples(command)
        app.add_typer(command, name=entry.name, rich_help_panel=entry.panel)
    else:
        function = cast(Callable[..., Any], command)
        text, example = split_example(function.__doc__ or "")
        app.command(entry.name, help=text, epilog=example, rich_help_panel=entry.panel)(function)


def _split_examples(app: typer.Typer) -> None:
    for command in app.registered_commands:
        if command.callback is not None and not command.epilog:
            command.help, command.epilog = split_example(command.help or command.callback.__doc__ or "")
    for group in app.registered_groups:
        if group.typer_instance is not None:
            _split_examples(group.typer_instance)


def split_example(docstring: str) -> tuple[str, str | None]:
    """Return the docstring without its last paragraph, and that paragraph, if it is an example."""
    paragraphs = [paragraph.strip() for paragraph in docstring.strip().split("\n\n")]
    for index, paragraph in enumerate(paragraphs):
        if index and paragraph.startswith(("Example:", "Examples:")):
            return "\n\n".join(paragraphs[:index]), "\n\n".join(paragraphs[index:])
    return "\n\n".join(paragraphs), None


def _extra_of(package: str | None) -> str | None:
    top = (package or "").partition(".")[0]
    return next((extra for extra, packages in EXTRAS.items() if top in packages), None)
