"""Something in front of a bucket that can refuse, or hang, as buckets do at times."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from typing import Literal

Mood = Literal["open", "refusing", "hanging"]

REFUSAL = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
HEAD_LENGTH = 65536


class Front:
    """Passes connections on to a port; a change of mood cuts those there are."""

    def __init__(self, behind: int) -> None:
        self._behind = behind
        self._mood: Mood = "open"
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.refused = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Front:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.become("open")

    def become(self, mood: Mood) -> None:
        with self._changed:
            self._mood = mood
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._changed.notify_all()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            mood = self._mood
            if mood == "refusing":
                self._refuse(client)
            elif mood == "hanging":
                self.refused += 1
                with self._changed:
                    self._changed.wait_for(lambda: self._mood != mood)
            else:
                self._pass_on(client)

    def _refuse(self, client: socket.socket) -> None:
        self.refused += 1
        client.settimeout(5)
        asked = b""
        while b"\r\n\r\n" not in asked and len(asked) < HEAD_LENGTH:
            part = client.recv(HEAD_LENGTH)
            if not part:
                return
            asked += part
        head, _, body = asked.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *([0-9]+)", head)
        left = int(length[1]) - len(body) if length else 0
        while left > 0 and (part := client.recv(HEAD_LENGTH)):
            left -= len(part)
        answer = b"HTTP/1.1 503 Slow Down\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        client.sendall(answer % len(REFUSAL) + REFUSAL)

    def _pass_on(self, client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._behind)) as server:
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._changed:
                self._open |= {client, server}
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()
            with self._changed:
                self._open -= {client, server}


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while part := source.recv(HEAD_LENGTH):
            target.sendall(part)
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
