"""Finding the processes of a container from the host's process name space."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

_YOUNG = 50
"""Looks after which a process that was not the container's is taken to stay so: runc moves a new one early on."""


@dataclass(frozen=True)
class Process:
    """One process, and its state as in proc(5): `T` for stopped."""

    number: int
    state: str


class Finder:
    """Looks for the processes of one container; cheap when asked often."""

    def __init__(self, container: str) -> None:
        self._container = container
        self._foreign: dict[int, int] = {}

    def processes(self) -> list[Process]:
        """The container's processes now, without runc's while it starts one."""
        numbers = {int(name) for name in os.listdir("/proc") if name.isdecimal()}
        self._foreign = {number: looks for number, looks in self._foreign.items() if number in numbers}
        found = []
        for number in sorted(numbers):
            if self._foreign.get(number, 0) >= _YOUNG:
                continue
            with contextlib.suppress(OSError, ValueError):
                if process := self._look(number):
                    found.append(process)
                    continue
            self._foreign[number] = self._foreign.get(number, 0) + 1
        return found

    def _look(self, number: int) -> Process | None:
        folder = Path(f"/proc/{number}")
        if self._container not in (folder / "cgroup").read_text():
            return None
        name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
        state = rest.split()[0]
        return None if name.startswith("runc") or state in "ZX" else Process(number, state)
