"""Buffers handed over instead of copied: nobody's bytes change while they are in use, none gathers for ever."""

import asyncio
import random
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from chunkd_daemon import Daemon, receive, running

from haild.chunkd.connection import Buffers, Connection, Shared, weight
from haild.wire import chunk as wire
from haild.wire.chunk import Operation, RequestFlag

USER = b"user"


def fill(buffers: Buffers, byte: int, count: int) -> bytes | memoryview:
    buffers.current[:count] = bytes([byte]) * count
    return buffers.taken(count)


def test_what_was_handed_over_stays_as_it_is() -> None:
    buffers = Buffers()
    pieces = [fill(buffers, number, Buffers.SIZE - number) for number in range(5)]
    small = fill(buffers, 9, 10)
    assert [bytes(piece[:3]) for piece in pieces] == [bytes([number]) * 3 for number in range(5)]
    assert [len(piece) for piece in pieces] == [Buffers.SIZE - number for number in range(5)]
    assert (small, weight(small)) == (bytes([9]) * 10, 10)
    assert all(weight(piece) == Buffers.SIZE for piece in pieces)
    buffers.give_back([*pieces, small])
    again = fill(buffers, 7, Buffers.SIZE)
    assert bytes(again) == bytes([7]) * Buffers.SIZE
    assert len(fill(buffers, 8, Buffers.SIZE)) == Buffers.SIZE


def test_only_so_many_are_kept() -> None:
    buffers = Buffers()
    buffers.give_back([fill(buffers, 0, Buffers.SIZE) for _ in range(2 * Buffers.SPARE)])
    assert len(buffers._spare) == Buffers.SPARE


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
