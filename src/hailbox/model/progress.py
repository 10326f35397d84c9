"""What a verb reports while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """How far a replica, or a step of the command, is."""

    WAITING = "waiting"
    PULLING = "pulling"
    PUSHING = "pushing"
    BOOTSTRAPPING = "bootstrapping"
    FETCHING = "fetching"
    BUILDING = "building"
    READY = "ready"
    CHANGING = "changing"
    STARTING = "starting"
    SERVING = "serving"
    WORKING = "working"
    HEALING = "healing"
    MEASURING = "measuring"
    RESTORING = "restoring"
    VERIFYING = "verifying"
    SAVING = "saving"
    SEEDING = "seeding"
    STOPPING = "stopping"
    REMOVED = "removed"
    FAILED = "failed"


@dataclass(frozen=True)
class Progress:
    """One step forward of `subject`: a replica, an image, or the command itself."""

    subject: str
    phase: Phase
    seconds: float
    """Since the command began."""
    detail: str = ""


Report = Callable[[Progress], None]
"""Takes each step as it happens; called from one thread at a time."""
