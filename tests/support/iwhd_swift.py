"""A small Swift service over real HTTP, for the tests of the `cf` back end: accounts, containers, objects in memory.

Written against the OpenStack Object Storage API v1 reference. A token is good for `token_uses` requests but
PUT, so that clients must log in again.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

USER = "account:user"
KEY = "swift key"


class SwiftService(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, token_uses: int = 1000) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.containers: dict[str, dict[str, tuple[bytes, dict[str, str]]]] = {}
        self.tokens: dict[str, int] = {}
        self.token_uses = token_uses
        self.logins = 0
        self.lock = threading.Lock()

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SwiftService

    def log_message(self, format: str, *args: object) -> None:
        pass

    def answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self) -> bytes | None:
        """The body of the request; None if it is cut short."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            pieces = []
            while size := int(self.rfile.readline() or b"0", 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        return body if len(body) == length else None

    def login(self) -> None:
        if (self.headers.get("X-Auth-User"), self.headers.get("X-Auth-Key")) != (USER, KEY):
            self.answer(401)
            return
        token = secrets.token_hex(8)
        with self.server.lock:
            self.server.tokens[token] = self.server.token_uses
            self.server.logins += 1
        storage = f"http://127.0.0.1:{self.server.port}/v1/AUTH_test"
        self.answer(204, {"X-Storage-Url": storage, "X-Storage-Token": token, "X-Auth-Token": token})

    def authorized(self) -> bool:
        token = self.headers.get("X-Auth-Token", "")
        if self.command == "PUT":
            # A body cannot be sent twice: whether clients renew their token before one is what is tested.
            return token in self.server.tokens
        with self.server.lock:
            uses = self.server.tokens.get(token, 0)
            self.server.tokens[token] = uses - 1
        return uses > 0

    def handle_request(self) -> None:
        if self.path == "/v1.0" and self.command == "GET":
            self.login()
            return
        authorized = self.authorized()
        body = self.body() if self.command == "PUT" else b""
        if body is None:
            self.close_connection = True
            return
        if not authorized:
            self.answer(401)
            return
        _, version, account, *names = self.path.split("/", 4)
        assert (version, account) == ("v1", "AUTH_test")
        with self.server.lock:
            if len(names) == 1:
                self.container(unquote(names[0]))
            else:
                self.object(unquote(names[0]), unquote(names[1]), body)

    def container(self, name: str) -> None:
        containers = self.server.containers
        if self.command == "PUT":
            self.answer(202 if name in containers else 201)
            containers.setdefault(name, {})
        elif name not in containers:
            self.answer(404)
        elif self.command == "DELETE":
            if containers[name]:
                self.answer(409)
            else:
                del containers[name]
                self.answer(204)
        else:
            self.answer(204)

    def object(self, container: str, name: str, body: bytes) -> None:
        objects = self.server.containers.get(container)
        if objects is None:
            self.answer(404)
        elif self.command == "PUT":
            metadata = {key: value for key, value in self.headers.items() if key.lower().startswith("x-object-meta-")}
            objects[name] = (body, metadata)
            self.answer(201, {"Etag": hashlib.md5(body).hexdigest()})
        elif name not in objects:
            self.answer(404)
        elif self.command == "DELETE":
            del objects[name]
            self.answer(204)
        else:
            self.answer(200, objects[name][1], objects[name][0])

    do_GET = do_PUT = do_DELETE = do_HEAD = handle_request  # noqa: N815 - names that http.server asks for
