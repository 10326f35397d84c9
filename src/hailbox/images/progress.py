"""What is told about images while they are made."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """What is being done for an image."""

    PULLING = "pulling"
    PUSHING = "pushing"
    BOOTSTRAPPING = "bootstrapping"
    FETCHING = "fetching"
    BUILDING = "building"
    READY = "ready"


@dataclass(frozen=True)
class ImageProgress:
    """A phase of one image (`base`, `wheels`, `runtime` or a service) has begun.

    With READY, `seconds` is how long the phase before took; it is 0 otherwise.
    """

    image: str
    phase: Phase
    seconds: float = 0.0


Report = Callable[[ImageProgress], None]


@contextmanager
def phase(report: Report, image: str, doing: Phase) -> Iterator[None]:
    """Report that a phase begins, and, unless it fails, that the image is ready."""
    report(ImageProgress(image, doing))
    started = time.monotonic()
    yield
    report(ImageProgress(image, Phase.READY, time.monotonic() - started))
