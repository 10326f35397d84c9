"""What a daemon does, for readers beside it: counts of its requests, and the requests as they end.

Counting takes a third of a microsecond for each request. Events are made only while a reader is there, or was there
KEPT_FOR seconds ago. Readers come by a Unix socket whose path is in the variable HAILD_INSIGHT, and which only the
daemon's own user may open; without the variable there is none. `haild.daemon.reader` is such a reader.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import json
import logging
import os
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from haild.daemon.reader import VARIABLE

KEPT_FOR: Final = 5.0
KEPT: Final = 5000
"""Events kept for the next reader, and for a slow one."""
LINE: Final = 256
"""Bytes of a reader's request."""
BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets of durations, in seconds."""

logger = logging.getLogger(__name__)


def key_text(key: bytes) -> str:
    """A key of chunkd as events have it: as text if it is printable ASCII, else in hexadecimal."""
    bare = key.rstrip(b"\0")
    text = bare.decode("latin-1")
    return text if text.isascii() and text.isprintable() else bare.hex()


@dataclass(slots=True)
class Tally:
    """Requests of one operation with one status."""

    number: int = 0
    seconds: float = 0.0
    received: int = 0
    sent: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))


class Insight:
    """Of one process."""

    def __init__(self) -> None:
        self.service = ""
        self.started = time.time()
        self.tallies: dict[tuple[str, str | int], Tally] = {}
        """By operation and status; only numbers, or only names, in one daemon."""
        self.watching = False
        """Whether there is a reader of events, so that they have to be made."""
        self.state: Callable[[], Mapping[str, Any]] = dict
        """What else the daemon tells."""
        self.gauges: Callable[[], str] = str
        """More lines for `metrics`."""
        self._events: deque[tuple[int, bytes]] = deque(maxlen=KEPT)
        self._number = 0
        self._readers = 0
        self._waiters: set[asyncio.Event] = set()
        self._resting: asyncio.TimerHandle | None = None

    def count(
        self, operation: str, status: str | int, seconds: float | None, received: int = 0, sent: int = 0
    ) -> None:
        """A request has ended. `seconds`: how long it took; None where that is not known."""
        tally = self.tallies.get((operation, status))
        if tally is None:
            tally = self.tallies[operation, status] = Tally()
        tally.number += 1
        tally.received += received
        tally.sent += sent
        if seconds is not None:
            tally.seconds += seconds
            tally.buckets[bisect.bisect_left(BOUNDS, seconds)] += 1

    def tell(self, event: Mapping[str, Any]) -> None:
        """Hand an event to the readers; call it while `watching` only, in the event loop."""
        self._number += 1
        text = json.dumps({"number": self._number, **event}, separators=(",", ":"))
        self._events.append((self._number, text.encode() + b"\n"))
        asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        for waiter in list(self._waiters):
            waiter.set()

    # Readers.

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one reader."""
        try:
            words = (await reader.readline())[:LINE].decode("ascii", "replace").split()
            if words[:1] == ["events"]:
                await self._follow(int(words[1]), reader, writer)
            elif words[:1] == ["metrics"]:
                from haild.daemon import metrics  # its library takes long to load

                writer.write(metrics.text(self).encode())
            elif words[:1] == ["state"]:
                writer.write(json.dumps(self.state()).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError, IndexError) as error:
            logger.debug("a reader: %s", error)
        finally:
            writer.close()

    async def _follow(self, after: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._begin()
        gone = asyncio.ensure_future(reader.read())
        event = asyncio.Event()
        self._waiters.add(event)
        try:
            after = after if 0 <= after <= self._number else self._number
            writer.write(b'{"number":%d,"kind":"begin"}\n' % after)
            while not gone.done():
                event.clear()
                for number, text in list(self._events):
                    if number > after:
                        writer.write(text)
                        after = number
                await writer.drain()
                waiting = asyncio.ensure_future(event.wait())
                await asyncio.wait({gone, waiting}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
        finally:
            self._waiters.discard(event)
            gone.cancel()
            self._end()

    def _begin(self) -> None:
        self._readers += 1
        self.watching = True
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None

    def _end(self) -> None:
        self._readers -= 1
        if not self._readers:
            self._resting = asyncio.get_running_loop().call_later(KEPT_FOR, self.rest)

    def rest(self) -> None:
        """Make no more events until the next reader comes."""
        self.watching = False
        self._events.clear()


HERE: Final = Insight()
"""That of this process."""


@contextlib.asynccontextmanager
async def listening(service: str) -> AsyncIterator[None]:
    """Let readers come while in the context, if HAILD_INSIGHT says where; a failure is only logged."""
    HERE.service = HERE.service or service
    path = os.environ.get(VARIABLE)
    server = None
    if path:
        try:
            server = await _open(Path(path))
        except OSError as error:
            logger.warning("no insight at %s: %s", path, error)
    try:
        yield
    finally:
        if server is not None:
            server.close()
            HERE.rest()
            Path(str(path)).unlink(missing_ok=True)


async def _open(path: Path) -> asyncio.Server:
    path.unlink(missing_ok=True)  # of a process that was killed
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        return await asyncio.start_unix_server(HERE.answer, sock=listener)
    except OSError:
        listener.close()
        raise
