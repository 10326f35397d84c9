"""What the verbs about faults return."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One fault that is in effect."""

    id: str
    """What `fault clear` takes: the kind, and what it is about."""
    kind: str
    targets: tuple[str, ...]
    """Replicas."""
    detail: str
    """What else was asked for, in words; perhaps empty."""
    until: float | None
    """Seconds since the epoch at which it ends by itself; None: when it is ended."""
