"""The ceiling: a peer that does the least that S3 demands with a large body, and keeps nothing.

    python _bare.py: prints the port it listens on

Of a PUT it receives the body and takes its MD5, and the SHA-256 where the client promised one, each in a thread of
its own while the next block arrives; a GET it answers from the page cache with sendfile. No signature is verified,
nothing is stored, flushed or replicated, and there is no storage node. No server that takes these digests
with the same library can do more here.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import IO

HOST = "127.0.0.1"
BLOCK = 1 << 18
"""Bytes received at a time: they stay in the processor's cache."""
LARGEST = 16 << 20
"""Bytes of what a GET gets."""


class Bare:
    """Such a peer as a process."""

    def __init__(self) -> None:
        self.server = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE)
        assert self.server.stdout is not None
        self.port = int(self.server.stdout.readline())

    def measured(self) -> Mapping[str, list[subprocess.Popen[bytes]]]:
        """The processes whose processor time counts, by name."""
        return {"bare": [self.server]}

    def close(self) -> None:
        """Stop it."""
        self.server.terminate()
        self.server.wait(10)


def _receive(sock: socket.socket, threads: ThreadPoolExecutor, begun: bytes, length: int, sha256: str) -> str:
    """Receive a body of which `begun` is there; returns its MD5. Raises ValueError if another one was promised."""
    digests = [hashlib.md5(begun, usedforsecurity=False), *([hashlib.sha256(begun)] if sha256 else [])]
    length -= len(begun)
    taking: list[Future[None]] = []
    while length:
        block = memoryview(bytearray(min(BLOCK, length)))
        received = sock.recv_into(block, len(block), socket.MSG_WAITALL)
        if not received:
            raise ConnectionResetError
        length -= received
        wait(taking)
        taking = [threads.submit(each.update, block[:received]) for each in digests]
    wait(taking)
    if sha256 and digests[1].hexdigest() != sha256:
        raise ValueError("another body was promised")
    return digests[0].hexdigest()


def _field(head: bytes, name: bytes) -> str:
    for line in head.split(b"\r\n")[1:]:
        found, _, value = line.partition(b":")
        if found.lower() == name:
            return value.strip().decode()
    return ""


def _serve(sock: socket.socket, file: IO[bytes]) -> None:
    """Answer the requests of one connection."""
    with sock, ThreadPoolExecutor(2) as threads, contextlib.suppress(ConnectionError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = b""
        while received := sock.recv(1 << 16):
            data += received
            head, found, begun = data.partition(b"\r\n\r\n")
            if not found:
                continue
            data, length, etag = b"", 0, ""
            if head.startswith(b"PUT"):
                sha256 = _field(head, b"x-amz-content-sha256")
                etag = _receive(sock, threads, begun, int(_field(head, b"content-length") or 0), sha256)
            else:
                length = LARGEST
            sock.sendall(f'HTTP/1.1 200 OK\r\nETag: "{etag}"\r\nContent-Length: {length}\r\n\r\n'.encode())
            sent = 0
            while sent < length:
                sent += os.sendfile(sock.fileno(), file.fileno(), sent, length - sent)


def main() -> None:
    """Serve until terminated."""
    with tempfile.TemporaryFile() as file, socket.create_server((HOST, 0), backlog=64) as server:
        file.write(os.urandom(LARGEST))
        file.flush()
        print(server.getsockname()[1], flush=True)
        while True:
            threading.Thread(target=_serve, args=(server.accept()[0], file), daemon=True).start()


if __name__ == "__main__":
    main()
