"""A browser without a screen: one kept-alive HTTP/1.1 connection, cookies, and the CSRF header.

Simulated people share two cores with the server they use; this costs a tenth of what a full HTTP client does.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pickapic.records import InputError

READ_LIMIT = 1 << 20
RETRY_SECONDS = (0.1, 0.3, 1.0, 2.0, 4.0)


@dataclass(frozen=True, slots=True)
class Reply:
    """A status code and the body."""

    status: int
    body: bytes

    def json(self) -> Any:
        """Return the body, read as JSON."""
        return json.loads(self.body)


class Browser:
    """One connection to one server. `cookies` may be exchanged, to be somebody else from then on.

    `headers` go with every request.
    """

    def __init__(self, url: str, timeout: float = 60.0, headers: Mapping[str, str] | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"{url!r} is no address of a server; it looks like http://127.0.0.1:8000")
        self._tls = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port or (443 if self._tls else 80)
        self._name = parts.netloc.rpartition("@")[2]
        self._timeout = timeout
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        self.cookies: dict[str, str] = {}

    async def request(self, method: str, path: str, body: object = None) -> Reply:
        """Send a request and return the reply; sent again if the connection breaks.

        Every call of the API may be repeated: what it does, it does once (`POST /duels` may leave an unused
        duel).

        Raises:
            InputError: the server cannot be reached, for several seconds.
        """
        message = self._message(method, path, body)
        for pause in (*RETRY_SECONDS, None):
            try:
                return await asyncio.wait_for(self._exchange(message), self._timeout)
            except (OSError, EOFError, TimeoutError) as error:
                self.close()
                if pause is None:
                    raise InputError(
                        f"no answer from {self._name}: {error or type(error).__name__}"
                    ) from error
                await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    def _message(self, method: str, path: str, body: object) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._name}", "Accept: */*"]
        if self.cookies:
            lines.append("Cookie: " + "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        data = b""
        if method != "GET":
            data = b"" if body is None else json.dumps(body).encode()
            lines.append(f"X-CSRF-Token: {self.cookies.get('csrf', '')}")
            lines.append(f"Content-Length: {len(data)}")
        if data:
            lines.append("Content-Type: application/json")
        head = "\r\n".join(lines)
        return f"{head}\r\n{self._headers}\r\n".encode() + data

    async def _exchange(self, message: bytes) -> Reply:
        if self._streams is None:
            self._streams = await asyncio.open_connection(
                self._host, self._port, ssl=self._tls or None, limit=READ_LIMIT
            )
        reader, writer = self._streams
        writer.write(message)
        head = await reader.readuntil(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        status = int(status_line.split(" ", 2)[1])
        length: int | None = None
        chunked = last = False
        for line in lines:
            name, _, value = line.partition(":")
            match name.lower():
                case "content-length":
                    length = int(value)
                case "transfer-encoding":
                    chunked = "chunked" in value
                case "connection":
                    last = "close" in value
                case "set-cookie":
                    self._keep(value)
                case _:
                    pass
        body = await (_chunks(reader) if chunked else reader.readexactly(length or 0))
        if last:
            self.close()
        return Reply(status, body)

    def _keep(self, cookie: str) -> None:
        name, _, value = cookie.partition(";")[0].strip().partition("=")
        if value:
            self.cookies[name] = value
        else:
            self.cookies.pop(name, None)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
        if not size:
            return b"".join(parts)
