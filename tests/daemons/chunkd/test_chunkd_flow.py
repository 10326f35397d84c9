"""Large bodies in threads: no bytes change while they are in use, and the event loop waits for slow ones."""

import asyncio
import hashlib
import random
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from haild.chunkd.connection import Connection, Shared
from haild.transfer import flow
from haild.wire.chunk import messages as wire
from haild.wire.chunk.messages import Operation, RequestFlag
from support.chunkd_daemon import Daemon, receive, running

USER = b"user"


def test_many_large_puts_at_once_keep_their_bytes(tmp_path: Path) -> None:
    """Also such as are refused or end halfway, whose buffers the others get."""

    def request(operation: int, key: bytes = b"", **fields: int) -> bytes:
        return wire.encode_request(operation, nonce=bytes(4), secret=USER, key=key, **fields)

    def client(number: int) -> None:
        content = random.Random(number).randbytes(3_000_000 + number)
        with daemon.connect() as sock:
            sock.sendall(request(Operation.LOGIN, USER) + request(Operation.TABLE_OPEN, b"t", flags=2))
            assert receive(sock, 96)[8::48] == bytes(2)
            for each in range(3):
                put = request(Operation.PUT, b"%d" % number, flags=RequestFlag.SYNC, data_length=len(content))
                sock.sendall(put + content)
                assert receive(sock, 48)[8] == (0 if each == 0 else 10)
            sock.sendall(request(Operation.GET, b"%d" % number))
            assert receive(sock, 56)[8] == 0
            assert receive(sock, len(content)) == content
            sock.sendall(request(Operation.PUT, b"halfway", data_length=len(content)) + content[:-1])

    with running(tmp_path) as daemon, ThreadPoolExecutor(8) as executor:
        client(0)
        list(executor.map(client, range(1, 9)))
        assert daemon.resident() < 150 << 20


def test_content_that_flows_stands_still_and_trickles(tmp_path: Path) -> None:
    """It goes from a thread to the event loop and back; no byte is lost or comes twice on the way."""
    content = random.Random(2).randbytes(5 * flow.BLOCK + 4321)

    def request(operation: int, key: bytes = b"", **fields: int) -> bytes:
        return wire.encode_request(operation, nonce=bytes(4), secret=USER, key=key, **fields)

    with running(tmp_path) as daemon, daemon.connect() as sock:
        sock.sendall(request(Operation.LOGIN, USER) + request(Operation.TABLE_OPEN, b"t", flags=2))
        assert receive(sock, 96)[8::48] == bytes(2)
        sock.sendall(request(Operation.PUT, b"k", data_length=len(content)) + content[:1000])
        position = 1000
        for count in (flow.BLOCK + 77, 10, 3, 2 * flow.BLOCK, 1, 2 * flow.BLOCK):
            sock.sendall(content[position : position + count])
            position += count
            time.sleep(2 * flow.PATIENCE / 1000)
        sock.sendall(content[position:])
        assert receive(sock, 48)[24:44] == hashlib.sha1(content, usedforsecurity=False).digest()
        sock.sendall(request(Operation.GET, b"k"))
        assert receive(sock, 56)[8] == 0
        assert receive(sock, len(content)) == content


def test_large_objects_on_an_event_loop_without_sendfile(tmp_path: Path) -> None:
    """As uvloop is."""
    launcher = (
        "import asyncio.base_events, runpy\n"
        "async def sendfile(*_arguments, **_options): raise NotImplementedError\n"
        "asyncio.base_events.BaseEventLoop.sendfile = sendfile\n"
        "runpy.run_module('haild.chunkd', run_name='__main__')"
    )
    daemon = Daemon(tmp_path, launcher=["-c", launcher])
    daemon.start()
    content = random.Random(1).randbytes(3_000_000)

    def request(operation: int, key: bytes = b"", **fields: int) -> bytes:
        return wire.encode_request(operation, nonce=bytes(4), secret=USER, key=key, **fields)

    try:
        with daemon.connect() as sock:
            sock.sendall(request(Operation.LOGIN, USER) + request(Operation.TABLE_OPEN, b"t", flags=2))
            assert receive(sock, 96)[8::48] == bytes(2)
            sock.sendall(request(Operation.PUT, b"k", data_length=len(content)) + content)
            assert receive(sock, 48)[8] == 0
            for _ in range(2):
                sock.sendall(request(Operation.GET, b"k"))
                assert receive(sock, 56)[8] == 0
                assert receive(sock, len(content)) == content
    finally:
        daemon.kill()


async def test_closing_a_connection_that_was_reset_unnoticed() -> None:
    """While reading is paused the event loop does not see that the client is gone; the close finds out."""

    class Nobody:
        logged_in = True

        def handle(self, request: wire.Request) -> None: ...

    gone: list[Connection] = []
    shared = Shared(lambda _connection: Nobody(), lambda _connection: None, gone.append, 60)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        accepted, _ = listener.accept()
        loop = asyncio.get_running_loop()
        transport, connection = await loop.connect_accepted_socket(lambda: Connection(shared), accepted)
        transport.pause_reading()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        with pytest.raises(OSError, match="not connected"):
            accepted.shutdown(socket.SHUT_WR)
        connection.close()
        async with asyncio.timeout(5):
            while not gone:  # noqa: ASYNC110 - told by a callback
                await asyncio.sleep(0.005)
    assert gone == [connection]
