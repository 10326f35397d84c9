"""Large bodies pass through a thread as long as they flow; while they stand still, the event loop waits for them.

A thread that stays with one socket receives a block, and does with it all that is to be done while the block is in
the processor's cache. The slow twin is the event loop (HAILD_SLOW=flow): it would wake up, and hand over to a thread,
for every piece that comes. Measured: 1.25 ms of processor time for a MiB of a large PUT to chunkd, not 1.56.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final, TypeVar

from haild.transfer import fastpath
from haild.transfer.waiting import settled

THREADS: Final = 32
"""Bodies that flow at the same time; more are left to the event loop."""
BLOCK: Final = 1 << 19
"""Bytes received at a time. With half as many a PUT to chunkd takes a fifth more processor time."""
PATIENCE: Final = 250
"""Milliseconds in which the next block must have come, or the body does not flow."""

T = TypeVar("T")


@cache
def threads() -> Threads:
    """Those of this process."""
    return Threads()


class Threads:
    """The threads of a process for this."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(THREADS, "flow")
        self._busy = 0

    @property
    def free(self) -> bool:
        """Whether `run` may be used, and would begin at once."""
        return self._busy < THREADS and fastpath.enabled("flow")

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Run a function in a thread. Cancelling takes effect when it has returned."""
        self._busy += 1
        try:
            return await settled(asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments))
        finally:
            self._busy -= 1


class _Buffer(threading.local):
    """One for each thread, so that the memory does not grow with the number of bodies."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(BLOCK))


_buffer = _Buffer()


def receive(sock: socket.socket, count: int, take: Callable[[memoryview, bool], object]) -> int:
    """Have `take` called with what comes from a non-blocking socket, of which `count` bytes are wanted, as it flows.

    It is told whether this was the last of it. Returns how many bytes came. That the connection has ended is left to
    be found by the next reader. Raises what `take` raises.
    """
    received = 0
    while received < count:
        wanted = min(BLOCK, count - received)
        got = fill(sock, _buffer.view[:wanted])
        received += got
        if got:
            take(_buffer.view[:got], received == count)
        if got < wanted:
            break
    return received


def fill(sock: socket.socket, block: memoryview) -> int:
    """Receive into a block until it is full, or nothing more comes in time; returns how many bytes came."""
    filled = 0
    _expect(sock, len(block))
    try:
        while filled < len(block) and ready(sock.fileno(), select.POLLIN):
            got = sock.recv_into(block[filled:])
            if not got:
                break
            filled += got
    except OSError:
        pass
    finally:
        _expect(sock, 1)
    return filled


def ready(descriptor: int, event: int) -> bool:
    """Wait until one of the events of poll(2), or the end; whether it came in time."""
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(PATIENCE))


def _expect(sock: socket.socket, count: int) -> None:
    """Have the socket count as readable when so many bytes are there, or its end."""
    with contextlib.suppress(OSError):  # then it is readable sooner
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
