"""What there is to see of a replica whose probe failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import tenacity

from hailbox.context import Context
from hailbox.engine.port import Container, ContainerDetails, ContainerState
from hailbox.observe import Observed
from hailbox.probe.outcome import Outcome, Reached

DAMAGED_DATA: Final = 65
"""Exit status (EX_DATAERR of sysexits.h) of our daemons on damaged data."""

NO_MEANS: Final = 71
"""Exit status (EX_OSERR) of our daemons where they get too few threads, open files or too little memory."""

CANNOT_WRITE: Final = 74
"""Exit status (EX_IOERR) of our daemons where their data cannot be written."""

DATA_IN_USE: Final = 75
"""Exit status (EX_TEMPFAIL) of our daemons where another process has their data."""

_CRASHES: Final = 3
"""Restarts by the engine from which a daemon that does not answer is said to crash."""

_NEXT_END: Final = 1.5
"""Seconds to wait for the next end of a process that the engine has started again: only then its status shows."""

_QUOTED_LINES: Final = 5


@dataclass(frozen=True)
class Evidence:
    """One sick replica, its container and what that shows; without a container there is nothing to show."""

    observed: Observed
    outcome: Outcome
    container: Container | None = None
    details: ContainerDetails | None = None
    lines: tuple[str, ...] = ()
    """The last lines of its log, to be quoted."""

    @property
    def replica(self) -> str:
        """Its name."""
        return self.outcome.replica

    @property
    def crashing(self) -> bool:
        """Whether the engine starts it again and again."""
        if self.container is None or self.details is None:
            return False
        often = self.details.restart_count >= _CRASHES and self.outcome.reached is Reached.NOTHING
        return self.container.state is ContainerState.RESTARTING or often

    @property
    def exit_status(self) -> int | None:
        """With what its daemon ended; None while it runs, unless the engine has started it again after that."""
        if self.container is None or self.details is None:
            return None
        ended = self.container.state in (ContainerState.EXITED, ContainerState.RESTARTING, ContainerState.DEAD)
        return self.details.exit_code if ended or self.details.restart_count > 0 else None


def collect(context: Context, observed: Observed, outcome: Outcome) -> Evidence:
    """Look at the container of a replica whose probe failed."""
    containers = observed.of(outcome.replica)
    if not containers:
        return Evidence(observed, outcome)
    container = containers[0]
    details = context.engine.container_details(container.id)
    if details.restart_count and details.pid and outcome.reached is Reached.NOTHING:
        details = _after_its_end(context, container, details)
    lines = tuple(
        line.partition(b" ")[2].decode(errors="replace")
        for line in context.engine.logs(container.id, tail=_QUOTED_LINES)
    )
    return Evidence(observed, outcome, container, details, lines)


def _after_its_end(context: Context, container: Container, details: ContainerDetails) -> ContainerDetails:
    """The details when its process has ended again, which those of a running one do not show; else `details`."""
    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda seen: seen.pid != 0 and seen.exit_code == 0),
        wait=tenacity.wait_fixed(0.1),
        stop=tenacity.stop_after_delay(_NEXT_END),
        retry_error_callback=lambda _state: details,
    )
    found: ContainerDetails = attempts(context.engine.container_details, container.id)
    return found


def others_with_data(context: Context, observed: Observed, container: Container) -> tuple[str, ...]:
    """The names of the other containers that run and have the data of this one mounted."""
    data = {volume.name for volume in observed.data_volumes()} & set(container.mounts)
    group = {c.id for c in observed.containers}
    return tuple(
        sorted(
            other.name
            for other in context.engine.containers({})
            if other.id not in group and other.state.has_process and data & set(other.mounts)
        )
    )
