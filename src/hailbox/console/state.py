"""What the console knows of a stack at a moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from hailbox.fault.result import Fault
from hailbox.model.errors import HailboxError, InternalError


class Health(StrEnum):
    """How a replica is."""

    WORKS = "works"
    HEALING = "healing"
    """It was started a moment ago and does not work yet."""
    FAULTY = "faulty"
    UNKNOWN = "unknown"
    """It has not been asked yet."""


@dataclass(frozen=True)
class Problem:
    """What is wrong, and what to do, as every command of hailbox says it."""

    code: str
    problem: str
    remedy: str

    @classmethod
    def of(cls, error: HailboxError) -> Problem:
        """From an error of a verb."""
        return cls(error.code, error.problem, error.remedy)


def defect(error: Exception) -> InternalError:
    """What to tell of an exception that no verb should raise."""
    return InternalError(
        f"hailbox has a defect: {type(error).__name__}: {error}", "report it, with what was done before"
    )


@dataclass(frozen=True)
class ReplicaView:
    """One replica."""

    name: str
    service: str
    health: Health
    reason: str
    """Why it does not work; empty if it does."""
    endpoint: str
    container: str
    """The name of its container; empty if it has none."""
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class View:
    """A stack, or why it cannot be seen."""

    stack: str
    profile: str = ""
    replicas: tuple[ReplicaView, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    """Who uses whom, by replica."""
    faults: tuple[Fault, ...] = ()
    findings: tuple[Problem, ...] = ()
    """The roots of its trouble, as `status --why` names them."""
    error: Problem | None = None
    """Why nothing can be seen: the stack or the engine is not there."""

    @property
    def health(self) -> Health:
        """The worst of its replicas."""
        found = {replica.health for replica in self.replicas}
        order = (Health.FAULTY, Health.HEALING, Health.UNKNOWN)
        return next((each for each in order if each in found), Health.WORKS if found else Health.UNKNOWN)

    def replica(self, name: str) -> ReplicaView | None:
        """The replica of that name; None if there is none."""
        return next((replica for replica in self.replicas if replica.name == name), None)


def links(services: Mapping[str, str], needs: Mapping[str, tuple[str, ...]]) -> tuple[tuple[str, str], ...]:
    """Each replica with each one of the services that its own needs. `services`: by replica; `needs`: by service."""
    return tuple(
        (user, used)
        for user, service in services.items()
        for used, other in services.items()
        if other in needs.get(service, ())
    )
