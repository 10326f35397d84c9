"""Small bodies that a storage node has taken or given a moment ago: a GET of one need not ask the node again.

A body never changes and its id is never given out again, so the metadata alone decide what a client sees: what was
replaced or deleted is not asked for here. What could be hidden is a copy that has been damaged on its node, and only
for FRESH seconds. Without it (HAILD_SLOW=bodies, or BodyCache 0 in the configuration) every GET asks a node.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from haild.tabled.metadata.records import StoredBody
from haild.transfer import fastpath

SMALL: Final = 1 << 15
"""Bytes of the largest body kept. A larger one is a file on its node, and not all of the time is the way there."""
FRESH: Final = 10.0
"""Seconds after which a body is read from a node again."""
OVERHEAD: Final = 512
"""Bytes of memory that an entry takes beside the body, at most."""


@dataclass(frozen=True, slots=True)
class _Entry:
    stored: StoredBody
    content: bytes
    until: float


class BodyCache:
    """At most `capacity` bytes of bodies. First in, first out: none stays for so long that the order matters."""

    def __init__(self, capacity: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`capacity` 0: nothing is kept. `clock` in seconds."""
        self._capacity = capacity if fastpath.enabled("bodies") else 0
        self._clock = clock
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self.size = 0
        """Bytes of memory that the entries take."""

    def takes(self, size: int) -> bool:
        """Whether a body of so many bytes is kept."""
        return size <= SMALL and size + OVERHEAD <= self._capacity

    def add(self, stored: StoredBody, content: bytes) -> None:
        """Keep a body that `takes` and that has just been on these nodes."""
        now = self._clock()
        self.drop(stored.body)
        self._entries[stored.body] = _Entry(stored, content, now + FRESH)
        self.size += len(content) + OVERHEAD
        while self.size > self._capacity or next(iter(self._entries.values())).until <= now:
            self.drop(next(iter(self._entries)))

    def get(self, body: int) -> tuple[StoredBody, bytes] | None:
        """The places of a body and its content, unless it is not known any more."""
        entry = self._entries.get(body)
        if entry is None:
            return None
        if entry.until <= self._clock():
            self.drop(body)
            return None
        return entry.stored, entry.content

    def drop(self, body: int) -> None:
        """Forget a body, if it is known."""
        entry = self._entries.pop(body, None)
        if entry is not None:
            self.size -= len(entry.content) + OVERHEAD

    def clear(self) -> None:
        """Forget all: a node that went or came may have other content than before."""
        self._entries.clear()
        self.size = 0
