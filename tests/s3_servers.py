"""Servers that speak S3 and Azure's protocol on loopback, each in a process of its own.

rclone shows a folder as S3 and checks keys; moto keeps everything in memory and knows conditional writes and errors of
AWS. Azurite is used where it is installed (`npm install azurite`; PICKAPIC_TEST_AZURITE names its azurite-blob).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

import pytest

BUCKET = "bucket"
KEY = "key"
SECRET = "a-secret-of-some-length"
# Azurite's account and key are the same everywhere, and published.
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True)
class Bucket:
    """A bucket on loopback: its URL for `images_url`, and the environment with the key to it."""

    kind: str
    port: int
    environment: Mapping[str, str]

    def url(self, prefix: str = "", port: int | None = None, bucket: str = BUCKET) -> str:
        """Return the URL of a place in the bucket; `port` is that of a proxy before it."""
        endpoint = f"http://127.0.0.1:{port or self.port}"
        scheme = "az" if self.kind == "azure" else "s3"
        more = "&region=us-east-1" if scheme == "s3" else ""
        if scheme == "az":
            endpoint, more = f"{endpoint}/{AZURE_ACCOUNT}", f"&account={AZURE_ACCOUNT}"
        return f"{scheme}://{bucket}/{prefix}?endpoint={endpoint}{more}"


@dataclass
class Servers:
    """Starts each server once, when it is first wanted."""

    folder: Path
    buckets: dict[str, Bucket] = field(default_factory=dict)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
            process.wait(20)

    def bucket(self, kind: str) -> Bucket:
        """Return the bucket of `rclone`, `moto` or `azure`."""
        if kind not in self.buckets:
            start = {"rclone": self._rclone, "moto": self._moto, "azure": self._azure}
            self.buckets[kind] = start[kind](free_port())
        return self.buckets[kind]

    def _rclone(self, port: int) -> Bucket:
        root = self.folder / "rclone"
        (root / BUCKET).mkdir(parents=True)
        command = [_program("rclone"), "serve", "s3", str(root), "--auth-key", f"{KEY},{SECRET}"]
        # With --dir-cache-time 0 it would see what is written beside it, and stop for good under concurrent writes.
        command += ["--addr", f"127.0.0.1:{port}", "--config", os.devnull]
        self._start(command, port)
        return Bucket("rclone", port, _s3_environment())

    def _moto(self, port: int) -> Bucket:
        self._start([_program("moto_server"), "-H", "127.0.0.1", "-p", str(port)], port)
        _put(f"http://127.0.0.1:{port}/{BUCKET}", {})
        return Bucket("moto", port, _s3_environment())

    def _azure(self, port: int) -> Bucket:
        command = [str(azure_program()), "--blobHost", "127.0.0.1", "--blobPort", str(port)]
        self._start([*command, "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"], port)
        date = formatdate(usegmt=True)
        resource = f"/{AZURE_ACCOUNT}/{AZURE_ACCOUNT}/{BUCKET}"
        lines = ["PUT", *[""] * 11, f"x-ms-date:{date}", "x-ms-version:2021-08-06", resource]
        text = "\n".join([*lines, "restype:container"]).encode()
        signature = base64.b64encode(hmac.digest(base64.b64decode(AZURE_KEY), text, hashlib.sha256)).decode()
        _put(
            f"http://127.0.0.1:{port}/{AZURE_ACCOUNT}/{BUCKET}?restype=container",
            {
                "x-ms-date": date,
                "x-ms-version": "2021-08-06",
                "Authorization": f"SharedKey {AZURE_ACCOUNT}:{signature}",
            },
        )
        return Bucket("azure", port, {"AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY})

    def _start(self, command: list[str], port: int) -> None:
        with (self.folder / f"{Path(command[0]).name}.log").open("wb") as log:
            self.processes.append(subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL))
        for _ in range(400):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError(f"{command[0]} did not start: {log.name}")


def give(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a key where programs look for it."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def azure_program() -> Path | None:
    """Return azurite-blob, None if it is not installed."""
    found = os.environ.get("PICKAPIC_TEST_AZURITE") or shutil.which("azurite-blob")
    return Path(found) if found else None


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _s3_environment() -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert found is not None, f"{name} is among the dev dependencies: make test installs it"
    return found


def _put(url: str, headers: Mapping[str, str]) -> None:
    request = urllib.request.Request(url, headers=dict(headers), method="PUT")
    for _ in range(100):  # a port may be open before its server answers
        try:
            with urllib.request.urlopen(request, timeout=10):
                return
        except ConnectionError:
            time.sleep(0.05)
    raise AssertionError(f"no answer from {url}")
