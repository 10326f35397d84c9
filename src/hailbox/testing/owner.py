"""Names for stacks that say which process they belong to, so that the next run can remove what a killed one left.

A process is known by its host, its id, the time it started and the boot of its host: a process id alone is given
out again. The name holds a digest of these, as a stack's name has 31 characters at most.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
from pathlib import Path
from typing import Final

PREFIX: Final = "pt"
_NAME: Final = re.compile(rf"{PREFIX}-([0-9a-f]{{4}})-(\d{{1,7}})-([0-9a-f]{{8}})(?:-[a-z0-9]+)?")


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8", errors="replace").strip()


def _host() -> str:
    """What tells this machine from others that use the same engine."""
    try:
        return _read("/etc/machine-id")
    except OSError:
        return socket.gethostname()


def _boot() -> str:
    """What tells this boot of the machine from others; empty where nothing does."""
    try:
        return _read("/proc/sys/kernel/random/boot_id")
    except OSError:
        done = subprocess.run(["sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, text=True, check=False)
        return done.stdout.strip()


def _started(pid: int) -> str | None:
    """When a process started, in the words of its system; None if there is no such process."""
    try:
        # proc(5): field 22, counted after the command's name, which may hold blanks and brackets.
        return _read(f"/proc/{pid}/stat").rpartition(")")[2].split()[19]
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
    done = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def _digest(*words: str, length: int) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:length]


def stack_name(worker: str = "", pid: int | None = None) -> str:
    """The name of this process's stack; `worker` (`gw0`) tells those of one run apart.

    Raises ProcessLookupError if there is no process `pid`.
    """
    pid = os.getpid() if pid is None else pid
    started = _started(pid)
    if started is None:
        raise ProcessLookupError(pid)
    owner = _digest(_boot(), str(pid), started, length=8)
    return "-".join(filter(None, [PREFIX, _digest(_host(), length=4), str(pid), owner, worker]))


def abandoned(stack: str) -> bool:
    """Whether a stack has the name of one that a test run on this host made, and that run is over."""
    match = _NAME.fullmatch(stack)
    if match is None or match[1] != _digest(_host(), length=4):
        return False
    started = _started(int(match[2]))
    return started is None or match[3] != _digest(_boot(), match[2], started, length=8)
