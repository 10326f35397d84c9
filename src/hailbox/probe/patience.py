"""How long to wait for a service: longer on a host that has more to do than it can."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Final

ATTEMPT_DEADLINE: Final = 2.0
"""Seconds for one attempt of a probe; a healthy service takes a few hundredths."""

LIMIT: Final = 4.0
"""How many times longer than usual to wait at most."""

_SAMPLE: Final = 0.03
"""Seconds of processor time that a measurement takes."""

_USUAL: Final = 2.0
"""How many times longer than its processor time work may take: a stack that starts is itself as much of a load."""

_attempt: ContextVar[float] = ContextVar("attempt", default=ATTEMPT_DEADLINE)


def strain() -> float:
    """How many times longer everything takes than on a host that keeps up: from 1 to LIMIT.

    Measured by how long a piece of work waits for a processor. How late timers fire shows nothing: who has slept is
    served first (1.3 ms late at a load of 4 a processor, at which work took 2.6 times as long).
    """
    began, used = time.perf_counter(), time.thread_time()
    limit = _SAMPLE * _USUAL * LIMIT
    while (done := time.thread_time() - used) < _SAMPLE and time.perf_counter() - began < limit:
        """Work."""
    stretch = (time.perf_counter() - began) / max(done, _SAMPLE / LIMIT)
    return min(max(stretch / _USUAL, 1.0), LIMIT)


def attempt_deadline() -> float:
    """Seconds for one attempt of a probe, here and now."""
    return _attempt.get()


@contextlib.contextmanager
def granted(factor: float) -> Iterator[None]:
    """Give the attempts that are made meanwhile so many times the usual deadline."""
    token = _attempt.set(ATTEMPT_DEADLINE * factor)
    try:
        yield
    finally:
        _attempt.reset(token)
