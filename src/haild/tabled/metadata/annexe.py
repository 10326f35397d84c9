"""What the SQLite metadata keep beside buckets and objects: master keys, policies of users, events to deliver."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from typing import Final

from haild.daemon.groupcommit import GroupCommit
from haild.tabled.metadata import events

POLICIES_FRESH: Final = 1.0
"""Seconds after which the policies of users are read again: `tdbadm` changes them."""


class Annexe:
    """A part of `metadata.port.Metadata`."""

    def __init__(self, reader: sqlite3.Connection, writer: GroupCommit) -> None:
        self._reader = reader
        self._writer = writer
        self._policies: dict[str, list[str]] = {}
        self._policies_until = 0.0

    async def master_keys(self) -> dict[int, str]:
        """The wrapped master keys, by number; `tdbadm` may have added one."""
        return dict(self._reader.execute("SELECT number, wrapped FROM masterkeys").fetchall())

    async def add_master_key(self, number: int, wrapped: str) -> None:
        """Keep one more, unless there is one with its number."""
        statement = "INSERT OR IGNORE INTO masterkeys (number, wrapped) VALUES (?, ?)"

        def change(db: sqlite3.Connection) -> None:
            db.execute(statement, (number, wrapped))

        await self._writer.run(change)

    async def user_policies(self, user: str) -> list[str]:
        """The policies of a user. They are few, and kept for POLICIES_FRESH seconds."""
        now = time.monotonic()
        if now >= self._policies_until:
            policies: dict[str, list[str]] = {}
            for name, text in self._reader.execute("SELECT user, text FROM userpolicies"):
                policies.setdefault(name, []).append(text)
            self._policies, self._policies_until = policies, now + POLICIES_FRESH
        return self._policies.get(user, [])

    async def add_events(self, queued: Iterable[tuple[str, str]]) -> None:
        """Queue events."""
        rows, now = list(queued), time.time()
        await self._writer.run(lambda db: events.add(db, rows, now))

    async def due_events(self, now: float, limit: int) -> list[events.Event]:
        """Events that are due."""
        return events.due(self._reader, now, limit)

    async def next_event(self) -> float | None:
        """When the next event is due."""
        return events.next_due(self._reader)

    async def settle_events(self, done: Iterable[int], failed: Iterable[tuple[int, float]]) -> None:
        """Forget or postpone events."""
        finished, later = list(done), list(failed)
        await self._writer.run(lambda db: events.settle(db, finished, later))
