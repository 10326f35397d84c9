"""Sends chunkd requests in which a byte, a field or a piece is wrong.

    python tests/support/chunkd_mutations.py [COUNT] [SEED]

runs 100,000 of them against a daemon of its own and prints its memory and descriptors as it goes.
"""

from __future__ import annotations

import contextlib
import random
import socket
import sys
import tempfile
from pathlib import Path

from haild.wire.chunk import messages as wire
from haild.wire.chunk.messages import Operation, RequestFlag
from support.chunkd_daemon import Daemon, eventually, receive, running

USER = b"user"
STEP = 10_000
SPARE = 8
"""Descriptors that SQLite may keep for its next use."""


def _request(operation: int, key: bytes = b"", **fields: int | bytes) -> bytes:
    return wire.encode_request(operation, nonce=bytes(4), secret=USER, key=key, **fields)  # type: ignore[arg-type]


def mutated(generator: random.Random) -> bytes:
    """One request, often correctly signed."""
    operation = generator.choice([*Operation, 13, 200])
    fields: dict[str, int | bytes] = {
        "data_length": generator.choice([0, 1, 100, 40_000, 1 << 40, (1 << 64) - 1]),
        "flags": generator.randrange(256),
    }
    if operation == Operation.GET_PART:
        fields["offset"] = generator.choice([0, 1, 65_536, (1 << 64) - 1])
    if operation == Operation.CP:
        fields["source_key"] = generator.randbytes(generator.choice([0, 3, 1024]))
    key = generator.choice([b"", b"before", b"k", generator.randbytes(1024), b"__chunkd_table_id"])
    request = bytearray(_request(operation, key, **fields))
    kind = generator.randrange(4)
    if kind == 0:
        request[generator.randrange(len(request))] = generator.randrange(256)
    elif kind == 1:
        del request[generator.randrange(len(request)) :]
    elif kind == 2:
        request += generator.randbytes(generator.randrange(2000))
    return bytes(request)


def _session(daemon: Daemon) -> socket.socket:
    sock = daemon.connect()
    sock.sendall(
        _request(Operation.LOGIN, USER) + _request(Operation.TABLE_OPEN, b"t", flags=RequestFlag.TABLE_CREATE)
    )
    assert receive(sock, 96)[8::48] == bytes(2)
    return sock


def send_mutated(daemon: Daemon, generator: random.Random, count: int) -> None:
    """Send `count` mutated requests, several over one connection as long as that stands."""
    sock = _session(daemon)
    for _ in range(count):
        usable = generator.random() > 0.2
        if usable:
            try:
                sock.sendall(mutated(generator))
                sock.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    usable = bool(sock.recv(65536))
                sock.setblocking(True)
            except OSError:
                usable = False
        if not usable:
            sock.close()
            sock = _session(daemon)
    sock.close()


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    generator = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    with tempfile.TemporaryDirectory() as name, running(Path(name)) as daemon:
        send_mutated(daemon, generator, 100)
        before = daemon.descriptors()
        sizes = []
        for done in range(0, count, STEP):
            send_mutated(daemon, generator, min(STEP, count - done))
            eventually(lambda: daemon.descriptors() <= before + SPARE, "connections are closed")
            sys.stdout.write(
                f"{min(count, done + STEP)} requests: {daemon.resident() >> 10} KiB, "
                f"{daemon.descriptors()} descriptors (at first {before})\n"
            )
            sizes.append(daemon.resident() >> 10)
        half = sizes[(len(sizes) - 1) // 2]
        sys.stdout.write(f"memory after half of them {half} KiB, at the end {sizes[-1]} KiB\n")
        sys.stdout.write(daemon.log.read_text())


if __name__ == "__main__":
    main()
