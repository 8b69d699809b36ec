"""A PostgreSQL server of the suite's own: what is restarted here must be nobody else's."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

from s3_servers import free_port

# As durable as a real one: an immediate stop is a crash, and what was committed must be there after it.
OPTIONS = ("listen_addresses=127.0.0.1", "fsync=on", "max_connections=150", "timezone=UTC")


def binaries() -> Path | None:
    """Return the folder of the newest PostgreSQL here, None if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    program = str(found[-1]) if found else shutil.which("initdb")
    return None if program is None else Path(program).parent


class OwnPostgresql:
    """Started when entered, gone afterwards; `url` is that of its database `postgres`."""

    def __enter__(self) -> OwnPostgresql:
        here = binaries()
        assert here is not None, "no PostgreSQL here: .ci/postgresql --install true"
        self._bin = here
        self._folder = Path(tempfile.mkdtemp(prefix="pickapic-faults-"))
        # It refuses to be run by root.
        self._as: list[str] = []
        if os.getuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self._folder, owner.pw_uid, owner.pw_gid)
            self._as = ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
        password = secrets.token_hex(16)
        word = self._folder / "password"
        word.write_text(password)
        if os.getuid() == 0:
            os.chown(word, owner.pw_uid, owner.pw_gid)
        self._port = free_port()
        self.url = f"postgresql://postgres:{password}@127.0.0.1:{self._port}/postgres"
        self._run("initdb", "-D", "data", "-U", "postgres", "--pwfile=password", "--auth=scram-sha-256",
                  "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")  # fmt: skip
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._run("pg_ctl", "-D", "data", "-m", "immediate", "-s", "stop")
        shutil.rmtree(self._folder)

    def start(self) -> None:
        options = " ".join(f"-c {option}" for option in OPTIONS)
        place = f"-p {self._port} -k {self._folder} {options}"
        self._run("pg_ctl", "-D", "data", "-l", "log", "-w", "-s", "-o", place, "start")

    def crash(self) -> None:
        """Stop at once, as a power cut would: no checkpoint, every connection cut."""
        self._run("pg_ctl", "-D", "data", "-m", "immediate", "-s", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as, str(self._bin / program), *arguments]
        with (self._folder / "output").open("ab") as output:
            done = subprocess.run(command, cwd=self._folder, stdout=output, stderr=output)
        assert done.returncode == 0, (self._folder / "output").read_text()
