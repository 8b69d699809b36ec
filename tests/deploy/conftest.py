"""Ports that nobody listens on."""

import socket
from contextlib import ExitStack

import pytest


@pytest.fixture
def unused_ports() -> list[int]:
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(4)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in listeners]
