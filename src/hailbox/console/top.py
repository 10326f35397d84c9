"""`top`: what each replica of a stack takes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hailbox.console.resources import Resources
from hailbox.context import Context
from hailbox.observe import present
from hailbox.stack import selection

EVERY: Final = 2.0
"""Seconds between two rows of figures."""


@dataclass(frozen=True)
class ReplicaUsage:
    """What one replica takes. None: it does not run, or that cannot be said."""

    replica: str
    memory: int | None
    """Bytes, without the page cache."""
    processor: float | None
    """Share of one core."""
    requests: float | None
    """A second."""
    traffic: float | None
    """Bytes a second, received and sent."""
    data: int | None
    """Bytes of its volume."""


def top(context: Context) -> Iterator[tuple[ReplicaUsage, ...]]:
    """The figures of all replicas, again and again; rates are of the last EVERY seconds. Raises UnknownStackError."""
    replicas = sorted(selection.of_observed(present(context.engine, context.stack)))
    resources = Resources(lambda: context, lambda: True, counted=0.0)
    resources.take()
    while True:
        threading.Event().wait(EVERY)
        resources.take()
        yield tuple(_usage(resources, replica) for replica in replicas)


def _usage(resources: Resources, replica: str) -> ReplicaUsage:
    sample, data = resources.latest(replica), resources.volumes.get(replica)
    if sample is None:
        return ReplicaUsage(replica, None, None, None, None, data)
    return ReplicaUsage(replica, sample.memory, sample.processor, sample.requests, sample.traffic, data)
