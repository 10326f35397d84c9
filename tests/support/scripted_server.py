"""A real server on a socket that answers HTTP requests with exactly the bytes that a test wants."""

from __future__ import annotations

import contextlib
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

VERSION = b'{"Version": "20.10.24", "ApiVersion": "1.41", "Os": "linux", "Arch": "amd64"}'


@dataclass(frozen=True)
class Request:
    """What came in, and on which connection, counted from 1."""

    connection: int
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """Pieces of bytes to send one after the other; then the connection may be closed."""

    pieces: Iterable[bytes]
    close: bool = False


def sized(body: bytes, status: str = "200 OK") -> Reply:
    return Reply([f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body])


def chunked(*chunks: bytes, whole: bool = True) -> Reply:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    end = b"0\r\n\r\n" if whole else b""
    return Reply([head, *(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks), end], close=not whole)


@dataclass
class Scripted:
    """Answers what `script` says, tells its version by itself, and keeps what else it was asked."""

    script: Callable[[Request], Reply]
    asked: list[Request] = field(default_factory=list)
    connections: int = 0
    version: bytes = VERSION
    unread: bool = False
    """Whether it answers without reading what a request carries."""
    closed: int = 0
    """Connections that have ended."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reply(self, request: Request) -> Reply:
        if request.target == "/version":
            return sized(self.version)
        with self.lock:
            self.asked.append(request)
        return self.script(request)

    def handle(self, stream: Any, sink: Any) -> None:
        with self.lock:
            self.connections += 1
            number = self.connections
        while line := stream.readline():
            method, target, _ = line.decode().split()
            headers = {}
            while (header := stream.readline().decode().strip()) != "":
                name, _, value = header.partition(": ")
                headers[name.lower()] = value
            body = b""
            if not self.unread:
                body = stream.read(int(headers.get("content-length", 0)))
            reply = self.reply(Request(number, method, target, headers, body))
            for piece in reply.pieces:
                sink.write(piece)
                sink.flush()
            if reply.close:
                return


@contextlib.contextmanager
def serve(
    where: Path | tuple[str, int], script: Callable[[Request], Reply], tls: ssl.SSLContext | None = None
) -> Iterator[tuple[Scripted, str]]:
    """Serve on a Unix socket in that directory, or on TCP; yields the server and its address."""
    scripted = Scripted(script)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(ConnectionError, ValueError):
                scripted.handle(self.rfile, self.wfile)

    class Threads(socketserver.ThreadingMixIn):
        daemon_threads = True
        request_queue_size = 64

        def shutdown_request(self, request: Any) -> None:
            super().shutdown_request(request)  # type: ignore[misc]
            scripted.closed += 1

    class Unix(Threads, socketserver.UnixStreamServer):
        pass

    class Tcp(Threads, socketserver.TCPServer):
        def get_request(self) -> Any:
            connection, peer = super().get_request()
            return (tls.wrap_socket(connection, server_side=True) if tls else connection), peer

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A handshake that fails is what a test wants."""

    server: socketserver.BaseServer
    if isinstance(where, Path):
        server, address = Unix(str(where / "engine.sock"), Handler), f"unix://{where / 'engine.sock'}"
    else:
        server = Tcp(where, Handler)
        address = f"tcp://{server.server_address[0]}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield scripted, address
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
