"""Many clients, slow clients, clients that stop halfway, and bytes that mean nothing: others are served meanwhile."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from haild.wire.chunk import messages as wire
from haild.wire.chunk.messages import Operation, RequestFlag
from support.chunkd_daemon import FEW_DESCRIPTORS, Daemon, eventually, receive, running
from support.chunkd_mutations import SPARE, send_mutated

pytestmark = pytest.mark.slow

USER = b"user"
TIMEOUT = 0.5
MEMORY = 150 << 20


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with running(tmp_path, f"<Timeout>{TIMEOUT}</Timeout>") as started:
        yield started


def _request(operation: int, key: bytes = b"", **fields: int | bytes) -> bytes:
    return wire.encode_request(operation, nonce=bytes(4), secret=USER, key=key, **fields)  # type: ignore[arg-type]


def _session(daemon: Daemon) -> socket.socket:
    sock = daemon.connect()
    sock.sendall(
        _request(Operation.LOGIN, USER) + _request(Operation.TABLE_OPEN, b"t", flags=RequestFlag.TABLE_CREATE)
    )
    assert receive(sock, 96)[8::48] == bytes(2)
    return sock


def _round_trip(sock: socket.socket, key: bytes, size: int = 5000) -> None:
    content = os.urandom(size)
    sock.sendall(_request(Operation.PUT, key, data_length=size) + content)
    assert receive(sock, 48)[8] == 0
    sock.sendall(_request(Operation.GET, key))
    assert receive(sock, 56 + size)[56:] == content
    sock.sendall(_request(Operation.DEL, key))
    assert receive(sock, 48)[8] == 0


def _all_closed(sockets: list[socket.socket]) -> bool:
    for sock in sockets:
        sock.setblocking(False)
        try:
            while sock.recv(65536):
                pass
        except BlockingIOError:
            return False
        except OSError:
            pass
    return True


def test_silent_connections_are_closed_and_leak_nothing(daemon: Daemon) -> None:
    client = _session(daemon)
    _round_trip(client, b"warm")
    descriptors = daemon.descriptors()
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(daemon.connect()) for _ in range(1000)]
        for each in silent[::2]:
            each.sendall(_request(Operation.LOGIN, USER)[:50])
        _round_trip(client, b"meanwhile")
        assert daemon.resident() < MEMORY
        eventually(lambda: _all_closed(silent), "the silent connections are closed")
    eventually(lambda: daemon.descriptors() <= descriptors + SPARE, "their descriptors are closed")
    _round_trip(client, b"afterwards")
    client.close()


def test_an_idle_client_that_has_logged_in_is_left_alone(daemon: Daemon) -> None:
    idle = _session(daemon)
    silent = daemon.connect()
    eventually(lambda: _all_closed([silent]), "two sweeps at least")
    _round_trip(idle, b"key")


def test_contents_that_stop_halfway_are_given_up_and_leave_nothing(daemon: Daemon) -> None:
    client = _session(daemon)
    with contextlib.ExitStack() as stack:
        stopped = [stack.enter_context(_session(daemon)) for _ in range(60)]
        for number, each in enumerate(stopped):
            size = (20_000, 200_000, 3_000_000)[number % 3]
            each.sendall(_request(Operation.PUT, b"key%d" % number, data_length=size) + os.urandom(size // 2))
        _round_trip(client, b"meanwhile", 100_000)
        assert daemon.resident() < MEMORY
        eventually(lambda: _all_closed(stopped), "the connections are closed")
    eventually(lambda: os.listdir(daemon.data / "incoming") == [], "what was written is removed")
    for number in range(60):
        _round_trip(client, b"key%d" % number)


def test_readers_that_do_not_read_are_given_up(daemon: Daemon) -> None:
    client = _session(daemon)
    sizes = {b"small": 30_000, b"large": 24 << 20}
    for key, size in sizes.items():
        client.sendall(_request(Operation.PUT, key, data_length=size) + os.urandom(size))
        assert receive(client, 48)[8] == 0
    descriptors = daemon.descriptors()
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(_session(daemon)) for _ in range(40)]
        for number, each in enumerate(readers):
            if number % 2:
                each.sendall(_request(Operation.GET, b"large"))
            else:
                each.sendall(_request(Operation.GET, b"small") * 2000)
        _round_trip(client, b"meanwhile")
        assert daemon.resident() < MEMORY
        eventually(lambda: daemon.descriptors() <= descriptors + SPARE, "the daemon has closed its side")
    _round_trip(client, b"afterwards")


def test_one_byte_a_moment_is_not_progress(daemon: Daemon) -> None:
    """Neither in a request nor in content; a client that sends a little more is served."""
    client = _session(daemon)
    header, content = daemon.connect(), _session(daemon)
    content.sendall(_request(Operation.PUT, b"slow", data_length=100_000))
    steady = _session(daemon)
    steady.sendall(_request(Operation.PUT, b"steady", data_length=40_000))
    login = _request(Operation.LOGIN, USER)
    ended = threading.Event()

    def drip() -> None:
        position = 0
        sent = 0
        while not ended.wait(TIMEOUT / 20):
            for sock, data in ((header, login[position % 88 : position % 88 + 1]), (content, b"x")):
                with contextlib.suppress(OSError):
                    sock.sendall(data)
            if sent < 40_000:
                steady.sendall(b"y" * 1000)
                sent += 1000
            position += 1

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        assert receive(steady, 48)[8] == 0
        eventually(lambda: _all_closed([header, content]), "the slow ones are closed")
    finally:
        ended.set()
        thread.join()
    _round_trip(client, b"key")


def test_a_connection_too_many_is_closed_and_the_rest_served(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, launcher=("-c", FEW_DESCRIPTORS))
    daemon.start()
    try:
        client = _session(daemon)
        with contextlib.ExitStack() as stack:
            more = [stack.enter_context(daemon.connect()) for _ in range(60)]
            eventually(lambda: any(_all_closed([each]) for each in more), "some are closed")
            _round_trip(client, b"key", 100_000)
    finally:
        daemon.kill()


def test_mutated_requests_do_not_hurt(daemon: Daemon) -> None:
    """Bounded here; `python tests/support/chunkd_mutations.py` does the same 100,000 times."""
    client = _session(daemon)
    _round_trip(client, b"before", 100_000)
    descriptors = daemon.descriptors()
    send_mutated(daemon, random.Random(4), 1500)
    assert daemon.process is not None
    assert daemon.process.poll() is None
    eventually(lambda: daemon.descriptors() <= descriptors + SPARE, "all connections are closed")
    _round_trip(client, b"after", 100_000)
    assert daemon.resident() < MEMORY
    assert "Traceback" not in daemon.log.read_text()


def test_memory_stays_flat_over_large_bodies(daemon: Daemon) -> None:
    """Bodies pass through, whatever their size and however many at once."""
    body = os.urandom(8 << 20)
    errors: list[BaseException] = []

    def transfer(number: int) -> None:
        try:
            with _session(daemon) as sock:
                sock.sendall(_request(Operation.PUT, b"key%d" % number, data_length=len(body)) + body)
                assert receive(sock, 48)[8] == 0
                sock.sendall(_request(Operation.GET, b"key%d" % number))
                assert receive(sock, 56 + len(body))[56:] == body
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=transfer, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    highest = 0
    while any(thread.is_alive() for thread in threads):
        highest = max(highest, daemon.resident())
        threads[0].join(0.02)
        time.sleep(0.02)
    assert errors == []
    assert highest < MEMORY
