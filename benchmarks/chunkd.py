"""Figures of chunkd on loopback, the client in another process; medians of several rounds.

    python benchmarks/chunkd.py [--directory DIR] [--rounds 5] [--seconds 2] [--objects 100000] [--port PORT]

Small objects are 4 KiB, large ones 16 MiB; every PUT has the SYNC flag. With --port a server that runs already
is measured (for instance the original), as user `bench`. Bounded: no round lasts longer than --seconds, and no
more than --objects small and 64 large objects are stored.
"""

from __future__ import annotations

import argparse
import contextlib
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
from typing import Any

from haild.wire.chunk import messages as wire
from haild.wire.chunk.messages import Operation, RequestFlag

WANTED = {
    "PUT 4 KiB, 1 connection": (0.5, 2071),
    "PUT 4 KiB, 16 connections": (0.5, 2071),
    "GET 4 KiB, 1 connection": (0.5, 9559),
    "GET 4 KiB, 16 connections": (0.5, 17_663),
    "PUT 16 MiB, 1 connection": (0.8, 440),
    "GET 16 MiB, 1 connection": (0.5, 2820),
    "GET 16 MiB, 16 connections": (0.5, 3529),
}
"""The share that is wanted of what the C original reaches on such a machine, and that; its PUT with the SYNC flag."""
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


class Series:
    """The rounds of one figure. While it is entered, the processor time of server and client counts."""

    def __init__(self, name: str, unit: str, server: int | None) -> None:
        self.name = name
        self._unit = unit
        self._server = server
        self._rates: list[float] = []
        self._amount = 0.0
        self._spent = [0.0, 0.0]

    def add(self, rate: float, amount: float) -> None:
        """A round: `rate` a second, `amount` (of requests, of MiB) in all."""
        self._rates.append(rate)
        self._amount += amount

    def _clocks(self) -> tuple[float, float]:
        server = 0.0
        if self._server is not None:
            fields = Path(f"/proc/{self._server}/stat").read_text().rpartition(")")[2].split()
            server = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return server, time.process_time()

    def __enter__(self) -> None:
        self._entered = self._clocks()

    def __exit__(self, *_: object) -> None:
        for position, (before, after) in enumerate(zip(self._entered, self._clocks(), strict=True)):
            self._spent[position] += after - before

    def print(self) -> None:
        median = statistics.median(self._rates)
        spread = f"({min(self._rates):,.0f} to {max(self._rates):,.0f})"
        server, client = (f"{spent / self._amount * 1e6:,.0f}" for spent in self._spent)
        line = f"{self.name:<32} {median:>7,.0f} {self._unit:<6} {spread:<18} {server:>6} {client:>6}"
        if self.name in WANTED:
            share, original = WANTED[self.name]
            verdict = "yes" if median >= share * original else "NO"
            line += f" {share * original:>8,.0f} = {share:g} x {original:<7,} {verdict}"
        print(line, flush=True)


class Show:
    """The table. `server`: the server's process id, None for one whose processor time is not known."""

    def __init__(self, server: int | None) -> None:
        self._server = server

    def series(self, name: str, unit: str) -> Series:
        return Series(name, unit, self._server)

    def heading(self) -> None:
        print(f"{'':<66} processor us, a request or MiB")
        print(f"{'':<66} {'server':>6} {'client':>6} {'wanted':>8} = share x original")


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


def large_gets(sockets: list[socket.socket], keys: list[bytes]) -> float:
    """MiB/s while every socket gets one large object after the other, socket 0 `keys[0]`, `keys[n]`, and so on."""
    poll = select.epoll()
    buffer = memoryview(bytearray(1 << 20))
    waiting = {}
    for position, sock in enumerate(sockets):
        poll.register(sock, select.EPOLLIN)
        waiting[sock.fileno()] = [sock, 0, keys[position :: len(sockets)][::-1]]
    answer = wire.TIMED_RESPONSE_SIZE + LARGE
    begin = time.perf_counter()
    for sock, *_ in waiting.values():
        _next_get(waiting, sock.fileno(), answer)
    while waiting:
        for descriptor, _ in poll.poll():
            entry = waiting[descriptor]
            fresh = entry[1] == answer
            got = entry[0].recv_into(buffer[: min(len(buffer), entry[1])])
            if not got or (fresh and buffer[8]):
                raise SystemExit("a large GET was refused")
            entry[1] -= got
            if not entry[1] and not _next_get(waiting, descriptor, answer):
                poll.unregister(descriptor)
    elapsed = time.perf_counter() - begin
    poll.close()
    return len(keys) * LARGE / elapsed / (1 << 20)


def _next_get(waiting: dict[int, list[Any]], descriptor: int, answer: int) -> bool:
    entry = waiting[descriptor]
    if not entry[2]:
        del waiting[descriptor]
        return False
    entry[1] = answer
    entry[0].sendall(request(Operation.GET, entry[2].pop()))
    return True


def large(port: int, count: int, show: Show, rounds: int) -> None:
    """MiB/s of PUT over one connection; of GET over `count` connections, of objects never read before and again."""
    sockets = [connect(port, b"bench-large") for _ in range(count)]
    content = os.urandom(LARGE)
    names = "GET 16 MiB", "GET 16 MiB again"
    puts = show.series(f"PUT 16 MiB, {_connections(count)}", "MiB/s") if count == 1 else None
    gets = [show.series(f"{name}, {_connections(count)}", "MiB/s") for name in names]
    for number in range(rounds):
        keys = [b"large-%d-%d" % (number, each) for each in range(4)]
        with puts or contextlib.nullcontext():
            begin = time.perf_counter()
            for key in keys:
                large_put(sockets[0], key, content)
            elapsed = time.perf_counter() - begin
        if puts:
            puts.add(4 * 16 / elapsed, 4 * 16)
        reading = [keys[each % 4] for each in range(max(4, count))]
        for series in gets:
            with series:
                rate = large_gets(sockets, reading)
            series.add(rate, len(reading) * 16)
        for key in keys:
            sockets[0].sendall(request(Operation.DEL, key))
            receive(sockets[0], wire.RESPONSE_SIZE)
    for sock in sockets:
        sock.close()
    for each in (puts, *gets):
        if each:
            each.print()


def small(port: int, count: int, keys: Keys, show: Show, options: argparse.Namespace) -> None:
    """PUTs and GETs a second over `count` connections."""
    sockets = [connect(port, b"bench-small") for _ in range(count)]

    def median(name: str, requests: Iterator[bytes], answer: int, limit: Callable[[], int]) -> None:
        series = show.series(f"{name} 4 KiB, {_connections(count)}", "/s")
        for _ in range(options.rounds):
            with series:
                begin = time.perf_counter()
                rate = closed_loop(sockets, requests, answer, options.seconds, limit())
                elapsed = time.perf_counter() - begin
            series.add(rate, rate * elapsed)
        series.print()

    median("PUT", keys.puts(), wire.RESPONSE_SIZE, lambda: max(count, (options.objects - keys.count) // 4))
    median("GET", keys.gets(), wire.TIMED_RESPONSE_SIZE + SMALL, lambda: 1 << 30)
    for sock in sockets:
        sock.close()


def _connections(count: int) -> str:
    return "1 connection" if count == 1 else f"{count} connections"


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


def measure(port: int, process: int | None, options: argparse.Namespace) -> None:
    show = Show(process)
    show.heading()
    keys = Keys()
    for count in (1, 16):
        small(port, count, keys, show, options)
    for count in (1, 16):
        large(port, count, show, options.rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, help="where the data go (default: a temporary directory)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--port", type=int, help="measure a server that runs already")
    options = parser.parse_args()
    if options.port:
        measure(options.port, None, options)
        return
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        own = Own(Path(name))
        print(f"ready {own.ready:.3f} s after the start", flush=True)
        port = int(own.port_file.read_text())
        try:
            print_disk(Path(name))
            measure(port, own.process.pid, options)
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
