"""Compose processes that a killed driver left behind: they keep the stack's lock, and one that hangs is ended.

A driver that holds a lock has a descriptor open, named for the lock's token, which Compose inherits. Linux only, as
it reads /proc (proc(5)): elsewhere none is found, and the lock of a killed driver is free at once.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hailbox.model import names

PATIENCE: Final = 20.0
"""Seconds that Compose may do nothing before it is ended."""

GRACE: Final = 3.0
"""Seconds from SIGTERM to SIGKILL."""

_ANSWER: Final = 200
"""Bytes; the shortest answer of an engine is longer, and what a Go program says to itself while it idles is not."""

_PROC: Final = Path("/proc")


@dataclass
class ComposeProcess:
    """A process that keeps the lock."""

    pid: int
    handle: int
    """A pidfd: it never means another process, also when the number has been given away again."""
    heard: int = 0
    """Bytes that it had read when it last did something."""
    since: float = 0.0
    """When that was, by our monotonic clock."""
    asked: float | None = None
    """When it was asked to end."""

    def send(self, number: signal.Signals) -> None:
        """Send a signal; to one that has ended, nothing."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, number)


def _name(token: str) -> str:
    return f"hailbox-lock-{token}"


def sign(token: str) -> int | None:
    """A descriptor that says to which lock the processes belong that inherit it; None where there are none such.

    It is a file in memory (memfd_create(2)): its name shows in /proc, and it needs no place in any directory.
    """
    if not hasattr(os, "memfd_create"):
        return None
    return os.memfd_create(_name(token), 0)


def _holds(pid: int, token: str) -> bool:
    """Whether the process has the descriptor of that lock."""
    wanted = f"/memfd:{_name(token)} (deleted)"
    for entry in (_PROC / str(pid) / "fd").iterdir():
        with contextlib.suppress(OSError):
            if os.readlink(entry) == wanted:
                return True
    return False


def _is_compose(pid: int, stack: str) -> bool:
    words = (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    return ("--project-name", names.project(stack)) in itertools.pairwise(words)


def _read(pid: int) -> int:
    """Bytes that the process has read so far, from wherever."""
    text = (_PROC / str(pid) / "io").read_text(encoding="ascii")
    return int(text.split()[1])


def _processes() -> Iterator[tuple[int, int]]:
    """Id and pidfd of all processes but this one whose descriptors we may see; the taker closes the pidfd."""
    if not hasattr(os, "pidfd_open"):
        return
    user = os.getuid()
    for entry in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if user in (0, entry.stat().st_uid) and int(entry.name) != os.getpid():
                yield int(entry.name), os.pidfd_open(int(entry.name))


def find(token: str) -> list[ComposeProcess]:
    """The processes that keep the lock of that token; their handles are the caller's."""
    found: list[ComposeProcess] = []
    for pid, handle in _processes():
        taken = False
        with contextlib.suppress(OSError):
            taken = _holds(pid, token)
        if taken:
            found.append(ComposeProcess(pid, handle))
        else:
            os.close(handle)
    return found


def keep(token: str) -> bool:
    """Whether any process keeps the lock of that token."""
    found = find(token)
    _release(found)
    return bool(found)


def _release(processes: list[ComposeProcess]) -> None:
    for process in processes:
        os.close(process.handle)


@dataclass
class Watcher:
    """Looks at the processes that keep a lock each time it is called, and ends a Compose that hangs."""

    token: str
    stack: str
    tell: Callable[[str], None]
    known: dict[int, ComposeProcess] = field(default_factory=dict)
    _next: float = 0.0

    def look(self) -> bool:
        """Whether any process keeps the lock. Reads /proc once a second at most."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + 1.0
            self._refresh(now)
            for process in self.known.values():
                with contextlib.suppress(OSError):
                    if _is_compose(process.pid, self.stack):
                        self._judge(process, now)
        return bool(self.known)

    def close(self) -> None:
        """Forget the processes."""
        _release(list(self.known.values()))
        self.known.clear()

    def _refresh(self, now: float) -> None:
        seen = find(self.token)
        _release([process for process in seen if process.pid in self.known])
        gone = set(self.known) - {process.pid for process in seen}
        _release([self.known.pop(pid) for pid in gone])
        for process in seen:
            if process.pid not in self.known:
                process.since = now
                self.known[process.pid] = process

    def _judge(self, process: ComposeProcess, now: float) -> None:
        with contextlib.suppress(OSError):
            read = _read(process.pid)
            if read >= process.heard + _ANSWER:
                process.heard, process.since = read, now
        if process.asked is None and now - process.since >= PATIENCE:
            self.tell(f"Compose (pid {process.pid}) has done nothing for {PATIENCE:g} s; ending it")
            process.asked = now
            process.send(signal.SIGTERM)
        elif process.asked is not None and now - process.asked >= GRACE:
            self.tell(f"Compose (pid {process.pid}) did not end within {GRACE:g} s; killing it")
            process.send(signal.SIGKILL)
