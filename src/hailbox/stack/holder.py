"""Which process holds a lock, in words that its labels carry, and whether that process lives."""

from __future__ import annotations

import contextlib
import functools
import getpass
import json
import os
import subprocess
import sys
import time
import uuid
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")


class Life(Enum):
    """What is known of a process."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"
    """It is of another machine, or of a container that does not share our process ids."""


@dataclass(frozen=True)
class Holder:
    """The process of a command. Texts that this machine does not have are empty."""

    machine: str
    """The id of its machine."""
    name: str
    """What that machine is called, for people."""
    boot: str
    """The id of the boot of that machine (random(4), boot_id)."""
    space: str
    """The name space of its process id (pid_namespaces(7))."""
    pid: int
    start: str
    """When the process began, in whatever form this machine tells it."""
    user: str
    command: str
    token: str
    """Unique to each time that a lock was taken."""
    since: float
    """Seconds since the epoch."""

    def text(self) -> str:
        """The value of a label."""
        return json.dumps(asdict(self))

    def __str__(self) -> str:
        who = f"pid {self.pid}" if self.machine == _machine() else f"pid {self.pid} of {self.user} on {self.name}"
        return f"`{self.command}` ({who})"


def parse(text: str | None) -> Holder | None:
    """The holder in a label; None if it holds none, as when something else took the name."""
    try:
        found = json.loads(text or "")
        holder = Holder(**found)
    except (ValueError, TypeError, RecursionError):
        return None
    return holder if isinstance(holder.pid, int) and isinstance(holder.since, int | float) else None


def ourselves(command: str, token: str) -> Holder:
    """This process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        user = f"user {os.getuid()}"
    pid = os.getpid()
    return Holder(
        _machine(), os.uname().nodename, _boot(), _space(), pid, began(pid) or "", user, command, token, time.time()
    )


def life(holder: Holder) -> Life:
    """Whether the process of that holder lives."""
    if holder.machine != _machine():
        return Life.UNKNOWN
    if holder.boot != _boot():
        return Life.DEAD
    if holder.space != _space():
        return Life.UNKNOWN
    return Life.ALIVE if began(holder.pid) == holder.start else Life.DEAD


@functools.cache
def _machine() -> str:
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        with contextlib.suppress(OSError):
            if found := Path(path).read_text(encoding="ascii", errors="replace").strip():
                return found
    return f"{uuid.getnode():x}"


@functools.cache
def _boot() -> str:
    with contextlib.suppress(OSError):
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


@functools.cache
def _space() -> str:
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
