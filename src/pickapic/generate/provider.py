"""Talking to a provider of images over HTTP: time-outs, patience, and answers that are not believed blindly."""

from __future__ import annotations

import base64
import binascii
import email.utils
import hashlib
import io
import os
import time
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random, SystemRandom
from typing import Any
from urllib.parse import urlsplit

import httpx
from PIL import Image

from pickapic.generate.generator import (
    GeneratedImage,
    GenerationError,
    GenerationRequest,
    RefusedError,
    UnavailableError,
)
from pickapic.records import InputError

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
"""Statuses after which the same request may succeed."""
KEY_WRONG = frozenset({401, 402, 403})
LARGEST_FILE = 64 * 2**20
LARGEST_IMAGE = 50_000_000  # pixels
LONGEST_MESSAGE = 300

Refusal = Callable[[httpx.Response], str | None]
"""Says why a provider refuses the prompt, or None if the answer means something else."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a provider is waited for, in seconds, and how often it is asked.

    Between tries the pause doubles from `first_pause` up to `longest_pause`, times a random number of 0.5 to
    1.5, so that many workers do not come back together; a provider's own Retry-After is kept to.
    """

    connect: float = 10.0
    answer: float = 180.0
    tries: int = 4
    first_pause: float = 1.0
    longest_pause: float = 30.0
    poll: float = 0.5  # first pause between two looks at a job, where a provider is asked how it goes


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as a provider sent it."""

    pixels: Image.Image
    sha256: str


def api_key(key: str | None, variable: str | None) -> str | None:
    """Return the key given, or that in the environment variable named; None if neither is.

    Raises:
        InputError: the variable is named but not set.
    """
    if key or not variable:
        return key
    found = os.environ.get(variable)
    if not found:
        raise InputError(f"the environment variable {variable} is not set; it holds the provider's key")
    return found


def bearer(key: str | None) -> dict[str, str]:
    """Return the header that carries a key."""
    return {"Authorization": f"Bearer {key}"} if key else {}


def patience_of(entries: Mapping[str, float] | None) -> Patience:
    """Return `Patience` from a table of the settings.

    Raises:
        InputError: an entry that is none.
    """
    table: dict[str, Any] = dict(entries or {})
    unknown = set(table) - set(Patience.__slots__)
    if unknown:
        raise InputError(
            f"patience has no {', '.join(sorted(unknown))}; it has {', '.join(Patience.__slots__)}"
        )
    return Patience(**table | ({"tries": int(table["tries"])} if "tries" in table else {}))


def one_each(
    make: Callable[[GenerationRequest, int], GeneratedImage], request: GenerationRequest, concurrency: int
) -> tuple[GeneratedImage, ...]:
    """Return `make(request, seed)` for each seed, in order, a few side by side."""
    if len(request.seeds) == 1:
        return (make(request, request.seeds[0]),)
    with ThreadPoolExecutor(min(concurrency, len(request.seeds))) as threads:
        return tuple(threads.map(lambda seed: make(request, seed), request.seeds))


def never(response: httpx.Response) -> str | None:
    """A provider that refuses nothing."""
    return None


class Provider:
    """One provider at one address. May be used from several threads."""

    def __init__(
        self,
        name: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        patience: Patience | None = None,
        refusal: Refusal = never,
        rng: Random | None = None,
    ) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise InputError(f"{name}: {url!r} is no address; give one like https://api.example.org")
        self.name = name
        self._patience = patience or Patience()
        self._refusal = refusal
        self._rng = rng or SystemRandom()
        timeout = httpx.Timeout(self._patience.answer, connect=self._patience.connect)
        self._client = httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=timeout)
        # Files lie elsewhere: the key is not for whoever keeps them.
        self._files = httpx.Client(timeout=timeout, follow_redirects=True)
        for client in (self._client, self._files):
            weakref.finalize(self, client.close)

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request and return the successful answer; asked again after a passing failure.

        Args:
            method: GET, POST, ...
            path: below the provider's address, or a whole address on the same host.
            options: as of `httpx.Client.request`.

        Raises:
            RefusedError: the provider will not draw this.
            UnavailableError: no answer after all tries, or the key is rejected.
            GenerationError: the provider found something wrong with the request.
        """
        return self._persist(lambda: self._client.request(method, path, **options))

    def download(self, url: str) -> Picture:
        """Fetch an image from an address that the provider gave. Raises as `ask`."""
        if urlsplit(url).scheme not in ("http", "https"):
            raise GenerationError(f"{self.name} gave {url[:80]!r}, which is no address of an image")
        return self.read(self._persist(lambda: self._fetch(url)).content)

    def read(self, data: bytes) -> Picture:
        """Read an image file.

        Raises:
            GenerationError: it is no image, or a huge one.
        """
        try:
            image = Image.open(io.BytesIO(data))
            if image.width * image.height > LARGEST_IMAGE:
                raise GenerationError(f"{self.name} sent an image of {image.width} x {image.height} pixels")
            image.load()
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise GenerationError(f"{self.name} sent something that is no image: {error}") from error
        return Picture(image.convert("RGB"), hashlib.sha256(data).hexdigest())

    def read_base64(self, text: object) -> Picture:
        """Read an image file in base64, with or without `data:image/png;base64,` before it. Raises as `read`."""
        if not isinstance(text, str) or not text:
            raise GenerationError(f"{self.name} sent no image")
        try:
            data = base64.b64decode(text.partition("base64,")[2] or text, validate=True)
        except binascii.Error as error:
            raise GenerationError(f"{self.name} sent an image that is not base64") from error
        return self.read(data)

    def json_of(self, response: httpx.Response) -> dict[str, Any]:
        """Return the answer's JSON object.

        Raises:
            GenerationError: it is none.
        """
        try:
            answer = response.json()
        except ValueError as error:
            raise GenerationError(f"{self.name} answered something that is not JSON") from error
        if not isinstance(answer, dict):
            raise GenerationError(f"{self.name} answered JSON that is no object")
        return answer

    def _fetch(self, url: str) -> httpx.Response:
        with self._files.stream("GET", url) as response:
            data = bytearray()
            for piece in response.iter_bytes():
                data += piece
                if len(data) > LARGEST_FILE:
                    raise GenerationError(f"{self.name} sent a file of more than {LARGEST_FILE >> 20} MiB")
        headers = {name: value for name, value in response.headers.items() if name != "content-encoding"}
        return httpx.Response(response.status_code, headers=headers, content=bytes(data))

    def _persist(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        trouble = ""
        for attempt in range(self._patience.tries):
            asked_to_wait = 0.0
            try:
                response = send()
            except httpx.TransportError as error:
                trouble = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            else:
                if response.is_success:
                    reason = self._refusal(response)
                    if reason is not None:
                        raise RefusedError(f"{self.name} refused: {reason[:LONGEST_MESSAGE]}")
                    return response
                trouble = self._judge(response)
                asked_to_wait = retry_after(response.headers.get("retry-after", ""), datetime.now(UTC))
            if attempt + 1 < self._patience.tries:
                pause = min(self._patience.longest_pause, self._patience.first_pause * 2**attempt)
                pause *= self._rng.uniform(0.5, 1.5)
                time.sleep(max(pause, min(asked_to_wait, self._patience.longest_pause)))
        raise UnavailableError(f"{self.name} did not answer after {self._patience.tries} tries: {trouble}")

    def _judge(self, response: httpx.Response) -> str:
        """Return what is passing about a failure, or raise if it will not pass."""
        reason = self._refusal(response)
        if reason is not None:
            raise RefusedError(f"{self.name} refused: {reason[:LONGEST_MESSAGE]}")
        said = message_in(response)
        if response.status_code in PASSING:
            return f"status {response.status_code}: {said}"
        if response.status_code in KEY_WRONG:
            raise UnavailableError(f"{self.name} does not let us in (status {response.status_code}): {said}")
        raise GenerationError(f"{self.name} answered status {response.status_code}: {said}")


def message_in(response: httpx.Response) -> str:
    """Return the sentence in an error, wherever the provider put it."""
    try:
        body: Any = response.json()
    except ValueError:
        return response.text[:LONGEST_MESSAGE].strip()
    for name in ("error", "detail", "message", "errors"):
        if isinstance(body, dict) and body.get(name):
            body = body[name]
    if isinstance(body, list) and body:
        body = body[0]
    if isinstance(body, dict) and "msg" in body:
        body = body["msg"]
    return str(body)[:LONGEST_MESSAGE]


def retry_after(value: str, now: datetime) -> float:
    """Return the seconds that a Retry-After header asks for, 0 if it is missing or not understood."""
    if value.isdecimal():
        return float(value)
    try:
        when = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max(0.0, ((when if when.tzinfo else when.replace(tzinfo=UTC)) - now).total_seconds())
