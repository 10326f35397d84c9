"""Which process holds a lock, in words that its labels carry, and whether that process lives."""

from __future__ import annotations

import getpass
import json
import os
import time
from dataclasses import asdict, dataclass
from enum import Enum

from hailbox import processes


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
        elsewhere = "" if self.machine == processes.machine() else f" of {self.user} on {self.name}"
        return f"`{self.command}` (pid {self.pid}{elsewhere})"


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
        machine=processes.machine(),
        name=os.uname().nodename,
        boot=processes.boot(),
        space=processes.space(),
        pid=pid,
        start=processes.began(pid) or "",
        user=user,
        command=command,
        token=token,
        since=time.time(),
    )


def life(holder: Holder) -> Life:
    """Whether the process of that holder lives."""
    if holder.machine != processes.machine():
        return Life.UNKNOWN
    if holder.boot != processes.boot():
        return Life.DEAD
    if holder.space != processes.space():
        return Life.UNKNOWN
    return Life.ALIVE if processes.began(holder.pid) == holder.start else Life.DEAD
