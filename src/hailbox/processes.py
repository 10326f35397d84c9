"""What tells a process from every other: its machine, the boot, the name space of its id, the id, when it began.

A process id alone is given out again, and means another process in another container.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")


@functools.cache
def machine() -> str:
    """The id of this machine."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        with contextlib.suppress(OSError):
            if found := Path(path).read_text(encoding="ascii", errors="replace").strip():
                return found
    return f"{uuid.getnode():x}"


@functools.cache
def boot() -> str:
    """The id of this boot of the machine (random(4), boot_id); empty where it has none."""
    with contextlib.suppress(OSError):
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


@functools.cache
def space() -> str:
    """The name space of our process ids (pid_namespaces(7)); empty where there are none."""
    with contextlib.suppress(OSError):
        return os.readlink(_PROC / "self" / "ns" / "pid")
    return ""


def began(pid: int) -> str | None:
    """When the process of that id began; None if there is none, or it has ended and is not yet waited for."""
    if sys.platform == "linux":
        try:
            fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]
    shown = subprocess.run(
        ["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False, env={"LC_ALL": "C"}
    )
    return shown.stdout.strip() or None
