"""Does the work of the replication queue: one worker per target, with retries (iwhd.md section 10).

A target that cannot be reached delays only its own work; it is tried again for ever, with growing pauses. Work that
a target refuses is tried again while other work goes on, and given up after MAXIMUM_ATTEMPTS.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import Final

from haild import backoff
from haild.iwhd.metadata import journal, records, work
from haild.iwhd.metadata.port import Database, DatabaseError
from haild.iwhd.metadata.work import Item
from haild.iwhd.provider.base import ExistsError, MissingError, Provider, ProviderError, UnavailableError
from haild.iwhd.warehouse.directory import ProviderDirectory
from haild.iwhd.warehouse.object import ChangedError, Objects
from haild.iwhd.warehouse.queue import ReplicationQueue

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 60.0
"""Seconds between attempts; the pause doubles each time, with some jitter."""

MAXIMUM_ATTEMPTS: Final = 12
"""Attempts at work that the target refuses."""

_PAGE: Final = 100

_BATCH: Final = 1 << 20
"""Bytes of attributes sent in one request, but for a single larger one."""

logger = logging.getLogger(__name__)


def pause_after(attempts: int) -> float:
    """Seconds to wait after that many failed attempts."""
    return backoff.pause_after(attempts, FIRST_PAUSE, LONGEST_PAUSE)


class Replicator:
    """Keeps a worker for every target while it runs."""

    def __init__(
        self, database: Database, directory: ProviderDirectory, queue: ReplicationQueue, objects: Objects
    ) -> None:
        self._database = database
        self._directory = directory
        self._queue = queue
        self._objects = objects
        self._workers: dict[Provider, asyncio.Task[None]] = {}
        self._news: dict[Provider, asyncio.Event] = {}

    async def run(self) -> None:
        """Until cancelled: start and stop workers as targets come and go, and tell them of new work."""
        try:
            while True:
                self._queue.news.clear()
                await self._adjust()
                for news in self._news.values():
                    news.set()
                await self._queue.news.wait()
        finally:
            for worker in self._workers.values():
                worker.cancel()
            await asyncio.gather(*self._workers.values(), return_exceptions=True)

    async def _adjust(self) -> None:
        targets = {provider for provider in self._directory if provider.name != self._directory.location}
        for gone in set(self._workers) - targets:
            worker = self._workers.pop(gone)
            del self._news[gone]
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
            if self._directory.get(gone.name) is None:
                with contextlib.suppress(DatabaseError):
                    await self._database.write(partial(work.forget, target=gone.name))
        for new in targets - set(self._workers):
            self._news[new] = asyncio.Event()
            self._workers[new] = asyncio.create_task(self._work(new, self._news[new]))

    async def _work(self, target: Provider, news: asyncio.Event) -> None:
        """Do the work of one target for ever."""
        failures = 0
        recovered = False
        not_before: dict[int, float] = {}
        while True:
            news.clear()
            try:
                if not recovered:
                    intents = await self._database.read(journal.pending)
                    own = frozenset(intent.token for intent in intents if intent.provider == target.name)
                    await target.recover(own)
                    recovered = True
                item, pause = await self._next(target, not_before)
                if item is None:
                    await _sleep_or(news, pause)
                    continue
                await self._attempt(target, item, not_before)
                if failures:
                    logger.warning("provider %s is back", target.name)
                failures = 0
            except (UnavailableError, DatabaseError) as error:
                if not failures:
                    logger.warning("replication waits for provider %s: %s", target.name, error)
                await asyncio.sleep(pause_after(failures))
                failures += 1
            except Exception:
                # A defect of ours must not end replication; it is retried like an absent target.
                logger.exception("replication to %s", target.name)
                await asyncio.sleep(pause_after(failures))
                failures += 1

    async def _next(self, target: Provider, not_before: dict[int, float]) -> tuple[Item | None, float | None]:
        """The first item that is due, or how many seconds until one is (None: there is none at all)."""
        now = asyncio.get_running_loop().time()
        seen: set[int] = set()
        after = 0
        while True:
            items = await self._database.read(partial(work.following, target=target.name, after=after, limit=_PAGE))
            for item in items:
                if not_before.get(item.identity, 0.0) <= now:
                    return item, None
                seen.add(item.identity)
            if len(items) < _PAGE:
                break
            after = items[-1].identity
        for superseded in set(not_before) - seen:
            del not_before[superseded]
        return None, min(not_before.values()) - now if not_before else None

    async def _attempt(self, target: Provider, item: Item, not_before: dict[int, float]) -> None:
        """Do an item; note a refusal. Raises UnavailableError, DatabaseError."""
        try:
            await self._do(target, item)
        except UnavailableError:
            raise
        except ProviderError as error:
            what = f"{item.action} of {item.bucket}/{item.key} at {target.name}"
            if item.attempts + 1 >= MAXIMUM_ATTEMPTS:
                logger.error("%s given up: %s", what, error)
            else:
                if not item.attempts:
                    logger.warning("%s refused, trying again later: %s", what, error)
                await self._database.write(partial(work.refused, item=item))
                not_before[item.identity] = asyncio.get_running_loop().time() + pause_after(item.attempts)
                return
        not_before.pop(item.identity, None)
        await self._database.write(partial(work.done, item=item))

    async def _do(self, target: Provider, item: Item) -> None:
        if target is self._directory.primary:
            return  # it became the primary: what was to be copied to it is there, or is not to be removed
        match item.action:
            case "create":
                with contextlib.suppress(ExistsError):
                    await target.create_bucket(item.bucket)
            case "remove":
                with contextlib.suppress(MissingError):
                    await target.delete_bucket(item.bucket)
            case "delete":
                with contextlib.suppress(MissingError):
                    await target.delete(item.bucket, item.key)
            case "unset":
                if target.keeps_attributes:
                    with contextlib.suppress(MissingError):
                        await target.unset_attribute(item.bucket, item.key, item.name)
            case "copy":
                await self._copy(target, item.bucket, item.key)

    async def _copy(self, target: Provider, bucket: str, key: str) -> None:
        """Bring body and attributes to the target, as far as it does not have them."""
        record = await self._database.read(partial(records.find, bucket=bucket, key=key))
        if record is None:
            return  # deleted since; that is queued too
        if record.etag is not None and target.name not in record.locations:
            sums = await self._copy_body(target, bucket, key, record.etag)
            location = partial(
                records.add_location, bucket=bucket, key=key, etag=record.etag, name=target.name, sums=sums
            )
            await self._database.write(location)
        if target.keeps_attributes:
            await self._copy_attributes(target, bucket, key)

    async def _copy_attributes(self, target: Provider, bucket: str, key: str) -> None:
        """Bring all attributes to the target, in requests that a warehouse takes and that fit into memory."""
        names = await self._database.read(partial(records.attribute_names, bucket=bucket, key=key)) or []
        batch: dict[str, bytes] = {}
        size = 0
        for name in names:
            try:
                value = await self._database.read(partial(records.attribute, bucket=bucket, key=key, name=name))
            except records.DamagedAttributeError as error:
                raise ProviderError(str(error)) from error
            if value is None:
                continue  # deleted since
            if batch and size + len(value) > _BATCH:
                await target.set_attributes(bucket, key, batch)
                batch, size = {}, 0
            batch[name] = value
            size += len(value)
        if batch:
            await target.set_attributes(bucket, key, batch)

    async def _copy_body(self, target: Provider, bucket: str, key: str, etag: str) -> bytes | None:
        """Copy the body; returns its checksums if the target has made some."""
        try:
            await target.check_bucket(bucket)
        except MissingError:
            await target.create_bucket(bucket)
        async with contextlib.AsyncExitStack() as stack:
            try:
                reading = await self._objects.reading(bucket, key)
                body = await stack.enter_async_context(reading.open())
            except ChangedError as error:
                raise UnavailableError("the body is being replaced") from error
            except MissingError:
                if await self._objects.find(bucket, key) is None:
                    return None
                raise ProviderError("the primary provider has lost the body") from None
            upload = await target.start_copy(bucket, key, length=body.size, etag=etag)
            sent = 0
            try:
                async for block in body.blocks:
                    sent += len(block)
                    await upload.write(block)
                if body.size not in (None, sent):
                    raise UnavailableError(f"read {sent} of {body.size} bytes from the primary provider")
                await upload.prepare()
                await upload.publish()
            except BaseException:
                await upload.abort()
                raise
            return upload.sums


async def _sleep_or(news: asyncio.Event, seconds: float | None) -> None:
    """Return at the news, or after that many seconds (None: only at the news)."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(None if seconds is None else max(seconds, 0.0)):
            await news.wait()
