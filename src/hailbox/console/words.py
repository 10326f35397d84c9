"""Numbers and times as the pages show them."""

from __future__ import annotations

import math
import time


def duration(seconds: float) -> str:
    """Seconds: `4 s`, `2 min 5 s`, `3 h 20 min`."""
    whole = max(0, math.ceil(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def left(until: float | None) -> str:
    """What is left of a time in seconds since the epoch."""
    return "until it is cleared" if until is None else f"{duration(until - time.time())} left"


def clock(when: float) -> str:
    """A time in seconds since the epoch as this machine's clock shows it."""
    return time.strftime("%H:%M:%S", time.localtime(when))


def moment(when: float) -> str:
    """A time as `clock` shows it, with its milliseconds."""
    return f"{clock(when)}.{int(when * 1000) % 1000:03d}"
