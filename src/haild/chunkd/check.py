"""The self-check that a client asks for, and the scrub that runs unasked: both re-read every object.

A damaged object is set aside, so that a later GET says NoSuchKey and the object can be stored again
(chunkd.md section 6.9). The scrub takes small bites far apart, so that an idle store stays idle.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import logging
import sqlite3
import threading
import time
from dataclasses import dataclass, field
from typing import Final

from haild.chunkd.bodies import Bodies
from haild.chunkd.catalog import COLUMNS, CatalogError, StoredObject, connect, stored_object
from haild.chunkd.reading import BodyFile, DamagedError, Pace, Verified
from haild.chunkd.store import Store
from haild.wire.chunk.messages import CheckState

BITE: Final = 8 << 20
"""Bytes that are read before other work gets a turn; a body is never split."""
BITE_OBJECTS: Final = 256
LEAST_PAUSE: Final = 10.0
"""Seconds between two bites of the scrub, at least."""
DAY: Final = 86400.0
POSITION: Final = "scrub_position"

logger = logging.getLogger(__name__)


SCRUB_RATE: Final = 32 << 20
"""Bytes a second that the scrub reads of one body."""


class StoppedError(Exception):
    """The daemon is stopping."""


@dataclass
class Bite:
    """What one bite found: the number to go on after (None: that was the last object) and what is damaged."""

    position: int | None
    damaged: list[StoredObject] = field(default_factory=list)


def check_objects(catalog: sqlite3.Connection, bodies: Bodies, after: int, pace: Pace) -> Bite:
    """Verify the objects whose numbers follow `after`, about BITE bytes of them.

    Raises OSError, sqlite3.Error, and what `pace` raises.
    """
    query = f"SELECT {COLUMNS} FROM objects WHERE id > ? ORDER BY id LIMIT {BITE_OBJECTS}"  # noqa: S608 - constants
    objects = [stored_object(row) for row in catalog.execute(query, (after,))]
    damaged = []
    read = 0
    for stored in objects:
        if not _is_sound(catalog, bodies, stored, pace):
            damaged.append(stored)
        read += stored.size
        after = stored.id
        if read >= BITE:
            return Bite(after, damaged)
    return Bite(after if len(objects) == BITE_OBJECTS else None, damaged)


def _is_sound(catalog: sqlite3.Connection, bodies: Bodies, stored: StoredObject, pace: Pace) -> bool:
    row = catalog.execute("SELECT data FROM content WHERE id = ?", (stored.id,)).fetchone()
    if row is None:
        return False
    if not stored.in_file:
        return hashlib.sha1(row[0], usedforsecurity=False).digest() == stored.sha1
    try:
        body = BodyFile(stored, bodies.open(stored.id), row[0], Verified())
    except FileNotFoundError:
        return False
    try:
        body.verify_all(pace)
    except DamagedError:
        return False
    finally:
        body.close()
    return True


class Checker:
    """Runs checks over a store, one at a time. `close` it before the store."""

    def __init__(self, store: Store, scrub_days: float) -> None:
        """`scrub_days`: the scrub reads every object once in so many days; 0 for no scrub."""
        self._store = store
        self._scrub_days = scrub_days
        self._finished = 0
        self._check: asyncio.Task[None] | None = None
        self._scrub: asyncio.Task[None] | None = None
        self._stop = threading.Event()

    def start(self) -> bool:
        """Begin a self-check; False if one is running."""
        if self._check is not None and not self._check.done():
            return False
        self._check = asyncio.create_task(self._check_all())
        return True

    def status(self) -> tuple[CheckState, int]:
        """The state, and when the last self-check finished in seconds since 1970 (0: never)."""
        if self._check is None:
            return CheckState.NEVER_STARTED, self._finished
        return (CheckState.IDLE if self._check.done() else CheckState.RUNNING), self._finished

    def start_scrub(self) -> None:
        """Begin to scrub, for as long as the checker is open."""
        if self._scrub_days:
            self._scrub = asyncio.create_task(self._scrub_for_ever())

    async def close(self) -> None:
        """End what runs."""
        self._stop.set()
        for task in (self._check, self._scrub):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _check_all(self) -> None:
        position: int | None = 0
        damaged = 0
        try:
            while position is not None:
                bite = await self._bite(position, self._full_speed)
                position = bite.position
                damaged += len(bite.damaged)
        except (OSError, CatalogError, sqlite3.Error) as error:
            logger.error("the self-check ended early: %s", error)
        self._finished = max(int(time.time()), self._finished + 1)
        logger.info("self-check finished: %d damaged objects", damaged)

    def _full_speed(self, _count: int) -> None:
        if self._stop.is_set():
            raise StoppedError

    def _slowly(self, count: int) -> None:
        if self._stop.wait(count / SCRUB_RATE):
            raise StoppedError

    async def _bite(self, after: int, pace: Pace) -> Bite:
        bite = await self._store.in_thread(self._bite_in_thread, after, pace)
        for stored in bite.damaged:
            await self._store.set_aside(stored)
        return bite

    def _bite_in_thread(self, after: int, pace: Pace) -> Bite:
        with contextlib.closing(connect(self._store.catalog.path)) as catalog:
            return check_objects(catalog, self._store.bodies, after, pace)

    async def _scrub_for_ever(self) -> None:
        position = await self._store.in_thread(self._stored_position)
        pause = await self._store.in_thread(self._pause)
        while True:
            await asyncio.sleep(pause)
            try:
                bite = await self._bite(position, self._slowly)
                position = bite.position or 0
                await self._store.catalog.write(functools.partial(_keep_position, position))
                if not position:
                    pause = await self._store.in_thread(self._pause)
            except (OSError, CatalogError, sqlite3.Error) as error:
                logger.error("the scrub goes on later: %s", error)

    def _pause(self) -> float:
        """Seconds between two bites, so that all objects have their turn in time."""
        with contextlib.closing(connect(self._store.catalog.path)) as catalog:
            size, count = catalog.execute("SELECT coalesce(sum(size), 0), count(*) FROM objects").fetchone()
        bites = max(1.0, size / BITE, count / BITE_OBJECTS)
        return float(min(max(LEAST_PAUSE, self._scrub_days * DAY / bites), DAY / 24))

    def _stored_position(self) -> int:
        with contextlib.closing(connect(self._store.catalog.path)) as catalog:
            row = catalog.execute("SELECT value FROM state WHERE name = ?", (POSITION,)).fetchone()
        return 0 if row is None else int(row[0])


def _keep_position(position: int, database: sqlite3.Connection) -> None:
    statement = (
        "INSERT INTO state (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    )
    database.execute(statement, (POSITION, position))
