"""A load client for S3 on plain sockets: requests are signed (V4, with the payload's digest) before the clock runs.

Connections are kept open where the server keeps them; one that it closes after an answer, as HTTP/1.0 servers do,
is opened again, which is part of what is measured.
"""

from __future__ import annotations

import contextlib
import hashlib
import select
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from haild.wire.s3 import sigv4

HOST = "127.0.0.1"
SILENCE = 60.0
"""Seconds without any answer after which a measurement fails."""
_BLOCK = 1 << 18
_LAST_CHUNK = b"0\r\n\r\n"
"""The end of a body in chunks; as no request is sent before it, nothing follows it."""


class Client:
    """Makes requests to one server, as user alice, password sesame."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.host = f"{HOST}:{port}"

    def head(self, method: str, target: str, length: int = 0, digest: str = sigv4.EMPTY_SHA256) -> bytes:
        """The head of a request whose body has this length and SHA-256."""
        headers = {"Host": self.host, "Content-Length": str(length)}
        headers |= sigv4.sign_headers(
            method,
            target,
            {"Host": self.host},
            key="alice",
            secret="sesame",
            region="us-east-1",
            when=datetime.now(UTC),
            payload_hash=digest,
        )
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode()

    def request(self, method: str, target: str, body: bytes = b"") -> bytes:
        """A whole request."""
        return self.head(method, target, len(body), hashlib.sha256(body).hexdigest()) + body

    def connect(self) -> socket.socket:
        """An open connection."""
        sock = socket.create_connection((HOST, self.port), timeout=SILENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def once(self, request: bytes, body: Iterable[bytes] = ()) -> int:
        """Send a request on a connection of its own; returns the status. The answer's body is dropped."""
        with contextlib.closing(self.connect()) as sock:
            return exchange(sock, request, body)[0]


def exchange(sock: socket.socket, request: bytes, body: Iterable[bytes] = ()) -> tuple[int, bool]:
    """Send a request and read its answer; returns the status and whether the connection stays open."""
    sock.sendall(request)
    for piece in body:
        sock.sendall(piece)
    data = b""
    while b"\r\n\r\n" not in data:
        data += _receive(sock)
    answer, _, rest = data.partition(b"\r\n\r\n")
    if _is_chunked(answer):
        while not rest.endswith(_LAST_CHUNK):
            rest += _receive(sock)
    else:
        _skip(sock, content_length(answer) - len(rest))
    return int(answer[9:12]), _stays_open(answer)


def _receive(sock: socket.socket) -> bytes:
    received = sock.recv(1 << 16)
    if not received:
        raise SystemExit("the server closed the connection before the end of an answer")
    return received


def _skip(sock: socket.socket, count: int) -> None:
    """Read and drop so many bytes."""
    buffer = memoryview(bytearray(_BLOCK))
    while count > 0:
        received = sock.recv_into(buffer[: min(count, _BLOCK)])
        if not received:
            raise SystemExit("the server closed the connection before the end of an answer")
        count -= received


def _stays_open(head: bytes) -> bool:
    return head.startswith(b"HTTP/1.1") and b"connection: close" not in head.lower()


def content_length(head: bytes) -> int:
    """The length of the body that follows a head."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _is_chunked(head: bytes) -> bool:
    return b"\r\ntransfer-encoding: chunked" in head.lower()


class _Answering:
    """A connection on which an answer is awaited; one to HEAD has no body."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.bodiless = False
        self._data = bytearray()

    def receive(self) -> bytes | None:
        """Take what has come; the head of the answer once that is whole."""
        self._data += _receive(self.sock)
        end = self._data.find(b"\r\n\r\n")
        head = bytes(self._data[: max(end, 0)])
        if end < 0 or not (self.bodiless or self._is_whole(head)):
            return None
        if not head.startswith((b"HTTP/1.1 20", b"HTTP/1.0 20")):
            raise SystemExit(bytes(self._data[:500]).decode("latin-1"))
        self._data.clear()
        return head

    def _is_whole(self, head: bytes) -> bool:
        if _is_chunked(head):
            return self._data.endswith(_LAST_CHUNK)
        return len(self._data) >= len(head) + 4 + content_length(head)


def closed_loop(client: Client, connections: int, requests: Iterator[bytes], seconds: float) -> tuple[int, float]:
    """One request under way on every connection, for some seconds; returns how many were answered and how long."""
    poll = select.epoll()
    answering: dict[int, _Answering] = {}

    def send(sock: socket.socket, request: bytes) -> None:
        sock.sendall(request)
        if sock.fileno() not in answering:
            answering[sock.fileno()] = _Answering(sock)
            poll.register(sock, select.EPOLLIN)
        answering[sock.fileno()].bodiless = request.startswith(b"HEAD ")

    def drop(sock: socket.socket) -> None:
        del answering[sock.fileno()]
        poll.unregister(sock)
        sock.close()

    sockets = [client.connect() for _ in range(connections)]
    begin, done = time.perf_counter(), 0
    for sock in sockets:
        send(sock, next(requests))
    while answering:
        events = poll.poll(SILENCE)
        if not events:
            raise SystemExit(f"no answer for {SILENCE} s")
        for descriptor, _ in events:
            each = answering[descriptor]
            head = each.receive()
            if head is None:
                continue
            done += 1
            request = next(requests, None) if time.perf_counter() - begin < seconds else None
            sock = each.sock
            if request is None or not _stays_open(head):
                drop(sock)
                sock = client.connect() if request is not None else sock
            if request is not None:
                send(sock, request)
    poll.close()
    return done, time.perf_counter() - begin


def transfers(client: Client, method: str, targets: Sequence[Sequence[str]], length: int, block: bytes) -> float:
    """Seconds to PUT or GET all targets, each row of them one after the other on a connection of its own.

    The body of a PUT is `block`, as often as it takes to have `length` bytes (a multiple of the block's).
    """
    times = length // len(block) if method == "PUT" else 0
    digest = hashlib.sha256()
    for _ in range(times):
        digest.update(block)
    heads = [
        [client.head(method, target, times * len(block), digest.hexdigest()) for target in row] for row in targets
    ]

    def work(row: Sequence[bytes]) -> None:
        sock = client.connect()
        for head in row:
            status, stays = exchange(sock, head, (block for _ in range(times)))
            if status != 200:
                raise SystemExit(f"{method} of a large object: {status}")
            if not stays:
                sock.close()
                sock = client.connect()
        sock.close()

    begin = time.perf_counter()
    with ThreadPoolExecutor(len(heads)) as threads:
        list(threads.map(work, heads))
    return time.perf_counter() - begin


def wait_until_storing(client: Client, seconds: float = 30.0) -> None:
    """Until a PUT with a body succeeds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, SystemExit):
            client.once(client.request("PUT", "/bench-probe"))
            if client.once(client.request("PUT", "/bench-probe/k", b"x")) == 200:
                return
        time.sleep(0.05)
    raise SystemExit(f"the server on port {client.port} does not store")
