"""The setting images_url, and what is said when it is wrong or the bucket refuses."""

import asyncio
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import obstore
import pytest
from gcs_server import BUCKET, GcsServer
from obstore.store import AzureStore, GCSStore, LocalStore, S3Store
from structlog.testing import capture_logs

from pickapic.records import InputError
from pickapic.storage import health, opening
from pickapic.storage.blobs import content_key, get, open_store, presigned_get, put
from pickapic.storage.failures import StoreError
from pickapic.storage.opening import SyncedFolder
from s3_servers import give

# None of these is asked for anything.
URLS = [
    ("s3://bucket/a/b?endpoint=https://s3.example.org&region=eu-1", S3Store, "a/b"),
    ("s3://bucket", S3Store, None),
    ("s3a://bucket/?path_style=false", S3Store, None),
    ("s3://bucket/?endpoint=http://minio:9000&allow_http=true", S3Store, None),
    ("gs://bucket/images/", GCSStore, "images"),
    ("az://container/images?account=me", AzureStore, "images"),
]
WRONG = [
    ("ftp://host/folder", "unknown kind"),
    ("s3:///folder", "names no bucket"),
    ("s3://bucket?regoin=eu", "unknown option 'regoin'"),
    ("s3://bucket?path_style=yes", "path_style in images_url is 'yes'"),
    ("s3://bucket?endpoint=minio:9000", "does not begin with https"),
    ("s3://bucket?endpoint=http://minio:9000", "not encrypted"),
    ("s3://key:secret@bucket/", "keys come from the environment"),
    ("file:///tmp?sync=true", "unknown option 'sync'"),
]


@pytest.mark.parametrize(("url", "kind", "prefix"), URLS)
def test_urls_of_buckets(url, kind, prefix, monkeypatch):
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "somebody")
    store = open_store(url)
    assert isinstance(store, kind)
    assert store.prefix == prefix
    assert store.retry_config["max_retries"] == opening.RETRIES


def test_options_of_s3_reach_it():
    store = open_store("s3://bucket?endpoint=https://s3.example.org&region=eu-1&path_style=false")
    assert isinstance(store, S3Store)
    assert store.config["region"] == "eu-1"
    assert store.config["endpoint"] == "https://s3.example.org"
    assert store.config["virtual_hosted_style_request"] in (True, "true")


def test_what_stands_in_the_environment_alone_is_heeded(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "eu-7")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://other.example.org")
    address = asyncio.run(presigned_get(open_store("s3://bucket"), content_key(b"x"), 60))
    assert address is not None
    assert address.startswith("https://other.example.org/bucket/")
    assert "somebody%2F" in address
    assert "%2Feu-7%2Fs3%2F" in address


@pytest.mark.parametrize(("url", "message"), WRONG)
def test_what_is_wrong_with_a_url_is_said(url, message):
    with pytest.raises(InputError, match=message):
        open_store(url)


def test_folders(tmp_path):
    for url in (str(tmp_path / "a b"), f"file://{tmp_path}/a%20b"):
        store = open_store(url)
        assert type(store) is LocalStore
        assert str(store.prefix) == str(tmp_path / "a b")
    assert type(open_store(f"file://{tmp_path}?fsync=true")) is SyncedFolder
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be kept in"):
        open_store(str(tmp_path / "file" / "images"))


def test_a_good_store_has_no_trouble_and_keeps_no_probe(store):
    async def play():
        assert await health.trouble(store) is None
        await health.check_at_start(store)

    asyncio.run(play())
    assert [found for part in obstore.list(store) for found in part] == []


def test_a_server_does_not_begin_with_a_bucket_that_is_not_there(servers, monkeypatch):
    bucket = servers.bucket("moto")
    give(bucket.environment, monkeypatch)
    with pytest.raises(InputError, match=r"the bucket does not exist \(NoSuchBucket\)"):
        asyncio.run(health.check_at_start(open_store(bucket.url(bucket="nothere"))))


def test_a_server_begins_with_a_bucket_that_is_away_for_now(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(health, "START_SECONDS", 0.3)
    with Answering(200, seconds=60) as server:
        store = open_store(f"s3://bucket?endpoint={server.url}")
        with capture_logs() as logs:
            asyncio.run(health.check_at_start(store))
    assert [line["event"] for line in logs] == ["the image store does not answer yet"]


def trouble(url: str) -> StoreError:
    found = asyncio.run(health.trouble(open_store(url)))
    assert found is not None
    return found


def test_a_missing_bucket_and_a_rejected_key_are_told_apart(servers, monkeypatch):
    rclone, moto = servers.bucket("rclone"), servers.bucket("moto")
    give(rclone.environment, monkeypatch)
    for bucket in (rclone, moto):
        found = trouble(bucket.url(bucket="nothere"))
        assert found.kind == "missing"
        assert found.lasting
        assert "the bucket does not exist" in str(found)
        # And a file is not merely missing in a bucket that is: nobody may conclude that it was lost.
        with pytest.raises(StoreError, match="the bucket does not exist"):
            asyncio.run(get(open_store(bucket.url(bucket="nothere")), content_key(b"x")))
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"):
        monkeypatch.setenv(name, "wrong")
        found = trouble(rclone.url())
        assert found.kind == "rejected"
        assert "the key is missing, wrong or expired" in str(found)


def test_google_is_asked_with_its_key(monkeypatch):
    with GcsServer(token="t") as server:
        give(server.environment, monkeypatch)
        found = trouble(f"gs://{BUCKET}?endpoint={server.url}")
        assert found.kind == "rejected"
        server.token = None
        assert trouble(f"gs://nothere?endpoint={server.url}").kind == "missing"


class Answering:
    """A server that answers every request alike, or not at all."""

    def __init__(self, status: int, code: str = "", seconds: float = 0.0) -> None:
        self.asked: list[tuple[str, str, str]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                owner.asked.append((self.command, self.path, self.headers.get("Authorization", "")))
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                owner.closing.wait(seconds)
                body = f"<Error><Code>{code}</Code></Error>".encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_HEAD = _serve

            def log_message(self, *_: object) -> None:
                return

        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self) -> "Answering":
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", "forbidden"),
        (403, "AuthorizationPermissionMismatch", "forbidden"),
        (403, "ExpiredToken", "rejected"),
        (404, "ContainerNotFound", "missing"),
        (400, "SomethingElse", "away"),
    ],
)
def test_answers_of_providers_become_kinds(status, code, kind, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with Answering(status, code) as server:
        found = trouble(f"s3://bucket?endpoint={server.url}")
    assert found.kind == kind
    assert code in str(found)


def test_azure_is_asked_with_its_account_and_key(monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "aGFsbG8=")
    with Answering(404, "ContainerNotFound") as server:
        found = trouble(f"az://photos/a?account=me&endpoint={server.url}")
    assert found.kind == "missing"
    method, path, authorization = server.asked[0]
    assert method == "PUT"
    assert path.startswith("/photos/a/probes/")
    assert authorization.startswith("SharedKey me:")


def test_a_bucket_that_refuses_is_given_up_while_somebody_waits(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with Answering(503, "SlowDown") as server:
        store = open_store(f"s3://bucket?endpoint={server.url}")
        start = time.monotonic()
        with pytest.raises(StoreError, match="does not answer as it should") as caught:
            asyncio.run(put(store, b"x"))
        assert time.monotonic() - start < opening.RETRY_SECONDS + 1
        assert not caught.value.lasting
        assert len(server.asked) == opening.RETRIES + 1


def test_a_bucket_that_hangs_is_given_up_too(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(opening, "REQUEST_SECONDS", 0.2)
    monkeypatch.setattr(opening, "RETRY_SECONDS", 0.3)
    with Answering(200, seconds=60) as server:
        store = open_store(f"s3://bucket?endpoint={server.url}")
        start = time.monotonic()
        for work in (put(store, b"x"), get(store, content_key(b"x"))):
            with pytest.raises(StoreError, match="does not answer as it should"):
                asyncio.run(work)
        assert time.monotonic() - start < 5


def test_a_bucket_that_is_not_there_is_no_missing_file():
    store = open_store("s3://bucket?endpoint=http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(StoreError):
        asyncio.run(get(store, content_key(b"x")))
