"""Finding the processes of a container from the host's process name space."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

_YOUNG = 50
"""Looks after which a process that was not the container's is taken to stay so: runc moves a new one early on."""

_WATCHERS = (b"conmon", b"containerd-shim")
"""Podman's, and Docker's."""
_RUNTIMES = (b"runc", b"crun", b"conmon")


@dataclass(frozen=True)
class Process:
    """One process, and its state as in proc(5): `T` for stopped."""

    number: int
    state: str


class Finder:
    """Looks for the processes of one container; cheap when asked often.

    They are in its control group. An engine without rights may have none; then they are below the program that
    watches over the container, whose arguments name it.
    """

    def __init__(self, container: str, proc: Path = Path("/proc")) -> None:
        self._container, self._proc = container, proc
        self._foreign: dict[int, int] = {}
        self._watchers: set[int] = set()
        self._members: set[int] = set()

    def processes(self) -> list[Process]:
        """The container's processes now, without runc's while it starts one."""
        numbers = {int(name) for name in os.listdir(self._proc) if name.isdecimal()}
        self._foreign = {number: looks for number, looks in self._foreign.items() if number in numbers}
        self._watchers &= numbers
        self._members &= numbers
        found = []
        for number in sorted(numbers):
            if self._foreign.get(number, 0) >= _YOUNG:
                continue
            with contextlib.suppress(OSError, ValueError):
                folder = self._proc / str(number)
                if self._is_inside(folder):
                    self._members.add(number)
                    if process := _process_of(number, folder):
                        found.append(process)
                    continue
                if _watches(self._container, folder):
                    self._watchers.add(number)
            self._foreign[number] = self._foreign.get(number, 0) + 1
        return found

    def _is_inside(self, folder: Path) -> bool:
        if self._container in (folder / "cgroup").read_text():
            return True
        parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        if parent not in self._watchers and parent not in self._members:
            return False
        # Other programs below a watcher work for the engine, which waits for them: to stop one is to stop the engine.
        # Only those of the container have a name space of process ids of their own.
        return _depth(folder) > _depth(self._proc / str(parent)) or parent in self._members


def _depth(folder: Path) -> int:
    """How many name spaces of process ids, from ours on, a process has a number in (proc(5), NSpid)."""
    lines = (folder / "status").read_text().splitlines()
    return next((len(line.split()) for line in lines if line.startswith("NSpid:")), 0)


def _watches(container: str, folder: Path) -> bool:
    """Whether the process is the one that an engine has for this container, and for its life."""
    words = (folder / "cmdline").read_bytes().split(b"\0")
    return os.path.basename(words[0]).startswith(_WATCHERS) and container.encode() in words


def _process_of(number: int, folder: Path) -> Process | None:
    """What a folder of /proc says of a process; None if it is dead or runc's. Raises OSError if it is gone."""
    state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
    if state in "ZX" or _is_of_the_runtime((folder / "cmdline").read_bytes()):
        return None
    return Process(number, state)


def _is_of_the_runtime(command_line: bytes) -> bool:
    """Whether a process of the container is still runc's, and has not executed the daemon yet.

    The engine waits for that, and answers nothing about the container meanwhile: to stop runc is to stop the engine.
    Its name says `runc` late: that of runc 1.1 is first `exe`, then `memfd:runc_clon`. For the moment in which one
    program takes the place of another, the command line is empty.
    """
    return not command_line or os.path.basename(command_line.partition(b"\0")[0]).startswith(_RUNTIMES)
