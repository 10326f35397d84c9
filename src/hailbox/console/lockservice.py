"""What cld holds: its sessions, its locks, and its tree of files, by `python -m haild.cld admin` in its container."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hailbox.commands.execute import execute
from hailbox.context import Context
from hailbox.model.errors import NotWorkingError
from hailbox.trace.follow import RESOLVE


@dataclass(frozen=True)
class Session:
    """A client of cld. Times in seconds."""

    id: str
    user: str
    holder: str
    """The replica that has it, else an address."""
    transport: str
    age: float
    lease: float
    left: float | None
    """What is left of the lease, if it is not renewed; None where the server does not say it."""
    locks: int


@dataclass(frozen=True)
class Lock:
    """A lock that is held, or waited for."""

    path: str
    state: str
    mode: str
    age: float
    session: str
    holder: str
    left: float | None


@dataclass(frozen=True)
class File:
    """A file or a directory of the tree."""

    path: str
    name: str
    depth: int
    kind: str
    size: int
    version: int
    age: float
    locks: tuple[Lock, ...]


@dataclass(frozen=True)
class LockService:
    """Everything."""

    sessions: tuple[Session, ...] = ()
    locks: tuple[Lock, ...] = ()
    files: tuple[File, ...] = ()

    def held_by(self, replica: str) -> tuple[tuple[Session, ...], tuple[Lock, ...]]:
        """The sessions of a replica, and the locks that they hold or wait for."""
        sessions = tuple(session for session in self.sessions if session.holder == replica)
        known = {session.id for session in sessions}
        return sessions, tuple(lock for lock in self.locks if lock.session in known)


def read(context: Context, cld: str, replicas: Sequence[str]) -> LockService:
    """What the replica `cld` holds. Raises NotWorkingError where its image is not ours, and what `exec` raises."""
    said = execute(context, cld, ["python3", "-m", "haild.cld", "admin", "--json"])
    named = execute(context, cld, ["python3", "-c", RESOLVE, *replicas])
    state = execute(context, cld, ["python3", "-m", "haild.daemon.reader", "state"])
    try:
        content = json.loads(said.output)
        addresses = json.loads(named.output) if named.status == 0 else {}
        leases = json.loads(state.output)["leases"] if state.status == 0 else {}
        return _understood(content, addresses, leases)
    except (ValueError, KeyError, TypeError) as error:
        raise NotWorkingError(
            f"{cld} does not tell what it holds: {said.errors.decode(errors='replace').strip()[-200:] or error}",
            f"see: hailbox --stack {context.stack} exec {cld} -- python3 -m haild.cld admin",
        ) from error


def _understood(content: Mapping[str, Any], addresses: Mapping[str, str], leases: Mapping[str, float]) -> LockService:
    def holder(address: str) -> str:
        return addresses.get(address.rpartition(":")[0].strip("[]"), address)

    sessions = tuple(
        Session(
            each["id"], each["user"], holder(each["address"]), each["transport"], each["age"], each["lease"],
            leases.get(each["id"]), each["locks"],
        )
        for each in content["sessions"]
    )  # fmt: skip
    left = {session.id: session.left for session in sessions}
    locks = tuple(
        Lock(
            each["path"], each["state"], each["mode"], each["age"], each["session"], holder(each["address"]),
            left.get(each["session"]),
        )
        for each in content["locks"]
    )  # fmt: skip
    files = tuple(
        File(
            path,
            path.rpartition("/")[2] or "/",
            0 if path == "/" else path.count("/"),
            each["kind"],
            each["size"],
            each["version"],
            each["age"],
            tuple(lock for lock in locks if lock.path == path),
        )
        for each in sorted(content["files"], key=lambda each: str(each["path"]).split("/"))
        for path in [str(each["path"])]
    )
    return LockService(sessions, locks, files)
