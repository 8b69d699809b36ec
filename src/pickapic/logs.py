"""Logs: one line an event, on stderr; JSON for machines, words for people.

Nothing private gets into a line of level info or above: no prompt, no address, no token, no e-mail. Fields with such
names are dropped; of an exception its kind and where it was raised are told, and its message only if it is of a kind
that quotes nobody. Level debug tells all.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor

Form = Literal["json", "console"]

REQUEST_ID: ContextVar[str] = ContextVar("pickapic_request_id", default="")
"""What the lines of one request have in common; set by the web app."""

PRIVATE = frozenset(
    {
        "address",
        "caption",
        "client",
        "cookie",
        "cookies",
        "csrf",
        "email",
        "headers",
        "ip",
        "mail",
        "negative_prompt",
        "password",
        "prompt",
        "prompts",
        "revised_prompt",
        "secret",
        "session",
        "token",
        "typed",
        "url",
    }
)
"""Names of fields that are dropped."""

# What these say is about files, sockets and statements, whose parameters are not shown, and an operator needs it.
SPEAKING = frozenset({"OSError", "SQLAlchemyError", "InputError", "BaseError"})
# Libraries that would tell of every request that they make, with its address.
CHATTY = ("alembic", "asyncio", "httpcore", "httpcore2", "httpx", "httpx2", "websockets")
FRAMES = 12
LINE_LENGTH = 500
# So much is written to a pipe in one piece, whoever else writes to it.
PIECE = 4096


@dataclass(frozen=True, slots=True)
class Request:
    """An answered request, as it is logged: `route` is a pattern, never the address itself."""

    at: float
    request_id: str
    method: str
    route: str
    status: int
    milliseconds: float


class Log:
    """Where lines go; for the lines that are too many for structlog."""

    def __init__(self, stream: TextIO, form: Form, level: int) -> None:
        self._stream = stream
        self._form = form
        self.level = level
        self._one = threading.Lock()

    def write_requests(self, requests: Iterable[Request]) -> None:
        """Write a line for each of `requests`; none is torn by those of other processes."""
        make = _request_as_json if self._form == "json" else _request_in_words
        piece: list[str] = []
        size = 0
        for request in requests:
            line = make(request)
            if size + len(line) > PIECE:
                self._write(piece)
                piece, size = [], 0
            piece.append(line)
            size += len(line)
        self._write(piece)

    def _write(self, lines: list[str]) -> None:
        if not lines:
            return
        with self._one:
            self._stream.write("".join(lines))
            self._stream.flush()


def configure(level: str, form: Form, stream: TextIO | None = None) -> Log:
    """Send all logs of this process, also those of libraries, to `stream` (stderr)."""
    to = stream or sys.stderr
    number = logging.getLevelNamesMapping()[level.upper()]
    tells_all = number <= logging.DEBUG
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _add_time,
        _add_request_id,
        structlog.processors.format_exc_info if tells_all else _name_exception,
        *([] if tells_all else [_drop_private]),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler(to)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(form, to)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(number)
    for name in CHATTY:
        logging.getLogger(name).setLevel(number if tells_all else max(number, logging.WARNING))
    return Log(to, form, number)


def _renderer(form: Form, stream: TextIO) -> Processor:
    if form == "json":
        return structlog.processors.JSONRenderer(_as_json)
    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
    )


def _as_json(value: Any, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=False, **options)


def _add_time(_: Any, __: str, event: EventDict) -> EventDict:
    event["timestamp"] = datetime.now(UTC).isoformat(timespec="milliseconds")
    return event


def _add_request_id(_: Any, __: str, event: EventDict) -> EventDict:
    known = REQUEST_ID.get()
    if known:
        event["request_id"] = known
    return event


def _name_exception(_: Any, __: str, event: EventDict) -> EventDict:
    """Replace an exception by its kind, where it was raised, and what may be told of its message."""
    error = _exception_of(event.pop("exc_info", None))
    event.pop("exc_text", None)
    if error is not None:
        event["exception"] = f"{told(error)} at {_place(error.__traceback__)}"
    return event


def told(error: BaseException) -> str:
    """Return what a log may tell of an exception: its kind, and the first line of a message that quotes nobody."""
    kind = type(error).__name__
    if not SPEAKING.isdisjoint(base.__name__ for base in type(error).__mro__):
        return f"{kind}: {str(error).partition(chr(10))[0][:LINE_LENGTH]}"
    return kind


def _exception_of(given: object) -> BaseException | None:
    if isinstance(given, BaseException):
        return given
    if isinstance(given, tuple):
        return given[1]
    return sys.exc_info()[1] if given else None


def _place(trace: TracebackType | None) -> str:
    frames = traceback.extract_tb(trace)[-FRAMES:]
    return " > ".join(
        f"{os.path.basename(os.path.dirname(frame.filename))}/{os.path.basename(frame.filename)}:{frame.lineno}"
        for frame in frames
    )


def _drop_private(_: Any, __: str, event: EventDict) -> EventDict:
    """Drop private fields, and what comes after a text's first line: PostgreSQL quotes whole rows there."""
    kept: EventDict = {}
    for name, value in event.items():
        if name in PRIVATE:
            continue
        kept[name] = value.partition("\n")[0][:LINE_LENGTH] if isinstance(value, str) else value
    return kept


def _request_as_json(request: Request) -> str:
    level = "error" if request.status >= 500 else "info"
    return (
        f'{{"event": "request", "level": "{level}", "logger": "pickapic.access", '
        f'"timestamp": "{_time(request)}", "request_id": "{request.request_id}", '
        f'"method": {json.dumps(request.method)}, "route": {json.dumps(request.route)}, '
        f'"status": {request.status}, "milliseconds": {request.milliseconds:.1f}}}\n'
    )


def _request_in_words(request: Request) -> str:
    return (
        f"{_time(request)} {request.status} {request.method} {request.route} "
        f"{request.milliseconds:.1f} ms {request.request_id}\n"
    )


def _time(request: Request) -> str:
    return datetime.fromtimestamp(request.at, UTC).isoformat(timespec="milliseconds")
