"""Figures of tabled over a stack of cld, chunkd and tabled on loopback; medians of several rounds.

    python benchmarks/tabled.py [--directory DIR] [--nodes 1] [--rounds 5] [--seconds 2] [--keys 100000] [--port PORT]

Small objects are 4 KiB, large ones 16 MiB. The client is this process: plain sockets, requests signed (V4, with the
payload's digest) before the clock runs. With --port a server that runs already is measured (for instance
moto_server), as user alice, password sesame. Bounded: no round lasts longer than --seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import resource
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from haild.wire import sigv4

HOST = "127.0.0.1"
SMALL = 4096
LARGE = 16 << 20
BUCKET = "bench"
KEYS_BUCKET = "bench-keys"


def wait_for_file(path: Path, process: subprocess.Popen[bytes]) -> str:
    """The text of a port file, once there is one."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if path.exists() and (text := path.read_text().strip()):
            return text
        if process.poll() is not None:
            raise SystemExit(f"{path.stem} has ended")
        time.sleep(0.005)
    raise SystemExit(f"no {path}")


class Stack:
    """The daemons as processes."""

    def __init__(self, directory: Path, nodes: int) -> None:
        self.directory = directory
        self.processes: list[subprocess.Popen[bytes]] = []
        (directory / "cld").mkdir()
        (directory / "tdb").mkdir()
        (directory / "users").write_text("alice\tsesame\n")
        port_file = directory / "cld.port"
        options = ["-F", "-E", "-d", str(directory / "cld"), "-p", "auto", "--port-file", str(port_file)]
        cld = self.start("cld", *options, "-P", str(directory / "cld.pid"))
        self.cld = f"<CLD><Host>{HOST}</Host><Port>{wait_for_file(port_file, cld)}</Port></CLD>"
        for number in range(1, nodes + 1):
            self.chunkd(number)
        self.tabled()

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self.directory / f"{name}.log").open("ab")
        process = subprocess.Popen([sys.executable, "-m", f"haild.{name}", *arguments], stderr=log, stdout=log)
        self.processes.append(process)
        return process

    def chunkd(self, number: int) -> None:
        path = self.directory / f"chunk{number}"
        path.mkdir()
        file = path.with_suffix(".conf")
        file.write_text(
            f"<Listen><Port>auto</Port><Node>{HOST}</Node><PortFile>{path}.port</PortFile></Listen>"
            f"<PID>{path}.pid</PID><Path>{path}</Path><NID>{number}</NID>"
            f"<InfoPath>/chunk-default/{number}</InfoPath>{self.cld}"
        )
        wait_for_file(path.with_suffix(".port"), self.start("chunkd", "-F", "-E", "-C", str(file)))

    def tabled(self) -> None:
        file, port_file = self.directory / "tabled.conf", self.directory / "tabled.port"
        port_file.unlink(missing_ok=True)
        file.write_text(
            f"<TDB>{self.directory / 'tdb'}</TDB><PID>{self.directory / 'tabled.pid'}</PID>"
            f"<Users>{self.directory / 'users'}</Users><ForceHost>localhost</ForceHost>"
            f"<Listen><Port>auto</Port><PortFile>{port_file}</PortFile></Listen>{self.cld}"
        )
        self.server = self.start("tabled", "-F", "-E", "-C", str(file))
        self.port = int(wait_for_file(port_file, self.server).rpartition(":")[2])

    def close(self) -> None:
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in reversed(self.processes):
            process.wait(10)


class Client:
    """Makes signed requests and counts answers."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.host = f"{HOST}:{port}"

    def request(self, method: str, target: str, body: bytes = b"", digest: str = "") -> bytes:
        digest = digest or hashlib.sha256(body).hexdigest()
        headers = {"Host": self.host, "Content-Length": str(len(body))}
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
        return "\r\n".join(lines).encode() + body

    def connect(self) -> socket.socket:
        sock = socket.create_connection((HOST, self.port), timeout=60)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def once(self, request: bytes, sock: socket.socket | None = None) -> bytes:
        """Send one request; returns the head of the answer, whose body is read and dropped."""
        own = sock is None
        sock = sock or self.connect()
        sock.sendall(request)
        head = exchange(sock)
        if own:
            sock.close()
        return head


def exchange(sock: socket.socket) -> bytes:
    """Read one answer; returns its head."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(1 << 16)
        if not more:
            raise SystemExit("the server closed the connection")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    missing = content_length(head) - len(rest)
    buffer = bytearray(1 << 20)
    while missing > 0:
        missing -= sock.recv_into(buffer)
    return head


def content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def closed_loop(sockets: Sequence[socket.socket], requests: Iterator[bytes], seconds: float) -> float:
    """Requests a second with one under way on every socket."""
    poll = select.epoll()
    received: dict[int, tuple[socket.socket, bytearray]] = {}
    begin = time.perf_counter()
    done = 0
    for sock in sockets:
        poll.register(sock, select.EPOLLIN)
        received[sock.fileno()] = (sock, bytearray())
        sock.sendall(next(requests))
    while received:
        for descriptor, _ in poll.poll():
            sock, data = received[descriptor]
            data += sock.recv(1 << 16)
            end = data.find(b"\r\n\r\n")
            if end < 0 or len(data) < end + 4 + content_length(bytes(data[:end])):
                continue
            if not data.startswith(b"HTTP/1.1 20"):
                raise SystemExit(bytes(data[:500]).decode("latin-1"))
            data.clear()
            done += 1
            request = next(requests, None) if time.perf_counter() - begin < seconds else None
            if request is None:
                del received[descriptor]
                poll.unregister(descriptor)
            else:
                sock.sendall(request)
    poll.close()
    return done / (time.perf_counter() - begin)


def small(client: Client, connections: int, seconds: float, tag: str) -> tuple[float, float]:
    """PUT/s and GET/s of small objects."""
    body = os.urandom(SMALL)
    digest = hashlib.sha256(body).hexdigest()
    count = int(2500 * seconds)
    puts = [client.request("PUT", f"/{BUCKET}/{tag}-{n}", body, digest) for n in range(count)]
    sockets = [client.connect() for _ in range(connections)]
    before = len(puts)
    rest = iter(puts)
    put_rate = closed_loop(sockets, rest, seconds)
    stored = before - sum(1 for _ in rest)
    gets = [client.request("GET", f"/{BUCKET}/{tag}-{n * 7919 % stored}") for n in range(2 * count)]
    get_rate = closed_loop(sockets, iter(gets), seconds)
    for sock in sockets:
        sock.close()
    return put_rate, get_rate


def large(client: Client, connections: int, count: int) -> tuple[float, float]:
    """MiB/s of large PUTs and GETs, `count` on each connection."""
    body = os.urandom(LARGE)
    digest = hashlib.sha256(body).hexdigest()

    def work(method: str, number: int) -> None:
        with contextlib.closing(client.connect()) as sock:
            for position in range(count):
                target = f"/{BUCKET}/large-{number}-{position}"
                content = body if method == "PUT" else b""
                if b" 200 " not in client.once(
                    client.request(method, target, content, digest if content else ""), sock
                ):
                    raise SystemExit(f"{method} of a large object failed")

    rates = []
    with ThreadPoolExecutor(connections) as threads:
        for method in ("PUT", "GET"):
            begin = time.perf_counter()
            list(threads.map(lambda n, method=method: work(method, n), range(connections)))
            rates.append(connections * count * LARGE / (1 << 20) / (time.perf_counter() - begin))
    return rates[0], rates[1]


def fill(client: Client, keys: int) -> None:
    """Store many empty objects."""
    requests = (client.request("PUT", f"/{KEYS_BUCKET}/{n % 10}/{n:08d}") for n in range(keys))
    sockets = [client.connect() for _ in range(32)]
    closed_loop(sockets, requests, 600)
    for sock in sockets:
        sock.close()


def listing(client: Client, keys: int, seconds: float) -> float:
    """Pages of 1000 keys a second, from all over the bucket."""
    targets = [f"/{KEYS_BUCKET}?list-type=2&start-after={n % 10}%2F{n * 7919 % keys:08d}" for n in range(2000)]
    sock = client.connect()
    rate = closed_loop([sock], (client.request("GET", target) for target in targets), seconds)
    sock.close()
    return rate


def start_time(stack: Stack) -> float:
    """Seconds from the start of tabled to its first answered request."""
    stack.server.send_signal(signal.SIGTERM)
    stack.server.wait(10)
    stack.processes.remove(stack.server)
    begin = time.perf_counter()
    stack.tabled()
    client = Client(stack.port)
    while True:
        try:
            if b" 200 " in client.once(client.request("GET", f"/{BUCKET}/0-0")):
                return time.perf_counter() - begin
        except ConnectionRefusedError:
            time.sleep(0.002)


def peak_memory(process: subprocess.Popen[bytes]) -> int:
    """MiB that a process has used at most."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) >> 10
    return 0


def report(name: str, values: Sequence[float], unit: str) -> None:
    print(
        f"{name:<34} {statistics.median(values):>9,.1f} {unit:<7} ({min(values):,.1f} to {max(values):,.1f})",
        flush=True,
    )


def measure(client: Client, options: argparse.Namespace) -> None:
    for name in (BUCKET, KEYS_BUCKET):
        client.once(client.request("PUT", f"/{name}"))
    for connections in (1, 16):
        rates = [small(client, connections, options.seconds, f"{connections}-{n}") for n in range(options.rounds)]
        report(f"PUT 4 KiB, {connections} connection(s)", [rate[0] for rate in rates], "/s")
        report(f"GET 4 KiB, {connections} connection(s)", [rate[1] for rate in rates], "/s")
    for connections in (1, 16):
        rates = [large(client, connections, 8 if connections == 1 else 2) for _ in range(options.rounds)]
        report(f"PUT 16 MiB, {connections} connection(s)", [rate[0] for rate in rates], "MiB/s")
        report(f"GET 16 MiB, {connections} connection(s)", [rate[1] for rate in rates], "MiB/s")
    if options.keys:
        fill(client, options.keys)
        rates_listing = [listing(client, options.keys, options.seconds) for _ in range(options.rounds)]
        report(f"LIST 1,000 keys of {options.keys:,}", rates_listing, "/s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Figures of tabled on loopback")
    parser.add_argument("--directory", type=Path, default=None, help="where the data go (default: a temporary one)")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--port", type=int, default=0, help="measure the server that listens there")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    if options.port:
        measure(Client(options.port), options)
        return
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        stack = Stack(Path(directory), options.nodes)
        try:
            client = Client(stack.port)
            wait_until_storing(client)
            measure(client, options)
            print(f"{'memory of tabled, at most':<34} {peak_memory(stack.server):>9,} MiB")
            client.once(client.request("PUT", f"/{BUCKET}/0-0", b"x"))
            report("start to first answer", [start_time(stack) for _ in range(options.rounds)], "s")
        finally:
            stack.close()


def wait_until_storing(client: Client) -> None:
    """Until a PUT with a body succeeds."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError, SystemExit):
            client.once(client.request("PUT", "/bench-probe"))
            if b" 200 " in client.once(client.request("PUT", "/bench-probe/k", b"x")):
                return
        time.sleep(0.05)
    raise SystemExit("tabled does not store")


if __name__ == "__main__":
    main()
