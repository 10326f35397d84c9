"""Figures of tabled over a stack of cld, chunkd and tabled on loopback, beside SeaweedFS and moto in the same run.

    python benchmarks/tabled.py [--directory DIR] [--nodes 1] [--rounds 5] [--seconds 1] [--keys 100000]
                                [--without moto,weed]

Small objects are 4 KiB, large ones 16 MiB; every figure is the median of several rounds, in which the servers take
turns. The client is this process, the servers are others. tabled and chunkd flush to disk before they answer;
SeaweedFS does not, moto keeps everything in memory; `bare` is the ceiling for large bodies, a peer that takes the
digests that S3 demands and keeps nothing (_bare.py). The mixed load is 60 % GET, 20 % PUT, 10 % HEAD, 10 % DELETE of
small objects. Beside each figure stands what is wanted of it: a share of what the C original of 2010 gave on such a
machine (it flushed no body), or a multiple of what a peer gives here. Then where the time goes.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from _bare import Bare
from _peers import Moto, Peer, SeaweedFS, install
from _s3load import Client, closed_loop, transfers, wait_until_storing
from _tabledstack import Stack, peak_memory, processor_seconds

SMALL = 4096
LARGE = 16 << 20
BLOCK = 1 << 20
BUCKET = "bench"
KEYS_BUCKET = "bench-keys"
PEERS = ("weed", "moto", "bare")
MEMORY_WANTED = 150
"""MiB that tabled may use."""

Server = Stack | Peer | Bare


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a figure: multiples of what the peers give, and a share of the original's; the largest."""

    weed: float = 1.0
    moto: float = 0.0
    original: float = 0.0
    share: float = 0.0
    """Of `original`, which is what the original C program gave."""


WANTED = {
    "PUT 4 KiB, 1 connection": Wanted(1, 1.3, 1083, 0.5),
    "GET 4 KiB, 1 connection": Wanted(2, 4, 2307, 0.6),
    "PUT 4 KiB, 16 connections": Wanted(1, 1.3, 1112, 0.5),
    "GET 4 KiB, 16 connections": Wanted(1, 4, 2140, 0.6),
    "PUT 16 MiB, 1 connection": Wanted(1.3, 2.5, 200, 1),
    "GET 16 MiB, 1 connection": Wanted(1.3, 1, 924, 1),
    "PUT 16 MiB, 16 connections": Wanted(1.3, 2.5, 200, 1),
    "GET 16 MiB, 16 connections": Wanted(1.3, 1, 872, 1),
}
"""Of all other figures: not less than SeaweedFS gives."""


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


def small(connections: int, seconds: float) -> dict[str, Work]:
    """What is done with small objects, in this order: each works on those that the PUT of the same round stored."""
    body = os.urandom(SMALL)
    stored: dict[tuple[int, str], int] = {}

    def put(client: Client, tag: str) -> tuple[float, float]:
        requests = [client.request("PUT", f"/{BUCKET}/{tag}-{n}", body) for n in range(int(4000 * seconds))]
        done, took = closed_loop(client, connections, iter(requests), seconds)
        stored[client.port, tag] = done
        return done, took

    def read(client: Client, tag: str, method: str) -> tuple[float, float]:
        there = stored[client.port, tag]
        numbers = (n * 7919 % there for n in range(int(9000 * seconds)))
        requests = [client.request(method, f"/{BUCKET}/{tag}-{number}") for number in numbers]
        return closed_loop(client, connections, iter(requests), seconds)

    def mixed(client: Client, tag: str) -> tuple[float, float]:
        there = stored[client.port, tag]
        requests = []
        for n in range(int(800 * seconds)):
            reads = [("GET", n * 7919 + step) for step in range(6)] + [("HEAD", n * 6007)]
            requests += [client.request(method, f"/{BUCKET}/{tag}-{number % there}") for method, number in reads]
            new = [client.request("PUT", f"/{BUCKET}/{tag}-new-{2 * n + step}", body) for step in range(2)]
            requests += [*new, client.request("DELETE", f"/{BUCKET}/{tag}-new-{2 * n - 200}")]
        return closed_loop(client, connections, iter(requests), seconds)

    def delete(client: Client, tag: str) -> tuple[float, float]:
        there = stored[client.port, tag]
        requests = [client.request("DELETE", f"/{BUCKET}/{tag}-{number}") for number in range(there)]
        return closed_loop(client, connections, iter(requests), seconds)

    return {
        "PUT": put,
        "GET": lambda client, tag: read(client, tag, "GET"),
        "HEAD": lambda client, tag: read(client, tag, "HEAD"),
        "mixed": mixed,
        "DELETE": delete,
    }


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
    for connections, count in ((1, 8), (16, 2), (64, 0)):
        plural = f"{connections} connection{'s' if connections > 1 else ''}"
        works = {f"{verb} 4 KiB, {plural}": (work, "/s") for verb, work in small(connections, seconds).items()}
        if count:
            for method in ("PUT", "GET"):
                works[f"{method} 16 MiB, {plural}"] = (large(method, connections, count), "MiB/s")
        for number in range(rounds):
            for name, (work, unit) in works.items():
                row = figures.setdefault(name, [_series(server, name, unit) for server in servers])
                for server, series in zip(servers, row, strict=True):
                    if series is not None:
                        one_round(server, work, f"{connections}-{number}", series)
    return figures


def _series(server: Server, name: str, unit: str) -> Series | None:
    return None if isinstance(server, Bare) and "16 MiB" not in name else Series(unit)


def show(name: str, figures: Mapping[str, Series]) -> None:
    """One line: the figure, the peers' and the ratios to them, what is wanted, and whether that is reached."""
    ours = figures["tabled"]
    spread = f"({min(ours.rates):,.0f} to {max(ours.rates):,.0f})"
    line = f"{name:<28} {ours.median:>7,.0f} {ours.unit:<6} {spread:<18}"
    for peer in PEERS:
        series = figures.get(peer)
        line += f" {series.median:>6,.0f} {ours.median / series.median:>5.2f}" if series else " " * 13
    wanted = WANTED.get(name, Wanted())
    marks = {f"{wanted.share:g} x original": wanted.share * wanted.original}
    marks |= {
        f"{factor:g} x {peer}": factor * figures[peer].median
        for peer, factor in (("weed", wanted.weed), ("moto", wanted.moto))
        if peer in figures
    }
    why, mark = max(marks.items(), key=lambda each: each[1])
    if mark:
        reached = "yes" if ours.median >= mark else "NO"
        if "bare" in figures and figures["bare"].median < mark:
            reached += ", nor is it by bare"
        line += f" {mark:>8,.0f} = {why:<16} {reached}"
    print(line.rstrip(), flush=True)


def show_costs(figures: Mapping[str, Mapping[str, Series]]) -> None:
    """Where the time goes."""
    print("\nprocessor time in microseconds for one request (4 KiB), for one MiB (16 MiB), for one page (LIST):")
    for name, row in figures.items():
        costs: dict[str, float] = {}
        for series in row.values():
            costs |= {process: series.cost(process) for process in series.costs[0] if process not in costs}
        print(f"{name:<28} {'  '.join(f'{process} {cost:>6,.0f}' for process, cost in costs.items())}")


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


def start_time(server: Stack | Peer) -> float:
    """Seconds from the start of a server, which has been stopped in order, to its first answered request."""
    server.restart()
    begin = time.perf_counter()
    deadline = begin + 60
    while time.perf_counter() < deadline:
        client = Client(server.port)
        try:
            if client.once(client.request("GET", "/bench-probe/k")) == 200:
                return time.perf_counter() - begin
        except (OSError, SystemExit):  # it does not listen yet, or not to all of it
            time.sleep(0.002)
    raise SystemExit(f"the server on port {server.port} does not start")


def keeping_figures(servers: Mapping[str, Stack | Peer], options: argparse.Namespace) -> dict[str, dict[str, Series]]:
    """Listing a large bucket, and starting with that many objects: of servers that keep what they have on a disk."""
    listed = {name: Series("/s") for name in servers}
    for server in servers.values():
        client = Client(server.port)
        client.once(client.request("PUT", f"/{KEYS_BUCKET}"))
        requests = (client.request("PUT", f"/{KEYS_BUCKET}/{n % 10}/{n:08d}") for n in range(options.keys))
        closed_loop(client, 32, requests, 600)
    for number in range(options.rounds):
        for name, server in servers.items():
            one_round(server, page(options.keys, options.seconds), str(number), listed[name])
    name = f"LIST 1,000 of {options.keys:,}"
    show(name, listed)
    return {name: listed}


def show_starts(servers: Mapping[str, Stack | Peer], rounds: int) -> None:
    """Seconds until the first answer, one line for each server."""
    starts: dict[str, list[float]] = {name: [] for name in servers}
    for _ in range(rounds):
        for name, server in servers.items():
            starts[name].append(start_time(server))
    for name, each in starts.items():
        spread = f"({min(each):.2f} to {max(each):.2f})"
        print(f"{name + ', start to first answer':<28} {statistics.median(each):>7.2f} s      {spread}", flush=True)


def peers_of(directory: Path, without: Collection[str]) -> list[Peer]:
    """Those that are wanted and can be had."""
    found: list[Peer] = []
    for kind, environment in ((SeaweedFS, "seaweedfs"), (Moto, "moto")):
        refusal = "not asked for" if kind.name in without else install(environment)
        if refusal:
            print(f"without {kind.name}: {refusal}")
        else:
            found.append(kind(directory))
            print(f"{kind.name}: {kind.durability}")
    return found


def run(directory: Path, options: argparse.Namespace) -> None:
    """Measure and print."""
    print(f"the disk by itself: {disk(directory)}")
    print("ours: flushes object and metadata before it answers")
    stack = Stack(directory, options.nodes)
    servers: dict[str, Server] = {"tabled": stack}
    try:
        servers |= {peer.name: peer for peer in peers_of(directory, options.without.split(","))}
        servers["bare"] = Bare()
        for server in servers.values():
            wait_until_storing(Client(server.port))
            Client(server.port).once(Client(server.port).request("PUT", f"/{BUCKET}"))
        columns = "".join(f" {peer:>6} {'ratio':>5}" for peer in PEERS)
        print(f"\n{'':<28} {'ours':>7} {'':<25}{columns} {'wanted':>8}", flush=True)
        found = exchange_figures(list(servers.values()), options.rounds, options.seconds)
        figures = {
            name: {who: series for who, series in zip(servers, row, strict=True) if series is not None}
            for name, row in found.items()
        }
        for name, row in figures.items():
            show(name, row)
        memory = {name: server.memory() for name, server in servers.items() if not isinstance(server, Bare)}
        peak = peak_memory(stack.server)
        keeping = {name: server for name, server in servers.items() if isinstance(server, Stack | SeaweedFS)}
        figures |= keeping_figures(keeping, options)
        show_starts(keeping, options.rounds)
        reached = "yes" if peak <= MEMORY_WANTED else "NO"
        print(f"{'memory of tabled, at most':<28} {peak:>7,} MiB, wanted {MEMORY_WANTED}: {reached}")
        print("memory with all processes:   " + ", ".join(f"{name} {size:,} MiB" for name, size in memory.items()))
        show_costs(figures)
    finally:
        for server in servers.values():
            server.close()


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description="Figures of tabled on loopback, beside SeaweedFS and moto")
    parser.add_argument("--directory", type=Path, default=None, help="where the data go (default: a temporary one)")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a round of small requests")
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--without", default="", help="peers to leave out: moto, weed, or both with a comma")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        run(Path(directory), options)


if __name__ == "__main__":
    main()
