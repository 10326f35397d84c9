"""What can go wrong, as one tree of exceptions.

Each class has a stable code (documented in docs/errors/CODE.md), an exit status, and takes one line that
says what is wrong and one that says what to do next.

    HailboxError
    ├── UsageError                 2   bad-usage
    │   ├── UnknownServiceError        unknown-service
    │   ├── UnknownProfileError        unknown-profile
    │   ├── ConfigurationError         bad-configuration
    │   ├── UnknownFaultError          unknown-fault
    │   ├── FaultActiveError           fault-active
    │   ├── UnknownSnapshotError       unknown-snapshot
    │   ├── SnapshotExistsError        snapshot-exists
    │   └── SnapshotFileError          snapshot-file
    ├── HostError                  3
    │   ├── EngineUnreachableError     engine-unreachable
    │   ├── EngineDeniedError          engine-denied
    │   ├── EngineTooOldError          engine-too-old
    │   ├── ComposeMissingError        compose-missing
    │   ├── ComposeTooOldError         compose-too-old
    │   ├── DockerClientMissingError   docker-client-missing
    │   ├── PortTakenError             port-taken
    │   ├── DiskFullError              disk-full
    │   ├── LeftoversError             leftovers
    │   ├── HostLimitsError            host-limits
    │   └── ClockSkewError             clock-skew
    ├── ImageError                 4   image-failed
    │   ├── BaseImageError             base-image-missing
    │   ├── OwnImageMissingError       own-image-missing
    │   └── WrongPlatformError         wrong-platform
    ├── StackError                 5
    │   ├── UnknownStackError          unknown-stack
    │   ├── RecordGoneError            record-gone
    │   ├── NotWorkingError            not-working
    │   │   ├── StackDownError             stack-down
    │   │   ├── FaultInEffectError         fault-in-effect
    │   │   ├── RestoreUnfinishedError     restore-unfinished
    │   │   ├── CredentialsGoneError       credentials-gone
    │   │   ├── CredentialsRefusedError    credentials-refused
    │   │   ├── ContainerGoneError         container-gone
    │   │   ├── ContainerStoppedError      container-stopped
    │   │   ├── ContainerPausedError       container-paused
    │   │   ├── CrashLoopError             crash-loop
    │   │   ├── OutOfMemoryError           out-of-memory
    │   │   ├── LimitTooSmallError         limit-too-small
    │   │   ├── LimitsChangedError         limits-changed
    │   │   ├── NetworkGoneError           network-gone
    │   │   ├── NetworkBlockedError        network-blocked
    │   │   ├── PortLostError              port-lost
    │   │   ├── VolumeGoneError            volume-gone
    │   │   ├── VolumeFullError            volume-full
    │   │   ├── VolumeReadOnlyError        volume-read-only
    │   │   ├── DataInUseError             data-in-use
    │   │   └── UnresponsiveError          unresponsive
    │   ├── SeedFailedError            seed-failed
    │   ├── DataDamagedError           data-damaged
    │   ├── OtherReleaseError          other-release
    │   ├── WrongOwnerError            wrong-owner
    │   ├── SnapshotDamagedError       snapshot-damaged
    │   ├── FaultFailedError           fault-failed
    │   ├── CommandFailedError         command-failed
    │   └── BusyError                  stack-busy
    ├── EngineFailedError          6   engine-failed
    │   ├── NameTakenError             name-taken
    │   ├── NetworkTwiceError          network-twice
    │   ├── NoAddressPoolError         no-address-pool
    │   ├── ComposeFailedError         compose-failed
    │   └── HelperFailedError          helper-failed
    ├── InternalError              70  internal-error
    └── InterruptionError          130 interrupted
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self


class HailboxError(Exception):
    """Root of the tree. `problem` says what is wrong and where, `remedy` what to do next; one line each."""

    code: ClassVar[str] = "internal-error"
    exit_status: ClassVar[int] = 70

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


class InternalError(HailboxError):
    """A defect of hailbox itself."""


class InterruptionError(HailboxError):
    """The user ended the command (SIGINT)."""

    code = "interrupted"
    exit_status = 130


class UsageError(HailboxError):
    """The command line or a configuration file asks for something that does not exist or cannot be."""

    code = "bad-usage"
    exit_status = 2


class UnknownServiceError(UsageError):
    """No such service or replica in the stack."""

    code = "unknown-service"


class UnknownProfileError(UsageError):
    """No such profile."""

    code = "unknown-profile"


class ConfigurationError(UsageError):
    """`hailbox.yaml` or a profile cannot be used."""

    code = "bad-configuration"


class UnknownFaultError(UsageError):
    """No such fault is in effect."""

    code = "unknown-fault"


class FaultActiveError(UsageError):
    """The fault asked for is in effect already."""

    code = "fault-active"


class UnknownSnapshotError(UsageError):
    """The stack has no such snapshot."""

    code = "unknown-snapshot"


class SnapshotExistsError(UsageError):
    """The stack has a snapshot of that name already."""

    code = "snapshot-exists"


class SnapshotFileError(UsageError):
    """A file that is to hold a snapshot does not, is damaged, or is there already."""

    code = "snapshot-file"


class HostError(HailboxError):
    """Something on this machine is missing or in the way."""

    exit_status = 3


class EngineUnreachableError(HostError):
    """No engine answers. Never taken for "there is nothing"."""

    code = "engine-unreachable"


class EngineDeniedError(HostError):
    """An engine is there and refuses us."""

    code = "engine-denied"


class EngineTooOldError(HostError):
    """The engine is older than 20.10."""

    code = "engine-too-old"


class ComposeMissingError(HostError):
    """Neither `docker compose` nor `docker-compose` is there."""

    code = "compose-missing"


class ComposeTooOldError(HostError):
    """Compose is older than 2.24."""

    code = "compose-too-old"


class DockerClientMissingError(HostError):
    """The program `docker` is not there, and what was asked needs it."""

    code = "docker-client-missing"


class PortTakenError(HostError):
    """A port that the user asked for is held by another program, or none is free."""

    code = "port-taken"


class DiskFullError(HostError):
    """No space is left where the engine keeps its data, or where hailbox has to write."""

    code = "disk-full"


class LeftoversError(HostError):
    """Objects of a stack are there that has no record of what it was."""

    code = "leftovers"


class HostLimitsError(HostError):
    """hailbox, or Compose, gets too little memory, threads or open files from the shell that it was started in."""

    code = "host-limits"


class ClockSkewError(HostError):
    """The engine's clock and this machine's differ."""

    code = "clock-skew"


class ImageError(HailboxError):
    """An image could not be made."""

    code = "image-failed"
    exit_status = 4


class BaseImageError(ImageError):
    """No base image is present, none can be pulled, and none can be bootstrapped."""

    code = "base-image-missing"


class OwnImageMissingError(ImageError):
    """An image of the user's own is not on the engine, and no registry gives it."""

    code = "own-image-missing"


class WrongPlatformError(ImageError):
    """An image is for another operating system or processor than the engine's."""

    code = "wrong-platform"


class StackError(HailboxError):
    """The stack is not as the command needs it."""

    exit_status = 5


class UnknownStackError(StackError):
    """No stack of that name on the engine."""

    code = "unknown-stack"


class RecordGoneError(StackError):
    """Nothing that is left of the stack says what it was."""

    code = "record-gone"


class NotWorkingError(StackError):
    """A service does not work in spite of what was tried."""

    code = "not-working"


class StackDownError(NotWorkingError):
    """None of the stack's services has a container: it was stopped, or has never been up."""

    code = "stack-down"


class FaultInEffectError(NotWorkingError):
    """A replica does not work because a fault was made on purpose."""

    code = "fault-in-effect"


class RestoreUnfinishedError(NotWorkingError):
    """A snapshot is half restored."""

    code = "restore-unfinished"


class CredentialsGoneError(NotWorkingError):
    """The stack's credentials are missing, or cannot be read."""

    code = "credentials-gone"


class CredentialsRefusedError(NotWorkingError):
    """A service does not accept the stack's credentials."""

    code = "credentials-refused"


class ContainerGoneError(NotWorkingError):
    """A replica has no container."""

    code = "container-gone"


class ContainerStoppedError(NotWorkingError):
    """A replica's container does not run."""

    code = "container-stopped"


class ContainerPausedError(NotWorkingError):
    """A replica's container is frozen."""

    code = "container-paused"


class CrashLoopError(NotWorkingError):
    """A daemon ends again and again soon after its start."""

    code = "crash-loop"


class OutOfMemoryError(NotWorkingError):
    """A daemon was killed because its container had no memory left."""

    code = "out-of-memory"


class LimitTooSmallError(NotWorkingError):
    """A daemon cannot work within the limits of its container."""

    code = "limit-too-small"


class LimitsChangedError(NotWorkingError):
    """The limits of a container are not those that it was made with: `docker update` has changed them."""

    code = "limits-changed"


class NetworkBlockedError(NotWorkingError):
    """A container does not reach another one of the stack, although both are on its network and that one works."""

    code = "network-blocked"


class PortLostError(NotWorkingError):
    """A daemon answers inside its container, and its port on this machine does not lead to it."""

    code = "port-lost"


class NetworkGoneError(NotWorkingError):
    """A replica's container is not on the stack's network."""

    code = "network-gone"


class VolumeGoneError(NotWorkingError):
    """The data volume of a replica is missing, and others are there."""

    code = "volume-gone"


class VolumeFullError(NotWorkingError):
    """A daemon cannot write: no space is left for its data."""

    code = "volume-full"


class VolumeReadOnlyError(NotWorkingError):
    """A daemon cannot write: its data is on a read-only file system."""

    code = "volume-read-only"


class DataInUseError(NotWorkingError):
    """A daemon does not start: another process has its data."""

    code = "data-in-use"


class UnresponsiveError(NotWorkingError):
    """A daemon runs and does not answer."""

    code = "unresponsive"


class SeedFailedError(StackError):
    """The stack works, and what it is to begin with could not be stored in it."""

    code = "seed-failed"


class DataDamagedError(StackError):
    """A service does not work and its data is the cause; only discarding it helps."""

    code = "data-damaged"


class SnapshotDamagedError(StackError):
    """What a snapshot holds is not what was saved."""

    code = "snapshot-damaged"


class OtherReleaseError(StackError):
    """The data of a service was made by a later release of hailbox."""

    code = "other-release"


class WrongOwnerError(StackError):
    """The data of a service belongs to another user than it runs as."""

    code = "wrong-owner"


class FaultFailedError(StackError):
    """A fault could not be brought about."""

    code = "fault-failed"


class CommandFailedError(StackError):
    """A command given to `shell` or `exec` failed."""

    code = "command-failed"


class BusyError(StackError):
    """Another command works on the stack and did not finish in time."""

    code = "stack-busy"


class EngineFailedError(HailboxError):
    """The engine answered a request with an error."""

    code = "engine-failed"
    exit_status = 6


class NameTakenError(EngineFailedError):
    """A container or volume that is not of the stack has a name that the stack needs."""

    code = "name-taken"


class NetworkTwiceError(EngineFailedError):
    """A network that is not the stack's has the name of the stack's."""

    code = "network-twice"


class NoAddressPoolError(EngineFailedError):
    """The engine has no address range left for another network."""

    code = "no-address-pool"


class ComposeFailedError(EngineFailedError):
    """Compose ended with an error."""

    code = "compose-failed"


class HelperFailedError(EngineFailedError):
    """A helper container, which copies volumes or makes a fault, ended with an error."""

    code = "helper-failed"

    @classmethod
    def of(cls, name: str, status: int, lines: Sequence[bytes]) -> Self:
        """The error for a helper's exit status and what it printed."""
        said = "".join(f"\n  {line.decode(errors='replace')}" for line in lines[-5:]) or " nothing"
        return cls(
            f"the helper container {name} ended with status {status}; it said:{said}",
            "run the command again; if it persists, report it with: hailbox doctor --bundle FILE",
        )
