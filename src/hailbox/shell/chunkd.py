r"""The interpreter for chunkd: the commands of `chcli` (chunkd.md section 9) and a few more.

A NUL byte is put after every key and table name, as libhail does, unless they are to be taken exactly: then
`\xNN` stands for any byte, which needs quotes (`get 'key\x00'`).
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Awaitable, Mapping
from datetime import UTC, datetime
from typing import Final, Protocol

from hailbox.shell import localfile
from hailbox.shell.escape import escape, unescape
from hailbox.shell.interpreter import Command, CommandError, GoneError, Interpreter
from haild.client.chunk import CheckState, ChunkError, Connection, Reader, ResponseCode

MAXIMUM_KEY: Final = 1024
"""Bytes (chunkd.md section 7)."""
_LARGEST_OFFSET: Final = 2**64 - 1

_CODES: Final[Mapping[ResponseCode, tuple[str, str]]] = {
    ResponseCode.ACCESS_DENIED: ("AccessDenied", "it belongs to another user, or this user may not do that"),
    ResponseCode.INTERNAL_ERROR: ("InternalError", "the storage failed"),
    ResponseCode.INVALID_ARGUMENT: ("InvalidArgument", "no such table, or no valid name"),
    ResponseCode.INVALID_URI: ("InvalidURI", "the node does not know this operation"),
    ResponseCode.NO_SUCH_KEY: ("NoSuchKey", "no such object in the table"),
    ResponseCode.SIGNATURE_DOES_NOT_MATCH: ("SignatureDoesNotMatch", "wrong user or secret"),
    ResponseCode.INVALID_KEY: ("InvalidKey", "no valid key"),
    ResponseCode.INVALID_TABLE: ("InvalidTable", "no table is open; open one with -t TABLE or with: table NAME"),
    ResponseCode.BUSY: ("Busy", "a check is running already"),
    ResponseCode.KEY_EXISTS: ("KeyExists", "an object is never overwritten; remove it before"),
    ResponseCode.INVALID_SEEK: ("InvalidSeek", "the offset is beyond the end of the object"),
}
_STATES: Final = {CheckState.NEVER_STARTED: "never started", CheckState.IDLE: "idle", CheckState.RUNNING: "running"}


class Connect(Protocol):
    """Connects to the node and opens the table, if one is named; makes it with `create`."""

    def __call__(self, table: bytes | None, /, *, create: bool) -> Awaitable[Connection]: ...


class ChunkdInterpreter(Interpreter):
    """Commands against one node, over one connection; a new one where it was lost."""

    def __init__(self, connect: Connect, *, table: str | None, create: bool, exact: bool) -> None:
        """`create`: make the table if it is not there; `exact`: see the module. Raises CommandError."""
        super().__init__()
        self._connect = connect
        self._exact = exact
        self._table = None if table is None else self._name(table, "InvalidTable")
        self._create = create
        self._connection: Connection | None = None

    @property
    def prompt(self) -> str:
        return f"chunkd:{escape((self._table or b'').removesuffix(bytes(1)))}> "

    @property
    def commands(self) -> Mapping[str, Command]:
        return {
            "table": Command(self._open_table, "NAME [create]", "open a table, or make it"),
            "list": Command(self._list, "", "the table's objects: size, when stored, SHA-1, key up to its first NUL"),
            "get": Command(self._get, "KEY [LOCAL]", "print an object, or copy it to a file of this machine"),
            "getpart": Command(
                self._get_part, "KEY OFFSET LENGTH", "print some bytes of it (LENGTH 0: all the rest)"
            ),
            "put": Command(self._put, "KEY VALUE", "store a value"),
            "put-file": Command(self._put_file, "KEY LOCAL", "store a file of this machine"),
            "del": Command(self._delete, "KEY", "remove an object"),
            "cp": Command(self._copy, "DEST SRC", "copy an object within the table"),
            "ping": Command(self._ping, "", "ask whether the node answers"),
            "checkstart": Command(self._check_start, "", "have the node check all objects"),
            "checkstatus": Command(self._check_status, "", "how far that is"),
        }

    async def open(self) -> None:
        try:
            self._connection = await self._connect(self._table, create=self._create)
        except (ChunkError, OSError) as error:
            raise self.translate(error) or error from error
        self._create = False

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    def translate(self, error: Exception) -> CommandError | None:
        if isinstance(error, ChunkError):
            name, meaning = _CODES.get(error.code, (error.code.name, "refused"))
            return CommandError(meaning, name)
        if isinstance(error, OSError):
            return GoneError(f"the node does not answer: {error.strerror or error or type(error).__name__}")
        return None

    async def _current(self) -> Connection:
        if self._connection is None or not self._connection.usable:
            if self._connection is not None:
                self._connection.abort()
            await self.open()
        assert self._connection is not None  # noqa: S101 - for the type checker
        return self._connection

    def _name(self, word: str, code: str = "InvalidKey") -> bytes:
        try:
            name = unescape(word) if self._exact else word.encode("utf-8", "surrogateescape") + b"\0"
        except ValueError as error:
            raise CommandError(str(error), code) from error
        if len(name) > MAXIMUM_KEY:
            raise CommandError(f"{len(name)} bytes; there may be {MAXIMUM_KEY}", code)
        return name

    # The commands.

    async def _open_table(self, word: str, create: str = "") -> None:
        if create not in ("", "create"):
            raise CommandError("usage: table NAME [create]")
        name = self._name(word, "InvalidTable")
        await (await self._current()).open_table(name, create=bool(create))
        self._table = name

    async def _list(self) -> AsyncGenerator[bytes, None]:
        connection = await self._current()

        async def lines() -> AsyncGenerator[bytes, None]:
            async for found in connection.iterate_listing():
                stored = _time(found.mtime)
                yield f"{found.size:>12}  {stored}  {found.sha1.hex()}  {escape(found.name)}\n".encode()

        return lines()

    async def _get(self, word: str, local: str | None = None) -> AsyncGenerator[bytes, None] | None:
        reader = await (await self._current()).get(self._name(word))
        if local is None:
            return _checked(reader)
        async with reader, localfile.writing(local) as write:
            async for block in _checked(reader):
                await write(block)
        return None

    async def _get_part(self, word: str, offset: str, length: str) -> AsyncGenerator[bytes, None]:
        key = self._name(word)
        start, wanted = _number(offset), _number(length)
        connection = await self._current()
        part = await connection.get_part(key, start, wanted)

        async def blocks() -> AsyncGenerator[bytes, None]:
            # One GET_PART brings 256 KiB at most (chunkd.md section 6.6).
            nonlocal part
            yield part.data
            done = len(part.data)
            while not part.last and part.data and (not wanted or done < wanted):
                part = await connection.get_part(key, start + done, wanted - done if wanted else 0)
                yield part.data
                done += len(part.data)

        return blocks()

    async def _put(self, word: str, value: str) -> None:
        body = value.encode("utf-8", "surrogateescape")
        await (await self._current()).put(self._name(word), len(body), body)

    async def _put_file(self, word: str, local: str) -> None:
        key = self._name(word)
        async with localfile.reading(local) as (size, pieces):
            await (await self._current()).put(key, size, pieces)

    async def _delete(self, word: str) -> None:
        await (await self._current()).delete(self._name(word))

    async def _copy(self, destination: str, source: str) -> None:
        await (await self._current()).copy(self._name(destination), self._name(source))

    async def _ping(self) -> bytes:
        await (await self._current()).ping()
        return b"ok\n"

    async def _check_start(self) -> bytes:
        await (await self._current()).start_check()
        return b"started\n"

    async def _check_status(self) -> bytes:
        state, ended = await (await self._current()).check_status()
        return f"{_STATES[state]}; last ended {_time(ended) if ended else 'never'}\n".encode()


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= _LARGEST_OFFSET):
        raise CommandError(f"{text!r} is no number of bytes")
    return int(text)


async def _checked(reader: Reader) -> AsyncGenerator[bytes, None]:
    """The blocks of an object. Raises CommandError after the last if they are not what was stored."""
    digest = hashlib.sha1(usedforsecurity=False)
    async with reader:
        async for block in reader:
            digest.update(block)
            yield block
    if digest.digest() != reader.sha1:
        raise CommandError("what came is not what was stored: its SHA-1 differs")
