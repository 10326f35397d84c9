"""The interpreter for cld: the commands of `cldcli` (cld.md section 13.3) and a few more.

Paths that do not begin with `/` are below the current directory; `.` and `..` mean here what they do in a shell,
though nothing in the protocol. A lock is held until it is given up or the interpreter is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import posixpath
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

from hailbox.shell import localfile
from hailbox.shell.escape import escape
from hailbox.shell.interpreter import Command, CommandError, GoneError, Interpreter, Tell
from haild.client.cld import CldError, ConnectError, ErrorCode, EventMask, OpenMode, Session, SessionLostError
from haild.wire.cld.messages import MAXIMUM_DATA

PATIENCE: Final = 0.5
"""Seconds that a lock may take before the user is told that it is waited for."""

_MEANINGS: Final[Mapping[ErrorCode, str]] = {
    ErrorCode.DB_ERR: "the storage failed, or the directory above does not exist",
    ErrorCode.BAD_PKT: "the request is too long",
    ErrorCode.INODE_INVAL: "the file is gone",
    ErrorCode.NAME_INVAL: "no such file, or no valid path",
    ErrorCode.OOM: "out of memory",
    ErrorCode.FH_INVAL: "the handle is gone",
    ErrorCode.LOCK_INVAL: "not locked by this shell",
    ErrorCode.LOCK_CONFLICT: "the lock is held",
    ErrorCode.MODE_INVAL: "a directory where a file is needed, or the other way round",
    ErrorCode.INODE_EXISTS: "it exists already",
    ErrorCode.DIR_NOTEMPTY: "the directory is not empty",
    ErrorCode.INTERNAL_ERR: "a failure in the server",
    ErrorCode.SESS_INVAL: "the server does not know the session",
    ErrorCode.SIG_INVAL: "wrong user or secret",
    ErrorCode.TIMEOUT: "no answer",
}

_SHARED: Final = {"exclusive": False, "shared": True}


class CldInterpreter(Interpreter):
    """Commands against one cld, in one session."""

    def __init__(self, connect: Callable[[], Awaitable[Session]], tell: Tell, *, reconnect: bool) -> None:
        """`reconnect`: whether a command after the loss of the session starts a new one, or fails."""
        super().__init__()
        self._connect = connect
        self._tell = tell
        self._reconnect = reconnect
        self._session: Session | None = None
        self._watching: asyncio.Task[None] | None = None
        self._directory = "/"
        self._locks: dict[str, tuple[int, bool]] = {}
        self._deleted: dict[int, asyncio.Future[None]] = {}
        """By handle whose lock is waited for: done when its file is deleted."""

    @property
    def prompt(self) -> str:
        return f"cld:{self._directory}> "

    @property
    def commands(self) -> Mapping[str, Command]:
        return {
            "cd": Command(self._cd, "[DIR]", "make it the current directory"),
            "pwd": Command(self._pwd, "", "print the current directory"),
            "ls": Command(self._ls, "[DIR]", "list the names in a directory"),
            "cat": Command(self._cat, "FILE", "print a file"),
            "cpin": Command(self._cpin, "LOCAL FILE", "copy a file of this machine into cld"),
            "cpout": Command(self._cpout, "FILE LOCAL", "copy a file of cld to this machine"),
            "mkdir": Command(self._mkdir, "DIR", "make a directory"),
            "rm": Command(self._rm, "PATH", "remove a file or an empty directory"),
            "lock": Command(self._lock, "FILE [shared]", "lock a file, wait if need be; held while the shell runs"),
            "trylock": Command(self._trylock, "FILE [shared]", "lock, but fail if another session holds it"),
            "unlock": Command(self._unlock, "FILE", "give a lock up"),
            "list-locks": Command(self._list_locks, "", "list the locks that this shell holds"),
        }

    # The session.

    async def open(self) -> None:
        try:
            self._session = session = await self._connect()
        except CldError as error:
            raise self.translate(error) or error from error
        self._watching = asyncio.get_running_loop().create_task(self._watch(session))

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        if self._session is not None:
            await self._session.end()

    def translate(self, error: Exception) -> CommandError | None:
        if isinstance(error, ConnectError):
            return GoneError(error.reason, error.code.name)
        if isinstance(error, SessionLostError):
            return GoneError(f"the session is lost: {error.reason}", error.code.name)
        if isinstance(error, CldError):
            return CommandError(error.reason or _MEANINGS.get(error.code, "refused"), error.code.name)
        return None

    async def _current(self) -> Session:
        if self._session is None:
            if not self._reconnect:
                raise GoneError("the session is lost")
            await self.open()
            self._tell("a new session has begun")
        assert self._session is not None  # noqa: S101 - for the type checker
        return self._session

    async def _watch(self, session: Session) -> None:
        """Tell of what happens between commands."""
        try:
            while True:
                event = await session.next_event()
                if event.bits & EventMask.DELETED:
                    self._forget(event.handle)
        except SessionLostError as error:
            self.lost = True
            self._session = None
            held = ", ".join(escape(path.encode("utf-8", "surrogateescape")) for path in self._locks)
            self._locks.clear()
            self._tell(f"the session is lost: {error}" + (f"; no longer locked: {held}" if held else ""))

    def _forget(self, handle: int) -> None:
        if handle in self._deleted and not self._deleted[handle].done():
            self._deleted[handle].set_result(None)
        for path, (known, _) in list(self._locks.items()):
            if known == handle:
                del self._locks[path]
                self._tell(f"{path} was removed, and its lock with it")

    # Paths.

    def _path(self, word: str) -> str:
        path = posixpath.normpath(posixpath.join(self._directory, word))
        return "/" + path.lstrip("/")

    @contextlib.asynccontextmanager
    async def _handle(self, word: str, mode: OpenMode) -> AsyncIterator[tuple[Session, int]]:
        session = await self._current()
        handle = await session.open(self._path(word), mode)
        try:
            yield session, handle
        finally:
            await session.close_handle(handle)

    # The commands.

    async def _cd(self, word: str = "/") -> None:
        async with self._handle(word, OpenMode.DIRECTORY):
            self._directory = self._path(word)

    async def _pwd(self) -> bytes:
        return _line(self._directory)

    async def _ls(self, word: str = ".") -> bytes:
        async with self._handle(word, OpenMode.READ | OpenMode.DIRECTORY) as (session, handle):
            names = (await session.get(handle)).names()
        return b"".join(map(_line, names))

    async def _cat(self, word: str) -> bytes:
        return await self._content(word)

    async def _content(self, word: str) -> bytes:
        async with self._handle(word, OpenMode.READ) as (session, handle):
            return (await session.get(handle)).data

    async def _cpin(self, local: str, word: str) -> None:
        data = await localfile.read(local, MAXIMUM_DATA)
        if len(data) > MAXIMUM_DATA:
            raise CommandError(f"a file of cld has at most {MAXIMUM_DATA} bytes", ErrorCode.BAD_PKT.name)
        async with self._handle(word, OpenMode.WRITE | OpenMode.CREATE) as (session, handle):
            await session.put(handle, data)

    async def _cpout(self, word: str, local: str) -> None:
        await localfile.write(local, await self._content(word))

    async def _mkdir(self, word: str) -> None:
        async with self._handle(word, OpenMode.DIRECTORY | OpenMode.CREATE | OpenMode.EXCL):
            return

    async def _rm(self, word: str) -> None:
        session = await self._current()
        await session.delete(self._path(word))

    async def _lock(self, word: str, kind: str = "exclusive") -> None:
        await self._locked(word, kind, self._wait_for_lock)

    async def _trylock(self, word: str, kind: str = "exclusive") -> None:
        async def attempt(session: Session, handle: int, _path: str, shared: bool) -> None:
            if not await session.try_lock(handle, shared=shared):
                raise CommandError("another session holds it", ErrorCode.LOCK_CONFLICT.name)

        await self._locked(word, kind, attempt)

    async def _locked(self, word: str, kind: str, take: Callable[[Session, int, str, bool], Awaitable[None]]) -> None:
        if kind not in _SHARED:
            raise CommandError(f"a lock is {' or '.join(_SHARED)}, not {kind}")
        path, shared = self._path(word), _SHARED[kind]
        if path in self._locks:
            raise CommandError("this shell holds it already", ErrorCode.LOCK_CONFLICT.name)
        session = await self._current()
        handle = await session.open(path, OpenMode.LOCK)
        try:
            await take(session, handle, path, shared)
        except BaseException:
            with contextlib.suppress(CldError):
                await session.close_handle(handle)
            raise
        self._locks[path] = (handle, shared)

    async def _wait_for_lock(self, session: Session, handle: int, path: str, shared: bool) -> None:
        loop = asyncio.get_running_loop()
        deleted = self._deleted[handle] = loop.create_future()
        waiting = loop.create_task(session.lock(handle, shared=shared))
        try:
            await asyncio.wait({waiting, deleted}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done() and not deleted.done():
                self._tell(f"another session holds {path}; waiting for it")
                await asyncio.wait({waiting, deleted}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise CommandError("the file was removed while its lock was waited for", ErrorCode.INODE_INVAL.name)
            waiting.result()
        finally:
            del self._deleted[handle]
            waiting.cancel()

    async def _unlock(self, word: str) -> None:
        path = self._path(word)
        if path not in self._locks:
            raise CommandError(_MEANINGS[ErrorCode.LOCK_INVAL], ErrorCode.LOCK_INVAL.name)
        session = await self._current()
        handle, _ = self._locks.pop(path)
        await session.unlock(handle)
        await session.close_handle(handle)

    async def _list_locks(self) -> bytes:
        held = [(path, "shared" if shared else "exclusive") for path, (_, shared) in self._locks.items()]
        return b"".join(_line(f"{path}  {kind}") for path, kind in held)


def _line(text: str) -> bytes:
    return escape(text.encode("utf-8", "surrogateescape")).encode() + b"\n"
