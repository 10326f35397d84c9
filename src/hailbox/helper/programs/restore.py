"""The program of the helper that restores a snapshot; it runs in a container and has the standard library only.

For each directory of `/from`, it replaces what is in the one of that name in `/to`, where there is one. It copies
into a new directory within the volume while the services are being killed, and says `ready`. On SIGUSR1 (they are
dead now) it puts the old content aside and, when the copy is whole, moves that into its place. It says `restored`
then, removes the old content, and ends on another SIGUSR1 (all services are started): when a container ends, the
engine unmounts its root file system, and the kernel then writes out all that was copied, for half a second in which
no container could be started. Started again after it was cut short, it begins from the start: the snapshot is the
truth, everything else is thrown away.

Exit status: 0 when all is in its place; 75 (EX_TEMPFAIL of sysexits.h) if the signal did not come; else that of `cp`
or `rm`.
"""

from __future__ import annotations

# Nothing else: the services stand still until all is copied, and `subprocess` alone takes as long to load as Python.
import os
import sys
from collections.abc import Callable, Sequence

FROM, TO = "/from", "/to"
PATIENCE = 60.0
"""Seconds to wait for either signal; a driver that was killed does not send it."""

_ASIDE, _COPY = ".discarded-", ".restored-"
_NO_SIGNAL = 75


class Process:
    """A program that runs beside us."""

    def __init__(self, *command: str) -> None:
        self._id = os.posix_spawnp(command[0], command, os.environ, setsigmask=())
        self._status: int | None = None

    def wait(self) -> int:
        """Its exit status; of one that a signal ended, that number below 0."""
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self._id, 0)[1])
        return self._status


class Volume:
    """A data volume whose content is being replaced."""

    def __init__(self, source: str, place: str) -> None:
        self.source, self.place = source, place
        self.copy = ""
        """The directory with the copy."""
        self.copying: Process | None = None
        self._old: list[str] = []
        self._removing: Process | None = None

    def begin(self) -> None:
        """Begin to copy, beside what is there."""
        self.copy = self._directory(_COPY)
        self.copying = Process("cp", "-a", f"{self.source}/.", self.copy)

    def _directory(self, prefix: str) -> str:
        """A new directory of ours alone; those of earlier runs stay what they are."""
        path = f"{self.place}/{prefix}{os.urandom(8).hex()}"
        os.mkdir(path, 0o700)
        return path

    def put_aside(self) -> None:
        """Have all that is not the copy out of the way."""
        entries = [entry for entry in os.listdir(self.place) if f"{self.place}/{entry}" != self.copy]
        aside = self._directory(_ASIDE)
        self._old = [aside, *(f"{self.place}/{entry}" for entry in entries if entry.startswith(_ASIDE))]
        for entry in entries:
            if not entry.startswith(_ASIDE):
                os.rename(f"{self.place}/{entry}", f"{aside}/{entry}")

    def finish(self) -> int:
        """Wait for the copy, and move it into its place; the exit status of what failed, or 0."""
        copied = self.finish_copying()
        if copied and not self.removed():
            # The old content may have taken the space that the copy needs.
            Process("rm", "-rf", "--", self.copy).wait()
            self.begin()
            copied = self.finish_copying()
        if copied:
            return copied
        for entry in os.listdir(self.copy):
            os.rename(f"{self.copy}/{entry}", f"{self.place}/{entry}")
        like = os.stat(self.copy)
        os.rmdir(self.copy)
        os.chown(self.place, like.st_uid, like.st_gid)
        os.chmod(self.place, like.st_mode & 0o7777)
        os.utime(self.place, ns=(like.st_atime_ns, like.st_mtime_ns))
        return 0

    def finish_copying(self) -> int:
        """Wait for the copy; the exit status of `cp`."""
        return self.copying.wait() if self.copying else 0

    def remove(self) -> None:
        """Begin to remove what was put aside."""
        self._removing = self._removing or Process("rm", "-rf", "--", *self._old)

    def removed(self) -> int:
        """Wait until that is gone; the exit status of what failed, or 0."""
        self.remove()
        return self._removing.wait() if self._removing else 0


def replace(source: str, target: str, go: Callable[[], bool], tell: Callable[[], None]) -> int:
    """Replace what is in `target` by what is in `source` as soon as `go` returns; the exit status of what failed,
    or 0. If it returns false, all stays as it was. `tell` is called when all is in its place.
    """
    replicas = [replica for replica in os.listdir(source) if os.path.isdir(f"{target}/{replica}")]
    volumes = [Volume(f"{source}/{replica}", f"{target}/{replica}") for replica in replicas]
    for volume in volumes:
        volume.begin()
    if not go():
        for volume in volumes:
            volume.finish_copying()
        return _NO_SIGNAL
    for volume in volumes:
        volume.put_aside()
    statuses = [volume.finish() for volume in volumes]
    if not any(statuses):
        tell()
        for volume in volumes:
            volume.remove()
        statuses = [volume.removed() for volume in volumes]
    return next((status for status in statuses if status), 0)


def _services_are_dead() -> bool:
    import signal  # here, as the copying has begun by now

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    print("ready", flush=True)  # noqa: T201
    if _signalled():
        return True
    sys.stderr.write(f"no signal within {PATIENCE:.0f} s that the services have ended\n")
    return False


def _signalled() -> bool:
    import signal

    return signal.sigtimedwait({signal.SIGUSR1}, PATIENCE) is not None


def main(_arguments: Sequence[str]) -> int:
    """Copy, wait for the signal, then replace; the exit status."""
    status = replace(FROM, TO, _services_are_dead, lambda: print("restored", flush=True))  # noqa: T201
    if status == 0:
        _signalled()
    return status
