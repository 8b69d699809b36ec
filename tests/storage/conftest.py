"""A store of each kind, empty: a folder, and a prefix of its own in a bucket of each server there is."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from gcs_server import BUCKET, GcsServer
from obstore.store import ObjectStore

from pickapic.storage.blobs import open_store
from s3_servers import Servers, azure_program, give

# Two servers of one protocol: the second in `make test`.
BUCKETS = ["rclone", pytest.param("moto", marks=pytest.mark.slow)]
BUCKETS += ["azure"] if azure_program() else []


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with Servers(tmp_path_factory.mktemp("buckets")) as servers:
        yield servers


@pytest.fixture(params=["folder", "synced folder", "gcs", *BUCKETS])
def store(request, servers, tmp_path, monkeypatch) -> Iterator[ObjectStore]:
    if request.param == "folder":
        yield open_store(str(tmp_path / "images"))
    elif request.param == "synced folder":
        yield open_store(f"file://{tmp_path / 'images'}?fsync=true")
    elif request.param == "gcs":
        with GcsServer() as server:
            give(server.environment, monkeypatch)
            yield open_store(f"gs://{BUCKET}/images?endpoint={server.url}")
    else:
        bucket = servers.bucket(request.param)
        give(bucket.environment, monkeypatch)
        yield open_store(bucket.url(uuid.uuid4().hex))
