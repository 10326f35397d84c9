"""Locks on inodes: who holds, who waits, who is next (cld.md section 10). No I/O, no sessions: owners are keys.

Waiting locks do not conflict, so a shared request passes a waiting exclusive one (10.1). Waiters are served in the
order of their requests; shared waiters that follow one another directly together (10.3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

Owner = tuple[bytes, int]
"""Session id and handle."""


@dataclass(slots=True)
class Lock:
    """A lock held or waited for. `number` grows with every request; `since`: seconds since 1970."""

    number: int
    inum: int
    owner: Owner
    shared: bool
    held: bool
    since: int


class LockTable:
    """All locks, in the order of the requests."""

    def __init__(self) -> None:
        self._inodes: dict[int, list[Lock]] = {}
        self._next = 1
        self._count = 0

    def restore(self, lock: Lock) -> None:
        """Take a stored lock. Locks are given in the order of their numbers."""
        self._inodes.setdefault(lock.inum, []).append(lock)
        self._next = max(self._next, lock.number + 1)
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Lock]:
        return (lock for locks in self._inodes.values() for lock in locks)

    def on(self, inum: int) -> list[Lock]:
        """Locks on an inode, held and waiting."""
        return self._inodes.get(inum, [])

    def conflicting(self, inum: int, *, shared: bool) -> list[Lock]:
        """Held locks that stand against a new one, the asker's own included."""
        held = [lock for lock in self.on(inum) if lock.held]
        return [lock for lock in held if not (shared and lock.shared)]

    def add(self, inum: int, owner: Owner, *, shared: bool, held: bool, now: int) -> Lock:
        """Enter a lock; whether it may be held is the caller's business."""
        lock = Lock(self._next, inum, owner, shared, held, now)
        self._next += 1
        self._inodes.setdefault(inum, []).append(lock)
        self._count += 1
        return lock

    def of(self, inum: int, owner: Owner) -> list[Lock]:
        """Locks of one handle."""
        return [lock for lock in self.on(inum) if lock.owner == owner]

    def remove(self, lock: Lock) -> None:
        """Take a lock out; waiters are granted by `grant`."""
        locks = self._inodes[lock.inum]
        locks.remove(lock)
        self._count -= 1
        if not locks:
            del self._inodes[lock.inum]

    def clear(self, inum: int) -> list[Lock]:
        """Take out all locks on an inode that goes away."""
        locks = self._inodes.pop(inum, [])
        self._count -= len(locks)
        return locks

    def grant(self, inum: int, now: int) -> list[Lock]:
        """Let the waiters have what is free now; returns those that hold from now on."""
        granted: list[Lock] = []
        for lock in self.on(inum):
            if lock.held:
                continue
            if self.conflicting(inum, shared=lock.shared):
                break
            lock.held = True
            lock.since = now
            granted.append(lock)
        return granted
