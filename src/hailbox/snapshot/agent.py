"""The program of the helper that restores a snapshot; it runs in a container and has the standard library only.

For each directory of `/from`, it replaces what is in the one of that name in `/to`. It says `ready`, and copies into
a new directory within the volume while the services are being killed. On SIGUSR1 (they are dead now) it removes the
old content and moves the copy into its place when it is whole. It says `restored` then, and ends when the old
content is gone.
Started again after it was cut short, it begins anew: the snapshot is the truth, everything else is thrown away.

Exit status: 0 when all is in its place; 75 (EX_TEMPFAIL of sysexits.h) if the signal did not come; else that of `cp`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

FROM, TO = Path("/from"), Path("/to")
PATIENCE = 60.0
"""Seconds to wait for the signal; a driver that was killed does not send it."""

_ASIDE, _COPY = ".discarded-", ".restored-"
_NO_SIGNAL = 75


@dataclass
class Volume:
    """A data volume whose content is being replaced."""

    source: Path
    place: Path
    copy: Path = field(init=False)
    _copying: subprocess.Popen[bytes] = field(init=False)
    _removing: subprocess.Popen[bytes] = field(init=False)

    def begin(self) -> None:
        """Begin to copy, beside what is there."""
        self.copy = Path(tempfile.mkdtemp(prefix=_COPY, dir=self.place))
        self._copying = subprocess.Popen(["cp", "-a", f"{self.source}/.", str(self.copy)])

    def discard(self) -> None:
        """Begin to remove all that is not the copy; out of the way it is at once."""
        found = [entry for entry in self.place.iterdir() if entry != self.copy]
        aside = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=self.place))
        for entry in found:
            if not entry.name.startswith(_ASIDE):
                entry.rename(aside / entry.name)
        old = [str(path) for path in self.place.glob(f"{_ASIDE}*")]
        self._removing = subprocess.Popen(["rm", "-rf", "--", *old])

    def finish(self) -> int:
        """Wait for the copy, and move it into its place; the exit status of what failed, or 0."""
        copied = self._copying.wait()
        if copied and not self.removed():
            # The old content may have taken the space that the copy needs.
            shutil.rmtree(self.copy)
            self.begin()
            copied = self._copying.wait()
        if copied:
            return copied
        for entry in list(self.copy.iterdir()):
            entry.rename(self.place / entry.name)
        owner = self.copy.stat()
        os.chown(self.place, owner.st_uid, owner.st_gid)
        shutil.copystat(self.copy, self.place)
        self.copy.rmdir()
        os.utime(self.place, ns=(owner.st_atime_ns, owner.st_mtime_ns))
        return 0

    def removed(self) -> int:
        """Wait until the old content is gone; the exit status of what failed, or 0."""
        return self._removing.wait()


def replace(source: Path, target: Path, go: Callable[[], bool], tell: Callable[[], None]) -> int:
    """Replace what is in `target` by what is in `source` as soon as `go` returns; the exit status of what failed,
    or 0. If it returns false, all stays as it was. `tell` is called when all is in its place.
    """
    volumes = [Volume(replica, target / replica.name) for replica in source.iterdir()]
    for volume in volumes:
        volume.begin()
    if not go():
        return _NO_SIGNAL
    for volume in volumes:
        volume.discard()
    statuses = [volume.finish() for volume in volumes]
    if not any(statuses):
        tell()
        statuses = [volume.removed() for volume in volumes]
    return next((status for status in statuses if status), 0)


def _signalled() -> bool:
    if signal.sigtimedwait({signal.SIGUSR1}, PATIENCE) is not None:
        return True
    sys.stderr.write(f"nobody said within {PATIENCE:.0f} s that the services have ended\n")
    return False


def main() -> int:
    """Copy, wait for the signal, then replace; the exit status."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    print("ready", flush=True)  # noqa: T201
    return replace(FROM, TO, _signalled, lambda: print("restored", flush=True))  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
