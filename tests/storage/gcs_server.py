"""As much of Google Cloud Storage's XML API as a store of images needs: no emulator that can be installed speaks it."""

from __future__ import annotations

import hashlib
import json
import threading
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "bucket"


class GcsServer:
    """One bucket in memory. With `token` every request must bear it."""

    def __init__(self, token: str | None = None) -> None:
        self.files: dict[str, tuple[bytes, datetime]] = {}
        self.token = token
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> GcsServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def environment(self) -> dict[str, str]:
        """The key of a service account, as emulators want it: no signing, no token."""
        key = {"gcs_base_url": self.url, "disable_oauth": True, "client_email": "", "private_key": ""}
        return {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps({**key, "private_key_id": ""})}

    def listing(self, prefix: str) -> bytes:
        """Return the names that begin with `prefix`, as list-type=2 does."""
        found = "".join(
            f"<Contents><Key>{escape(name)}</Key><LastModified>{time.isoformat()}</LastModified>"
            f"<ETag>{_tag(data)}</ETag><Size>{len(data)}</Size></Contents>"
            for name, (data, time) in sorted(self.files.items())
            if name.startswith(prefix)
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>".encode()


def _tag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


def _handler(owner: GcsServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or each answer waits 40 ms for its head to be acknowledged

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            bucket, _, name = parts.path.lstrip("/").partition("/")
            name = unquote(name)
            if owner.token is not None and self.headers.get("Authorization") != f"Bearer {owner.token}":
                self._error(401, "AuthenticationRequired")
            elif bucket != BUCKET:
                self._error(404, "NoSuchBucket")
            elif not name:
                query = parse_qs(parts.query)
                self._send(200, owner.listing(query.get("prefix", [""])[0]))
            elif self.command == "PUT":
                source = unquote(self.headers.get("x-goog-copy-source", "")).partition("/")[2]
                if source and source not in owner.files:
                    self._error(404, "NoSuchKey")
                    return
                owner.files[name] = (owner.files[source][0] if source else body, datetime.now(UTC))
                self._send(200, b"", *owner.files[name])
            elif name not in owner.files:
                self._error(404, "NoSuchKey")
            elif self.command == "DELETE":
                del owner.files[name]
                self._send(204, b"")
            else:
                data, time = owner.files[name]
                self._send(200, data, data, time)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _serve

        def _error(self, status: int, code: str) -> None:
            self._send(status, f"<Error><Code>{code}</Code></Error>".encode())

        def _send(
            self, status: int, body: bytes, data: bytes | None = None, time: datetime | None = None
        ) -> None:
            self.send_response(status)
            if time is not None and data is not None:
                self.send_header("Last-Modified", format_datetime(time, usegmt=True))
                self.send_header("ETag", _tag(data))
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    return Handler
