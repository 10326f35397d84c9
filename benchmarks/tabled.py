"""Figures of tabled over a stack of cld, chunkd and tabled on loopback, beside moto's S3 server in the same run.

    python benchmarks/tabled.py [--directory DIR] [--nodes 1] [--rounds 5] [--seconds 1] [--keys 100000] [--no-moto]

Small objects are 4 KiB, large ones 16 MiB; every figure is the median of several rounds, in which ours and moto's
take turns. The client is this process, the servers are others; tabled and chunkd flush to disk before they answer,
moto keeps everything in memory; `bare` is the ceiling for large bodies, a peer that takes the digests that S3 demands
and keeps nothing (_bare.py). Beside each figure stands what is wanted of it: a share of what the C original of 2010
gave on such a machine (it flushed no body), or a multiple of what moto gives here. Then where the time goes.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from _bare import Bare
from _s3load import Client, closed_loop, transfers, wait_until_storing
from _tabledstack import Moto, Stack, install_moto, peak_memory, processor_seconds

SMALL = 4096
LARGE = 16 << 20
BLOCK = 1 << 20
BUCKET = "bench"
KEYS_BUCKET = "bench-keys"
MEMORY_WANTED = 150
"""MiB that tabled may use."""

Server = Stack | Moto | Bare


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a figure: a multiple of moto's and a share of the original's, the larger of both."""

    moto: float
    original: float
    share: float
    """Of `original`, which is what the original C program gave."""


WANTED = {
    "PUT 4 KiB, 1 connection": Wanted(1.3, 1083, 0.5),
    "GET 4 KiB, 1 connection": Wanted(4, 2307, 0.6),
    "PUT 4 KiB, 16 connections": Wanted(1.3, 1112, 0.5),
    "GET 4 KiB, 16 connections": Wanted(4, 2140, 0.6),
    "PUT 16 MiB, 1 connection": Wanted(2.5, 200, 1),
    "GET 16 MiB, 1 connection": Wanted(1, 924, 1),
    "PUT 16 MiB, 16 connections": Wanted(2.5, 200, 1),
    "GET 16 MiB, 16 connections": Wanted(1, 872, 1),
}


@dataclass
class Series:
    """The rounds of one figure of one server."""

    unit: str
    rates: list[float] = field(default_factory=list)
    costs: list[dict[str, float]] = field(default_factory=list)
    """Microseconds of processor time for one unit, by process."""

    @property
    def median(self) -> float:
        return statistics.median(self.rates)

    def cost(self, name: str) -> float:
        return statistics.median(cost[name] for cost in self.costs)


Work = Callable[[Client, str], tuple[float, float]]
"""Of a client and a name that differs from round to round: how many units were done, and in how many seconds."""


def small(connections: int, seconds: float) -> tuple[Work, Work]:
    """PUT of small objects, and GET of those that the PUT of the same round stored."""
    body = os.urandom(SMALL)
    stored: dict[tuple[int, str], int] = {}

    def put(client: Client, tag: str) -> tuple[float, float]:
        requests = [client.request("PUT", f"/{BUCKET}/{tag}-{n}", body) for n in range(int(3000 * seconds))]
        done, took = closed_loop(client, connections, iter(requests), seconds)
        stored[client.port, tag] = done
        return done, took

    def get(client: Client, tag: str) -> tuple[float, float]:
        there = stored[client.port, tag]
        numbers = (n * 7919 % there for n in range(int(6000 * seconds)))
        requests = [client.request("GET", f"/{BUCKET}/{tag}-{number}") for number in numbers]
        return closed_loop(client, connections, iter(requests), seconds)

    return put, get


def large(method: str, connections: int, count: int) -> Work:
    block = os.urandom(BLOCK)

    def work(client: Client, _tag: str) -> tuple[float, float]:
        rows = [[f"/{BUCKET}/large-{row}-{n}" for n in range(count)] for row in range(connections)]
        return connections * count * LARGE / (1 << 20), transfers(client, method, rows, LARGE, block)

    return work


def page(keys: int, seconds: float) -> Work:
    """Pages of 1000 keys, from all over the bucket."""

    def work(client: Client, _tag: str) -> tuple[float, float]:
        starts = (f"{n % 10}%2F{n * 7919 % keys:08d}" for n in range(int(1000 * seconds)))
        requests = [client.request("GET", f"/{KEYS_BUCKET}?list-type=2&start-after={start}") for start in starts]
        return closed_loop(client, 1, iter(requests), seconds)

    return work


def one_round(server: Server, work: Work, tag: str, series: Series) -> None:
    """Do the work once and note its rate and cost."""
    before = {name: sum(map(processor_seconds, each)) for name, each in server.measured().items()}
    own = time.process_time()
    done, seconds = work(Client(server.port), tag)
    series.rates.append(done / seconds)
    cost = {name: sum(map(processor_seconds, each)) - before[name] for name, each in server.measured().items()}
    cost["client"] = time.process_time() - own
    series.costs.append({name: 1e6 * value / done for name, value in cost.items()})


def exchange_figures(servers: Sequence[Server], rounds: int, seconds: float) -> dict[str, list[Series | None]]:
    """The figures that ours has in common with the others, by name and server."""
    figures: dict[str, list[Series | None]] = {}
    for connections, count in ((1, 8), (16, 2)):
        plural = f"{connections} connection{'s' if connections > 1 else ''}"
        put, get = small(connections, seconds)
        works = {
            f"PUT 4 KiB, {plural}": (put, "/s"),
            f"GET 4 KiB, {plural}": (get, "/s"),
            f"PUT 16 MiB, {plural}": (large("PUT", connections, count), "MiB/s"),
            f"GET 16 MiB, {plural}": (large("GET", connections, count), "MiB/s"),
        }
        for number in range(rounds):
            for name, (work, unit) in works.items():
                row = figures.setdefault(name, [_series(server, name, unit) for server in servers])
                for server, series in zip(servers, row, strict=True):
                    if series is not None:
                        one_round(server, work, f"{connections}-{number}", series)
    return figures


def _series(server: Server, name: str, unit: str) -> Series | None:
    return None if isinstance(server, Bare) and "16 MiB" not in name else Series(unit)


def show(name: str, series: Series, moto: Series | None = None, bare: Series | None = None) -> None:
    """One line: the figure, moto's and the ceiling, what is wanted, and whether that is reached or can be."""
    spread = f"({min(series.rates):,.0f} to {max(series.rates):,.0f})"
    line = f"{name:<27} {series.median:>7,.0f} {series.unit:<6} {spread:<18}"
    wanted = WANTED.get(name)
    if wanted:
        marks = {f"{wanted.share:g} x original": wanted.share * wanted.original}
        if moto is not None:
            marks[f"{wanted.moto:g} x moto"] = wanted.moto * moto.median
        for each in (moto, bare):
            line += f" {each.median:>7,.0f}" if each is not None else " " * 8
        why, mark = max(marks.items(), key=lambda each: each[1])
        reached = "yes" if series.median >= mark else "NO"
        if bare is not None and bare.median < mark:
            reached += ", nor is it by bare"
        line += f" {mark:>8,.0f} = {why:<16} {reached}"
    print(line, flush=True)


def show_costs(figures: Mapping[str, Sequence[Series | None]]) -> None:
    """Where the time goes."""
    print("\nprocessor time in microseconds for one request (4 KiB), for one MiB (16 MiB), for one page (LIST):")
    for name, row in figures.items():
        costs: dict[str, float] = {}
        for series in row:
            if series is not None:
                costs |= {process: series.cost(process) for process in series.costs[0] if process not in costs}
        print(f"{name:<27} {'  '.join(f'{process} {cost:>6,.0f}' for process, cost in costs.items())}")


def disk(directory: Path) -> str:
    """What the disk gives by itself."""
    block, path = os.urandom(LARGE), directory / "disk"
    appends, bodies = [], []
    for _ in range(3):
        with path.open("wb", buffering=0) as file:
            begin = time.perf_counter()
            for _ in range(100):
                file.write(block[:SMALL])
                os.fdatasync(file.fileno())
            appends.append(100 / (time.perf_counter() - begin))
        begin = time.perf_counter()
        for _ in range(8):
            with path.open("wb", buffering=0) as file:
                file.write(block)
                os.fsync(file.fileno())
        bodies.append(8 * LARGE / (1 << 20) / (time.perf_counter() - begin))
    path.unlink()
    return (
        f"{statistics.median(appends):,.0f} flushed 4 KiB appends/s, {statistics.median(bodies):,.0f} MiB/s flushed"
    )


def start_time(stack: Stack) -> float:
    """Seconds from the start of tabled to its first answered request."""
    stack.stop_tabled()
    begin = time.perf_counter()
    stack.start_tabled()
    client = Client(stack.port)
    request = client.request("GET", "/bench-probe/k")
    while True:
        try:
            if client.once(request) == 200:
                return time.perf_counter() - begin
        except ConnectionRefusedError:
            time.sleep(0.002)


def own_figures(stack: Stack, options: argparse.Namespace) -> dict[str, list[Series | None]]:
    """Listing a large bucket, and starting with that many objects."""
    client = Client(stack.port)
    client.once(client.request("PUT", f"/{KEYS_BUCKET}"))
    requests = (client.request("PUT", f"/{KEYS_BUCKET}/{n % 10}/{n:08d}") for n in range(options.keys))
    closed_loop(client, 32, requests, 600)
    listed = Series("/s")
    for number in range(options.rounds):
        one_round(stack, page(options.keys, options.seconds), str(number), listed)
    name = f"LIST 1,000 of {options.keys:,}"
    show(name, listed)
    starts = [start_time(stack) for _ in range(options.rounds)]
    spread = f"({min(starts):.2f} to {max(starts):.2f})"
    print(f"{'start to first answer':<27} {statistics.median(starts):>7.2f} s      {spread}", flush=True)
    return {name: [listed]}


def run(directory: Path, options: argparse.Namespace) -> None:
    """Measure and print."""
    print(f"the disk by itself: {disk(directory)}\n")
    refusal = "not asked for" if options.no_moto else install_moto()
    stack = Stack(directory, options.nodes)
    servers: list[Server] = [stack]
    try:
        servers.append(Bare())
        if refusal:
            print(f"without moto: {refusal}\n")
        else:
            servers.append(Moto(directory))
        for server in servers:
            wait_until_storing(Client(server.port))
            Client(server.port).once(Client(server.port).request("PUT", f"/{BUCKET}"))
        print(f"{'':<27} {'ours':>7} {'':<25} {'moto':>7} {'bare':>7} {'wanted':>8}", flush=True)
        figures = exchange_figures(servers, options.rounds, options.seconds)
        for name in WANTED:
            ours, bare, *moto = figures[name]
            assert ours is not None
            show(name, ours, moto[0] if moto else None, bare)
        peak = peak_memory(stack.server)
        figures |= own_figures(stack, options)
        reached = "yes" if peak <= MEMORY_WANTED else "NO"
        print(f"{'memory of tabled, at most':<27} {peak:>7,} {'MiB':<33} {MEMORY_WANTED:>16,} {'':<18} {reached}")
        show_costs(figures)
    finally:
        for server in servers:
            server.close()


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description="Figures of tabled on loopback, beside moto's")
    parser.add_argument("--directory", type=Path, default=None, help="where the data go (default: a temporary one)")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a round of small requests")
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--no-moto", action="store_true", help="leave moto out")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        run(Path(directory), options)


if __name__ == "__main__":
    main()
