"""A session with cld and what can be done in it; see `haild.client.cld`."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from haild.client.cld import carrier, machine
from haild.client.cld.errors import CldError, ConnectError, SessionLostError
from haild.wire.cld import extension as cld_extension
from haild.wire.cld import messages as cld
from haild.wire.cld import packet as cld_packet
from haild.wire.cld.messages import ErrorCode, EventMask, Op, OpenMode

Transport = Literal["auto", "tcp", "udp"]

_TCP_TRIAL: Final = 0.5
"""Seconds for a TCP connection before UDP is tried as well: a packet filter may answer nothing."""
_UDP_TRIAL: Final = 0.4
"""Seconds for the first answer over UDP. A server that is up answers within milliseconds; one that is not must not
hold up the next attempt over TCP."""
_TCP_AGAIN: Final = 0.03
"""Seconds between attempts over TCP meanwhile: a server of ours that is just starting has it in a moment."""
_FAREWELL: Final = 0.5
"""Seconds a server has to confirm the end of a session. Without it, the closed connection tells the same."""
_EVENTS: Final = 10_000
"""Events kept for a caller that does not fetch them; the same event for the same handle is kept once."""


class Event(NamedTuple):
    """What happened to the file of a handle."""

    handle: int
    bits: EventMask


class File(NamedTuple):
    """A file or directory as GET returns it. Times are seconds since 1970 UTC."""

    inum: int
    version: int
    created: int
    modified: int
    flags: int
    path: str
    data: bytes

    @property
    def is_directory(self) -> bool:
        return bool(self.flags & cld.INODE_DIRECTORY)

    def names(self) -> list[str]:
        """Names of the children of a directory, in order of creation."""
        return [_text(name) for name in cld.directory_names(self.data)]


@dataclass(frozen=True, slots=True)
class _Who:
    """The server, and the client as it introduces itself. lease: seconds."""

    host: str
    port: int
    user: bytes
    secret: bytes
    lease: float


class Session:
    """A session with a server. Made by `connect`; usable by many tasks of one event loop at once."""

    def __init__(self, state: machine.Machine, link: carrier.Carrier) -> None:
        self._machine = state
        self._link = link
        self._calls: dict[int, asyncio.Future[bytes]] = {}
        self._locking: dict[asyncio.Future[bytes], int] = {}
        self._grants: dict[int, asyncio.Future[None]] = {}
        self._masks: dict[int, EventMask] = {}
        self._events: deque[Event] = deque()
        self._pending_events: set[Event] = set()
        self._news = asyncio.Event()
        self._lost = asyncio.Event()
        self._error: SessionLostError | None = None

    @classmethod
    async def connect(
        cls,
        host: str,
        port: int,
        *,
        user: str,
        secret: bytes,
        transport: Transport = "auto",
        deadline: float = 5.0,
        lease: float = cld_extension.DEFAULT_LEASE,
    ) -> Session:
        """Start a session within `deadline` seconds; `lease` in seconds, 1 to 120.

        transport: "auto" is TCP, and UDP for a server that has only that, as cld 0.7 to 0.7.2 do (cld.md 1.1).
        Raises ConnectError (no answer, refused, unknown host), CldError with SIG_INVAL (wrong secret, where the
        server can tell) or with the code the server refused the session with.
        """
        cld_packet.check_user(user.encode())
        who = _Who(host, port, user.encode(), secret, lease)
        if transport != "auto":
            return await cls._start(who, transport, deadline)
        clock = asyncio.get_running_loop().time
        end = clock() + deadline
        try:
            return await cls._start(who, "tcp", deadline, connect=min(_TCP_TRIAL, deadline))
        except ConnectError as failure:
            left = end - clock()
            if left <= 0:
                raise
            session = await cls._over_either(who, min(_UDP_TRIAL, left), failure)
        if not session._machine.ours or session.transport == "tcp":
            return session
        # A server of ours has TCP, too: it was just starting, or slow.
        try:
            better = await cls._start(who, "tcp", max(0.1, end - clock()))
        except (CldError, OSError):
            return session
        await session.end()
        return better

    @classmethod
    async def _over_either(cls, who: _Who, deadline: float, failure: ConnectError) -> Session:
        """A session over UDP, or over TCP if that comes first. Raises `failure`, that of TCP, where none comes."""
        clock = asyncio.get_running_loop().time
        end = clock() + deadline
        udp = asyncio.create_task(cls._start(who, "udp", deadline))
        over_udp = False
        try:
            while not (await asyncio.wait({udp}, timeout=_TCP_AGAIN))[0]:
                if (left := end - clock()) > 0:
                    with contextlib.suppress(ConnectError):
                        return await cls._start(who, "tcp", left)
            over_udp = True
            return udp.result()
        except ConnectError:
            raise failure from None
        finally:
            if not over_udp:
                udp.cancel()
                (late,) = await asyncio.gather(udp, return_exceptions=True)
                if isinstance(late, Session):
                    await late.end()

    @classmethod
    async def _start(
        cls, who: _Who, transport: Literal["tcp", "udp"], deadline: float, connect: float | None = None
    ) -> Session:
        """As `connect` over one transport; `connect`: seconds for the connection itself, if less."""
        state = machine.Machine(
            user=who.user,
            secret=who.secret,
            reliable=transport == "tcp",
            lease=who.lease,
            randomness=carrier.randomness,
        )
        link = carrier.Carrier(state, who.host, who.port, transport)
        session = cls(state, link)
        link.deliver = session._take
        started: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        session._calls[0] = started
        place = f"{who.host}:{who.port}"
        try:
            async with asyncio.timeout(deadline):
                async with asyncio.timeout(connect):
                    await link.start()
                await started
        except TimeoutError as error:
            link.close()
            raise ConnectError(ErrorCode.TIMEOUT, f"{place}: no answer within {deadline:g} s") from error
        except OSError as error:
            link.close()
            raise ConnectError(ErrorCode.TIMEOUT, f"{place}: {error.strerror or error}") from error
        except SessionLostError as error:
            link.close()
            if error.code == ErrorCode.TIMEOUT:
                raise ConnectError(error.code, f"{place}: {error}") from error
            raise CldError(error.code, f"{place}: {error}") from error
        except BaseException:
            link.close()
            raise
        return session

    # State.

    @property
    def valid(self) -> bool:
        """Whether the session, and with it every lock it holds, is certain to be there now."""
        return self._error is None and carrier.clock() < self._machine.valid_until

    @property
    def transport(self) -> Literal["tcp", "udp"]:
        """What carries the session."""
        return self._link.transport

    @property
    def lease(self) -> float:
        """Seconds after the last contact until the server ends the session."""
        return self._machine.lease

    # Operations.

    async def open(self, path: str, mode: OpenMode, events: EventMask = EventMask(0)) -> int:  # noqa: B008
        """Open (or, by the mode, create) a file or directory. Returns a handle."""
        body = cld.OpenRequest(mode, events, path.encode("utf-8", "surrogateescape")).encode()
        reply = cld.OpenReply.decode(await self._call(Op.OPEN, body))
        self._masks[reply.handle] = events
        return reply.handle

    async def get(self, handle: int) -> File:
        """Content and metadata of the file or directory of a handle with READ."""
        reply = cld.GetReply.decode(await self._call(Op.GET, cld.HandleRequest(handle).encode()))
        return _file(reply)

    async def get_metadata(self, handle: int) -> File:
        """Like `get`, without the content."""
        reply = cld.GetReply.decode(await self._call(Op.GET_META, cld.HandleRequest(handle).encode()))
        return _file(reply)

    async def put(self, handle: int, data: bytes) -> None:
        """Replace the content of the file of a handle with WRITE; at most 131072 bytes."""
        if len(data) > cld.MAXIMUM_DATA:
            raise CldError(ErrorCode.BAD_PKT, f"{len(data)} bytes are more than a file may have")
        await self._call(Op.PUT, cld.PutRequest(handle, data).encode())

    async def delete(self, path: str) -> None:
        """Delete a file or an empty directory, and with it all handles on it."""
        await self._call(Op.DEL, cld.PathRequest(path.encode("utf-8", "surrogateescape")).encode())

    async def close_handle(self, handle: int) -> None:
        """Close a handle; its locks go with it."""
        self._masks.pop(handle, None)
        await self._call(Op.CLOSE, cld.HandleRequest(handle).encode())

    async def lock(self, handle: int, *, shared: bool = False) -> None:
        """Lock the file of a handle with LOCK; returns when the lock is held. Cancelling it cancels the wait.

        One wait at a time for one handle.
        """
        granted: asyncio.Future[None] | None = None
        try:
            code = await self._lock(Op.LOCK, handle, shared)
            if code == ErrorCode.LOCK_PENDING:
                granted = self._grants[handle]
                await granted
            elif code != ErrorCode.OK:
                raise CldError(code)
        except asyncio.CancelledError:
            if self._error is None:
                self._send(Op.UNLOCK, cld.HandleRequest(handle).encode()).add_done_callback(_ignore)
            raise
        finally:
            if granted is not None and self._grants.get(handle) is granted:
                del self._grants[handle]

    async def try_lock(self, handle: int, *, shared: bool = False) -> bool:
        """Lock the file of a handle with LOCK if it is free; returns whether it is held now."""
        code = await self._lock(Op.TRYLOCK, handle, shared)
        if code not in (ErrorCode.OK, ErrorCode.LOCK_CONFLICT):
            raise CldError(code)
        return code == ErrorCode.OK

    async def _lock(self, op: Op, handle: int, shared: bool) -> ErrorCode:
        body = cld.LockRequest(handle, cld.LOCK_SHARED if shared else 0).encode()
        try:
            call = self._send(op, body)
            if op == Op.LOCK:
                self._locking[call] = handle
            await call
        except SessionLostError:
            raise
        except CldError as error:
            return error.code
        return ErrorCode.OK

    async def unlock(self, handle: int) -> None:
        """Give up the lock of a handle, or the wait for it."""
        await self._call(Op.UNLOCK, cld.HandleRequest(handle).encode())

    async def empty(self, kept: Sequence[str]) -> None:
        """Have the server discard all files but those that daemons hold in the directories `kept`.

        Only in a session of the user of `haild.wire.emptying`; a server that refuses it does not answer.
        """
        await self._call(Op.EMPTY, b"".join(path.encode() + b"\0" for path in kept))

    async def next_event(self) -> Event:
        """The next event of a handle; also of one whose `open` has not returned yet. Raises SessionLostError."""
        while not self._events:
            self.raise_if_lost()
            self._news.clear()
            await self._news.wait()
        event = self._events.popleft()
        self._pending_events.discard(event)
        return event

    async def wait_lost(self) -> None:
        """Return when the session is lost."""
        await self._lost.wait()

    async def end(self) -> None:
        """End the session: handles and locks are free when this returns, if there is a connection. Never raises.

        Without one nothing is waited for: the server, which has most likely been stopped as well, ends the session
        when it finds its lifeline closed.
        """
        if self._error is None:
            answered = self._send(Op.END_SESS, b"")
            answered.add_done_callback(_ignore)
            broken = asyncio.ensure_future(self._link.broken.wait())
            ends: set[asyncio.Future[Any]] = {answered, broken}
            try:
                await asyncio.wait(ends, timeout=_FAREWELL, return_when=asyncio.FIRST_COMPLETED)
            finally:
                broken.cancel()
        self._machine.abandon("ended")
        self._link.flush()
        self._link.close()

    async def watch(self, path: str) -> AsyncIterator[File]:
        """The file or directory at `path`, now and after each change, until it is deleted.

        Takes the session's events for itself: one watch, and no `next_event`, in one session.
        Raises CldError (NAME_INVAL where there is no such path) and SessionLostError.
        """
        handle = await self._open_any(path, EventMask.UPDATED)
        try:
            yield await self.get(handle)
            while True:
                event = await self.next_event()
                if event.handle != handle:
                    continue
                if event.bits & EventMask.DELETED:
                    return
                yield await self.get(handle)
        finally:
            if self._error is None:
                self._send(Op.CLOSE, cld.HandleRequest(handle).encode()).add_done_callback(_ignore)

    async def _open_any(self, path: str, events: EventMask) -> int:
        try:
            return await self.open(path, OpenMode.READ, events)
        except CldError as error:
            if error.code != ErrorCode.MODE_INVAL:
                raise
        return await self.open(path, OpenMode.READ | OpenMode.DIRECTORY, events)

    # Between the caller and the machine.

    def raise_if_lost(self) -> None:
        """Raise SessionLostError if the session is lost."""
        if self._error is not None:
            raise SessionLostError(self._error.code, self._error.reason)

    def _send(self, op: Op, body: bytes) -> asyncio.Future[bytes]:
        self.raise_if_lost()
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        xid = self._machine.request(op, body, carrier.clock())
        self._calls[xid] = future
        self._link.flush()
        return future

    async def _call(self, op: Op, body: bytes) -> bytes:
        """Body of the response. Raises CldError for a code other than OK."""
        return await self._send(op, body)

    def _take(self, outcome: machine.Outcome) -> None:
        if isinstance(outcome, machine.Answered):
            self._answered(outcome)
        elif isinstance(outcome, machine.Happened):
            self._happened(outcome.handle, EventMask(outcome.bits))
        elif isinstance(outcome, machine.BackAgain):
            self._back_again({entry.handle: entry.locked for entry in outcome.owned})
        elif isinstance(outcome, machine.Lost):
            self._set_lost(SessionLostError(outcome.code, outcome.reason))

    def _answered(self, answer: machine.Answered) -> None:
        future = self._calls.pop(answer.xid, None)
        handle = self._locking.pop(future, None) if future is not None else None
        if future is None or future.done():
            return
        if handle is not None and answer.code == ErrorCode.LOCK_PENDING:
            # From now on, and not before, LOCKED means this request: one before it was of a wait that was cancelled.
            self._grants[handle] = asyncio.get_running_loop().create_future()
        if answer.code == ErrorCode.OK:
            future.set_result(answer.body)
        else:
            future.set_exception(CldError(_code(answer.code)))

    def _happened(self, handle: int, bits: EventMask) -> None:
        granted = self._grants.get(handle)
        if bits & EventMask.LOCKED and granted is not None:
            if not granted.done():
                granted.set_result(None)
            bits &= ~EventMask.LOCKED
        event = Event(handle, bits)
        if bits and event not in self._pending_events and len(self._events) < _EVENTS:
            self._events.append(event)
            self._pending_events.add(event)
            self._news.set()

    def _back_again(self, owned: dict[int, bool]) -> None:
        """After a gap: tell what may have been missed in it."""
        for handle, mask in list(self._masks.items()):
            if handle not in owned:
                del self._masks[handle]
                self._happened(handle, EventMask.DELETED)
            elif mask & EventMask.UPDATED:
                self._happened(handle, EventMask.UPDATED)
        for handle, granted in list(self._grants.items()):
            if owned.get(handle) and not granted.done():
                granted.set_result(None)

    def _set_lost(self, error: SessionLostError) -> None:
        self._error = error
        calls, self._calls = self._calls, {}
        grants, self._grants = self._grants, {}
        self._locking.clear()
        waiting: list[asyncio.Future[bytes] | asyncio.Future[None]] = [*calls.values(), *grants.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(SessionLostError(error.code, error.reason))
                # A caller that was cancelled does not come back for it.
                future.add_done_callback(_ignore)
        self._news.set()
        self._lost.set()
        self._link.close()


def _ignore(future: asyncio.Future[bytes] | asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _code(value: int) -> ErrorCode:
    try:
        return ErrorCode(value)
    except ValueError:
        return ErrorCode.INTERNAL_ERR


def _file(reply: cld.GetReply) -> File:
    return File(reply.inum, reply.version, reply.created, reply.modified, reply.flags, _text(reply.path), reply.data)
