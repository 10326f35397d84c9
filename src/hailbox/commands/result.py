"""What verbs return about the replicas of a stack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hailbox.context import Span
from hailbox.stack.ports import LOOPBACK, Substitution

_HTTP_PORTS: Final = ("s3", "iwhd")


@dataclass(frozen=True)
class ReplicaResult:
    """One replica and how it is."""

    replica: str
    service: str
    working: bool
    endpoint: str
    seconds: float
    """Until it worked, or until that was given up."""
    reason: str = ""
    """Why it does not work."""


@dataclass(frozen=True)
class StackResult:
    """A stack as a verb left it, or found it."""

    stack: str
    profile: str
    replicas: tuple[ReplicaResult, ...]
    down: bool = False
    """Whether no service has a container."""
    notes: tuple[str, ...] = ()
    """What a user should know although it is no trouble, a line each."""
    changed: tuple[str, ...] = ()
    """What had to be made or changed, by name."""
    differences: tuple[str, ...] = ()
    """What `hailbox.yaml` or an option changed of a stack that existed already, a line each."""
    healed: tuple[str, ...] = ()
    """Replicas that did not work before."""
    substitutions: tuple[Substitution, ...] = ()
    lost: tuple[str, ...] = ()
    """Replicas whose data volume was gone, not removed by this command, and is new and empty."""
    lost_credentials: tuple[str, ...] = ()
    """Credentials that were found in no file and are new: what was stored with the old ones is out of reach."""
    seeded: int = 0
    """Files of the seed that were stored."""
    ended_faults: tuple[str, ...] = ()
    """Faults made on purpose that were in effect before."""

    timings: tuple[Span, ...] = ()
    """The steps of the command that led here."""

    @property
    def working(self) -> bool:
        """Whether every replica works."""
        return all(replica.working for replica in self.replicas)


def endpoints(ports: Mapping[tuple[str, str], int]) -> dict[str, str]:
    """By replica: the address of its first port, as a URL where it speaks HTTP."""
    found: dict[str, str] = {}
    for (replica, port), number in ports.items():
        scheme = "http://" if port in _HTTP_PORTS else ""
        found.setdefault(replica, f"{scheme}{LOOPBACK}:{number}")
    return found
