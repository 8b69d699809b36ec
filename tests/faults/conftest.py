"""One PostgreSQL server, and the bucket servers, for all that is broken here."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from own_postgresql import OwnPostgresql, binaries

from s3_servers import Servers

sys.path.append(str(Path(__file__).parents[1] / "generate"))  # for provider_server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[OwnPostgresql]:
    if binaries() is None and "CI" not in os.environ:
        pytest.skip("no PostgreSQL here to be broken")
    with OwnPostgresql() as server:
        yield server


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with Servers(tmp_path_factory.mktemp("buckets")) as servers:
        yield servers
