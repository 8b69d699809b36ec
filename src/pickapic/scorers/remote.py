"""A scorer elsewhere: a `pickapic score-service` at an address, used as if it were here."""

from __future__ import annotations

import base64
import io
import os
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pickapic.model.picture import MAX_PIXELS, open_picture, read_encoded
from pickapic.model.preprocess import Picture
from pickapic.records import InputError
from pickapic.scorers.batches import pair

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 300.0
AT_ONCE = 8
"""Requests under way at a time; the service puts what they hold into batches."""
TRIES = 5
_PASSING = frozenset({429, 500, 502, 503, 504})
_PLAIN_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})


@dataclass(frozen=True, slots=True)
class _Request:
    prompt: str
    rows: tuple[int, ...]


class RemoteScorer:
    """Sends images to a score service and gives back what it answers.

    `name`, `needs_prompt`, `higher_is_better` and `logit_scale` are those of the service's own scorer.
    """

    def __init__(self, url: str, max_images: int = 16, label: str = "", pause: float = 0.5) -> None:
        """Ask the service at `url` what it is; `max_images` a request at most, fewer if it takes fewer.

        Raises:
            InputError: the address is none, or no score service answers there.
        """
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise InputError(f"{url!r} is no address of a score service; give one like http://127.0.0.1:8000")
        self._url = url.rstrip("/")
        self._pause = pause
        timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
        self._client = httpx.Client(timeout=timeout)
        weakref.finalize(self, self._client.close)
        facts = self._facts()
        try:
            self.name = label or str(facts["scorer"])
            self.needs_prompt = bool(facts["needs_prompt"])
            self.higher_is_better = bool(facts["higher_is_better"])
            self._images = max(1, min(max_images, int(facts["max_images"])))
            if facts.get("logit_scale") is not None:
                self.logit_scale = float(facts["logit_scale"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{url} is no score service: its /scorer says something else") from error

    def score(self, prompts: str | Sequence[str], images: Sequence[Picture]) -> NDArray[np.float32]:
        """Return float32 (n,): row i is prompts[i] with images[i]; one prompt is broadcast over all images.

        Raises:
            InputError: the lengths differ, or the service cannot read an image.
            ConnectionError: the service does not answer, after several tries.
        """
        rows = pair(prompts, images)
        scores = np.empty(len(rows), np.float32)
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="remote") as threads:
            requests = self._requests(rows)
            for request, found in zip(
                requests, threads.map(lambda one: self._send(one, images), requests), strict=True
            ):
                scores[list(request.rows)] = found
        return scores

    def score_matrix(self, prompts: Sequence[str], images: Sequence[Picture]) -> NDArray[np.float32]:
        """Return float32 (m, n): every prompt with every image. Raises as `score`."""
        return np.stack([self.score(prompt, images) for prompt in prompts])

    def _requests(self, prompts: Sequence[str]) -> list[_Request]:
        """Put rows of the same prompt together, as many in each as the service takes."""
        rows: dict[str, list[int]] = {}
        for number, prompt in enumerate(prompts):
            rows.setdefault(prompt, []).append(number)
        return [
            _Request(prompt, tuple(numbers[start : start + self._images]))
            for prompt, numbers in rows.items()
            for start in range(0, len(numbers), self._images)
        ]

    def _send(self, request: _Request, images: Sequence[Picture]) -> list[float]:
        files = [base64.b64encode(_file_of(images[row])).decode() for row in request.rows]
        answer = self._ask("POST", "/score", json={"prompt": request.prompt, "images": files})
        scores = answer.get("scores")
        if not isinstance(scores, list) or len(scores) != len(request.rows):
            raise ConnectionError(f"{self._url} sent no score for each image")
        return [float(score) for score in scores]

    def _facts(self) -> dict[str, Any]:
        try:
            return self._ask("GET", "/scorer", tries=1)
        except ConnectionError as error:
            raise InputError(str(error)) from error

    def _ask(self, method: str, path: str, tries: int = TRIES, **options: Any) -> dict[str, Any]:
        trouble = ""
        for attempt in range(tries):
            if attempt:
                time.sleep(self._pause * 2**attempt)
            try:
                response = self._client.request(method, self._url + path, **options)
                answer = response.json()
            except (httpx.TransportError, ValueError) as error:
                trouble = str(error) or type(error).__name__
                continue
            if response.is_success and isinstance(answer, dict):
                return answer
            trouble = _message(answer, response.status_code)
            if response.status_code not in _PASSING:
                raise InputError(trouble)
        raise ConnectionError(f"no score service answers at {self._url}: {trouble}")


def _file_of(picture: Picture) -> bytes:
    """Return an image as a file that loses nothing of it."""
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, str | os.PathLike):
        return read_encoded(picture, MAX_PIXELS)
    opened: Image.Image = open_picture(picture)
    file = io.BytesIO()
    (opened if opened.mode in _PLAIN_MODES else opened.convert("RGB")).save(file, "PNG")
    return file.getvalue()


def _message(answer: Any, status: int) -> str:
    try:
        return str(answer["error"]["message"])
    except (KeyError, TypeError):
        return f"status {status}"


def load(model: str, label: str = "", device: str = "auto", dtype: str = "auto") -> RemoteScorer:
    """Return the scorer of the score service at the address `model`; `device` and `dtype` are the service's own.

    Raises:
        InputError: no score service answers there, or a device or dtype was asked for.
    """
    if (device, dtype) != ("auto", "auto"):
        raise InputError(
            "a remote scorer computes where and how its service was told to: leave out device and dtype"
        )
    return RemoteScorer(model, label=label)
