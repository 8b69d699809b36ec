from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import resource
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from pickapic.cli import app as cli
from pickapic.cli import output
from pickapic.records import InputError

ROOT = Path(__file__).parents[1]
# They run until they are stopped, so there is no result to print.
WITHOUT_RESULT = {"pickapic serve", "pickapic worker", "pickapic score-service", "pickapic generate-service"}


def walk(command: Any, path: str = "pickapic") -> Iterator[tuple[str, Any]]:
    """Yield every command with its full name, groups included."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from walk(inner, f"{path} {name}")


COMMANDS = dict(walk(typer.main.get_command(cli.make_app())))


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pickapic", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


def test_every_stage_of_the_interface_is_there() -> None:
    top = {path.removeprefix("pickapic ") for path in COMMANDS if path.count(" ") == 1}
    assert top == {entry.name for entry in cli.ENTRIES}


@pytest.mark.parametrize("path", COMMANDS)
def test_help_of_every_command_ends_with_an_example_of_it(
    path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as left:
        COMMANDS["pickapic"].main([*path.split()[1:], "--help"], prog_name="pickapic")
    shown = capsys.readouterr().out
    assert left.value.code == 0, shown
    command = COMMANDS[path]
    if path != "pickapic" and hasattr(command, "commands"):
        return  # a group: its commands have the examples
    last = re.split(r"╰─+╯", shown)[-1]
    assert re.search(r"Examples?:", last), f"{path} --help ends with {last!r}"
    assert path in " ".join(last.split())


@pytest.mark.parametrize("path", COMMANDS)
def test_every_option_is_explained(path: str) -> None:
    for parameter in COMMANDS[path].params:
        assert getattr(parameter, "help", None), f"{path}: {parameter.name} has no help"


@pytest.mark.parametrize(
    "path", [path for path, command in COMMANDS.items() if not hasattr(command, "commands")]
)
def test_every_result_can_be_had_as_json(path: str) -> None:
    options = {option for parameter in COMMANDS[path].params for option in parameter.opts}
    assert ("--json" in options) == (path not in WITHOUT_RESULT)


def fenced(text: str) -> Iterator[str]:
    """Yield the lines of a Markdown text's code blocks, continued lines joined."""
    for block in re.findall(
        r"^[ \t]*```(?:sh|bash|console|shell)\n(.*?)^[ \t]*```", text, re.MULTILINE | re.DOTALL
    ):
        yield from block.replace("\\\n", " ").splitlines()


def documented() -> Iterator[tuple[str, str]]:
    """Yield (where, command line) for each use of the command in documents, scripts and `--help`."""
    for path, command in COMMANDS.items():
        for line in re.findall(r"`([^`]+)`", command.epilog or ""):
            yield f"{path} --help", line
    for page in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("runs/*.md")]):
        for line in fenced(page.read_text(encoding="utf-8")):
            yield str(page.relative_to(ROOT)), line
    for script in sorted(ROOT.glob("runs/*.sh")):
        for line in script.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
            yield str(script.relative_to(ROOT)), line


def calls(line: str) -> Iterator[list[str]]:
    """Yield the arguments of each `pickapic` in a line of shell."""
    lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars="|&;<>()")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set("|&;<>()"):
            while words and re.match(r"\w+=", words[0]):
                words.pop(0)
            if words and words[0] in {"pickapic", ".venv/bin/pickapic"}:
                yield words[1:]
            words = []
        else:
            words.append(word)


EXAMPLES = [
    (where, arguments)
    for where, line in documented()
    if "pickapic" in line
    for arguments in calls(line)
    if not {"--help", "--version"} & set(arguments)  # these print and leave while they are parsed
]


def parse(arguments: list[str]) -> None:
    """Parse as the command line would, without running anything; what a path points to need not exist."""
    command = COMMANDS["pickapic"]
    context = command.make_context("pickapic", list(arguments)) if arguments else None
    while context is not None and hasattr(command, "commands"):
        rest = [*context._protected_args, *context.args]
        if not rest:
            return
        name, command, rest = command.resolve_command(context, rest)
        try:
            context = command.make_context(name, rest, parent=context)
        except Exception as error:
            if "does not exist" in str(error):
                return
            raise


@pytest.mark.parametrize(("where", "arguments"), EXAMPLES, ids=[f"{w}: {shlex.join(a)}" for w, a in EXAMPLES])
def test_a_documented_command_line_is_understood(where: str, arguments: list[str]) -> None:
    parse(arguments)


def test_a_wrong_documented_command_line_would_be_noticed() -> None:
    for wrong in (["plugin"], ["plugins", "--jsn"], ["plugins", "extra"]):
        with pytest.raises(Exception, match=r"No such|unexpected extra"):
            parse(wrong)
    assert list(calls("A=1 pickapic settings --json | jq . && pickapic plugins # both")) == [
        ["settings", "--json"],
        ["plugins"],
    ]


@pytest.mark.slow
def test_help_answers_in_under_half_a_second_and_loads_no_stage() -> None:
    code = (
        "import sys\n"
        "from pickapic.cli.app import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit as left:\n    assert left.code == 0, left.code\n"
        "heavy = {'torch', 'numpy', 'pyarrow', 'polars', 'fastapi', 'sqlalchemy', 'pydantic', 'PIL'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, stdout=subprocess.DEVNULL)
    # Processor time: what a clock shows where nothing else runs, and the same on a machine that is busy.
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.5


def test_one_command_imports_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys\n"
        "from pickapic.cli.app import main\n"
        "try:\n    main(['plugins', '--json'])\n"
        "except SystemExit:\n    pass\n"
        "loaded = {name[13:] for name in sys.modules if name.startswith('pickapic.cli.')}\n"
        "assert loaded == {'app', 'output', 'plugins'}, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, stdout=subprocess.DEVNULL)


def test_what_the_user_got_wrong_is_one_line_and_exit_1() -> None:
    result = run("settings", PICKAPIC_PORT="many")
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: setting 'port' (environment PICKAPIC_PORT)")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["settingz"], ["settings", "--jsn"], ["settings", "extra"]])
def test_wrong_usage_is_exit_2_without_a_traceback(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_version() -> None:
    result = run("--version")
    assert (result.returncode, result.stdout) == (0, "pickapic 0.1.0\n")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (InputError("the file is empty"), "error: the file is empty\n"),
        (ModuleNotFoundError("no", name="uvicorn"), "pip install 'pickapic[web]'"),
        (ModuleNotFoundError("no", name="torch.cuda"), "pip install 'pickapic[models]'"),
        (FileNotFoundError(2, "No such file or directory", "picks.parquet"), "directory: picks.parquet\n"),
    ],
)
def test_errors_that_a_user_can_mend_have_no_traceback(
    error: Exception, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def raise_it(*_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "make_app", raise_it)
    with pytest.raises(SystemExit) as left:
        cli.main(["settings"])
    assert left.value.code == 1
    assert message in capsys.readouterr().err


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_it(*_: object) -> None:
        raise ModuleNotFoundError("no", name="pickapic.missing")

    monkeypatch.setattr(cli, "make_app", raise_it)
    with pytest.raises(ModuleNotFoundError):
        cli.main(["settings"])


def test_settings_prints_every_value_with_its_source_and_no_secret() -> None:
    result = run("settings", "--json", PICKAPIC_SECRET_KEY="hunter2" * 5, PICKAPIC_PORT="81")
    assert "hunter2" not in result.stdout
    values = json.loads(result.stdout)
    assert values["port"] == {"value": 81, "source": "environment PICKAPIC_PORT"}
    assert values["secret_key"]["value"] == "(hidden)"
    table = run("settings", PICKAPIC_SECRET_KEY="hunter2" * 5).stdout
    assert "hunter2" not in table
    assert all(name in table for name in values)


def test_plugins_lists_both_groups() -> None:
    rows = json.loads(run("plugins", "--json").stdout)
    assert {"kind", "name", "made by", "package"} == set(rows[0])
    assert ("scorer", "pickscore") in {(row["kind"], row["name"]) for row in rows}
    assert "miniature-aurora" in run("plugins").stdout


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    value: float


def test_json_takes_records_arrays_and_what_json_has_no_word_for(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_json(
        {
            "rows": (Row("a", float("nan")),),
            "array": np.arange(3),
            "number": np.float32(0.5),
            "path": Path("x"),
        }
    )
    assert json.loads(capsys.readouterr().out) == {
        "rows": [{"name": "a", "value": None}],
        "array": [0, 1, 2],
        "number": 0.5,
        "path": "x",
    }


def test_a_table_shows_markup_as_it_is_and_is_never_cut_when_piped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    prompt = "a cat [red] " + "x" * 200
    output.show_table(("prompt", "n", "share"), [(prompt, 1234567, 0.51239), ("b", None, True)])
    printed = capsys.readouterr().out
    assert prompt in printed
    assert "1,234,567" in printed
    assert "0.5124" in printed
    assert "–" in printed


def test_progress_in_a_log_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(float(second) for second in range(0, 10_000, 4))
    monkeypatch.setattr(output.time, "monotonic", lambda: next(clock))
    with output.progress("scoring", total=10) as advance:
        for _ in range(10):
            advance(1)
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0] == "scoring ..."
    assert lines[1] == "scoring: 3 of 10, 28 s left"
    assert lines[-1] == "scoring: 10 in 44.0 s"
    assert len(lines) == 5


def test_progress_at_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with output.progress("scoring", total=3) as advance:
        advance(3)
    assert "3/3" in terminal.getvalue()


def test_our_warnings_are_sentences_and_others_say_where_they_come_from(capsys):
    from pickapic.cli import output

    ours = type("CutWarning", (UserWarning,), {"__module__": "pickapic.model.clip"})
    output.show_warning(ours("a prompt was cut"), ours, "clip.py", 87)
    output.show_warning(UserWarning("odd"), UserWarning, "theirs.py", 3)
    assert capsys.readouterr().err.splitlines() == [
        "warning: a prompt was cut",
        "theirs.py:3: UserWarning: odd",
    ]
