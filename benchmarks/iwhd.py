"""How fast iwhd is: `python benchmarks/iwhd.py [--seconds N] [--clients N]`.

Starts real daemons on loopback, in a temporary directory, and prints one line per figure:

* `fs`: 64 MiB objects up and down, one client, against a plain file copy with fsync on the same disk;
* `load`: that many clients with 1 MiB objects for that many seconds, with errors and the daemon's memory;
* `s3`: the same objects to tabled and through iwhd on it, in turn and by the same client, as a ratio; and the load.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from haild.wire.s3 import sigv4
from support.iwhd_daemon import Iwhd, fs, memory_peak, processor_seconds, running
from support.iwhd_stack import KEY, SECRET, s3_service

MIB = 1 << 20
OBJECT = 64 * MIB
ROUNDS = 7


Sign = Callable[[str, str], dict[str, str]]
"""The headers that authorise a request of that method and path."""


def unsigned(_method: str, _path: str) -> dict[str, str]:
    """What iwhd wants to see: nothing."""
    return {"Host": "localhost"}


def signed(method: str, path: str) -> dict[str, str]:
    """What tabled wants to see."""
    host = {"Host": "localhost"}
    return host | sigv4.sign_headers(
        method, path, host, key=KEY, secret=SECRET, region="us-east-1", when=datetime.now(UTC),
        payload_hash="UNSIGNED-PAYLOAD",
    )  # fmt: skip


def head(method: str, path: str, sign: Sign, length: int | None = None) -> bytes:
    """The head of a request on a connection of its own."""
    fields = sign(method, path) | {"Connection": "close"}
    if length is not None:
        fields["Content-Length"] = str(length)
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def put(port: int, path: str, file: Path, sign: Sign = unsigned) -> None:
    """Upload a file as fast as a client can: the system copies it into the connection."""
    with socket.create_connection(("127.0.0.1", port)) as connection, file.open("rb") as body:
        connection.sendall(head("PUT", path, sign, file.stat().st_size))
        connection.sendfile(body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    if not answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 201 ")):
        raise RuntimeError(f"PUT {path}: {answer[:80]!r}")


def get(port: int, path: str, size: int, sign: Sign = unsigned) -> None:
    """Download and throw away; the head and any framing included, so at least `size` bytes."""
    buffer = bytearray(MIB)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head("GET", path, sign))
        received = 0
        while count := connection.recv_into(buffer):
            if not received and not buffer.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(f"GET {path}: {bytes(buffer[:80])!r}")
            received += count
    if received < size:
        raise RuntimeError(f"GET {path}: {received} bytes")


def copy(source: Path, target: Path) -> None:
    """What the disk can do: the same bytes in a file, synced."""
    with source.open("rb") as body, target.open("wb", buffering=0) as file:
        while block := body.read(MIB):
            file.write(block)
        os.fsync(file.fileno())


def rates(*actions: Callable[[int], None], size: int = OBJECT) -> list[list[float]]:
    """MiB/s of each action in some rounds, in turn, so that all meet the same machine; after one round to warm up."""
    found: list[list[float]] = [[] for _ in actions]
    for number in range(ROUNDS + 1):
        for action, each in zip(actions, found, strict=True):
            begin = time.perf_counter()
            action(number)
            each.append(size / MIB / (time.perf_counter() - begin))
    return [each[1:] for each in found]


def shown(found: list[float]) -> str:
    """Median and best."""
    return f"{statistics.median(found):6.0f} MiB/s (best {max(found):.0f})"


def speed(action: Callable[[int], None], size: int = OBJECT) -> str:
    """Median and best MiB/s of some rounds of `action`."""
    return shown(rates(action, size=size)[0])


def report(name: str, value: str) -> None:
    print(f"{name:28} {value}", flush=True)


@contextlib.contextmanager
def source(directory: Path, size: int) -> Iterator[Path]:
    file = directory / f"source-{size}"
    file.write_bytes(os.urandom(MIB) * (size // MIB))
    yield file
    file.unlink()


def measure_fs(root: Path) -> None:
    with running(Iwhd(root, [fs(root)])) as iwhd, source(root, OBJECT) as file:
        iwhd.request("PUT", "/b")
        report("disk, copy and fsync", speed(lambda n: copy(file, root / f"copy{n % 2}")))
        before = processor_seconds(iwhd)
        report("fs, up", speed(lambda n: put(iwhd.port, f"/b/k{n % 2}", file)))
        middle = processor_seconds(iwhd)
        report("fs, down", speed(lambda n: get(iwhd.port, "/b/k0", OBJECT)))
        up, down = (middle - before) / (ROUNDS + 1), (processor_seconds(iwhd) - middle) / (ROUNDS + 1)
        report("fs, processor per object", f"up {up * 1000:.0f} ms, down {down * 1000:.0f} ms")
        report("fs, memory", f"{memory_peak(iwhd) / MIB:.0f} MiB at most")


def load(name: str, iwhd: Iwhd, root: Path, clients: int, seconds: float) -> None:
    """Every client puts and gets its own objects in turn until the time is over."""
    iwhd.request("PUT", "/load")
    done = [0] * clients
    errors: list[str] = []
    half: list[int] = []
    begin = time.monotonic()
    with source(root, MIB) as file:

        def client(number: int) -> None:
            while time.monotonic() < begin + seconds:
                try:
                    put(iwhd.port, f"/load/c{number}-{done[number] % 3}", file)
                    get(iwhd.port, f"/load/c{number}-{done[number] % 3}", MIB)
                    done[number] += 1
                except (OSError, RuntimeError) as error:
                    errors.append(str(error))

        threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
        timer = threading.Timer(seconds / 2, lambda: half.append(memory_peak(iwhd)))
        for thread in (*threads, timer):
            thread.start()
        for thread in threads:
            thread.join()
    elapsed = time.monotonic() - begin
    rate = sum(done) / elapsed
    report(f"{name}, {clients} clients", f"{rate:6.0f} put+get of 1 MiB per second for {elapsed:.0f} s")
    report(f"{name}, errors", f"{len(errors)} {errors[:2] if errors else ''}")
    report(
        f"{name}, memory", f"{half[0] / MIB:.0f} MiB after half the time, {memory_peak(iwhd) / MIB:.0f} at the end"
    )


def measure_s3(root: Path, clients: int, seconds: float) -> None:
    with s3_service(root) as service, running(Iwhd(root / "iwhd", [service.provider()])) as iwhd:
        iwhd.request("PUT", "/b")
        with source(root, OBJECT) as file:
            straight, through = service.port, iwhd.port
            ratio(
                "up",
                iwhd,
                lambda n: put(straight, f"/b/direct{n % 2}", file, signed),
                lambda n: put(through, f"/b/k{n % 2}", file),
            )
            ratio(
                "down",
                iwhd,
                lambda n: get(straight, "/b/direct0", OBJECT, signed),
                lambda n: get(through, "/b/k0", OBJECT),
            )
        report("s3, memory", f"{memory_peak(iwhd) / MIB:.0f} MiB at most")
        load("s3 load", iwhd, root, clients, seconds)


def ratio(direction: str, iwhd: Iwhd, straight: Callable[[int], None], through: Callable[[int], None]) -> None:
    """How fast it is to tabled itself, and through iwhd."""
    before = processor_seconds(iwhd)
    itself, warehouse = rates(straight, through)
    spent = (processor_seconds(iwhd) - before) / (ROUNDS + 1)
    report(f"tabled itself, {direction}", shown(itself))
    report(f"s3 through iwhd, {direction}", shown(warehouse))
    share = statistics.median(warehouse) / statistics.median(itself)
    report(
        f"s3, ratio, {direction}", f"  {share:.2f}; iwhd spends {spent * 1000:.0f} ms of processor time per object"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure iwhd on loopback.")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a load test")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--only", choices=("fs", "load", "s3"))
    options = parser.parse_args()
    for name in ("fs", "load", "s3") if options.only is None else (options.only,):
        with tempfile.TemporaryDirectory(prefix="iwhd-bench-") as directory:
            root = Path(directory)
            if name == "fs":
                measure_fs(root)
            elif name == "load":
                with running(Iwhd(root, [fs(root)])) as iwhd:
                    load("fs load", iwhd, root, options.clients, options.seconds)
            else:
                measure_s3(root, options.clients, options.seconds)


if __name__ == "__main__":
    main()
