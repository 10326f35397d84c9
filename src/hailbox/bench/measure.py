"""`bench`: measure the services of a stack that works, each through its own protocol. The data of others stays."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from hailbox.bench import chunks, load, locks, objects
from hailbox.bench.load import Operation
from hailbox.context import Context
from hailbox.model.errors import NotWorkingError, UnknownServiceError
from hailbox.model.progress import Phase
from hailbox.stack import lock
from hailbox.stack.endpoint import SERVICES, Access, access
from haild.client.chunk import ChunkError, Pool
from haild.client.cld import CldError, Session
from haild.client.http import ServiceError
from haild.client.iwhd import IwhdClient
from haild.client.s3 import S3Client

LARGEST: Final = 64 << 20
"""Bytes of an object: this many are in memory for each size."""


@dataclass(frozen=True)
class Load:
    """What to measure with: numbers of connections, seconds for each figure, sizes of objects in bytes."""

    connections: Sequence[int] = (1, 16)
    seconds: float = 1.0
    sizes: Sequence[int] = (4 << 10, 16 << 20)


@dataclass(frozen=True)
class Figure:
    """How fast one operation is with so many connections. Times in seconds."""

    replica: str
    operation: str
    connections: int
    count: int
    seconds: float
    per_second: float
    bytes_per_second: float
    median: float
    slowest_percent: float
    """99 of 100 took at most this long."""
    client_share: float
    """Of one processor core that the client, this process, was busy with; near 1 it is what limits the figure."""


@dataclass(frozen=True)
class BenchResult:
    """All figures, in the order in which they were measured."""

    stack: str
    figures: tuple[Figure, ...]


def measure(context: Context, wanted: Sequence[str], given: Load) -> BenchResult:
    """Measure these services or replicas; none: the first replica of every service that the stack has.

    Raises UnknownStackError, UnknownServiceError, and NotWorkingError where a service fails meanwhile.
    """
    found = _wanted(context, wanted)
    with lock.held(
        context.engine,
        f"{context.stack}.bench",
        context.command,
        tell=lambda text: context.tell("bench", Phase.WAITING, text),
    ):
        figures = [figure for service, each in found for figure in _figures(context, service, each, given)]
    return BenchResult(context.stack, tuple(figures))


def _wanted(context: Context, wanted: Sequence[str]) -> list[tuple[str, Access]]:
    """Each service, and how its replica is reached."""
    if not wanted:
        present = []
        for service in SERVICES:
            with contextlib.suppress(UnknownServiceError):
                present.append((service, access(context, service)))
        return present
    found = []
    for word in dict.fromkeys(wanted):
        service = word if word in SERVICES else word.rpartition("-")[0]
        if service not in SERVICES:
            raise UnknownServiceError(f"there is no service {word!r}", f"there are: {', '.join(SERVICES)}")
        found.append((service, access(context, service, None if word == service else word)))
    return found


def _figures(context: Context, service: str, found: Access, given: Load) -> list[Figure]:
    async def run() -> list[Figure]:
        figures: list[Figure] = []
        async with _operations(service, found, given) as operations:
            for operation in operations:
                # A PUT with the most connections comes last: it has stored what each of a GET's reads.
                for connections in sorted(given.connections):
                    context.tell(found.replica, Phase.MEASURING, f"{operation.name}, {connections} at a time")
                    figures.append(await _figure(found.replica, operation, connections, given.seconds))
        return figures

    try:
        measured = asyncio.run(run())
    except (ServiceError, ChunkError, CldError, OSError) as error:
        raise NotWorkingError(
            f"{found.replica} failed while it was measured: {error or type(error).__name__}",
            f"see why with: hailbox --stack {context.stack} status --why",
        ) from error
    context.tell(found.replica, Phase.READY)
    return measured


async def _figure(replica: str, operation: Operation, connections: int, seconds: float) -> Figure:
    measured = await load.closed_loop(operation.step, connections, seconds)
    rate = measured.count / measured.seconds
    return Figure(
        replica=replica,
        operation=operation.name,
        connections=connections,
        count=measured.count,
        seconds=measured.seconds,
        per_second=rate,
        bytes_per_second=rate * operation.size,
        median=measured.median,
        slowest_percent=measured.slowest_percent,
        client_share=measured.processor / measured.seconds,
    )


@contextlib.asynccontextmanager
async def _operations(service: str, found: Access, given: Load) -> AsyncIterator[list[Operation]]:
    most = max(given.connections)
    where, secret = (found.host, found.port), found.secret.encode()
    if service == "cld":

        async def connect() -> Session:
            return await Session.connect(*where, user=found.user, secret=secret)

        async with locks.operations(connect, most) as operations:
            yield operations
    elif service == "chunkd":
        pool = Pool(*where, user=found.user, secret=secret, table=chunks.TABLE, limit=most)
        try:
            async with chunks.operations(pool, given.sizes) as operations:
                yield operations
        finally:
            await pool.close()
    else:
        client = S3Client(*where, key=found.user, secret=found.secret) if service == "tabled" else IwhdClient(*where)
        async with client, objects.operations(client, given.sizes) as operations:
            yield operations
