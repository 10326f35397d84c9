"""Bodies: put, get and delete at the primary provider, with the metadata always agreeing (iwhd.md 7.1 to 7.3).

A body becomes visible in four steps: it is uploaded and prepared; an intent is committed; it is published;
the record is changed and the intent removed in one transaction. A crash between the second and the last is
settled with the provider before the object is used again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from haild.backoff import Backoff
from haild.iwhd.metadata import journal, records
from haild.iwhd.metadata.journal import Intent
from haild.iwhd.metadata.port import Connection, Database, DatabaseError
from haild.iwhd.metadata.records import Record
from haild.iwhd.provider.base import (
    Body,
    Expected,
    MissingError,
    Provider,
    ProviderError,
    Publication,
    UnavailableError,
    Upload,
)
from haild.iwhd.warehouse.directory import ProviderDirectory
from haild.iwhd.warehouse.keylock import KeyLocks
from haild.iwhd.warehouse.queue import ReplicationQueue
from haild.wire.iwhd.target import etag_of

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
"""Seconds between attempts to settle what a crash or a lost provider left open."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stored:
    """A body that was put: its etag, its size in bytes."""

    etag: str
    size: int


class Objects:
    """The bodies of one daemon."""

    def __init__(self, database: Database, directory: ProviderDirectory, queue: ReplicationQueue) -> None:
        self._database = database
        self._directory = directory
        self._queue = queue
        self._locks = KeyLocks()
        self._unsettled: dict[tuple[str, str], list[Intent]] = {}
        self._settling: asyncio.Task[None] | None = None
        self._last_date = 0.0
        self._changes = Changes()

    async def start(self) -> None:
        """Before the first request: settle what was cut off; what cannot be yet is tried again in the background."""
        for intent in await self._database.read(journal.pending):
            self._unsettled.setdefault((intent.bucket, intent.key), []).append(intent)
        self._settling = asyncio.create_task(self._recover())

    async def close(self) -> None:
        """Stop the background work."""
        if self._settling is not None:
            self._settling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._settling

    async def _recover(self) -> None:
        """Clean up at the primary, then settle everything, for as long as that takes."""
        provider = self._directory.primary
        intents = [intent for each in self._unsettled.values() for intent in each]
        tokens = frozenset(intent.token for intent in intents if intent.provider == provider.name)
        backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        waiting = False
        while error := await self._recover_once(provider, tokens):
            if not waiting:
                expected = isinstance(error, ProviderError | DatabaseError)
                logger.warning(
                    "waiting for provider %s: %s", provider.name, error, exc_info=None if expected else error
                )
                waiting = True
            await backoff.rest()
        if waiting:
            logger.warning("provider %s is back", provider.name)

    async def _recover_once(self, provider: Provider, tokens: frozenset[str]) -> Exception | None:
        """Try all that is open; returns the last failure. One object that fails holds up no other."""
        failure: Exception | None = None
        try:
            await provider.recover(tokens)
        except ProviderError as error:
            failure = error
        for bucket, key in list(self._unsettled):
            try:
                async with self._locks.held(bucket, key):
                    await self._settle(bucket, key)
            except Exception as error:
                failure = error
        return failure

    def _settle_later(self, intent: Intent) -> None:
        self._unsettled.setdefault((intent.bucket, intent.key), []).append(intent)
        if self._settling is None or self._settling.done():
            self._settling = asyncio.create_task(self._recover())

    async def _settle(self, bucket: str, key: str) -> None:
        """Finish or forget what is open for an object, whose lock is held. Raises ProviderError, DatabaseError."""
        for intent in list(self._unsettled.get((bucket, key), ())):
            provider = self._directory.get(intent.provider)
            if provider is None:
                logger.warning("provider %s is gone: forgetting an open %s", intent.provider, intent.action)
                await self._database.write(partial(journal.end, intent=intent))
            elif intent.action == "delete":
                with contextlib.suppress(MissingError):
                    await provider.delete(bucket, key)
                await self._end_delete(intent, deleted=True)
            else:
                await self._end_put(intent, published=await provider.settle(_publication(intent)))
            self._unsettled[bucket, key].remove(intent)
        self._unsettled.pop((bucket, key), None)

    async def _ready(self, bucket: str, key: str) -> None:
        """Return once nothing is open for the object. Raises ProviderError, DatabaseError."""
        if (bucket, key) in self._unsettled:
            async with self._locks.held(bucket, key):
                await self._settle(bucket, key)

    # Putting.

    def _date(self) -> float:
        """The time, in epoch seconds, and never the same twice: the etag is made of it."""
        self._last_date = max(time.time(), math.nextafter(self._last_date, math.inf))
        return self._last_date

    async def start_put(
        self, bucket: str, key: str, length: int | None, *, upstream: str | None = None
    ) -> PendingPut:
        """Begin to put a body of `length` bytes (None: not known).

        upstream: the master's etag, if the body is a copy of the master's.

        Raises ProviderError: MissingError if there is no such bucket.
        """
        provider = self._directory.primary
        date = self._date()
        known = await self._is_known(bucket)
        if not known:
            await provider.check_bucket(bucket)
        upload = await provider.start_upload(bucket, key, length=length, etag=etag_of(date))
        return PendingPut(self, provider, upload, bucket, key, date, upstream)

    async def _is_known(self, bucket: str) -> bool:
        with contextlib.suppress(DatabaseError):
            return await self._database.read(
                lambda connection: records.find(connection, bucket, records.DEFAULT_OBJECT) is not None
            )
        return False

    async def _publish(self, put: PendingPut, token: str) -> Stored:
        async with self._locks.held(put.bucket, put.key):
            # The outcome is found out even if the client leaves; only the end of the daemon cuts it off, and
            # then the journal knows.
            published = await asyncio.shield(self._journaled(put, token))
        self._queue.announce()
        if not published:
            raise ProviderError(f"provider {put.provider.name} did not store the body")
        return Stored(etag_of(put.date), put.size)

    async def _journaled(self, put: PendingPut, token: str) -> bool:
        begin = partial(
            journal.begin_put,
            provider=put.provider.name,
            bucket=put.bucket,
            key=put.key,
            etag=etag_of(put.date),
            size=put.size,
            date=put.date,
            token=token,
            sums=put.upload.sums,
            upstream=put.upstream,
        )
        try:
            await self._settle(put.bucket, put.key)
            if put.replaces is not None:
                await self._check_replaced(put)
            intent = await self._database.write(begin)
        except (ProviderError, DatabaseError, ChangedError):
            await put.upload.abort()
            raise
        try:
            published = await self._publish_or_settle(put, intent)
            await self._end_put(intent, published=published)
        except Exception as error:
            self._settle_later(intent)
            raise UnavailableError(str(error)) from error
        return published

    async def _check_replaced(self, put: PendingPut) -> None:
        record = await self._database.read(partial(records.find, bucket=put.bucket, key=put.key))
        if record is None or record.etag != put.replaces:
            raise ChangedError

    async def _publish_or_settle(self, put: PendingPut, intent: Intent) -> bool:
        self._changes.note(put.bucket, put.key)
        try:
            await put.upload.publish()
        except ProviderError as error:
            logger.warning("put of %s/%s: %s", put.bucket, put.key, error)
            if await put.provider.settle(_publication(intent)):
                return True
            await put.upload.abort()
            return False
        return True

    async def _end_put(self, intent: Intent, *, published: bool) -> None:
        location = self._directory.location

        def change(connection: Connection) -> None:
            if published:
                records.set_body(
                    connection,
                    intent.bucket,
                    intent.key,
                    etag=intent.etag,
                    size=intent.size,
                    date=intent.date,
                    location=location,
                    sums=intent.sums,
                    upstream=intent.upstream,
                )
                self._queue.object_changed(connection, intent.bucket, intent.key)
            journal.end(connection, intent)

        await self._database.write(change)

    # Getting.

    @property
    def primary(self) -> Provider:
        """Where bodies are read and put."""
        return self._directory.primary

    async def find(self, bucket: str, key: str) -> Record | None:
        """The record of an object whose body we hold. Raises ProviderError, DatabaseError."""
        await self._ready(bucket, key)
        record = await self._database.read(lambda connection: records.find(connection, bucket, key))
        if record is None or record.etag is None or self._directory.location not in record.locations:
            return None
        return record

    async def reading(self, bucket: str, key: str) -> Reading:
        """The record of an object, to be followed by its body. Waits while a body is just being published.

        Raises ProviderError; without the database the result has no record.
        """
        record, known = None, True
        try:
            if self._locks.is_held(bucket, key):
                async with self._locks.held(bucket, key):
                    pass
            mark = self._changes.mark(bucket, key)
            record = await self.find(bucket, key)
        except DatabaseError:
            mark, known = None, False
        return Reading(self, bucket, key, record, mark, is_known=known)

    def is_unchanged(self, bucket: str, key: str, mark: int) -> bool:
        """Whether no body of the object was published, or is being published, since `mark`."""
        return not self._locks.is_held(bucket, key) and self._changes.mark(bucket, key) == mark

    # Deleting.

    async def delete(self, bucket: str, key: str) -> None:
        """Delete body and record. Raises MissingError if there is neither, ProviderError, DatabaseError."""
        provider = self._directory.primary
        async with self._locks.held(bucket, key):
            await self._settle(bucket, key)
            intent = await self._database.write(
                lambda connection: journal.begin_delete(connection, provider=provider.name, bucket=bucket, key=key)
            )
            await asyncio.shield(self._finish_delete(provider, intent))
        self._queue.announce()

    async def _finish_delete(self, provider: Provider, intent: Intent) -> None:
        deleted = True
        try:
            try:
                await provider.delete(intent.bucket, intent.key)
            except MissingError:
                deleted = False
            except UnavailableError:
                raise
            except ProviderError:
                await self._database.write(lambda connection: journal.end(connection, intent))
                raise
            recorded = await self._end_delete(intent, deleted=deleted)
        except (UnavailableError, DatabaseError) as error:
            self._settle_later(intent)
            raise UnavailableError(str(error)) from error
        if not deleted and not recorded:
            raise MissingError(f"there is no {intent.bucket}/{intent.key}")

    async def _end_delete(self, intent: Intent, *, deleted: bool) -> bool:
        def change(connection: Connection) -> bool:
            recorded = records.forget(connection, intent.bucket, intent.key)
            if deleted or recorded:
                self._queue.object_deleted(connection, intent.bucket, intent.key)
            journal.end(connection, intent)
            return recorded

        return await self._database.write(change)


class Changes:
    """Notes that bodies are published, for readers that must not mix an old record and a new body."""

    _SLOTS: Final = 4096

    def __init__(self) -> None:
        self._counts = [0] * self._SLOTS

    def note(self, bucket: str, key: str) -> None:
        """A body of the object is about to become visible."""
        self._counts[hash((bucket, key)) % self._SLOTS] += 1

    def mark(self, bucket: str, key: str) -> int:
        """A number that changes with each body of the object, and now and then without."""
        return self._counts[hash((bucket, key)) % self._SLOTS]


class ChangedError(Exception):
    """The body was replaced after its record was read: begin again."""


@dataclass(frozen=True, slots=True)
class Reading:
    """An object being read: its record, and the body that belongs to it. Made by Objects.reading().

    `record` is None if we hold no body, or, where `is_known` is false, if the database cannot tell.
    """

    objects: Objects
    bucket: str
    key: str
    record: Record | None
    mark: int | None
    is_known: bool

    @contextlib.asynccontextmanager
    async def open(self, offset: int = 0, length: int | None = None, *, afresh: bool = False) -> AsyncIterator[Body]:
        """`length` bytes (None: the rest) of the body from `offset` on, record or not.

        afresh: check it although that was done a short time ago.

        Raises ChangedError, DamagedError, other ProviderErrors.
        """
        record = self.record
        expected = None if record is None else Expected(record.size, record.sums, afresh=afresh)
        provider = self.objects.primary
        async with contextlib.AsyncExitStack() as stack:
            try:
                body = await stack.enter_async_context(
                    provider.open(self.bucket, self.key, offset=offset, length=length, expected=expected)
                )
            except ProviderError as error:
                self._check(error)
                raise
            self._check(None)
            yield body

    def _check(self, error: ProviderError | None) -> None:
        if self.mark is not None and not self.objects.is_unchanged(self.bucket, self.key, self.mark):
            raise ChangedError from error


class PendingPut:
    """A body whose upload has begun; take() must follow, or write() and finally finish() or abort()."""

    def __init__(
        self,
        objects: Objects,
        provider: Provider,
        upload: Upload,
        bucket: str,
        key: str,
        date: float,
        upstream: str | None = None,
    ) -> None:
        self._objects = objects
        self.provider = provider
        self.upload = upload
        self.bucket = bucket
        self.key = key
        self.date = date
        self.upstream = upstream
        self.replaces: str | None = None
        """The etag of the only body that this one may take the place of; None: of any."""
        self.size = 0

    async def take(self, pieces: AsyncIterable[bytes] | AsyncIterable[bytes | memoryview]) -> Stored:
        """Store all of `pieces` and make the body visible.

        Raises ProviderError, DatabaseError and what `pieces` raise; then no part of the body is ever seen,
        except that after an UnavailableError the whole of it may turn out to have been stored.
        """
        try:
            async for piece in pieces:
                await self.write(piece)
        except BaseException:
            await self.abort()
            raise
        return await self.finish()

    async def write(self, piece: bytes | memoryview) -> None:
        """Take a piece; after an exception call abort()."""
        self.size += len(piece)
        await self.upload.write(piece)

    async def finish(self) -> Stored:
        """Make the body visible; as take() otherwise."""
        try:
            token = await self.upload.prepare()
        except BaseException:
            await self.abort()
            raise
        return await self._objects._publish(self, token)

    async def abort(self) -> None:
        """Forget the body."""
        await self.upload.abort()


def _publication(intent: Intent) -> Publication:
    return Publication(intent.bucket, intent.key, intent.etag, intent.token)
