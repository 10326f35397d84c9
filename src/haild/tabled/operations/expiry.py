"""The job that lets objects expire by their buckets' lifecycle rules (S3 user guide, "Managing the lifecycle")."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Final

from haild.tabled.bodies.collector import Collector
from haild.tabled.metadata.port import BucketMissingError, Check, Metadata, Notify, UploadMissingError
from haild.tabled.metadata.records import ListQuery, ObjectRecord
from haild.tabled.operations import events
from haild.tabled.s3 import objectlock
from haild.tabled.s3.errors import S3Error
from haild.tabled.s3.lifecycle import DAY, SETTING, Rule, from_text, older_than
from haild.wire.s3 import xml as s3xml

INTERVAL: Final = 3600.0
"""Seconds between two runs of the job; a new configuration starts one at once."""
BATCH: Final = 500

logger = logging.getLogger(__name__)


class _ReplacedError(Exception):
    """The object that was to expire is another one by now."""


class Lifecycle:
    """The job; runs while this process is master."""

    def __init__(
        self, metadata: Metadata, collector: Collector, clock: Callable[[], float], day: float = DAY
    ) -> None:
        """`day`: how many seconds a day of a rule has; tests of rules want a short one."""
        self._day = day
        self._metadata = metadata
        self._collector = collector
        self._clock = clock
        self.changed = asyncio.Event()
        """Set when a bucket's rules have changed."""

    async def run(self) -> None:
        """Apply all rules now, at least every hour and day, and after each change, for ever."""
        while True:
            self.changed.clear()
            for bucket, text in await self._metadata.settings(SETTING):
                await self._apply_all(bucket, text)
            self._collector.wake()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(INTERVAL, self._day / 4)):
                    await self.changed.wait()

    async def _apply_all(self, bucket: str, text: str) -> None:
        """Apply the rules of a bucket; what is wrong with them stops those of no other."""
        try:
            rules = from_text(text)
        except (S3Error, s3xml.MalformedXMLError) as error:
            logger.warning("the lifecycle rules of %s cannot be read, and nothing of it expires: %s", bucket, error)
            return
        for rule in rules:
            if rule.enabled:
                with contextlib.suppress(BucketMissingError):
                    await self._apply(bucket, rule)

    async def _apply(self, bucket: str, rule: Rule) -> None:
        now = self._clock()
        before = rule.expires_before(now, self._day)
        if before is not None:
            await self._expire(bucket, rule, before)
        found = await self._metadata.bucket(bucket)
        versioned = found is not None and bool(found.versioning)
        if versioned and (rule.old_days or rule.lone_markers or before is not None):
            await self._expire_versions(bucket, rule, now, before)
        if rule.upload_days:
            await self._abort_uploads(bucket, rule, older_than(rule.upload_days, now, self._day))

    async def _expire(self, bucket: str, rule: Rule, before: float) -> None:
        count, after = 0, ""
        while batch := await self._metadata.expired(bucket, rule.prefix, after, before, BATCH):
            after = batch[-1].key
            for record in batch:
                if rule.fits(record.size, record.tags):
                    with contextlib.suppress(_ReplacedError):
                        notify = await self._notes(bucket, record.key)
                        await self._metadata.delete_object(bucket, record.key, "", _unchanged(record), notify)
                        count += 1
        if count:
            logger.info("%d objects of %s have expired", count, bucket)

    async def _notes(self, bucket: str, key: str) -> Notify | None:
        found = await self._metadata.bucket(bucket)
        return None if found is None else await events.of_lifecycle(self._metadata, found, key)

    async def _expire_versions(self, bucket: str, rule: Rule, now: float, before: float | None) -> None:
        """Delete old versions, and delete markers that are alone: all of them, or those stored before a time."""
        limit = older_than(rule.old_days, now, self._day) if rule.old_days else None
        newer: ObjectRecord | None = None
        old_seen = 0
        for_deletion: list[tuple[str, str]] = []
        async for record, alone in self._versions(bucket, rule.prefix):
            if newer is None or newer.key != record.key:
                old_seen = 0
            if record.current:
                due = rule.lone_markers or (before is not None and record.modified < before)
                if record.marker and alone and due:
                    for_deletion.append((record.key, record.version))
            else:
                old_seen += 1
                # A version is old since the next one was stored.
                since = newer.modified if newer is not None else record.modified
                if (
                    limit is not None
                    and since < limit
                    and old_seen > rule.kept_old
                    and rule.fits(record.size, record.tags)
                ):
                    for_deletion.append((record.key, record.version))
            newer = record
        for key, version in for_deletion:
            with contextlib.suppress(S3Error):  # it is locked
                notify = await self._notes(bucket, key)
                await self._metadata.delete_object(bucket, key, version, _unlocked(now), notify)

    async def _versions(self, bucket: str, prefix: str) -> AsyncIterator[tuple[ObjectRecord, bool]]:
        """Every version with the news whether it is the only one of its key."""
        after, after_version = "", ""
        previous = None
        alone = True
        while True:
            page = await self._metadata.list_versions(
                ListQuery(bucket, prefix, after=after, after_version=after_version, limit=BATCH)
            )
            for entry in page.entries:
                record = await self._metadata.object(bucket, entry.key, entry.version)
                if record is None:
                    continue
                if previous is not None:
                    same = previous.key == record.key
                    yield previous, alone and not same
                    alone = not same
                previous = record
            if not page.truncated:
                break
            after, after_version = page.last, page.last_version
        if previous is not None:
            yield previous, alone

    async def _abort_uploads(self, bucket: str, rule: Rule, before: float) -> None:
        after, after_upload = "", ""
        while True:
            query = ListQuery(bucket, rule.prefix, after=after, after_version=after_upload, limit=BATCH)
            page = await self._metadata.list_uploads(query)
            for upload in page.uploads:
                after, after_upload = upload.key, upload.upload
                if upload.initiated < before:
                    with contextlib.suppress(UploadMissingError):
                        await self._metadata.abort_upload(upload.upload)
            if not page.truncated:
                return


def _unlocked(now: float) -> Check:
    def check(present: ObjectRecord | None) -> None:
        if present is not None:
            objectlock.check_delete(present.lock, now, bypass=False)

    return check


def _unchanged(record: ObjectRecord) -> Callable[[ObjectRecord | None], None]:
    def check(present: ObjectRecord | None) -> None:
        if present is None or (present.sequence, present.modified) != (record.sequence, record.modified):
            raise _ReplacedError

    return check
