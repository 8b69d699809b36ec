"""ComfyUI's API on loopback: POST /prompt, a WebSocket that tells of progress, /history and /view."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from provider_server import picture


class ComfyServer:
    """Runs graphs as ComfyUI does: equal ones come from its cache and save nothing."""

    def __init__(self, fail: str = "", silent: bool = False) -> None:
        self.graphs: list[dict[str, Any]] = []
        self._fail, self._silent = fail, silent
        self._sockets: dict[str, WebSocket] = {}
        self._history: dict[str, Any] = {}
        self._done: set[str] = set()
        app = Starlette(
            routes=[
                Route("/prompt", self._prompt, methods=["POST"]),
                Route("/history/{job}", self._look),
                Route("/view", self._view),
                WebSocketRoute("/ws", self._socket),
            ]
        )
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(app, log_level="error", lifespan="off", ws="websockets-sansio")
        self._server = uvicorn.Server(config)
        self._listener = listener
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._listener]))

    def __enter__(self) -> ComfyServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()

    async def _socket(self, socket: WebSocket) -> None:
        await socket.accept()
        self._sockets[socket.query_params["clientId"]] = socket
        await socket.send_json({"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}}}})
        try:
            while True:
                await socket.receive_text()
        except WebSocketDisconnect:
            return

    async def _prompt(self, request: Request) -> Response:
        body = await request.json()
        graph, job = body["prompt"], f"job{len(self.graphs)}"
        self.graphs.append(graph)
        if self._fail == "validation":
            return JSONResponse({"error": {"message": "Prompt outputs failed validation"}}, 400)
        self._work = asyncio.create_task(self._execute(graph, job, self._sockets[body["client_id"]]))
        return JSONResponse({"prompt_id": job, "number": 1, "node_errors": {}})

    async def _execute(self, graph: dict[str, Any], job: str, socket: WebSocket) -> None:
        if self._silent:
            return
        await socket.send_bytes(b"preview")
        if self._fail == "execution":
            data = {"prompt_id": job, "exception_message": "out of memory"}
            await socket.send_json({"type": "execution_error", "data": data})
            return
        for value in (1, 2):
            await socket.send_json({"type": "progress", "data": {"value": value, "max": 2, "prompt_id": job}})
        known = json.dumps(graph, sort_keys=True)
        images = (
            [] if known in self._done else [{"filename": f"{job}.png", "subfolder": "", "type": "output"}]
        )
        self._done.add(known)
        self._history[job] = {"outputs": {"9": {"images": images}}, "status": {"completed": True}}
        await socket.send_json({"type": "executing", "data": {"node": None, "prompt_id": job}})

    async def _look(self, request: Request) -> Response:
        job = request.path_params["job"]
        return JSONResponse({job: self._history[job]} if job in self._history else {})

    async def _view(self, request: Request) -> Response:
        return Response(picture(request.query_params["filename"]), media_type="image/png")
