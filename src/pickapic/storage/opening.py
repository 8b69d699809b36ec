"""From the setting `images_url` to an open store: a folder, S3 and what speaks like it, Google, Azure.

What a bucket needs beside its name stands in the query of the URL, so that every process which is given the URL
reaches the same bucket. Keys never stand there: they come from the provider's usual environment variables.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from obstore.store import AzureStore, GCSStore, LocalStore, ObjectStore, S3Store

from pickapic.records import InputError

if TYPE_CHECKING:
    from obstore.store import AzureConfig, ClientConfig, GCSConfig, RetryConfig, S3Config

# One attempt: images are some ten or hundred kilobytes, and the bucket stands near its server.
CONNECT_SECONDS = 3
REQUEST_SECONDS = 10
# All attempts: what waits for an image, a person or a lease, must hear of a bucket that is away while it can still do
# something about it. A bucket that refuses is given up after about 3 s, one that hangs after at most
# RETRY_SECONDS + REQUEST_SECONDS.
RETRIES = 5
RETRY_SECONDS = 8

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://")
_KNOWN = {
    "file": ("fsync",),
    "s3": ("endpoint", "region", "path_style", "allow_http"),
    "gs": ("endpoint", "allow_http"),
    "az": ("account", "endpoint", "allow_http"),
}
_SAME = {"s3a": "s3", "gcs": "gs", "azure": "az", "abfs": "az", "abfss": "az"}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class SyncedFolder(LocalStore):
    """A folder whose files are on the disk, and not only on their way there, when they count as stored."""


def open_store(url: str) -> ObjectStore:
    """Open a folder (made if missing) or a bucket; nothing is asked of a bucket yet.

    `/srv/images`, `file:///srv/images?fsync=true`, `s3://bucket/prefix?endpoint=https://...&region=...`,
    `gs://bucket/prefix`, `az://container/prefix?account=...`; see docs/storage.md.

    Raises:
        InputError: the folder cannot be made, or the URL is of no known kind or has an unknown option.
    """
    scheme = _URL.match(url)
    if scheme is None:
        return LocalStore(_made(Path(url).expanduser().absolute()))
    kind = _SAME.get(scheme[1], scheme[1])
    if kind not in _KNOWN:
        raise InputError(
            f"images_url {url!r} is of an unknown kind; known are a folder, s3://, gs:// and az://"
        )
    parts = urlsplit(url)
    if parts.username is not None:
        raise InputError(
            "images_url holds a user name or key: keys come from the environment (docs/storage.md), "
            "since URLs are printed and logged"
        )
    options = _options(kind, parts.query)
    if kind == "file":
        folder = _made(Path(unquote(parts.path)))
        return SyncedFolder(folder) if _flag(options, "fsync", False) else LocalStore(folder)
    if not parts.netloc:
        raise InputError(f"images_url {url!r} names no bucket")
    try:
        return _bucket(kind, parts.netloc, parts.path.strip("/") or None, options)
    except InputError:
        raise
    except Exception as error:  # obstore raises a family of its own that shares only Exception
        raise InputError(
            f"images_url {url!r} cannot be opened: {str(error).partition('Debug')[0]}"
        ) from error


def _bucket(kind: str, name: str, prefix: str | None, options: dict[str, str]) -> ObjectStore:
    endpoint = options.get("endpoint", "")
    client: ClientConfig = {
        "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
        "timeout": timedelta(seconds=REQUEST_SECONDS),
    }
    if endpoint.startswith("http://"):
        is_near = urlsplit(endpoint).hostname in _LOOPBACK
        if not _flag(options, "allow_http", is_near):
            raise InputError(
                f"{endpoint} is not encrypted: images and requests could be read on the way. Where nobody can, "
                "add &allow_http=true to images_url"
            )
        client["allow_http"] = True
    elif endpoint and not endpoint.startswith("https://"):
        raise InputError(f"the endpoint {endpoint!r} in images_url does not begin with https:// or http://")
    retry: RetryConfig = {
        "max_retries": RETRIES,
        "retry_timeout": timedelta(seconds=RETRY_SECONDS),
        "backoff": {
            "init_backoff": timedelta(seconds=0.1),
            "max_backoff": timedelta(seconds=1),
            "base": 2,
        },
    }
    if kind == "s3":
        s3: S3Config = {}
        if endpoint:
            s3["endpoint"] = endpoint
        if "region" in options:
            s3["region"] = options["region"]
        if "path_style" in options:
            s3["virtual_hosted_style_request"] = not _flag(options, "path_style", True)
        return S3Store(name, prefix=prefix, config=s3, client_options=client, retry_config=retry)
    if kind == "gs":
        gcs: GCSConfig = {"base_url": endpoint} if endpoint else {}
        return GCSStore(name, prefix=prefix, config=gcs, client_options=client, retry_config=retry)
    azure: AzureConfig = {}
    if endpoint:
        azure["endpoint"] = endpoint
    if "account" in options:
        azure["account_name"] = options["account"]
    return AzureStore(name, prefix=prefix, config=azure, client_options=client, retry_config=retry)


def _options(kind: str, query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = [name for name in options if name not in _KNOWN[kind]]
    if unknown:
        raise InputError(
            f"images_url has an unknown option {unknown[0]!r}; for {kind}:// there are {', '.join(_KNOWN[kind])}"
        )
    return options


def _flag(options: dict[str, str], name: str, default: bool) -> bool:
    value = options.get(name)
    if value is None:
        return default
    if value not in ("true", "false"):
        raise InputError(f"{name} in images_url is {value!r}; it is true or false")
    return value == "true"


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"images cannot be kept in {folder}: {error}") from error
    return folder
