"""Figures of chunkd on loopback, the client in another process; medians of several rounds.

    python benchmarks/chunkd.py [--directory DIR] [--rounds 5] [--seconds 2] [--objects 100000] [--port PORT]

Small objects are 4 KiB, large ones 16 MiB; every PUT has the SYNC flag. With --port a server that runs already
is measured (for instance the original), as user `bench`. Bounded: no round lasts longer than --seconds, and no
more than --objects small and 64 large objects are stored.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from haild.wire import chunk as wire
from haild.wire.chunk import Operation, RequestFlag

USER = b"bench"
SMALL = 4096
LARGE = 16 << 20
NONCE = b"\0\0\0\0"
HOST = "127.0.0.1"


def request(operation: Operation, key: bytes = b"", *, flags: int = 0, length: int = 0) -> bytes:
    return wire.encode_request(operation, nonce=NONCE, secret=USER, key=key, flags=flags, data_length=length)


def connect(port: int, table: bytes) -> socket.socket:
    sock = socket.create_connection((HOST, port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for each in (request(Operation.LOGIN, USER + b"\0"), request(Operation.TABLE_OPEN, table, flags=2)):
        sock.sendall(each)
        answer = receive(sock, wire.RESPONSE_SIZE)
        if answer[8]:
            raise SystemExit(f"refused with code {answer[8]}")
    return sock


def receive(sock: socket.socket, count: int) -> bytearray:
    data = bytearray(count)
    view = memoryview(data)
    while view:
        got = sock.recv_into(view)
        if not got:
            raise SystemExit("the server closed the connection")
        view = view[got:]
    return data


def closed_loop(
    sockets: list[socket.socket], requests: Iterator[bytes], answer: int, seconds: float, limit: int
) -> float:
    """Requests a second, with one under way on every socket; `answer` bytes each."""
    poll = select.epoll()
    waiting = {}
    done = 0
    begin = time.perf_counter()
    for sock in sockets:
        poll.register(sock, select.EPOLLIN)
        waiting[sock.fileno()] = (sock, answer)
        sock.sendall(next(requests))
    started = len(sockets)
    while waiting:
        for descriptor, _ in poll.poll():
            sock, missing = waiting[descriptor]
            data = sock.recv(missing)
            if missing == answer and data[8]:
                raise SystemExit(f"refused with code {data[8]}")
            missing -= len(data)
            if missing:
                waiting[descriptor] = (sock, missing)
                continue
            done += 1
            if started < limit and time.perf_counter() - begin < seconds:
                started += 1
                waiting[descriptor] = (sock, answer)
                sock.sendall(next(requests))
            else:
                del waiting[descriptor]
                poll.unregister(descriptor)
    poll.close()
    return done / (time.perf_counter() - begin)


class Keys:
    """Keys of small objects, in the order of their storing."""

    def __init__(self) -> None:
        self.count = 0
        self.content = os.urandom(SMALL)

    def puts(self) -> Iterator[bytes]:
        while True:
            key = b"%016x\0" % self.count
            self.count += 1
            yield request(Operation.PUT, key, flags=RequestFlag.SYNC, length=SMALL) + self.content

    def gets(self) -> Iterator[bytes]:
        position = 1
        while True:
            position = (position * 48271) % 2147483647
            yield request(Operation.GET, b"%016x\0" % (position % self.count))


def large_put(sock: socket.socket, key: bytes, content: bytes) -> None:
    sock.sendall(request(Operation.PUT, key, flags=RequestFlag.SYNC, length=LARGE))
    sock.sendall(content)
    if receive(sock, wire.RESPONSE_SIZE)[8]:
        raise SystemExit("a large PUT was refused")


def large_get(sock: socket.socket, key: bytes, buffer: memoryview) -> None:
    sock.sendall(request(Operation.GET, key))
    if receive(sock, wire.TIMED_RESPONSE_SIZE)[8]:
        raise SystemExit("a large GET was refused")
    missing = LARGE
    while missing:
        missing -= sock.recv_into(buffer[: min(len(buffer), missing)])


def large_rounds(port: int, table: bytes, rounds: int) -> tuple[float, float]:
    """MiB/s of PUT and GET, one connection."""
    sock = connect(port, table)
    content = os.urandom(LARGE)
    buffer = memoryview(bytearray(1 << 20))
    puts, gets = [], []
    for number in range(rounds):
        begin = time.perf_counter()
        for each in range(4):
            large_put(sock, b"large-%d-%d" % (number, each), content)
        puts.append(4 * 16 / (time.perf_counter() - begin))
    for number in range(rounds):
        begin = time.perf_counter()
        for each in range(4):
            large_get(sock, b"large-%d-%d" % (number, each), buffer)
        gets.append(4 * 16 / (time.perf_counter() - begin))
    for number in range(rounds):
        for each in range(4):
            sock.sendall(request(Operation.DEL, b"large-%d-%d" % (number, each)))
            receive(sock, wire.RESPONSE_SIZE)
    sock.close()
    return statistics.median(puts), statistics.median(gets)


def large_parallel(port: int, table: bytes, count: int, seconds: float) -> float:
    """MiB/s of GET over `count` connections."""
    sockets = [connect(port, table) for _ in range(count)]
    large_put(sockets[0], b"parallel", os.urandom(LARGE))
    poll = select.epoll()
    buffer = memoryview(bytearray(1 << 20))
    waiting = {}
    for sock in sockets:
        poll.register(sock, select.EPOLLIN)
        waiting[sock.fileno()] = [sock, LARGE + wire.TIMED_RESPONSE_SIZE]
        sock.sendall(request(Operation.GET, b"parallel"))
    received = 0
    begin = time.perf_counter()
    while waiting:
        for descriptor, _ in poll.poll():
            entry = waiting[descriptor]
            sock = entry[0]
            got = sock.recv_into(buffer[: min(len(buffer), entry[1])])
            received += got
            entry[1] -= got
            if entry[1]:
                continue
            if time.perf_counter() - begin < seconds:
                entry[1] = LARGE + wire.TIMED_RESPONSE_SIZE
                sock.sendall(request(Operation.GET, b"parallel"))
            else:
                del waiting[descriptor]
    elapsed = time.perf_counter() - begin
    sockets[0].sendall(request(Operation.DEL, b"parallel"))
    receive(sockets[0], wire.RESPONSE_SIZE)
    for sock in sockets:
        sock.close()
    return received / elapsed / (1 << 20)


def small(port: int, table: bytes, keys: Keys, count: int, options: argparse.Namespace) -> tuple[float, float]:
    """PUTs and GETs a second over `count` connections."""
    sockets = [connect(port, table) for _ in range(count)]

    def median(requests: Iterator[bytes], answer: int, limit: Callable[[], int]) -> float:
        return statistics.median(
            closed_loop(sockets, requests, answer, options.seconds, limit()) for _ in range(options.rounds)
        )

    puts = median(keys.puts(), wire.RESPONSE_SIZE, lambda: max(count, (options.objects - keys.count) // 4))
    gets = median(keys.gets(), wire.TIMED_RESPONSE_SIZE + SMALL, lambda: 1 << 30)
    for sock in sockets:
        sock.close()
    return puts, gets


def curve(port: int, options: argparse.Namespace) -> None:
    """PUTs and GETs a second, 16 connections, while one table fills."""
    keys = Keys()
    sockets = [connect(port, b"curve") for _ in range(16)]
    puts, gets = keys.puts(), keys.gets()
    for mark in (1_000, 10_000, 100_000):
        if mark > options.objects:
            break
        rate = closed_loop(sockets, puts, wire.RESPONSE_SIZE, 600, mark - keys.count)
        reads = closed_loop(sockets, gets, wire.TIMED_RESPONSE_SIZE + SMALL, options.seconds, 1 << 30)
        print(f"  to {mark:>7} objects: {rate:8.0f} PUT/s, then {reads:8.0f} GET/s", flush=True)
    begin = time.perf_counter()
    sockets[0].sendall(request(Operation.LIST))
    length = int.from_bytes(receive(sockets[0], wire.RESPONSE_SIZE)[16:24], "little")
    first = time.perf_counter() - begin
    receive(sockets[0], length)
    print(f"  LIST: {length >> 10} KiB, header after {first:.2f} s, all after {time.perf_counter() - begin:.2f} s")
    for sock in sockets:
        sock.close()


class Own:
    """A chunkd of ours on a directory."""

    def __init__(self, directory: Path) -> None:
        self.port_file = directory / "port"
        self.configuration = directory / "conf"
        (directory / "data").mkdir()
        self.configuration.write_text(
            f"<Listen><Port>auto</Port><Node>{HOST}</Node><PortFile>{self.port_file}</PortFile></Listen>"
            f"<PID>{directory / 'pid'}</PID><Path>{directory / 'data'}</Path><InfoPath>/chunk-bench/1</InfoPath>"
        )
        self.ready = 0.0
        self.start()

    def start(self) -> None:
        self.port_file.unlink(missing_ok=True)
        begin = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "haild.chunkd", "-F", "-E", "-C", str(self.configuration)]
        )
        while not self.port_file.exists():
            if self.process.poll() is not None:
                raise SystemExit("chunkd did not start")
            time.sleep(0.002)
        self.ready = time.perf_counter() - begin

    def stop(self) -> float:
        begin = time.perf_counter()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        return time.perf_counter() - begin

    def memory(self) -> str:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return " ".join(peak.split()[1:])


def disk(directory: Path) -> tuple[float, float]:
    """What the disk does without a daemon: 4 KiB appends with flush a second, MiB/s of 16 MiB files with flush."""
    path = directory / "disk"
    content = os.urandom(LARGE)
    with path.open("wb", buffering=0) as file:
        begin = time.perf_counter()
        for _ in range(300):
            file.write(content[:SMALL])
            os.fdatasync(file.fileno())
        appends = 300 / (time.perf_counter() - begin)
    begin = time.perf_counter()
    for _ in range(5):
        with path.open("wb", buffering=0) as file:
            file.write(content)
            os.fsync(file.fileno())
    rate = 5 * 16 / (time.perf_counter() - begin)
    path.unlink()
    return appends, rate


def print_disk(directory: Path) -> None:
    appends, rate = disk(directory)
    print(f"the disk by itself:    {appends:8.0f} flushed 4 KiB appends/s, {rate:8.0f} MiB/s flushed", flush=True)


def measure(port: int, options: argparse.Namespace) -> None:
    keys = Keys()
    for count in (1, 16):
        puts, gets = small(port, b"bench-small", keys, count, options)
        print(f"4 KiB, {count:>2} connections: {puts:8.0f} PUT/s {gets:8.0f} GET/s", flush=True)
    puts, gets = large_rounds(port, b"bench-large", options.rounds)
    print(f"16 MiB, 1 connection:  {puts:8.0f} MiB/s PUT {gets:8.0f} MiB/s GET", flush=True)
    print(
        f"16 MiB, 4 connections: {large_parallel(port, b'bench-large', 4, options.seconds):8.0f} MiB/s GET",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, help="where the data go (default: a temporary directory)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--port", type=int, help="measure a server that runs already")
    options = parser.parse_args()
    if options.port:
        measure(options.port, options)
        return
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        own = Own(Path(name))
        print(f"ready {own.ready:.3f} s after the start", flush=True)
        port = int(own.port_file.read_text())
        try:
            print_disk(Path(name))
            measure(port, options)
            print_disk(Path(name))
            print("one table, 16 connections:", flush=True)
            curve(port, options)
            print(f"peak memory {own.memory()}")
            print(f"stopped within {own.stop():.3f} s", flush=True)
            own.start()
            print(f"ready again {own.ready:.3f} s after the start")
        finally:
            own.stop()


if __name__ == "__main__":
    main()
