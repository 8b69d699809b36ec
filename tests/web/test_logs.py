"""What the logs tell, and that nothing private is in them."""

import asyncio
import io
import json
import logging
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
import structlog
from server_process import free_port, serve

from pickapic import logs
from pickapic.records import InputError
from pickapic.web.app import create_app

MARK = "zyxmark"
ADDRESS = "203.0.113.77"
EMAIL = "ada.zyxmail@example.org"


@pytest.fixture
def logged():
    """Configure the logs, and give back what they were."""
    root = logging.getLogger()
    before = root.handlers, root.level, {name: logging.getLogger(name).level for name in logs.CHATTY}

    def configure(level="info", form="json"):
        stream = io.StringIO()
        return stream, logs.configure(level, form, stream)

    yield configure
    root.handlers, level, levels = before
    root.setLevel(level)
    for name, one in levels.items():
        logging.getLogger(name).setLevel(one)
    structlog.reset_defaults()


def lines(stream) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_an_event_with_its_time_level_logger_and_request(logged):
    stream, _ = logged()
    logs.REQUEST_ID.set("a-1")
    structlog.get_logger("pickapic.web").info("started", number=3)
    structlog.get_logger("pickapic.web").debug("not told")
    logging.getLogger("some.library").warning("careful: %s", "hot")
    logging.getLogger("httpx").info("GET https://provider/?key=secret")
    logs.REQUEST_ID.set("")
    first, second = lines(stream)
    when = first.pop("timestamp")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", when)
    assert first == {
        "event": "started", "level": "info", "logger": "pickapic.web", "number": 3, "request_id": "a-1"
    }  # fmt: skip
    assert (second["event"], second["logger"], second["level"]) == ("careful: hot", "some.library", "warning")


@pytest.mark.parametrize("form", ["json", "console"])
def test_private_fields_and_what_exceptions_quote_are_left_out(logged, form):
    stream, _ = logged(form=form)
    log = structlog.get_logger("pickapic.web")
    log.info("refused", **dict.fromkeys(logs.PRIVATE, MARK), code="words")
    log.warning("database", error=f"duplicate key\nDETAIL: Key (prompt)=({MARK}) exists")
    for error in (KeyError(MARK), RuntimeError(f"cannot draw {MARK}"), ValueError(MARK)):
        try:
            raise error
        except Exception as caught:
            log.error("stopped", exc_info=caught)
            logging.getLogger("uvicorn.error").error("Exception in ASGI application\n", exc_info=caught)
    shown = stream.getvalue()
    assert MARK not in shown
    assert "words" in shown
    assert "KeyError at " in shown
    assert "test_logs.py:" in shown


def test_at_level_debug_everything_is_told(logged):
    stream, _ = logged("debug")
    structlog.get_logger("pickapic.web").debug("asked", prompt=MARK)
    try:
        raise KeyError(MARK)
    except KeyError:
        structlog.get_logger("pickapic.web").exception("stopped")
    first, second = lines(stream)
    assert first["prompt"] == MARK
    assert f"KeyError: '{MARK}'" in second["exception"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "ConnectionRefusedError: [Errno 111] Connection"),
        (InputError("no such\nthing"), "InputError: no such"),
        (ValueError(MARK), "ValueError"),
    ],
)
def test_what_an_exception_may_say(error, words):
    assert logs.told(error).startswith(words)
    assert "\n" not in logs.told(error)
    assert MARK not in logs.told(error)


def test_requests_are_whole_lines_in_small_pieces(logged, monkeypatch):
    stream, log = logged()
    pieces: list[str] = []
    monkeypatch.setattr(stream, "write", pieces.append)
    one = logs.Request(1700000000.0, "a-1", "GET", '/x"{y}', 200, 1.25)
    log.write_requests([one] * 100)
    assert max(map(len, pieces)) <= logs.PIECE
    assert all(piece.endswith("\n") for piece in pieces)
    assert [json.loads(line) for line in "".join(pieces).splitlines()] == [
        {
            "event": "request", "level": "info", "logger": "pickapic.access", "method": "GET", "milliseconds": 1.2,
            "request_id": "a-1", "route": '/x"{y}', "status": 200, "timestamp": "2023-11-14T22:13:20.000+00:00",
        }
    ] * 100  # fmt: skip


def test_an_answer_brings_the_id_under_which_it_is_logged(logged, settings):
    stream, log = logged()
    app = create_app(settings.model_copy(update={"access_log": True}), log=log)

    async def play():
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://test") as client,
        ):
            replies = [await client.get(path, headers={"X-Request-Id": "mine"}) for path in ("/about", "/x")]
            for path in ("/healthz", "/readyz", "/metrics", "/static/page.css"):
                await client.get(path)
        return [reply.headers["x-request-id"] for reply in replies]

    ids = asyncio.run(play())
    told = [line for line in lines(stream) if line["event"] == "request"]
    assert [line["request_id"] for line in told] == ids
    assert [(line["route"], line["status"]) for line in told] == [("/about", 200), ("other", 404)]
    assert len(set(ids)) == 2
    assert "mine" not in ids


class Echo(BaseHTTPRequestHandler):
    """A provider that fails, and quotes what it was asked."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(400 if self.server.count % 2 else 500)
        self.server.count += 1
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def echo():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.count = 0
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["json", "console"])
def test_nothing_private_gets_into_the_logs_of_server_and_worker(run, guest, echo, tmp_path, form):
    """A marked prompt goes through everything that there is to do with it, also what fails."""
    config = tmp_path / "pickapic.toml"
    config.write_text(
        f"""
        free_prompt = ""
        [generators.miniature-aurora]
        [generators.echo]
        plugin = "openai-images"
        [generators.echo.parameters]
        model = "m"
        url = "http://127.0.0.1:{echo.server_address[1]}"
        dialect = "vllm"
        patience = {{ tries = 1 }}
        """
    )
    settings = {
        "PICKAPIC_CONFIG": str(config),
        "PICKAPIC_LOG_FORMAT": form,
        "PICKAPIC_ACCESS_LOG": "true",
        "PICKAPIC_MAX_ATTEMPTS": "2",
    }
    port = free_port()
    server = serve(lambda *arguments: run(*arguments, **settings), port, "--no-worker")
    worker = run("worker", **settings)
    person = guest(port)
    person.client.headers["X-Forwarded-For"] = ADDRESS
    duel = person.post("/api/v1/duels", {"prompt": f"{MARK} fox [{MARK} dog]"}).json()
    for answer in ("left", "tie"):
        shown = person.ready(duel["duel_id"])
        assert person.pick(shown, answer).status_code == 200
    round_id = person.ready(duel["duel_id"])["round"]["round_id"]
    person.post(f"/api/v1/rounds/{round_id}/skip")
    person.post("/api/v1/duels", {"prompt": f"{MARK} nude child"})
    person.post("/api/v1/duels", {"prompt": MARK * 200})
    person.post("/api/v1/duels", {"prompt": 7, MARK: MARK})
    person.client.get(f"/{MARK}?{MARK}={EMAIL}")
    person.client.get(f"/share/{MARK}")
    person.client.get("/api/v1/me/export")
    person.client.get("/metrics")
    secrets = [value for cookie in person.client.cookies.jar if (value := cookie.value)]
    for _ in range(300):
        if echo.count >= 3:
            break
        worker.process.poll()
        threading.Event().wait(0.1)
    assert echo.count >= 3, "the failing provider was never asked"
    assert (server.stop(), worker.stop()) == (0, 0)
    told = server.text() + worker.text()
    assert "/api/v1/rounds/{round_id}/pick" in told
    assert "echo" in worker.text(), "that a generator fails is told"
    for private in (MARK, ADDRESS, EMAIL, "nude", *secrets):
        assert private not in told, private
    if form == "json":
        plain = [line for line in told.splitlines() if not line.startswith("{")]
        assert len(plain) <= 3, plain
        for line in told.splitlines():
            if line.startswith("{"):
                assert {"event", "level", "logger", "timestamp"} <= json.loads(line).keys()
