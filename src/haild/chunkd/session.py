"""What one connection may do: the order of checks, login, tables, and each operation (chunkd.md section 6)."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sqlite3
import ssl
import time
import weakref
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from haild.chunkd.bodies import FinishedBody
from haild.chunkd.catalog import CatalogError, StoredObject
from haild.chunkd.check import Checker
from haild.chunkd.connection import Connection, ConnectionClosedError
from haild.chunkd.insight import note
from haild.chunkd.listing import write_listing
from haild.chunkd.reading import BodyFile, DamagedError
from haild.chunkd.store import INLINE_SIZE, RefusedError, Store
from haild.wire import blockchecksums
from haild.wire.chunk import messages as wire
from haild.wire.chunk.messages import Operation, Request, RequestFlag, Response, ResponseCode, ResponseFlag

WINDOW: Final = 1 << 20
"""Bytes of a body that the client must take before its time is out."""
LARGEST_WINDOW: Final = 1 << 23
QUICK: Final = 0.25
"""Seconds: who takes a window in less gets a larger one the next time, up to LARGEST_WINDOW."""
FIRST_WINDOW: Final = 4 << 20
"""Bytes that are verified before the response begins: damage in them is still answered with an error."""
MAXIMUM_LENGTH: Final = 1 << 62
"""Bytes of content beyond which no file system goes."""
RESERVED_TABLE: Final = b"__chunkd_table_id"

logger = logging.getLogger(__name__)
Work = Coroutine[Any, Any, None]


@dataclass(frozen=True)
class Service:
    """What the sessions of a server share. `secrets` None: every user's secret is the name."""

    store: Store
    checker: Checker
    secrets: dict[bytes, bytes] | None
    check_users: frozenset[bytes]
    tls: ssl.SSLContext | None
    emptying: bytes | None = None
    """What the request to discard everything is signed with; None: it is refused."""

    sessions: weakref.WeakSet[Session] = field(default_factory=weakref.WeakSet)
    """Of all connections, some of which may be closed."""

    def tables_in_use(self) -> set[int]:
        """The tables that connections have open."""
        return {table for session in self.sessions if (table := session.open_table) is not None}

    def secret(self, user: bytes) -> bytes | None:
        """The secret of `user`; None if there is no such user."""
        return user if self.secrets is None else self.secrets.get(user)


class Session:
    """The state of one connection: the user that has logged in, and the current table."""

    def __init__(self, service: Service, connection: Connection) -> None:
        self._service = service
        self._store = service.store
        self._connection = connection
        self._user = b""
        self._secret: bytes | None = None
        self._table: int | None = None
        self._first = True
        self._code = ResponseCode.SUCCESS
        service.sessions.add(self)

    @property
    def open_table(self) -> int | None:
        """The number of the current table; None for a connection that is closed."""
        return None if self._connection.closed else self._table

    @property
    def logged_in(self) -> bool:
        """Whether a LOGIN has succeeded."""
        return self._secret is not None

    def handle(self, request: Request) -> Work | None:
        """Handle a request at once, or return the coroutine that does; count it."""
        began = time.perf_counter()
        self._code = ResponseCode.SUCCESS
        work = self._handle(request)
        if work is not None:
            return self._counted(work, request, began)
        note(self._connection, request, self._code, began)
        return None

    async def _counted(self, work: Work, request: Request, began: float) -> None:
        try:
            await work
        except BaseException:
            self._code = ResponseCode.INTERNAL_ERROR
            raise
        finally:
            note(self._connection, request, self._code, began)

    def _handle(self, request: Request) -> Work | None:
        first, self._first = self._first, False
        if not request.well_formed:
            return self._refuse_and_close(request, ResponseCode.INVALID_ARGUMENT)
        if request.operation == Operation.EMPTY and self._service.emptying is not None:
            return self._empty(request, self._service.emptying)
        if self._secret is None:
            return self._before_login(request, first)
        if not request.signed_with(self._secret):
            return self._refuse_and_close(request, ResponseCode.SIGNATURE_DOES_NOT_MATCH)
        method = _OPERATIONS.get(request.operation)
        if method is None:
            return self._refuse(request, ResponseCode.INVALID_URI)
        try:
            return method(self, request)
        except RefusedError as refusal:
            return self._refuse(request, refusal.code)
        except DamagedError as error:
            return self._answering(request, self._raise(error))
        except sqlite3.Error as error:
            logger.error("%s failed: %s", Operation(request.operation).name, error)
            return self._refuse(request, ResponseCode.INTERNAL_ERROR)

    # Answers.

    def _succeed(self, request: Request) -> Work | None:
        """Success without anything in it; data_len is the request's (section 3)."""
        self._connection.send(_plain(request, ResponseCode.SUCCESS))
        return None

    def _refuse(self, request: Request, code: ResponseCode) -> Work | None:
        self._code = code
        if request.content_length:
            return self._refuse_after_content(request, code)
        self._connection.send(_plain(request, code))
        return None

    async def _refuse_after_content(self, request: Request, code: ResponseCode, *, close: bool = False) -> None:
        self._code = code
        # libhail sends all content before it reads the response (section 6.5).
        await self._connection.discard_content()
        self._connection.send(_plain(request, code))
        if close:
            self._connection.close()

    def _refuse_and_close(self, request: Request, code: ResponseCode) -> Work | None:
        self._code = code
        if request.well_formed and 0 < request.content_length <= MAXIMUM_LENGTH:
            return self._refuse_after_content(request, code, close=True)
        self._connection.send(_plain(request, code))
        self._connection.close()
        return None

    async def _answering(self, request: Request, work: Work) -> None:
        """Run `work`, which answers the request; answer it with an error where it raises instead."""
        try:
            await work
            return
        except RefusedError as refusal:
            code = refusal.code
        except DamagedError as error:
            found = await self._store.set_aside(error.stored)
            code = ResponseCode.INTERNAL_ERROR if found else ResponseCode.NO_SUCH_KEY
        except (OSError, CatalogError, sqlite3.Error) as error:
            logger.error("%s failed: %s", Operation(request.operation).name, error)
            code = ResponseCode.INTERNAL_ERROR
        await self._refuse_after_content(request, code)

    async def _raise(self, error: Exception) -> None:
        raise error

    # Login.

    def _before_login(self, request: Request, first: bool) -> Work | None:
        if request.operation == Operation.LOGIN:
            return self._log_in(request)
        if request.operation == Operation.START_TLS and first and self._service.tls is not None:
            return self._start_tls(self._service.tls)
        self._connection.close()
        return None

    def _log_in(self, request: Request) -> Work | None:
        user = wire.user_of(request.key)
        if user is None:
            return self._refuse_and_close(request, ResponseCode.INVALID_ARGUMENT)
        secret = self._service.secret(user)
        if secret is None or not request.signed_with(secret):
            return self._refuse_and_close(request, ResponseCode.SIGNATURE_DOES_NOT_MATCH)
        self._user, self._secret = user, secret
        return self._succeed(request)

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        try:
            await self._connection.start_tls(context)
        except OSError as error:
            raise ConnectionClosedError from error

    def _log_in_again(self, request: Request) -> Work | None:
        return self._refuse_and_close(request, ResponseCode.INVALID_ARGUMENT)

    def _start_tls_late(self, _request: Request) -> None:
        self._connection.close()

    # Tables.

    def _required_table(self) -> int:
        if self._table is None:
            raise RefusedError(ResponseCode.INVALID_TABLE)
        return self._table

    def _open_table(self, request: Request) -> Work | None:
        create = bool(request.flags & RequestFlag.TABLE_CREATE)
        exclusive = bool(request.flags & RequestFlag.TABLE_EXCLUSIVE)
        if not request.key or request.key.startswith(RESERVED_TABLE) or (exclusive and not create):
            raise RefusedError(ResponseCode.INVALID_ARGUMENT)
        table = self._store.find_table(request.key)
        if table is None and create:
            return self._answering(request, self._create_table(request, exclusive))
        if table is None or exclusive:
            raise RefusedError(ResponseCode.INVALID_ARGUMENT)
        self._table = table
        return self._succeed(request)

    async def _create_table(self, request: Request, exclusive: bool) -> None:
        table, created = await self._store.create_table(request.key)
        if exclusive and not created:
            raise RefusedError(ResponseCode.INVALID_ARGUMENT)
        self._table = table
        self._succeed(request)

    # Reading.

    def _get_meta(self, request: Request) -> None:
        stored = self._store.owned(self._required_table(), request.key, self._user)
        self._connection.send(_found(request, stored, stored.size, stored.sha1).encode())

    def _get(self, request: Request) -> Work | None:
        stored = self._store.owned(self._required_table(), request.key, self._user)
        if stored.in_file:
            return self._answering(request, self._send_body(request, stored))
        body = self._store.inline_body(stored)
        self._connection.send(_found(request, stored, stored.size, stored.sha1).encode() + body)
        return None

    async def _send_body(self, request: Request, stored: StoredObject) -> None:
        body = await self._store.open_body(stored)
        try:
            verified = stored.size
            if not body.trusted:
                verified = min(stored.size, FIRST_WINDOW)
                await self._store.in_thread(body.verify, 0, verified)
            self._connection.send(_found(request, stored, stored.size, stored.sha1).encode())
            await self._send_windows(body, verified)
        finally:
            body.close()

    async def _send_windows(self, body: BodyFile, verified: int) -> None:
        """Send the body, of which `verified` bytes have been verified; verify what follows meanwhile."""
        clock = asyncio.get_running_loop().time
        size = body.stored.size
        window = WINDOW
        sent = 0
        while sent < size:
            count = min(window, verified - sent)
            ahead = min(2 * window, size - verified)
            begin = clock()
            await self._send_and_verify(body, sent, count, verified, ahead)
            if clock() - begin < QUICK:
                window = min(2 * window, LARGEST_WINDOW)
            sent += count
            verified += ahead

    async def _send_and_verify(self, body: BodyFile, sent: int, count: int, verified: int, ahead: int) -> None:
        if not ahead:
            await self._connection.send_file(body.file, sent, count)
            return
        verifying = asyncio.create_task(self._store.in_thread(body.verify, verified, ahead))
        try:
            await self._connection.send_file(body.file, sent, count)
        finally:
            # The thread uses the descriptor: wait for it in any case.
            await asyncio.wait({verifying})
        try:
            verifying.result()
        except DamagedError as error:
            await self._store.set_aside(error.stored)
            raise ConnectionClosedError from error

    def _get_part(self, request: Request) -> Work | None:
        stored = self._store.owned(self._required_table(), request.key, self._user)
        if request.offset > stored.size:
            raise RefusedError(ResponseCode.INVALID_SEEK)
        length, last = wire.part_range(stored.size, request.offset, request.data_length)
        flags = ResponseFlag.GET_PART_LAST if last else ResponseFlag.NONE
        if stored.in_file and length:
            return self._answering(request, self._send_part(request, stored, length, flags))
        body = self._store.inline_body(stored) if length else b""
        start, end = blockchecksums.aligned(stored.size, request.offset, length)
        sha1 = hashlib.sha1(body[start:end], usedforsecurity=False).digest()
        data = body[request.offset : request.offset + length]
        self._connection.send(_found(request, stored, length, sha1, flags).encode() + data)
        return None

    async def _send_part(self, request: Request, stored: StoredObject, length: int, flags: ResponseFlag) -> None:
        body = await self._store.open_body(stored)
        try:
            sha1 = await self._store.in_thread(body.hash_of_blocks, request.offset, length)
            self._connection.send(_found(request, stored, length, sha1, flags).encode())
            await self._connection.send_file(body.file, request.offset, length)
        finally:
            body.close()

    def _list(self, request: Request) -> Work:
        return self._answering(request, self._send_listing(request, self._required_table()))

    async def _send_listing(self, request: Request, table: int) -> None:
        store = self._store
        listing = await store.in_thread(write_listing, store.catalog.path, table, self._user, store.bodies.scratch)
        header = Response(ResponseCode.SUCCESS, request.nonce, listing.size, magic=request.magic).encode()
        if listing.file is None:
            self._connection.send(header + listing.text)
            return
        with listing.file as file:
            self._connection.send(header)
            for offset in range(0, listing.size, WINDOW):
                await self._connection.send_file(file, offset, min(WINDOW, listing.size - offset))

    # Writing.

    def _put(self, request: Request) -> Work | None:
        if request.data_length > MAXIMUM_LENGTH:
            return self._refuse_and_close(request, ResponseCode.INVALID_ARGUMENT)
        table = self._required_table()
        self._store.require_room(request.data_length)
        self._store.reserve(table, request.key)
        return self._answering(request, self._store_content(request, table))

    async def _store_content(self, request: Request, table: int) -> None:
        store = self._store
        try:
            if request.data_length <= INLINE_SIZE:
                body = await self._small_content(request)
                stored = await store.add_inline(table, request.key, self._user, body)
            else:
                finished = await self._write_content()
                stored = await store.add_file(table, request.key, self._user, finished)
        finally:
            store.release(table, request.key)
        response = Response(
            ResponseCode.SUCCESS, request.nonce, request.data_length, sha1=stored.sha1, magic=request.magic
        )
        self._connection.send(response.encode())

    async def _small_content(self, request: Request) -> bytes:
        pieces: list[bytes] = []
        last = not request.data_length
        while not last:
            arrived, last = await self._connection.content()
            pieces += arrived
        return b"".join(pieces)

    async def _write_content(self) -> FinishedBody:
        writer = self._store.writer()
        try:
            finished: FinishedBody | None = None
            while finished is None:
                finished = await self._connection.pass_content(self._store.in_thread, writer.append)
            return finished
        except BaseException:
            await self._store.in_thread(writer.discard)
            raise

    def _delete(self, request: Request) -> Work:
        return self._answering(request, self._delete_object(request, self._required_table()))

    async def _delete_object(self, request: Request, table: int) -> None:
        await self._store.delete(table, request.key, self._user)
        self._succeed(request)

    def _copy(self, request: Request) -> Work | None:
        if request.source_key is None and request.key:
            # More bytes than a key may have are about to come; without a key none come (section 2).
            return self._refuse_and_close(request, ResponseCode.INVALID_KEY)
        table = self._required_table()
        if not request.key or request.source_key is None:
            raise RefusedError(ResponseCode.INVALID_KEY)
        self._store.owned(table, request.source_key, self._user)
        self._store.reserve(table, request.key)
        return self._answering(request, self._copy_object(request, request.source_key, table))

    async def _copy_object(self, request: Request, source: bytes, table: int) -> None:
        try:
            await self._store.copy(table, source, request.key, self._user)
        finally:
            self._store.release(table, request.key)
        self._succeed(request)

    # The rest.

    def _nop(self, request: Request) -> Work | None:
        return self._succeed(request)

    def _empty(self, request: Request, proof: bytes) -> Work | None:
        if not request.signed_with(proof):
            return self._refuse_and_close(request, ResponseCode.SIGNATURE_DOES_NOT_MATCH)
        return self._answering(request, self._empty_store(request))

    async def _empty_store(self, request: Request) -> None:
        await self._store.empty(self._service.tables_in_use())
        self._succeed(request)

    def _check_start(self, request: Request) -> Work | None:
        if self._user not in self._service.check_users:
            raise RefusedError(ResponseCode.ACCESS_DENIED)
        if not self._service.checker.start():
            raise RefusedError(ResponseCode.BUSY)
        return self._succeed(request)

    def _check_status(self, request: Request) -> None:
        body = wire.encode_check_status(*self._service.checker.status())
        header = Response(ResponseCode.SUCCESS, request.nonce, len(body), magic=request.magic).encode()
        self._connection.send(header + body)


_OPERATIONS: Final[dict[int, Callable[[Session, Request], Work | None]]] = {
    Operation.NOP: Session._nop,
    Operation.GET: Session._get,
    Operation.GET_META: Session._get_meta,
    Operation.PUT: Session._put,
    Operation.DEL: Session._delete,
    Operation.LIST: Session._list,
    Operation.LOGIN: Session._log_in_again,
    Operation.TABLE_OPEN: Session._open_table,
    Operation.CHECK_START: Session._check_start,
    Operation.CHECK_STATUS: Session._check_status,
    Operation.START_TLS: Session._start_tls_late,
    Operation.CP: Session._copy,
    Operation.GET_PART: Session._get_part,
}


def _plain(request: Request, code: ResponseCode) -> bytes:
    return Response(code, request.nonce, request.data_length, magic=request.magic).encode()


def _found(
    request: Request, stored: StoredObject, length: int, sha1: bytes, flags: ResponseFlag = ResponseFlag.NONE
) -> Response:
    return Response(ResponseCode.SUCCESS, request.nonce, length, flags, sha1, stored.mtime, request.magic)
