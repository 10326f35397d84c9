"""What a probe is, and how it ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Reached(StrEnum):
    """How far a probe came."""

    NOTHING = "nothing"
    """No answer: the port is closed, or its listener does not speak."""
    ANSWER = "answer"
    """The service speaks its protocol and refused something."""
    FUNCTION = "function"
    """The whole round trip."""


class ProbeError(Exception):
    """The round trip failed; the text says at which step, and how."""

    def __init__(self, reached: Reached, reason: str, *, skew: float | None = None, refused: bool = False) -> None:
        super().__init__(reason)
        self.reached = reached
        self.reason = reason
        self.skew = skew
        self.refused = refused


Credentials = Mapping[str, str]

Probe = Callable[[str, int, Credentials], Awaitable[None]]
"""Takes host, port and the stack's credentials; raises ProbeError, OSError or TimeoutError."""


@dataclass(frozen=True)
class Outcome:
    """How the probes of one replica ended."""

    replica: str
    reached: Reached
    reason: str
    seconds: float
    """From the start of watching, or of the command that watches, to the last attempt's end."""

    skew: float | None = None
    """Seconds by which the service's clock is ahead of ours, if it refused us for that; it may be well otherwise."""
    refused: bool = False
    """Whether the service does not accept the stack's credentials."""

    @property
    def working(self) -> bool:
        """Whether the whole round trip succeeded."""
        return self.reached is Reached.FUNCTION
