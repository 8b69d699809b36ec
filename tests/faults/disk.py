"""A disk that is full when a test says so: a small tmpfs; where none may be mounted, a limit on the length of files."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path

from deployment import Deployment

MEGABYTES = 24


class SmallDisk:
    """A folder for images; `kind` says which way it is made full."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kind = "RLIMIT_FSIZE"

    def __enter__(self) -> SmallDisk:
        self.folder.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(self.folder)]
        with contextlib.suppress(FileNotFoundError):
            if subprocess.run(command, capture_output=True).returncode == 0:
                self.kind = "tmpfs"
        return self

    def __exit__(self, *_: object) -> None:
        if self.kind == "tmpfs":
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    def fill(self, deployment: Deployment) -> None:
        """Leave no room for an image."""
        if self.kind != "tmpfs":
            deployment.limit_workers(0)
            return
        with (self.folder / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(b"\0" * 4096)

    def clear(self, deployment: Deployment) -> None:
        """Make room again."""
        if self.kind != "tmpfs":
            deployment.limit_workers(-1)
            return
        (self.folder / "ballast").unlink()

    @property
    def free(self) -> int:
        """Bytes that are left."""
        return shutil.disk_usage(self.folder).free
