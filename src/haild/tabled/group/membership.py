"""tabled's part in CLD: membership, the master's lock, and the storage nodes (discovery.md section 4).

Everything is driven by events: a lock that becomes free, a directory or record that changes. Nothing is scanned
on a timer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from haild.client.cld import CldError, ErrorCode, Event, EventMask, OpenMode, Session
from haild.tabled.bodies.nodes import Nodes, RecordError, parse_record
from haild.tabled.group.relay import Address
from haild.tabled.group.role import Role
from haild.wire.cld.messages import directory_names

MASTER: Final = "MASTER"

_DIRECTORY: Final = OpenMode.READ | OpenMode.WRITE | OpenMode.CREATE | OpenMode.DIRECTORY
_MEMBER: Final = OpenMode.WRITE | OpenMode.LOCK | OpenMode.CREATE
_MASTER: Final = OpenMode.READ | OpenMode.WRITE | OpenMode.LOCK | OpenMode.CREATE

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MasterRecord:
    """The content of the MASTER file (discovery.md 4.3).

    Our additions: the identity of the metadata, and where clients are served, once they are. `host` and `port` of the
    reference name its port for replication, which we do not have.
    """

    name: str
    database: str = ""
    address: Address | None = None

    def encode(self) -> bytes:
        """The file's text."""
        lines = [f"name: {self.name}\n"]
        if self.database:
            lines.append(f"database: {self.database}\n")
        if self.address is not None:
            lines.append(f"clients: {self.address[0]}:{self.address[1]}\n")
        return "".join(lines).encode()


def parse_master(data: bytes) -> MasterRecord | None:
    """The record in a MASTER file; None where there is none (yet). Unknown tags are ignored."""
    values: dict[str, str] = {}
    for line in data.decode("utf-8", "replace").split("\n")[:-1]:
        tag, colon, value = line.partition(":")
        if colon:
            values[tag] = value.lstrip(" ")
    name = values.get("name", "")
    host, _, port = values.get("clients", "").rpartition(":")
    known = host and len(host) <= 64 and port.isdecimal() and 0 < int(port) < 65536
    address = (host, int(port)) if known else None
    return MasterRecord(name[:64], values.get("database", "")[:64], address) if name else None


@dataclass
class Group:
    """One member of the group.

    `address` is where clients find this member, `database` tells the identity of the metadata in our directory, empty
    if there are none.
    """

    group: str
    name: str
    address: Address
    nodes: Nodes
    database: Callable[[], str]
    role: Role
    master: str = ""
    master_address: Address | None = None
    peers: set[str] = field(default_factory=set)
    in_session: bool = False
    _holding: bool = False
    """Whether this session holds the master's lock, and this member leads or is about to."""

    async def use(self, session: Session) -> None:
        """Do a member's duties for as long as the session lives."""
        self.in_session = True
        try:
            watch = _Watch(session)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(watch.run())
                # The nodes do not depend on who is master: a stand-by knows them already when its hour comes.
                tasks.create_task(self._follow_nodes(session, watch))
                await self._join(session, watch)
                tasks.create_task(self._follow_peers(session, watch))
                tasks.create_task(self._follow_master(session, watch))
                while True:
                    await self._elect(session)
        except BaseExceptionGroup as group:
            raise _first(group) from None
        finally:
            self.in_session = self._holding = False
            self.role.doubt.set()

    async def _join(self, session: Session, watch: _Watch) -> None:
        await session.open(f"/tabled-{self.group}", _DIRECTORY)
        handle = await session.open(f"/tabled-{self.group}/{self.name}", _MEMBER)
        if not await session.try_lock(handle):
            logger.info("another tabled of the name %s is in the group; waiting for it to go", self.name)
            await session.lock(handle)
        await session.put(handle, b"-\n")

    async def _follow_peers(self, session: Session, watch: _Watch) -> None:
        path = f"/tabled-{self.group}"
        handle = await session.open(path, OpenMode.READ | OpenMode.DIRECTORY, EventMask.UPDATED)
        while True:
            changed = watch.arm(handle)
            names = directory_names((await session.get(handle)).data)
            self.peers = {n.decode("utf-8", "replace") for n in names} - {MASTER, self.name}
            await changed.wait()

    async def _follow_master(self, session: Session, watch: _Watch) -> None:
        """Keep what we know of the master true."""
        handle = await session.open(
            f"/tabled-{self.group}/{MASTER}", OpenMode.READ | OpenMode.CREATE, EventMask.UPDATED
        )
        while True:
            changed = watch.arm(handle)
            record = parse_master((await session.get(handle)).data)
            self.master = record.name if record else ""
            other = record is not None and record.name != self.name
            self.master_address = record.address if record and other else None
            # A name read just before we got the lock is the last master's.
            if other and not self._holding:
                await self.role.stand_by()
            await changed.wait()

    async def _elect(self, session: Session) -> None:
        """Hold the master's lock and lead, or wait for it; returns when deposed."""
        handle = await session.open(f"/tabled-{self.group}/{MASTER}", _MASTER)
        if not await session.try_lock(handle):
            present = parse_master((await session.get(handle)).data)
            logger.info("stand-by; the master is %s", present.name if present else "not known yet")
            await session.lock(handle)
        last = parse_master((await session.get(handle)).data)
        if self._may_lead(last):
            self._holding = True
            await session.put(handle, MasterRecord(self.name, last.database if last else "").encode())
            await self.role.lead(supersede=last is not None and last.name != self.name)
            await session.put(handle, MasterRecord(self.name, self.database(), self.address).encode())
            await self.role.deposed.wait()
            self._holding = False
        await session.close_handle(handle)
        await asyncio.sleep(5.0)

    def _may_lead(self, last: MasterRecord | None) -> bool:
        """False if the last master was another one with other metadata: ours would show an older world."""
        if last is None or last.name == self.name or not last.database or last.database == self.database():
            return True
        logger.error("the metadata here are not those of the last master %s: not taking over", last.name)
        return False

    async def _follow_nodes(self, session: Session, watch: _Watch) -> None:
        """Read the records of the storage nodes, now and whenever one changes."""
        await self._ensure_directory(session, f"/chunk-{self.group}")
        path = f"/chunk-{self.group}"
        directory = await session.open(path, OpenMode.READ | OpenMode.DIRECTORY, EventMask.UPDATED)
        handles: dict[bytes, int] = {}
        while True:
            changed = watch.arm(directory, *handles.values())
            for name in directory_names((await session.get(directory)).data):
                await self._read_node(session, f"{path}/{name.decode('utf-8', 'replace')}", name, handles)
            if changed.handles >= {directory, *handles.values()}:
                await changed.wait()

    async def _ensure_directory(self, session: Session, path: str) -> None:
        # chunkd makes it; it may not have come so far, and a missing path cannot be watched.
        handle = await session.open(path, _DIRECTORY)
        await session.close_handle(handle)

    async def _read_node(self, session: Session, path: str, name: bytes, handles: dict[bytes, int]) -> None:
        try:
            if name not in handles:
                handles[name] = await session.open(path, OpenMode.READ, EventMask.UPDATED)
            data = (await session.get(handles[name])).data
        except CldError as error:
            if error.code not in (
                ErrorCode.NAME_INVAL,
                ErrorCode.INODE_INVAL,
                ErrorCode.FH_INVAL,
                ErrorCode.MODE_INVAL,
            ):
                raise
            handles.pop(name, None)
            return
        if not data:  # just created; its content comes with an event
            return
        try:
            record = parse_record(data)
        except RecordError as error:
            logger.warning("%s: not a usable record of a storage node: %s", path, error)
            return
        if record is None:
            logger.warning("%s: only storage nodes of type chunk are supported; ignored", path)
        else:
            self.nodes.update(record)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class _Armed(asyncio.Event):
    """Set by the next event on any of some handles."""

    def __init__(self, handles: set[int]) -> None:
        super().__init__()
        self.handles = handles


class _Watch:
    """Hands a session's events to those who wait for their handles."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._armed: list[_Armed] = []

    def arm(self, *handles: int) -> _Armed:
        """An event that is set by what happens to one of these handles from now on."""
        armed = _Armed(set(handles))
        self._armed = [a for a in self._armed if not a.is_set() and a.handles.isdisjoint(armed.handles)]
        self._armed.append(armed)
        return armed

    async def run(self) -> None:
        """Pass on events, for ever. Raises SessionLostError."""
        while True:
            event: Event = await self._session.next_event()
            for armed in self._armed:
                if event.handle in armed.handles:
                    armed.set()
