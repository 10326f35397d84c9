"""Why one replica does not work, as the error that fits."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from hailbox.context import Context
from hailbox.diagnosis import evidence as diagnosis
from hailbox.engine.port import Container, ContainerDetails, ContainerState
from hailbox.helper import volumecheck as writing
from hailbox.helper.volumecheck import Trouble
from hailbox.model import names
from hailbox.model.errors import (
    ContainerGoneError,
    ContainerPausedError,
    ContainerStoppedError,
    CrashLoopError,
    CredentialsRefusedError,
    DataDamagedError,
    DataInUseError,
    HailboxError,
    NetworkGoneError,
    NotWorkingError,
    OutOfMemoryError,
    StackError,
    UnresponsiveError,
)
from hailbox.observe import Observed
from hailbox.probe.outcome import Outcome, Reached

_REFUSED = re.compile(r"SIG_INVAL|SIGNATURE_DOES_NOT_MATCH|ACCESS_DENIED|status 40[13]\b")
_CRASHES = 3
_LINES = 5


@dataclass(frozen=True)
class Patient:
    """A replica that does not work and waits for no other."""

    context: Context
    observed: Observed
    outcome: Outcome
    followers: Collection[str]

    def problem(self, what: str) -> str:
        """Who, what, and who waits for it."""
        waiting = ""
        if self.followers:
            verb = "waits" if len(self.followers) == 1 else "wait"
            waiting = f"; {', '.join(sorted(self.followers))} {verb} for it"
        return f"{self.outcome.replica} {what}{waiting}"

    def tell(self, kind: type[StackError], what: str, remedy: str) -> StackError:
        """The error of that kind."""
        return kind(self.problem(what), remedy)

    def command(self, words: str) -> str:
        """A command about this stack."""
        return f"hailbox --stack {self.context.stack} {words}"


def diagnose(patient: Patient) -> HailboxError:
    """The error that tells why this replica does not work."""
    if patient.outcome.skew is not None:
        return diagnosis.clock_skew(patient.outcome)
    containers = patient.observed.of(patient.outcome.replica)
    if not containers:
        return patient.tell(
            ContainerGoneError, "has no container", f"make it again, with its data: {patient.command('up')}"
        )
    container = containers[0]
    if container.state is ContainerState.PAUSED:
        return patient.tell(
            ContainerPausedError, "is frozen: its container is paused", f"let it go on: {patient.command('up')}"
        )
    details = patient.context.engine.container_details(container.id)
    crashing = container.state is ContainerState.RESTARTING or (
        details.restart_count >= _CRASHES and patient.outcome.reached is Reached.NOTHING
    )
    if container.state is not ContainerState.RUNNING or crashing:
        return _ended(patient, container, details, crashing=crashing)
    return _in_use(patient, container, details) or _running(patient, container)


def _in_use(patient: Patient, container: Container, details: ContainerDetails) -> StackError | None:
    """The error if it says that another process has its data."""
    holders = diagnosis.holders(patient.context.engine, patient.observed, container, details)
    if holders is None:
        return None
    if holders:
        remedy = diagnosis.free_data(holders, patient.context.stack)
    else:
        remedy = f"end a process that the engine has lost track of: {patient.command('up')}"
    return patient.tell(DataInUseError, "does not start, as another process has its data", remedy)


def _ended(patient: Patient, container: Container, details: ContainerDetails, *, crashing: bool) -> StackError:
    said = "".join(
        f"\n  {line.partition(b' ')[2].decode(errors='replace')}"
        for line in patient.context.engine.logs(container.id, tail=_LINES)
    )
    quoted = f"; its last lines:{said}" if said else ""
    replica = patient.outcome.replica
    if details.exit_code == diagnosis.DAMAGED_DATA_STATUS:
        return patient.tell(
            DataDamagedError,
            f"does not start, as its data is damaged{quoted}",
            f"discard its data and start it empty: {patient.command(f'reset {replica}')}",
        )
    if details.out_of_memory:
        return patient.tell(
            OutOfMemoryError,
            "was killed: its container ran out of memory",
            f"start it again: {patient.command('up')}; ask less of it at once, or give it a higher mem_limit",
        )
    if in_use := _in_use(patient, container, details):
        return in_use
    if trouble := writing.trouble(patient.context.engine, patient.observed, container):
        return _cannot_write(patient, trouble)
    if crashing:
        return patient.tell(
            CrashLoopError,
            f"ends again and again, {details.restart_count} times so far{quoted}",
            f"see all that it said: {patient.command(f'logs {replica}')}; heal it: {patient.command('up')}",
        )
    return patient.tell(
        ContainerStoppedError,
        f"does not run: its container is {container.state.value}, exit status {details.exit_code}",
        f"start it: {patient.command('up')}",
    )


def _running(patient: Patient, container: Container) -> StackError:
    if names.project(patient.context.stack) not in container.networks:
        return patient.tell(
            NetworkGoneError,
            "is not on the stack's network, which was removed, or it was disconnected from it",
            f"make its container anew, with its data: {patient.command('up')}",
        )
    if _REFUSED.search(patient.outcome.reason):
        return patient.tell(
            CredentialsRefusedError,
            f"does not accept the stack's credentials: {patient.outcome.reason}",
            f"start it with those that the stack has: {patient.command('up')}",
        )
    if trouble := writing.trouble(patient.context.engine, patient.observed, container):
        return _cannot_write(patient, trouble)
    if patient.outcome.reached is Reached.NOTHING:
        return patient.tell(
            UnresponsiveError,
            f"runs and does not answer: {patient.outcome.reason}",
            f"heal it: {patient.command('up')}",
        )
    return patient.tell(
        NotWorkingError,
        f"does not work: {patient.outcome.reason}",
        f"heal it: {patient.command('up')}; see what it said: {patient.command(f'logs {patient.outcome.replica}')}",
    )


def _cannot_write(patient: Patient, trouble: Trouble) -> StackError:
    why = "no space is left for its data" if trouble is Trouble.FULL else "its data is on a read-only file system"
    return diagnosis.cannot_write(patient.problem(f"cannot write: {why}"), trouble, patient.context.stack)
