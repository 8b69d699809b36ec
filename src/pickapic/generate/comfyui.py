"""ComfyUI: the person's own workflow, with the places named where prompt, seed and the rest go."""

from __future__ import annotations

import copy
import json
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from pickapic.generate.generator import (
    GeneratedImage,
    GenerationError,
    GenerationRequest,
    Honours,
    UnavailableError,
)
from pickapic.generate.provider import Provider, one_each, patience_of
from pickapic.records import InputError

WISHES = ("prompt", "negative_prompt", "seed", "guidance_scale", "steps")
SECONDS_BETWEEN_LOOKS = 1.0


class ComfyUI:
    """One workflow of a running ComfyUI.

    Args:
        workflow: file saved by "Export (API)".
        nodes: where each wish goes, as `node.input`: `{"prompt": "6.text", "seed": "3.seed", ...}`. Only `prompt`
            and `seed` must be there; what is not named is not honoured.
        output: id of the node that saves the image; default: the only SaveImage node.
        url: ComfyUI's address.
        patience: time-outs and tries, see `Patience`; `answer` is for the whole image.
        name: what is stored with each image; default: the workflow's file name.
        on_progress: told how far the image in the making is, 0 to 1.

    Raises:
        InputError: no such file, no workflow in the API's form, or a place in it that is not there.
    """

    in_process = False
    concurrency = 1  # the server works off one queue

    def __init__(
        self,
        workflow: str | Path,
        nodes: Mapping[str, str],
        output: str = "",
        url: str = "http://127.0.0.1:8188",
        *,
        patience: Mapping[str, float] | None = None,
        name: str = "",
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        self.name = name or Path(workflow).stem
        self._graph = _read_workflow(Path(workflow))
        self._places = {wish: _place(self._graph, wish, where) for wish, where in nodes.items()}
        for wish in ("prompt", "seed"):
            if wish not in self._places:
                raise InputError(f"{workflow}: nodes must say where {wish} goes, as node.input")
        self._output = output or _only_output(self._graph, workflow)
        self.honours = Honours(
            guidance_scale="guidance_scale" in nodes,
            negative_prompt="negative_prompt" in nodes,
            steps="steps" in nodes,
        )
        self._patience = patience_of(patience)
        self._provider = Provider(self.name, url, patience=self._patience)
        parts = urlsplit(url)
        self._socket = urlunsplit(
            ("wss" if parts.scheme == "https" else "ws", parts.netloc, parts.path.rstrip("/") + "/ws", "", "")
        )
        self._on_progress = on_progress or (lambda share: None)

    def generate(self, request: GenerationRequest) -> tuple[GeneratedImage, ...]:
        """Return one image a seed. Raises `GenerationError` and its kinds."""
        return one_each(self._one, request, self.concurrency)

    def _one(self, request: GenerationRequest, seed: int) -> GeneratedImage:
        values = {
            "prompt": request.prompt,
            "negative_prompt": request.negative_prompt,
            "seed": seed,
            "guidance_scale": request.guidance_scale,
            "steps": request.steps,
        }
        graph = copy.deepcopy(self._graph)
        for wish, (node, field) in self._places.items():
            graph[node]["inputs"][field] = values[wish]
        if "filename_prefix" in graph[self._output]["inputs"]:
            # An equal graph is answered from its cache, without an image: a name of its own makes it save again.
            graph[self._output]["inputs"]["filename_prefix"] = f"pickapic-{uuid.uuid4().hex}"
        found = self._run(graph)
        query = {key: found.get(key, "") for key in ("filename", "subfolder", "type")}
        picture = self._provider.read(self._provider.ask("GET", "/view", params=query).content)
        return GeneratedImage(
            pixels=picture.pixels,
            seed=seed,
            guidance_scale=request.guidance_scale if self.honours.guidance_scale else None,
            steps=request.steps if self.honours.steps else None,
            scheduler=None,
            sent={wish: values[wish] for wish in self._places},
            source_sha256=picture.sha256,
        )

    def _run(self, graph: Mapping[str, Any]) -> Mapping[str, Any]:
        """Queue a graph, wait for it, and return the entry of its first image."""
        client = uuid.uuid4().hex
        end = time.monotonic() + self._patience.answer
        try:
            with connect(f"{self._socket}?clientId={client}", open_timeout=self._patience.connect) as socket:
                job = self._queue(graph, client)
                while True:
                    message = socket.recv(timeout=max(0.0, end - time.monotonic()))
                    # Previews come as bytes.
                    if isinstance(message, str) and self._heard(json.loads(message), job):
                        break
        except TimeoutError as error:
            raise UnavailableError(
                f"{self.name} did not finish in {self._patience.answer:g} seconds"
            ) from error
        except (OSError, WebSocketException) as error:
            raise UnavailableError(f"{self.name} does not answer: {error}") from error
        return self._result(job)

    def _queue(self, graph: Mapping[str, Any], client: str) -> str:
        answer = self._provider.json_of(
            self._provider.ask("POST", "/prompt", json={"prompt": graph, "client_id": client})
        )
        job = answer.get("prompt_id")
        if not isinstance(job, str):
            raise GenerationError(
                f"{self.name} took the workflow without naming it: {answer.get('node_errors')}"
            )
        return job

    def _heard(self, message: Mapping[str, Any], job: str) -> bool:
        """Return whether a message says that the job has ended."""
        data = message.get("data") or {}
        if data.get("prompt_id") not in (None, job):
            return False
        kind = message.get("type")
        if kind == "progress" and data.get("max"):
            self._on_progress(min(1.0, data.get("value", 0) / data["max"]))
        if kind in ("execution_error", "execution_interrupted"):
            raise GenerationError(f"{self.name} failed: {data.get('exception_message') or kind}")
        ended = kind == "executing" and data.get("node") is None and data.get("prompt_id") == job
        return ended or (kind == "execution_success" and data.get("prompt_id") == job)

    def _result(self, job: str) -> Mapping[str, Any]:
        # The history is written just after the last message.
        for _ in range(self._patience.tries):
            history = self._provider.json_of(self._provider.ask("GET", f"/history/{job}"))
            outputs = (history.get(job) or {}).get("outputs") or {}
            images = (outputs.get(self._output) or {}).get("images")
            if images:
                return images[0]
            time.sleep(SECONDS_BETWEEN_LOOKS)
        raise GenerationError(f"{self.name}: node {self._output} saved no image")


def _read_workflow(path: Path) -> dict[str, dict[str, Any]]:
    try:
        graph = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a workflow: {error}") from error
    is_graph = isinstance(graph, dict) and all(
        isinstance(node, dict) and "class_type" in node and isinstance(node.get("inputs"), dict)
        for node in graph.values()
    )
    if not is_graph:
        raise InputError(f"{path} is no workflow in the API's form: save it by Export (API), not by Save")
    return graph


def _place(graph: Mapping[str, dict[str, Any]], wish: str, where: str) -> tuple[str, str]:
    if wish not in WISHES:
        raise InputError(f"nodes: {wish!r} is unknown; known: {', '.join(WISHES)}")
    node, _, field = where.partition(".")
    if node not in graph or field not in graph[node]["inputs"]:
        raise InputError(f"nodes: {wish} goes to {where!r}, but the workflow has no such node.input")
    return node, field


def _only_output(graph: Mapping[str, dict[str, Any]], workflow: object) -> str:
    found = [node for node, content in graph.items() if content["class_type"] == "SaveImage"]
    if len(found) != 1:
        raise InputError(f"{workflow} has {len(found)} SaveImage nodes: name the one to take as output")
    return found[0]
