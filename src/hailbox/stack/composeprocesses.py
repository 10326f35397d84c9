"""Compose processes that a killed driver left behind: they hold the stack's lock, and one that hangs is ended.

Linux only, as it reads /proc (proc(5)): elsewhere none is found, and the lock is waited for as if somebody worked.
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

from hailbox.model import names

PATIENCE = 20.0
"""Seconds that Compose may do nothing before it is ended."""

GRACE = 3.0
"""Seconds from SIGTERM to SIGKILL."""

_ANSWER = 200
"""Bytes; the shortest answer of an engine is longer, and what a Go program says to itself while it idles is not."""

_PROC = Path("/proc")


@dataclass
class Orphan:
    """A Compose process that holds the lock."""

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


def _holds(pid: int, lock: os.stat_result) -> bool:
    """Whether the process has a descriptor through which the lock is held; one that waits for it has not."""
    for entry in (_PROC / str(pid) / "fd").iterdir():
        with contextlib.suppress(OSError):
            found = entry.stat()
            if (found.st_dev, found.st_ino) == (lock.st_dev, lock.st_ino):
                text = (_PROC / str(pid) / "fdinfo" / entry.name).read_text(encoding="ascii", errors="replace")
                if "FLOCK" in text:
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
    """Id and pidfd of all our user's processes but this one; each pidfd is closed unless it is taken over."""
    if not hasattr(os, "pidfd_open"):
        return
    for entry in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if entry.stat().st_uid == os.getuid() and int(entry.name) != os.getpid():
                yield int(entry.name), os.pidfd_open(int(entry.name))


def find(descriptor: int, stack: str) -> list[Orphan]:
    """The Compose processes of the stack that hold the lock which is open as `descriptor`.

    None if anybody else holds it, too: that is the driver, which lives.
    """
    lock = os.fstat(descriptor)
    found: list[Orphan] = []
    alive = False
    for pid, handle in _processes():
        taken = False
        with contextlib.suppress(OSError):
            if _holds(pid, lock):
                taken = _is_compose(pid, stack)
                alive = alive or not taken
        if taken:
            found.append(Orphan(pid, handle))
        else:
            os.close(handle)
    if alive:
        _release(found)
        return []
    return found


def _release(orphans: list[Orphan]) -> None:
    for orphan in orphans:
        os.close(orphan.handle)


@dataclass
class Watcher:
    """Looks at who holds a lock each time it is called, and ends what hangs."""

    descriptor: int
    stack: str
    tell: Callable[[str], None]
    known: dict[int, Orphan] = field(default_factory=dict)
    _next: float = 0.0

    def look(self) -> bool:
        """Whether it is Compose alone that holds the lock. Reads /proc once a second at most."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + 1.0
            self._refresh(now)
            for orphan in self.known.values():
                self._judge(orphan, now)
        return bool(self.known)

    def close(self) -> None:
        """Forget the processes."""
        _release(list(self.known.values()))
        self.known.clear()

    def _refresh(self, now: float) -> None:
        seen = find(self.descriptor, self.stack)
        _release([orphan for orphan in seen if orphan.pid in self.known])
        gone = set(self.known) - {orphan.pid for orphan in seen}
        _release([self.known.pop(pid) for pid in gone])
        for orphan in seen:
            if orphan.pid not in self.known:
                orphan.since = now
                self.known[orphan.pid] = orphan

    def _judge(self, orphan: Orphan, now: float) -> None:
        with contextlib.suppress(OSError):
            read = _read(orphan.pid)
            if read >= orphan.heard + _ANSWER:
                orphan.heard, orphan.since = read, now
        if orphan.asked is None and now - orphan.since >= PATIENCE:
            self.tell(f"Compose (pid {orphan.pid}) has done nothing for {PATIENCE:g} s; ending it")
            orphan.asked = now
            orphan.send(signal.SIGTERM)
        elif orphan.asked is not None and now - orphan.asked >= GRACE:
            self.tell(f"Compose (pid {orphan.pid}) did not end within {GRACE:g} s; killing it")
            orphan.send(signal.SIGKILL)
