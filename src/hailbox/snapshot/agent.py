"""The program of the helper that restores a snapshot; it runs in a container and has the standard library only.

For each directory of `/from`, it replaces what is in the one of that name in `/to`. It says `ready`, waits for
SIGUSR1 (the services are dead now), moves the old content aside within its volume, and copies while that is removed.
Started again after it was cut short, it begins anew: the snapshot is the truth, everything else is thrown away.

Exit status: 0 when all is copied; 75 (EX_TEMPFAIL of sysexits.h) if the signal did not come; else that of `cp`.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

FROM, TO = Path("/from"), Path("/to")
PATIENCE = 60.0
"""Seconds to wait for the signal; a driver that was killed does not send it."""

_ASIDE = ".discarded-"
_NO_SIGNAL = 75


def move_aside(volume: Path) -> None:
    """Move all that is in `volume` into a new directory there."""
    found = list(volume.iterdir())
    aside = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=volume))
    for entry in found:
        if not entry.name.startswith(_ASIDE):
            entry.rename(aside / entry.name)


def replace(source: Path, target: Path) -> int:
    """Replace what is in `target` by what is in `source`; the exit status of what failed, or 0."""
    for replica in source.iterdir():
        move_aside(target / replica.name)
    copying, removing = [], []
    for replica in source.iterdir():
        volume = target / replica.name
        old = [str(path) for path in volume.glob(f"{_ASIDE}*")]
        removing.append(subprocess.Popen(["rm", "-rf", "--", *old]))
        copying.append(subprocess.Popen(["cp", "-a", f"{replica}/.", str(volume)]))
    statuses = [process.wait() for process in (*copying, *removing)]
    return next((status for status in statuses if status), 0)


def main() -> int:
    """Wait for the signal, then replace; the exit status."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    print("ready", flush=True)  # noqa: T201
    if signal.sigtimedwait({signal.SIGUSR1}, PATIENCE) is None:
        sys.stderr.write(f"nobody said within {PATIENCE:.0f} s that the services have ended\n")
        return _NO_SIGNAL
    return replace(FROM, TO)


if __name__ == "__main__":
    sys.exit(main())
