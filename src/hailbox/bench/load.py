"""A closed loop: on every connection one operation after the other, for some seconds."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterable, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

DEADLINE: Final = 30.0
"""Seconds for what is under way when the time is up; then the service counts as stuck, and TimeoutError is raised."""


@dataclass(frozen=True)
class Operation:
    """What is measured: one `step` is done for the worker whose number it is given, and moves `size` bytes."""

    name: str
    size: int
    step: Callable[[int], Awaitable[None]]


async def receive(blocks: AsyncIterable[bytes], size: int) -> None:
    """Take an object of `size` bytes and drop it. Raises ConnectionError if it has another size."""
    received = 0
    async for block in blocks:
        received += len(block)
    if received != size:
        raise ConnectionError(f"an object of {size} bytes came back with {received}")


@dataclass(frozen=True)
class Measurement:
    """What a loop came to; times in seconds."""

    count: int
    seconds: float
    """From the first operation's begin to the last one's end."""
    median: float
    slowest_percent: float
    """99 of 100 operations took at most this long."""
    processor: float
    """Of this process, the client."""


async def closed_loop(
    step: Callable[[int], Awaitable[None]],
    connections: int,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> Measurement:
    """Do `step` again and again on all connections until `seconds` have passed, on each at least once.

    Raises what `step` raises, and TimeoutError.
    """
    durations: list[float] = []
    processor = time.process_time()
    begin = clock()

    async def work(worker: int) -> None:
        now = clock()
        while True:
            await step(worker)
            before, now = now, clock()
            durations.append(now - before)
            if now - begin >= seconds:
                return

    try:
        async with asyncio.timeout(seconds + DEADLINE), asyncio.TaskGroup() as tasks:
            for worker in range(connections):
                tasks.create_task(work(worker))
    except* Exception as failed:
        raise failed.exceptions[0] from None
    took = clock() - begin
    durations.sort()
    return Measurement(
        len(durations),
        took,
        durations[len(durations) // 2],
        durations[math.ceil(len(durations) * 0.99) - 1],
        time.process_time() - processor,
    )
