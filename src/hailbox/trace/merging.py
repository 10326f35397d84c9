"""Events of several daemons in the order in which their requests ended, with the ids that chunkd's protocol has no
room for. Pure: the time is an argument.

A tabled tells of each request that it sends to a node: its operation and the key of the body, which no other object
has. So the request that the node tells of belongs to the same trace.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from hailbox.trace.exchange import Exchange, exchange

HELD: Final = 0.4
"""Seconds for which an event waits for earlier ones of other daemons."""
_CALLS: Final = 10_000
"""Requests to nodes that are remembered."""


class Merger:
    """Takes events as they come, and gives exchanges in order."""

    def __init__(self) -> None:
        self.addresses: Mapping[str, str] = {}
        """By address: the replica that has it."""
        self._calls: OrderedDict[tuple[str, str], tuple[str, str]] = OrderedDict()
        self._waiting: list[tuple[float, int, float, Exchange]] = []
        self._order = itertools.count()

    def take(self, event: Mapping[str, Any], replica: str, service: str, now: float) -> None:
        """Take an event of a replica's daemon that arrives `now`."""
        if event.get("kind") == "call":
            call = (str(event.get("operation", "")), str(event.get("key", "")))
            self._calls[call] = (str(event.get("trace", "")), str(event.get("span", "")))
            self._calls.move_to_end(call)
            while len(self._calls) > _CALLS:
                self._calls.popitem(last=False)
        elif event.get("kind") == "request":
            try:
                found = exchange(event, replica, service, self.addresses)
            except ValueError:
                return
            heapq.heappush(self._waiting, (found.end, next(self._order), now, found))

    def ready(self, now: float) -> Iterator[Exchange]:
        """Those that have waited long enough, in order."""
        while self._waiting and now - self._waiting[0][2] >= HELD:
            found = heapq.heappop(self._waiting)[3]
            call = self._calls.get((found.operation, found.key))
            yield found if found.trace or call is None else replace(found, trace=call[0], parent=call[1])
