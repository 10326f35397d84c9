"""Why one replica does not work, as the error that fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import hailbox
from hailbox.context import Context
from hailbox.diagnosis import drift, evidence, network, words
from hailbox.diagnosis.evidence import Evidence
from hailbox.engine.port import ContainerState
from hailbox.helper import volumecheck
from hailbox.helper.volumecheck import Trouble, Volume
from hailbox.model import limits, names
from hailbox.model.errors import (
    ClockSkewError,
    ContainerGoneError,
    ContainerPausedError,
    ContainerStoppedError,
    CrashLoopError,
    CredentialsRefusedError,
    DataDamagedError,
    DataInUseError,
    HailboxError,
    LimitsChangedError,
    LimitTooSmallError,
    NetworkBlockedError,
    NetworkGoneError,
    NotWorkingError,
    OtherReleaseError,
    OutOfMemoryError,
    PortLostError,
    StackError,
    UnresponsiveError,
    VolumeFullError,
    VolumeReadOnlyError,
    WrongOwnerError,
)
from hailbox.model.overrides import Recorded
from hailbox.probe.outcome import Outcome, Reached

SET_CLOCKS: Final = "set both clocks by NTP; restart the virtual machine that the engine runs in, if there is one"
"""What to do where the containers' clock and ours differ."""


@dataclass(frozen=True)
class Patient:
    """A replica that does not work and waits for no other."""

    context: Context
    evidence: Evidence
    followers: Sequence[str] = ()
    """Replicas that wait for it."""
    tried: Sequence[str] = ()
    """What `up` has done in vain."""

    @property
    def replica(self) -> str:
        """Its name."""
        return self.evidence.replica

    @property
    def image_is_ours(self) -> bool:
        """Whether its daemon is one of ours, which tells by exit statuses."""
        container = self.evidence.container
        return container is None or container.labels.get(names.SERVICE) not in self.evidence.observed.own_services

    def tell(self, kind: type[StackError], what: str, remedy: str, *, quote: bool = False) -> StackError:
        """The error of that kind: the replica, what is wrong, who waits for it, what was tried, its last lines."""
        tried = f"; tried: {', '.join(self.tried)}" if self.tried else ""
        lines = self.evidence.lines if quote or self.tried else ()
        said = "".join(f"\n  {line}" for line in lines)
        quoted = f"; its last lines:{said}" if said else ""
        return kind(f"{self.replica} {what}{waiting(self.followers)}{tried}{quoted}", remedy)

    def command(self, words: str) -> str:
        """A command about this stack."""
        return f"hailbox --stack {self.context.stack} {words}"

    def up(self, what: str) -> str:
        """The advice to run `up`, which does `what`; if that was done in vain, what is left to do.

        Discarding data is no part of it: what shows that the data is to blame has an error of its own. Only of a
        program that is not ours nothing but its words can show that.
        """
        if not self.tried:
            return f"{what}: {self.command('up')}"
        logs = f"see all that it said: {self.command(f'logs {self.replica}')}"
        if self.image_is_ours:
            return f"{logs}; no data is lost; report it with: {self.command('doctor --bundle FILE')}"
        return (
            f"{logs}; if it is its data that it complains of, discard that: {self.command(f'reset {self.replica}')}"
        )


def waiting(followers: Sequence[str]) -> str:
    """The part of a sentence that names the replicas that wait for one; empty if none does."""
    if not followers:
        return ""
    return f"; {', '.join(sorted(followers))} {'waits' if len(followers) == 1 else 'wait'} for it"


def clock_skew(outcome: Outcome) -> ClockSkewError:
    """The error for a service that refuses our requests only because they seem too old or too new."""
    return ClockSkewError(f"{outcome.replica} works, but refuses every request of ours: {outcome.reason}", SET_CLOCKS)


def diagnose(patient: Patient) -> HailboxError:
    """The error that tells why this replica does not work."""
    found = patient.evidence
    if found.outcome.skew is not None:
        return clock_skew(found.outcome)
    if found.container is None:
        return patient.tell(ContainerGoneError, "has no container", patient.up("make it again, with its data"))
    if found.container.state is ContainerState.PAUSED:
        return patient.tell(ContainerPausedError, "is frozen: its container is paused", patient.up("let it go on"))
    if changed := _limits_changed(patient):
        return changed
    by_status = permanent(patient)
    if by_status is not None:
        return by_status
    if found.details is not None and found.details.out_of_memory:
        return _out_of_memory(patient)
    if found.container.state is not ContainerState.RUNNING or found.crashing:
        return _ended(patient)
    return _running(patient)


def permanent(patient: Patient) -> StackError | None:
    """The error for a cause that no start of the daemon removes; None if there is none.

    Its exit status tells of it, or that it ends again and again within limits smaller than ours.
    """
    status = patient.evidence.exit_status
    if status == evidence.DATA_IN_USE:
        return _in_use(patient)
    if not status or patient.evidence.container is None:
        return None
    seen = volumecheck.look(patient.context, patient.evidence.observed, patient.evidence.container)
    if patient.image_is_ours and (foreign := _not_for_us(patient, seen)):
        return foreign
    if status == evidence.DAMAGED_DATA:
        return patient.tell(
            DataDamagedError,
            "does not start, as its data is damaged",
            f"discard its data and start it empty: {patient.command(f'reset {patient.replica}')}",
            quote=True,
        )
    if status == evidence.CANNOT_WRITE:
        return _unwritable(patient, seen.trouble)
    crashing = status == evidence.NO_MEANS or patient.evidence.crashing
    return too_small(patient, sure=status == evidence.NO_MEANS) if crashing else None


def _limits_changed(patient: Patient) -> StackError | None:
    """The error for a container whose limits are not those that it was made with."""
    found = patient.evidence
    if found.container is None or found.details is None:
        return None
    record = found.observed.record
    chosen = record.overrides if record else {}
    changed = drift.of_one(patient.context, found.container, chosen, found.details.limits)
    if not changed:
        return None
    return patient.tell(
        LimitsChangedError,
        f"does not work, and its limits were changed (docker update): {', '.join(changed)}",
        patient.up("give it back those that it was made with"),
    )


def too_small(patient: Patient, *, sure: bool = False) -> StackError | None:
    """The error for a daemon within limits that the user has set lower than hailbox does; None if there are none.

    `sure`: the daemon itself says that its limits are too small, so they may be those of the engine, too.
    """
    container, record = patient.evidence.container, patient.evidence.observed.record
    if container is None:
        return None
    service = container.labels.get(names.SERVICE, "")
    chosen = record.overrides if record else {}
    low = limits.below_ours(patient.context.catalog, chosen, service, patient.replica)
    up = f"then run: {patient.command('up')}"
    if low:
        values = "; ".join(f"{key} {words}" for key, words in low.items())
        named = [f"services.{_where(chosen, service, patient.replica, key)}.limits.{key}" for key in low]
        return patient.tell(
            LimitTooSmallError,
            f"does not work within the limits that it was given: {values}",
            f"raise {' and '.join(named)} in hailbox.yaml, or take {'them' if len(low) > 1 else 'it'} out, {up}",
            quote=True,
        )
    if not sure:
        return None
    return patient.tell(
        LimitTooSmallError,
        "does not start: it gets too few threads or open files, or too little memory, from the engine",
        f"raise default-ulimits in the engine's daemon.json, or the engine's own limits, and restart it, {up}",
        quote=True,
    )


def _where(chosen: Recorded, service: str, replica: str, key: str) -> str:
    """Whether the user has set that limit for the replica or for its service."""
    return replica if key in chosen.get(replica, {}).get("limits", {}) else service


def _not_for_us(patient: Patient, seen: Volume) -> StackError | None:
    """The error for data that is whole, but not for our daemons as it is."""
    container = patient.evidence.container
    service = container.labels.get(names.SERVICE, "") if container else ""
    _, latest = volumecheck.DATABASES.get(service, ("", 0))
    if seen.version is not None and seen.version > latest > 0:
        return patient.tell(
            OtherReleaseError,
            f"does not start, as its data is of a later release of hailbox: its database has version {seen.version}, "
            f"and hailbox {hailbox.__version__} knows versions up to {latest}; nothing is damaged",
            "run the hailbox that made it, or a later one: pip install --upgrade hailbox; "
            f"then: {patient.command('up')}",
        )
    if seen.owner is not None and seen.owner != volumecheck.OWNER:
        return patient.tell(
            WrongOwnerError,
            f"does not start, as its data belongs to user {seen.owner}, and it runs as user {volumecheck.OWNER}",
            f"give the data back to it: {patient.command('up')}",
        )
    return None


def _in_use(patient: Patient) -> StackError:
    found = patient.evidence
    assert found.container is not None  # noqa: S101 - for the type checker: it has ended
    up = f"run: {patient.command('up')}; no data is lost by that"
    holders = evidence.others_with_data(patient.context, found.observed, found.container)
    if holders:
        remedy = f"stop what has it: docker stop {' '.join(holders)}; then {up}"
    elif patient.tried:
        remedy = f"end that process on the engine's machine, or restart that machine; then {up}"
    else:
        remedy = f"end a process that the engine has lost track of: {patient.command('up')}"
    return patient.tell(DataInUseError, "does not start, as another process has its data", remedy)


def cannot_write(patient: Patient) -> StackError | None:
    """The error if its volume cannot be written: no step of ours helps, and its data is not to blame.

    Raises DiskFullError where the engine's disk is so full that no helper can look.
    """
    found = patient.evidence
    if found.container is None:
        return None
    trouble = volumecheck.look(patient.context, found.observed, found.container).trouble
    if trouble is None and not patient.image_is_ours:
        trouble = words.trouble(patient.context.engine, found.container)
    return _unwritable(patient, trouble)


def _unwritable(patient: Patient, trouble: Trouble | None) -> StackError | None:
    up = f"then run: {patient.command('up')}"
    if trouble is Trouble.FULL:
        return patient.tell(
            VolumeFullError,
            "cannot write: no space is left for its data",
            f"free some space on the engine's disk (docker system df shows what takes it), {up}",
        )
    if trouble is Trouble.READ_ONLY:
        return patient.tell(
            VolumeReadOnlyError,
            "cannot write: its data is on a read-only file system",
            f"see why (dmesg shows errors of disks), make it writable, {up}",
        )
    return None


def cut_off(patient: Patient) -> StackError | None:
    """The error for packets that are lost on the way to a replica, or from it to one that it needs; None if none are.

    A service that needs others is asked only where those work, so their silence is not their own.
    """
    found = patient.evidence
    if found.container is None or found.container.state is not ContainerState.RUNNING:
        return None
    lost = network.look(patient.context, found.observed, found.container, found.outcome)
    restart = "restart the engine, which makes its rules again: systemctl restart docker"
    then = f"then run: {patient.command('up')}"
    if lost.peers:
        how = "does not find" if lost.nameless else "gets no answer from"
        whole = "it works" if len(lost.peers) == 1 else "they work"
        return patient.tell(
            NetworkBlockedError,
            f"{how} {' and '.join(lost.peers)} over the stack's network, although {whole}: the engine's packet "
            "filter rules seem to be gone (iptables -F, or a firewall that was loaded again)",
            f"{restart}; {then}" if patient.tried else patient.up("have the network made again"),
        )
    if lost.port is not None:
        return patient.tell(
            PortLostError,
            f"answers inside its container, but port {lost.port} of the engine's machine does not lead there",
            f"{restart}; {then}" if patient.tried else patient.up("have the port published again"),
        )
    return None


def _out_of_memory(patient: Patient) -> StackError:
    if small := too_small(patient):
        return small
    service = patient.replica.rpartition("-")[0]
    again = f"ask less of it at once, or give it more: services.{service}.limits.memory in hailbox.yaml"
    return patient.tell(
        OutOfMemoryError,
        "was killed: its container ran out of memory",
        again if patient.tried else f"start it again: {patient.command('up')}; {again}",
    )


def _ended(patient: Patient) -> StackError:
    found, details = patient.evidence, patient.evidence.details
    assert found.container is not None  # noqa: S101 - for the type checker
    assert details is not None  # noqa: S101 - for the type checker
    if unwritable := cannot_write(patient):
        return unwritable
    if found.crashing:
        remedy = f"see all that it said: {patient.command(f'logs {patient.replica}')}; {patient.up('heal it')}"
        return patient.tell(
            CrashLoopError,
            f"ends again and again, {details.restart_count} times so far",
            patient.up("") if patient.tried else remedy,
            quote=True,
        )
    return patient.tell(
        ContainerStoppedError,
        f"does not run: its container is {found.container.state.value}, exit status {details.exit_code}",
        patient.up("start it"),
    )


def _running(patient: Patient) -> StackError:
    found, outcome = patient.evidence, patient.evidence.outcome
    assert found.container is not None  # noqa: S101 - for the type checker
    if names.project(patient.context.stack) not in found.container.networks:
        return patient.tell(
            NetworkGoneError,
            "is not on the stack's network, which was removed, or it was disconnected from it",
            patient.up("re-create its container, with its data"),
        )
    if outcome.refused:
        return patient.tell(
            CredentialsRefusedError,
            f"does not accept the stack's credentials: {outcome.reason}",
            patient.up("start it with those that the stack has"),
        )
    if unwritable := cannot_write(patient):
        return unwritable
    if unreachable := cut_off(patient) or too_small(patient):
        return unreachable
    if outcome.reached is Reached.NOTHING:
        return patient.tell(UnresponsiveError, f"runs and does not answer: {outcome.reason}", patient.up("heal it"))
    logs = "" if patient.tried else f"; see what it said: {patient.command(f'logs {patient.replica}')}"
    return patient.tell(NotWorkingError, f"does not work: {outcome.reason}", patient.up("heal it") + logs)
