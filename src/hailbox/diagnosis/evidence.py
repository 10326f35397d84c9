"""Which replica is at the root of the trouble, and why."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from hailbox.engine.port import Container, ContainerDetails, ContainerState, Engine
from hailbox.helper import volumecheck as writing
from hailbox.helper.volumecheck import Trouble
from hailbox.model.catalog import Catalog, Profile
from hailbox.model.errors import (
    ClockSkewError,
    DataDamagedError,
    DataInUseError,
    NotWorkingError,
    StackError,
    VolumeFullError,
    VolumeReadOnlyError,
)
from hailbox.observe import Observed
from hailbox.probe.outcome import Outcome

DAMAGED_DATA_STATUS = 65
"""Exit status (EX_DATAERR of sysexits.h) with which our daemons refuse to start on damaged data."""

_LINES = 5
_ALL_LINES = 50

_IN_USE = re.compile(rb"in use by another|is held by another process|another \w+ keeps its")
"""What our daemons say when another process has their data; a tabled waits for that, the others end."""

SET_CLOCKS = "set both clocks by NTP; restart the virtual machine that the engine runs in, if there is one"
"""What to do where the containers' clock and ours differ."""


@dataclass(frozen=True)
class Sick:
    """A replica that does not work, and what its container shows."""

    replica: str
    reason: str
    container: str
    exit_code: int | None
    lines: tuple[str, ...]
    trouble: Trouble | None = None
    """Why it cannot write its data, if that was asked."""
    holders: tuple[str, ...] | None = None
    """If another process has its data: the names of the other containers that have it mounted and run."""


def roots(sick: Collection[str], profile: Profile, catalog: Catalog) -> list[str]:
    """Those of the sick replicas that need no other sick one: the followers get well by themselves."""
    services = {replica.name: replica.service for replica in profile.replicas}
    sick_services = {services[name] for name in sick}
    found = [name for name in sick if not sick_services & set(catalog.services[services[name]].needs)]
    return found or list(sick)


def examine(engine: Engine, observed: Observed, outcome: Outcome) -> Sick:
    """Look at the container of a replica whose probe failed."""
    containers = observed.of(outcome.replica)
    if not containers:
        return Sick(outcome.replica, outcome.reason, "its container is gone", None, ())
    container = containers[0]
    details = engine.container_details(container.id)
    lines = [line.decode(errors="replace") for line in engine.logs(container.id, tail=_LINES)]
    ended = container.state in (ContainerState.EXITED, ContainerState.RESTARTING, ContainerState.DEAD)
    if details.out_of_memory:
        state = "its container ran out of memory"
    elif container.state is ContainerState.RUNNING:
        state = f"its container runs (restarted {details.restart_count} times)"
    elif ended:
        state = f"its container is {container.state.value}, exit status {details.exit_code}"
    else:
        state = f"its container is {container.state.value}"
    status = details.exit_code if ended or details.restart_count > 0 else None
    held = holders(engine, observed, container, details)
    return Sick(outcome.replica, outcome.reason, state, status, tuple(lines), holders=held)


def holders(
    engine: Engine, observed: Observed, container: Container, details: ContainerDetails
) -> tuple[str, ...] | None:
    """The other containers that run and have the data of this one, if its daemon says that another process has it."""
    lines = engine.logs(container.id, tail=_ALL_LINES, since=int(details.started_at))
    if not any(_IN_USE.search(line) for line in lines):
        return None
    data = {volume.name for volume in observed.data_volumes()} & set(container.mounts)
    return tuple(
        other.name
        for other in engine.containers({})
        if other.id != container.id and other.state.has_process and data & set(other.mounts)
    )


def free_data(holders: Collection[str], stack: str) -> str:
    """What to do where another process has the data."""
    up = f"run: hailbox --stack {stack} up; no data is lost by that"
    if holders:
        return f"stop who has it: docker stop {' '.join(sorted(holders))}; then {up}"
    return f"end that process on the engine's machine, or restart that machine; then {up}"


def error(sick: Sick, followers: Collection[str], tried: Collection[str], stack: str) -> StackError:
    """The error that says what `sick` is, who waits for it, what was tried, and the next command."""
    verb = "waits" if len(followers) == 1 else "wait"
    waiting = f"; {', '.join(sorted(followers))} {verb} for it" if followers else ""
    attempts = f"; tried: {', '.join(tried)}" if tried else ""
    last = "".join(f"\n  {line.partition(' ')[2]}" for line in sick.lines)
    says = f"; its last lines:{last}" if last else ""
    why = sick.container if sick.container.startswith(sick.reason) else f"{sick.reason}; {sick.container}"
    problem = f"{sick.replica} does not work: {why}{waiting}{attempts}{says}"
    discard = f"hailbox --stack {stack} reset {sick.replica}"
    more = f"see more with: hailbox --stack {stack} logs {sick.replica}"
    if sick.exit_code == DAMAGED_DATA_STATUS:
        return DataDamagedError(problem, f"its data is damaged; discard it and start empty with: {discard}")
    if sick.holders is not None:
        return DataInUseError(f"another process has the data of {problem}", free_data(sick.holders, stack))
    if sick.trouble is not None:
        return cannot_write(problem, sick.trouble, stack)
    if not tried:
        return NotWorkingError(problem, f"heal it with: hailbox --stack {stack} up; {more}")
    return NotWorkingError(problem, f"{more}; discard its data with: {discard}")


def cannot_write(problem: str, trouble: Trouble, stack: str) -> StackError:
    """The error for a replica whose data cannot be written: no step of ours helps, and its data is not to blame."""
    up = f"then run: hailbox --stack {stack} up"
    if trouble is Trouble.FULL:
        return VolumeFullError(
            problem, f"free some space on the engine's disk (docker system df shows what takes it), {up}"
        )
    return VolumeReadOnlyError(problem, f"see why (dmesg shows errors of disks), make it writable, {up}")


def clock_skew(outcome: Outcome) -> ClockSkewError:
    """The error for a service that refuses our requests only because they seem to be too old or too new."""
    return ClockSkewError(f"{outcome.replica} works, but refuses every request of ours: {outcome.reason}", SET_CLOCKS)


def explain(
    engine: Engine,
    observed: Observed,
    outcomes: Mapping[str, Outcome],
    profile: Profile,
    catalog: Catalog,
    tried: Collection[str],
) -> StackError:
    """The error for outcomes of which at least one is not working: about the first root."""
    sick = [name for name, outcome in outcomes.items() if not outcome.working and outcome.skew is None]
    root = roots(sick, profile, catalog)[0]
    followers = [name for name in sick if name != root]
    found = examine(engine, observed, outcomes[root])
    for container in observed.of(root):
        found = replace(found, trouble=writing.trouble(engine, observed, container))
    return error(found, followers, tried, observed.stack)
