"""Killing, stopping or pausing the daemon of a replica, and holding it there.

The engine starts the container of a daemon that ended again at once; the new process is stopped before it serves, so
that the replica stays dead until the fault ends, and comes back the moment it does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any

from hailbox.helper.programs.fault.container import Finder
from hailbox.helper.programs.fault.run import run

_INFANCY = 0.15
"""Seconds in which a new Python process cannot yet serve; one that may be older has to begin again."""
_CLEAN_STOP = 3.0
"""Seconds that a daemon gets to end after SIGTERM."""
_OFTEN, _SELDOM = 0.01, 0.1


class Hold:
    """Arguments: `container` (id) and `kind` (kill, stop, pause)."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self._kind: str = arguments["kind"]
        self._finder = Finder(arguments["container"])
        self._looked = 0.0

    def begin(self) -> None:
        running = [process.number for process in self._finder.processes() if process.state not in "Tt"]
        if self._kind == "stop" and running:
            self._signal(running, signal.SIGTERM)
            self._await_end(running, _CLEAN_STOP)
        if self._kind != "pause" and running:
            self._signal(running, signal.SIGKILL)
            self._await_end(running, 60.0)
        self._looked = time.monotonic()
        self.step()

    def _await_end(self, numbers: Sequence[int], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and any(os.path.exists(f"/proc/{number}") for number in numbers):
            time.sleep(_OFTEN)

    def _signal(self, numbers: Sequence[int], which: signal.Signals) -> None:
        for number in numbers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, which)

    def readable(self) -> Sequence[int]:
        return ()

    def step(self) -> float:
        processes = self._finder.processes()
        running = [process.number for process in processes if process.state not in "Tt"]
        # What runs now and did not at the last look, or was runc's, is no older than that.
        too_late = self._kind != "pause" and time.monotonic() - self._looked > _INFANCY
        self._signal(running, signal.SIGKILL if too_late else signal.SIGSTOP)
        self._looked = time.monotonic()
        return _SELDOM if processes and not running else _OFTEN

    def end(self) -> None:
        self._signal([process.number for process in self._finder.processes()], signal.SIGCONT)


def main(arguments: Sequence[str]) -> int:
    """Make the fault until it is ended; `arguments` holds one text, JSON. Returns the exit status."""
    return run(Hold, arguments[0])
