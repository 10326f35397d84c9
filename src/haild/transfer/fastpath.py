"""Switches of the fast paths. Each has a slow twin that does the same, so that one can be tested beside the other.

The environment variable HAILD_SLOW names those that a process leaves alone, separated by commas, or `all`:

    name       where                      what it buys (ms: processor time of a MiB)      its slow twin
    blocks     haild.http.request         PUT 16 MiB: 2.5 ms in tabled, not 3.0          pieces that are copied
    splice     haild.transfer.splice      GET 16 MiB: 0.31 ms in tabled, not 0.39        blocks through the process
    flow       haild.transfer.flow        PUT 16 MiB: 1.25 ms in chunkd, not 1.56        the event loop
    writeback  haild.transfer.writeback   a tenth of the time of a 64 MiB upload to iwhd fsync alone
    memory     haild.transfer.memory      PUT 16 MiB: 2.5 ms in tabled, not 2.66         malloc as it is
    bodies     haild.tabled.bodies.cache  GET 4 KiB: 5,389 a second, not 2,576           the storage node

Measured on two cores, loopback, one connection, in turns in one run, medians of five rounds.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Final

VARIABLE: Final = "HAILD_SLOW"
ALL: Final = "all"
NAMES: Final = frozenset({"blocks", "splice", "flow", "writeback", "memory", "bodies"})


@cache
def _switched_off() -> frozenset[str]:
    named = {name.strip() for name in os.environ.get(VARIABLE, "").split(",")} - {""}
    if unknown := named - NAMES - {ALL}:
        raise ValueError(
            f"{VARIABLE}: no fast path is called {', '.join(sorted(unknown))}: {', '.join(sorted(NAMES))}"
        )
    return NAMES if ALL in named else frozenset(named)


def enabled(name: str) -> bool:
    """Whether a fast path may be taken. Raises ValueError for names that HAILD_SLOW should not have."""
    return name not in _switched_off()
