"""A small real HTTP server on a Unix socket that speaks as much of the engine's API as a test needs."""

from __future__ import annotations

import base64
import contextlib
import json
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Answer = Callable[[str, str], tuple[int, Any]]
"""Takes method and path without query and version; returns status and what to send: bytes, or a value as JSON."""

EMPTY: Mapping[str, Any] = {
    "/containers/json": [],
    "/volumes": {"Volumes": []},
    "/networks": [],
    "/images/json": [],
    "/info": {"DockerRootDir": "/"},
}


LOCK = "10c4"
"""The id of the container that is the lock."""


def engine(objects: Mapping[str, Any] = EMPTY, *, version: str = "26.1.5", api: str = "1.45") -> Answer:
    """An engine of that version which holds these objects, by path."""
    about = {"Version": version, "ApiVersion": api, "MinAPIVersion": "1.12", "Os": "linux", "Arch": "amd64"}

    def answer(method: str, path: str) -> tuple[int, Any]:
        if path in ("/version", "/_ping"):
            return 200, about
        if method == "GET" and path in objects:
            return 200, objects[path]
        # The lock of a stack is a container that never runs (hailbox.stack.lock).
        if (method, path) == ("POST", "/containers/create"):
            return 201, {"Id": LOCK, "Warnings": []}
        if path.startswith(f"/containers/{LOCK}"):
            return 200, {"Warnings": []}
        return 500, {"message": f"{method} {path} is not what this test expects"}

    return answer


def refusing(_method: str, _path: str) -> tuple[int, Any]:
    """An engine whose proxy allows nothing."""
    return 403, {"message": "not for you"}


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@contextlib.contextmanager
def serve(directory: Path, answer: Answer) -> Iterator[str]:
    """Serve on a socket in that directory; yields the value for DOCKER_HOST."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            path = urlsplit(self.path).path
            if path.startswith("/v1."):
                path = "/" + path.split("/", 2)[2]
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, document = answer(self.command, path)
            raw = isinstance(document, bytes)
            body = document if raw else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/octet-stream" if raw else "application/json")
            if path.endswith("/archive"):
                about = json.dumps({"name": path}).encode()
                self.send_header("X-Docker-Container-Path-Stat", base64.b64encode(about).decode())
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = do_HEAD = _answer  # noqa: N815 - the base class looks for these names

        def log_message(self, format: str, *args: object) -> None:
            """The tests read standard error."""

    path = directory / "engine.sock"
    with _Server(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"unix://{path}"
        finally:
            server.shutdown()
            thread.join()
            path.unlink()
