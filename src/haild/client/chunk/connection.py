"""One connection to a chunkd node and what can be asked over it (chunkd.md section 4)."""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from haild.client.chunk.channel import Channel
from haild.wire import traceparent
from haild.wire.chunk import messages as wire
from haild.wire.chunk.listing import ListedObject, ListingParser
from haild.wire.chunk.messages import CheckState, Operation, RequestFlag, Response, ResponseCode, ResponseFlag
from haild.wire.traceparent import Trace

STALL: Final = 30.0
"""Seconds that a single read or write may wait for the node."""
JOINED: Final = 1 << 16
"""Bytes of the largest first piece that is copied after the request, to be sent with it."""
READ_SIZE: Final = 1 << 18
"""Bytes of the largest block a Reader gives."""


class Observer:
    """Hears of operations on behalf of requests that are followed; the protocol has no room for their ids."""

    def __init__(self) -> None:
        self.begun: Callable[[Operation, bytes, Trace], None] = lambda operation, key, trace: None


observer: Final = Observer()
"""That of this process; a server that wants to hear puts its function there."""


class ChunkError(Exception):
    """The node answered with something else than Success."""

    def __init__(self, code: int, what: str) -> None:
        try:
            self.code: ResponseCode = ResponseCode(code)
        except ValueError:
            self.code = ResponseCode.INTERNAL_ERROR
        super().__init__(f"{what}: {self.code.name}")


@dataclass(frozen=True, slots=True)
class Metadata:
    """What GET_META tells of an object: bytes, raw SHA-1, seconds since 1970."""

    size: int
    sha1: bytes
    mtime: int


@dataclass(frozen=True, slots=True)
class Part:
    """The result of one GET_PART."""

    data: bytes
    last: bool
    """Whether `data` reaches the end of the object."""
    sha1: bytes
    """Of the whole checksum blocks that `data` touches (chunkd.md section 6.6)."""
    mtime: int


class Connection:
    """One TCP connection to a node: logged in, a table open. One operation at a time."""

    def __init__(self, channel: Channel, secret: bytes) -> None:
        self._channel = channel
        self._secret = secret
        self._busy = False

    @classmethod
    async def open(
        cls,
        host: str,
        port: int,
        *,
        user: str,
        secret: bytes,
        table: bytes | None = None,
        create: bool = False,
        deadline: float = 5.0,
        stall: float = STALL,
        tls: ssl.SSLContext | None = None,
    ) -> Connection:
        """Connect, START_TLS if there is a context for it, LOGIN, and TABLE_OPEN if a table is named.

        `deadline` (seconds) is for each of connecting and the handshake; `stall` for each later wait.
        Raises ChunkError if the node refuses, OSError if it cannot be reached.
        """
        channel = await Channel.connect(host, port, deadline=deadline, stall=min(stall, deadline))
        connection = cls(channel, secret)
        try:
            if tls is not None:
                await channel.write(wire.encode_request(Operation.START_TLS, nonce=os.urandom(4), secret=None))
                await channel.start_tls(tls, host, deadline)
            await connection._simple(Operation.LOGIN, user.encode() + b"\0")
            if table is not None:
                await connection.open_table(table, create=create)
        except BaseException:
            channel.abort()
            raise
        channel.stall = stall
        return connection

    @property
    def free(self) -> bool:
        """Whether no operation is under way on a connection that stands, as far as is known."""
        return not self._busy and self._channel.alive

    @property
    def usable(self) -> bool:
        """Whether the next operation can be sent: connected, and none under way. Asks the socket itself."""
        return not self._busy and self._channel.is_quiet()

    async def open_table(self, name: bytes, *, create: bool = False, exclusive: bool = False) -> None:
        """TABLE_OPEN: `name` is the exact bytes, with a NUL at the end if libhail is to find it too."""
        flags = RequestFlag.TABLE_CREATE if create else RequestFlag.NONE
        if exclusive:
            flags |= RequestFlag.TABLE_EXCLUSIVE
        await self._simple(Operation.TABLE_OPEN, name, flags=flags)

    async def put(self, key: bytes, length: int, body: AsyncIterable[bytes] | bytes, *, sync: bool = True) -> bytes:
        """Store `length` bytes from `body` under `key`. Returns the raw SHA-1 that the node computed.

        If `body` raises or ends early the PUT is aborted, and nothing is stored.
        """
        upload = await self.start_put(key, length, sync=sync)
        try:
            if isinstance(body, bytes):
                await upload.write(body)
            else:
                async for piece in body:
                    await upload.write(piece)
            return await upload.finish()
        except ChunkError:
            raise
        except BaseException:
            await upload.abort()
            raise

    async def start_put(self, key: bytes, length: int, *, sync: bool = True) -> Put:
        """Begin a PUT of `length` bytes that the caller writes in pieces.

        The request goes out together with the first piece: one packet for a small object.
        """
        flags = RequestFlag.SYNC if sync else RequestFlag.NONE
        return Put(self, length, self._begin(Operation.PUT, key, flags=flags, data_length=length))

    async def get(self, key: bytes) -> Reader:
        """The object under `key`, to be read block by block."""
        response = await self._ask(Operation.GET, key)
        reader = Reader(self, response)
        if response.data_length == 0:
            self._busy = False
        return reader

    async def get_meta(self, key: bytes) -> Metadata:
        """Size, checksum and time of the object under `key`."""
        response = await self._ask(Operation.GET_META, key)
        self._busy = False
        return Metadata(response.data_length, response.sha1, response.mtime or 0)

    async def get_part(self, key: bytes, offset: int, length: int) -> Part:
        """At most `length` bytes (0: as many as there are) from `offset`; never more than 262,144."""
        response = await self._ask(Operation.GET_PART, key, data_length=length, offset=offset)
        if response.data_length > wire.MAXIMUM_PART:
            raise self._broken("the node announced more than a GET_PART can return")
        data = await self._read_body(response.data_length)
        last = bool(response.flags & ResponseFlag.GET_PART_LAST)
        return Part(data, last, response.sha1, response.mtime or 0)

    async def delete(self, key: bytes) -> None:
        """Remove the object under `key`."""
        await self._simple(Operation.DEL, key)

    async def copy(self, destination: bytes, source: bytes) -> None:
        """CP within the table."""
        await self._simple(Operation.CP, destination, source_key=source)

    async def listing(self) -> list[ListedObject]:
        """All objects of the table that belong to the user; names are the keys up to their first NUL."""
        return [listed async for listed in self.iterate_listing()]

    async def iterate_listing(self) -> AsyncIterator[ListedObject]:
        """The entries of `listing`, as they arrive."""
        response = await self._ask(Operation.LIST)
        remaining = response.data_length
        parser = ListingParser()
        while remaining:
            data = await self._channel.read_some(min(remaining, READ_SIZE))
            remaining -= len(data)
            try:
                found = parser.receive(data)
            except ValueError as error:
                raise self._broken(str(error)) from error
            for listed in found:
                yield listed
        self._busy = False

    async def ping(self) -> None:
        """NOP."""
        await self._simple(Operation.NOP)

    async def start_check(self) -> None:
        """CHECK_START: begin a self-check of all objects of the node."""
        await self._simple(Operation.CHECK_START)

    async def check_status(self) -> tuple[CheckState, int]:
        """State of the self-check, and when the last one ended (seconds since 1970, 0 for never)."""
        response = await self._ask(Operation.CHECK_STATUS)
        if response.data_length != 16:
            raise self._broken("the body of CHECK_STATUS has not 16 bytes")
        try:
            return wire.decode_check_status(await self._read_body(16))
        except wire.ProtocolError as error:
            raise self._broken(str(error)) from error

    @classmethod
    async def empty_node(cls, host: str, port: int, proof: str, deadline: float) -> None:
        """Have a node discard all that it keeps (haild.wire.emptying).

        Raises ChunkError if it refuses, OSError if it cannot be reached or ends the connection.
        """
        channel = await Channel.connect(host, port, deadline=deadline, stall=deadline)
        try:
            await cls(channel, proof.encode())._simple(Operation.EMPTY)
        finally:
            channel.abort()

    async def wait_lost(self, seconds: float) -> bool:
        """Wait on an idle connection until the node closes it; False if it still stands after `seconds`.

        This is how a node's death is noticed at once and without traffic.
        """
        if self._busy:
            raise RuntimeError("an operation is under way on this connection")
        try:
            async with asyncio.timeout(seconds):
                await self._channel.read_some(1)
        except TimeoutError:
            return not self._channel.alive
        except OSError:
            return True
        self._channel.abort()  # bytes that were not asked for
        return True

    async def close(self) -> None:
        """Close the connection; at once if an operation is under way. Never raises OSError."""
        if self._busy:
            self._channel.abort()
        await self._channel.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self._channel.abort()

    # Used by the other classes of this module.

    def _begin(
        self,
        operation: Operation,
        key: bytes = b"",
        *,
        flags: int = 0,
        data_length: int = 0,
        offset: int = 0,
        source_key: bytes = b"",
    ) -> bytes:
        """Make this connection busy with an operation; returns the request to send."""
        request = wire.encode_request(
            operation,
            nonce=os.urandom(4),
            secret=self._secret,
            key=key,
            flags=flags,
            data_length=data_length,
            offset=offset,
            source_key=source_key,
        )
        if self._busy:
            raise RuntimeError("an operation is under way on this connection")
        self._busy = True
        if (trace := traceparent.CURRENT.get()) is not None:
            observer.begun(operation, key, trace)
        return request

    async def _ask(
        self, operation: Operation, key: bytes = b"", *, data_length: int = 0, offset: int = 0
    ) -> Response:
        await self._channel.write(self._begin(operation, key, data_length=data_length, offset=offset))
        return await self._response(operation)

    async def _simple(
        self, operation: Operation, key: bytes = b"", *, flags: int = 0, source_key: bytes = b""
    ) -> None:
        await self._channel.write(self._begin(operation, key, flags=flags, source_key=source_key))
        await self._response(operation)
        self._busy = False

    async def _response(self, operation: Operation) -> Response:
        """The response's header. The connection stays busy if it is Success, because a body may follow."""
        decoder = wire.ResponseDecoder()
        wanted = wire.RESPONSE_SIZE
        response = None
        while response is None:
            decoder.receive(await self._channel.read_exactly(wanted))
            wanted = wire.TIMED_RESPONSE_SIZE - wire.RESPONSE_SIZE
            try:
                response = decoder.next_response(operation)
            except wire.ProtocolError as error:
                raise self._broken(str(error)) from error
        if response.code != ResponseCode.SUCCESS:
            self._busy = False
            raise ChunkError(response.code, operation.name)
        return response

    async def _read_body(self, length: int) -> bytes:
        data = await self._channel.read_exactly(length)
        self._busy = False
        return data

    def _broken(self, why: str) -> ConnectionError:
        self._channel.abort()
        return ConnectionError(why)


class Put:
    """A PUT under way. Ends with `finish`, or with `abort`."""

    def __init__(self, connection: Connection, length: int, request: bytes) -> None:
        self._connection = connection
        self._remaining = length
        self._request = request

    async def write(self, piece: bytes | memoryview) -> None:
        """Send a piece; returns when the node takes more. Raises ValueError for more than was announced."""
        if len(piece) > self._remaining:
            raise ValueError("more bytes than the PUT announced")
        self._remaining -= len(piece)
        if self._request:
            request, self._request = self._request, b""
            if len(piece) <= JOINED:
                piece = request + bytes(piece)
            else:
                await self._connection._channel.write(request)
        await self._connection._channel.write(piece)

    async def finish(self) -> bytes:
        """The raw SHA-1 that the node computed: the object is stored. Raises ValueError if bytes are missing."""
        if self._remaining:
            raise ValueError(f"{self._remaining} bytes fewer than the PUT announced")
        if self._request:  # an empty object
            await self.write(b"")
        response = await self._connection._response(Operation.PUT)
        self._connection._busy = False
        return response.sha1

    async def abort(self) -> None:
        """Disconnect, so that nothing is stored (chunkd.md section 6.5)."""
        self._connection.abort()


@dataclass(slots=True)
class RemainingBody:
    """`size` bytes of an object that have not been received yet, to be read from the socket `descriptor`.

    `stall`: seconds that the node may be silent. The reader says in `taken` how many bytes it got,
    and in `failure` why there are no more.
    """

    descriptor: int
    size: int
    stall: float
    taken: int = 0
    failure: str = ""


class Reader:
    """An object under way: `size` in bytes, raw `sha1`, `mtime` in seconds; iterate for its blocks.

    Closing it before the end closes the connection, for the rest of the object is on its way.
    """

    def __init__(self, connection: Connection, response: Response) -> None:
        self.size = response.data_length
        self.sha1 = response.sha1
        self.mtime = response.mtime or 0
        self._connection = connection
        self._remaining = self.size

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._remaining:
            raise StopAsyncIteration
        block = await self._connection._channel.read_some(min(READ_SIZE, self._remaining))
        self._remaining -= len(block)
        if not self._remaining:
            self._connection._busy = False
        return block

    async def pieces(self, smallest: int) -> AsyncGenerator[bytes | RemainingBody, None]:
        """The blocks that have arrived, then a RemainingBody if at least `smallest` bytes are still to come.

        The receiver may ignore the RemainingBody or take part of it; what it leaves arrives as blocks.
        """
        lendable = True
        while self._remaining:
            descriptor = self._connection._channel.lend() if lendable and self._remaining >= smallest else None
            if descriptor is None:
                yield await anext(self)
                continue
            lendable = False
            rest = RemainingBody(descriptor, self._remaining, self._connection._channel.stall)
            yield rest
            self._settle(rest)

    def _settle(self, rest: RemainingBody) -> None:
        self._remaining -= rest.taken
        if rest.failure:
            self._connection.abort()
            raise ConnectionError(rest.failure)
        self._connection._channel.resume()
        if not self._remaining:
            self._connection._busy = False

    async def read_all(self) -> bytes:
        """The whole object, checked against its SHA-1. Raises OSError (also if it does not match)."""
        data = b"".join([block async for block in self])
        if hashlib.sha1(data, usedforsecurity=False).digest() != self.sha1:
            raise ConnectionError("the object does not match its SHA-1")
        return data

    async def aclose(self) -> None:
        """End reading; closes the connection if the end has not been reached."""
        if self._remaining:
            self._remaining = 0
            self._connection.abort()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
