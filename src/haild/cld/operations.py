"""What the requests do to files, handles and locks (cld.md sections 9, 10 and 11).

`execute` returns the response; events are handed to `notify` in the order in which they must leave, which is before
the response (section 9.4).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from haild.cld.changes import Changes, Table
from haild.cld.files import FileTree, Inode, parent_of, valid_path
from haild.cld.locks import Lock, LockTable, Owner
from haild.cld.refusal import RefusedError
from haild.cld.session import Handle, Session
from haild.wire.cld import messages as cld
from haild.wire.cld.messages import ErrorCode, EventMask, Op, OpenMode

CHANGING: Final = frozenset({Op.OPEN, Op.PUT, Op.CLOSE, Op.DEL, Op.LOCK, Op.TRYLOCK, Op.UNLOCK})
"""Requests that must not be executed twice."""
MAXIMUM_HANDLES: Final = 4096
"""Handles one session may have, and locks one handle."""
MAXIMUM_TOTAL: Final = 100_000
"""Handles, and locks, of all sessions together."""

Notify = Callable[[Owner, int], None]


class Request(NamedTuple):
    """A request of a session."""

    session: Session
    op: int
    xid: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """Opcode and body of a response."""

    op: int
    code: int
    body: bytes


class Operations:
    """Files, handles and locks of all sessions. `wall` returns seconds since 1970."""

    def __init__(
        self,
        changes: Changes,
        tree: FileTree,
        sessions: dict[bytes, Session],
        notify: Notify,
        wall: Callable[[], float],
    ) -> None:
        self.tree = tree
        self.locks = LockTable()
        self._changes = changes
        self._sessions = sessions
        self._notify = notify
        self._wall = wall
        self._on_inode: dict[int, dict[Owner, Handle]] = {}
        self._handles = 0
        self._handlers: dict[int, Callable[[Request], Response]] = {
            Op.NOP: self._nop,
            Op.OPEN: self._open,
            Op.GET: self._get,
            Op.GET_META: self._get,
            Op.PUT: self._put,
            Op.CLOSE: self._close,
            Op.DEL: self._delete,
            Op.LOCK: self._lock,
            Op.TRYLOCK: self._lock,
            Op.UNLOCK: self._unlock,
        }

    def knows(self, op: int) -> bool:
        """Whether `execute` has something to do for this opcode."""
        return op in self._handlers

    def execute(self, call: Request) -> Response:
        """Do what a request asks. Raises RefusedError; XdrError where the body does not decode."""
        return self._handlers[call.op](call)

    def restore_handle(self, handle: Handle) -> None:
        """Enter a stored handle."""
        self._on_inode.setdefault(handle.inum, {})[handle.sid, handle.number] = handle
        self._handles += 1

    # Requests.

    def _nop(self, call: Request) -> Response:
        return _ok(call)

    def _open(self, call: Request) -> Response:
        request = cld.OpenRequest.decode(call.body)
        session = call.session
        mode, path = request.mode, request.path
        if not valid_path(path) or (mode & OpenMode.CREATE and path == b"/"):
            raise RefusedError(ErrorCode.NAME_INVAL)
        if len(session.handles) >= MAXIMUM_HANDLES or self._handles >= MAXIMUM_TOTAL:
            raise RefusedError(ErrorCode.OOM)
        now = int(self._wall())
        inode = self.tree.find(path)
        created = False
        directory = bool(mode & OpenMode.DIRECTORY)
        if inode is None:
            if not mode & OpenMode.CREATE:
                raise RefusedError(ErrorCode.NAME_INVAL)
            inode, parent = self.tree.create(path, directory=directory, now=now)
            created = True
            self._touch(parent, now)
        elif mode & OpenMode.CREATE and mode & OpenMode.EXCL:
            raise RefusedError(ErrorCode.INODE_EXISTS)
        elif directory != inode.is_directory:
            raise RefusedError(ErrorCode.MODE_INVAL)
        handle = Handle(session.sid, session.next_handle, inode.inum, mode, request.events)
        session.next_handle += 1
        session.handles[handle.number] = handle
        self.restore_handle(handle)
        self._changes.put(Table.HANDLES, (handle.sid, handle.number), handle.row())
        if created:
            self._touch(inode, now)
        return Response(Op.OPEN, ErrorCode.OK, cld.OpenReply(ErrorCode.OK, call.xid, handle.number).encode())

    def _get(self, call: Request) -> Response:
        handle = self._handle(call.session, cld.HandleRequest.decode(call.body).handle)
        if not handle.mode & OpenMode.READ:
            raise RefusedError(ErrorCode.MODE_INVAL)
        inode = self._inode(handle)
        data = self.tree.content(inode) if call.op == Op.GET else b""
        reply = cld.GetReply(
            ErrorCode.OK,
            call.xid,
            inode.inum,
            inode.version,
            inode.created,
            inode.modified,
            inode.flags,
            inode.path,
            data,
        )
        # The answer to GET_META has the opcode GET, too (6.1).
        return Response(Op.GET, ErrorCode.OK, reply.encode())

    def _put(self, call: Request) -> Response:
        request = cld.PutRequest.decode(call.body)
        handle = self._handle(call.session, request.handle)
        if not handle.mode & OpenMode.WRITE or handle.mode & OpenMode.DIRECTORY:
            raise RefusedError(ErrorCode.MODE_INVAL)
        inode = self._inode(handle)
        self.tree.write(inode, request.data)
        self._touch(inode, int(self._wall()))
        return _ok(call)

    def _close(self, call: Request) -> Response:
        handle = self._handle(call.session, cld.HandleRequest.decode(call.body).handle)
        self._drop_handle(call.session, handle)
        for lock in self.locks.of(handle.inum, (handle.sid, handle.number)):
            self._remove(lock)
        self._grant(handle.inum)
        return _ok(call)

    def _delete(self, call: Request) -> Response:
        self._remove_inode(*self.tree.remove(cld.PathRequest.decode(call.body).path))
        return _ok(call)

    def _remove_inode(self, inode: Inode, parent: Inode) -> None:
        for owner, handle in list(self._on_inode.get(inode.inum, {}).items()):
            self._notify(owner, EventMask.DELETED)
            self._sessions[handle.sid].handles.pop(handle.number, None)
            self._changes.delete(Table.HANDLES, (handle.sid, handle.number))
        self._handles -= len(self._on_inode.pop(inode.inum, ()))
        for lock in self.locks.clear(inode.inum):
            self._changes.delete(Table.LOCKS, (lock.number,))
        self.tree.take_out(inode, parent)
        self._touch(parent, int(self._wall()))

    def _lock(self, call: Request) -> Response:
        request = cld.LockRequest.decode(call.body)
        handle = self._lock_handle(call.session, request.handle)
        shared = bool(request.flags & cld.LOCK_SHARED)
        free = not self.locks.conflicting(handle.inum, shared=shared)
        if not free and call.op == Op.TRYLOCK:
            raise RefusedError(ErrorCode.LOCK_CONFLICT)
        owner = (handle.sid, handle.number)
        own = len(self.locks.of(handle.inum, owner)) if not free or shared else 0
        if own >= MAXIMUM_HANDLES or len(self.locks) >= MAXIMUM_TOTAL:
            raise RefusedError(ErrorCode.OOM)
        lock = self.locks.add(handle.inum, owner, shared=shared, held=free, now=int(self._wall()))
        self._note(lock)
        return _ok(call, ErrorCode.OK if free else ErrorCode.LOCK_PENDING)

    def _unlock(self, call: Request) -> Response:
        handle = self._lock_handle(call.session, cld.HandleRequest.decode(call.body).handle)
        locks = self.locks.of(handle.inum, (handle.sid, handle.number))
        if not locks:
            raise RefusedError(ErrorCode.LOCK_INVAL)
        self._remove(locks[0])
        self._grant(handle.inum)
        return _ok(call)

    # Sessions that end, locks that are wanted.

    def release(self, session: Session) -> None:
        """Take away all handles and locks of a session and grant those who waited for them."""
        inodes: list[int] = []
        for handle in list(session.handles.values()):
            self._drop_handle(session, handle)
            for lock in self.locks.of(handle.inum, (handle.sid, handle.number)):
                self._remove(lock)
                inodes.append(handle.inum)
        for inum in dict.fromkeys(inodes):
            self._grant(inum)

    def holders(self, call: Request) -> list[bytes]:
        """Sessions whose locks stand against a LOCK or TRYLOCK, the asker's own included."""
        request = cld.LockRequest.decode(call.body)
        handle = call.session.handles.get(request.handle)
        if handle is None:
            return []
        locks = self.locks.conflicting(handle.inum, shared=bool(request.flags & cld.LOCK_SHARED))
        return list(dict.fromkeys(lock.owner[0] for lock in locks))

    def awaited(self, session: Session) -> bool:
        """Whether another session waits for a lock that this one holds."""
        for handle in session.handles.values():
            if not handle.mode & OpenMode.LOCK:
                continue
            locks = self.locks.on(handle.inum)
            mine = any(lock.held and lock.owner[0] == session.sid for lock in locks)
            if mine and any(not lock.held and lock.owner[0] != session.sid for lock in locks):
                return True
        return False

    def lock_is_held(self, call: Request) -> bool:
        """Whether the handle of a LOCK holds a lock by now. Raises XdrError."""
        handle = call.session.handles.get(cld.LockRequest.decode(call.body).handle)
        return handle is not None and self.holds(handle)

    def holds(self, handle: Handle) -> bool:
        """Whether a handle holds a lock."""
        return any(lock.held for lock in self.locks.of(handle.inum, (handle.sid, handle.number)))

    # Emptying.

    def locking_below(self, places: Sequence[bytes]) -> dict[bytes, set[int]]:
        """By id, the sessions that have or want a lock of a file below one of the directories `places`, and which."""
        found: dict[bytes, set[int]] = {}
        for lock in self.locks:
            inode = self.tree.number(lock.inum)
            if inode is not None and any(inode.path.startswith(place.rstrip(b"/") + b"/") for place in places):
                found.setdefault(lock.owner[0], set()).add(lock.inum)
        return found

    def empty(self, kept: Mapping[bytes, Collection[int]]) -> None:
        """Remove all files and directories, except those whose inodes are in `kept`, and what leads to them."""
        inodes = [inode for inums in kept.values() for inum in inums if (inode := self.tree.number(inum))]
        paths = {b"/"}
        for inode in inodes:
            path = inode.path
            while path not in paths:
                paths.add(path)
                path = parent_of(path)
        for path in sorted(self.tree.paths(), key=len, reverse=True):
            if path not in paths:
                self._remove_inode(*self.tree.remove(path))

    # Parts.

    def _handle(self, session: Session, number: int) -> Handle:
        handle = session.handles.get(number)
        if handle is None:
            raise RefusedError(ErrorCode.FH_INVAL)
        return handle

    def _lock_handle(self, session: Session, number: int) -> Handle:
        handle = self._handle(session, number)
        if not handle.mode & OpenMode.LOCK:
            raise RefusedError(ErrorCode.MODE_INVAL)
        return handle

    def _inode(self, handle: Handle) -> Inode:
        inode = self.tree.number(handle.inum)
        if inode is None:
            raise RefusedError(ErrorCode.INODE_INVAL)
        return inode

    def _touch(self, inode: Inode, now: int) -> None:
        self.tree.touch(inode, now)
        for owner, handle in list(self._on_inode.get(inode.inum, {}).items()):
            if handle.events & EventMask.UPDATED:
                self._notify(owner, EventMask.UPDATED)

    def _drop_handle(self, session: Session, handle: Handle) -> None:
        session.handles.pop(handle.number, None)
        handles = self._on_inode.get(handle.inum)
        if handles is not None and handles.pop((handle.sid, handle.number), None) is not None:
            self._handles -= 1
            if not handles:
                del self._on_inode[handle.inum]
        self._changes.delete(Table.HANDLES, (handle.sid, handle.number))

    def _note(self, lock: Lock) -> None:
        row = (lock.inum, *lock.owner, lock.shared, lock.held, lock.since)
        self._changes.put(Table.LOCKS, (lock.number,), row)

    def _remove(self, lock: Lock) -> None:
        self.locks.remove(lock)
        self._changes.delete(Table.LOCKS, (lock.number,))

    def _grant(self, inum: int) -> None:
        for lock in self.locks.grant(inum, int(self._wall())):
            self._note(lock)
            self._notify(lock.owner, EventMask.LOCKED)


def _ok(call: Request, code: ErrorCode = ErrorCode.OK) -> Response:
    return Response(call.op, code, cld.Generic(code, call.xid).encode())
