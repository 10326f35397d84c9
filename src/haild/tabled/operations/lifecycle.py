"""Lifecycle rules: the document, the operations ?lifecycle, and the job that lets objects expire.

S3 user guide, "Managing the lifecycle of objects". Expiration, expiration of old versions and of lone delete markers,
and aborting unfinished uploads are there; transitions to other storage classes are refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from haild.tabled.bodies.collector import Collector
from haild.tabled.metadata.port import BucketMissingError, Metadata, UploadMissingError
from haild.tabled.metadata.records import ListQuery, ObjectRecord
from haild.tabled.operations.call import Answer, Call, xml
from haild.tabled.s3.conditions import parse_date
from haild.tabled.s3.errors import S3Error
from haild.wire.s3 import xml as s3xml

SETTING = "lifecycle"
MOST_RULES = 1000
DOCUMENT_LIMIT = 512 << 10
DAY = 86400.0
INTERVAL = 3600.0
"""Seconds between two runs of the job; a new configuration starts one at once."""
BATCH = 500

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rule:
    """One enabled rule. Ages in days; `date` in seconds since 1970."""

    prefix: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    larger: int = -1
    smaller: int = -1
    days: int = 0
    date: float | None = None
    lone_markers: bool = False
    old_days: int = 0
    kept_old: int = 0
    upload_days: int = 0

    def fits(self, record: ObjectRecord) -> bool:
        """Whether the filter beyond the prefix takes an object."""
        return (
            set(self.tags) <= set(record.tags)
            and (self.larger < 0 or record.size > self.larger)
            and (self.smaller < 0 or record.size < self.smaller)
        )

    def expires_before(self, now: float) -> float | None:
        """Objects stored before this time expire; None if none do now."""
        if self.date is not None:
            return now if now >= self.date else None
        return older_than(self.days, now) if self.days else None


def older_than(days: int, now: float) -> float:
    """What was made before this time is at least so many days old; S3 rounds ages to midnight UTC."""
    return now - now % DAY - days * DAY


def read(root: s3xml.Element) -> list[Rule]:
    """The enabled rules of a LifecycleConfiguration. Raises S3Error."""
    elements = list(root.all("Rule"))
    if not 0 < len(elements) <= MOST_RULES:
        raise _malformed()
    rules = [_rule(element) for element in elements]
    return [rule for rule, element in zip(rules, elements, strict=True) if element.value("Status") == "Enabled"]


def _malformed(text: str = "The lifecycle configuration is not one that S3 takes.") -> S3Error:
    return S3Error("MalformedXML", text)


_ACTIONS = frozenset(("Expiration", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"))


def _rule(element: s3xml.Element) -> Rule:
    names = {child.name for child in element.children}
    if names & {"Transition", "NoncurrentVersionTransition"}:
        raise S3Error("NotImplemented", "There is one storage class: transitions are not implemented.")
    if not names & _ACTIONS or names - _ACTIONS - {"ID", "Status", "Filter", "Prefix"}:
        raise _malformed()
    if element.value("Status") not in ("Enabled", "Disabled"):
        raise _malformed("Status must be Enabled or Disabled.")
    fields = _filter(element)
    expiration = element.first("Expiration")
    if expiration is not None:
        fields["days"] = _days(expiration, "Days")
        fields["date"] = _date(expiration)
        fields["lone_markers"] = expiration.value("ExpiredObjectDeleteMarker").strip() == "true"
    old = element.first("NoncurrentVersionExpiration")
    if old is not None:
        fields["old_days"] = _days(old, "NoncurrentDays")
        fields["kept_old"] = _days(old, "NewerNoncurrentVersions")
    uploads = element.first("AbortIncompleteMultipartUpload")
    if uploads is not None:
        fields["upload_days"] = _days(uploads, "DaysAfterInitiation")
    return Rule(**fields)  # type: ignore[arg-type]


def _filter(element: s3xml.Element) -> dict[str, object]:
    chosen = element.first("Filter")
    if chosen is not None and chosen.first("And") is not None:
        chosen = chosen.first("And")
    if chosen is None:
        return {"prefix": element.value("Prefix")}
    tags = tuple((tag.value("Key"), tag.value("Value")) for tag in chosen.all("Tag"))
    sizes = [_days(chosen, name, -1) for name in ("ObjectSizeGreaterThan", "ObjectSizeLessThan")]
    return {"prefix": chosen.value("Prefix"), "tags": tags, "larger": sizes[0], "smaller": sizes[1]}


def _days(element: s3xml.Element, name: str, default: int = 0) -> int:
    text = element.value(name).strip()
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 16) or (default == 0 and int(text) < 1):
        raise S3Error("InvalidArgument", f"'{name}' must be a positive number.")
    return int(text)


def _date(element: s3xml.Element) -> float | None:
    text = element.value("Date").strip()
    if not text:
        return None
    moment = parse_date(text)
    if moment is None or moment % DAY:
        raise S3Error("InvalidArgument", "'Date' must be at midnight GMT")
    return moment


async def get_lifecycle(call: Call) -> Answer:
    """GET ?lifecycle: the document as it was set."""
    text = await call.metadata.setting(call.bucket.name, SETTING)
    if text is None:
        raise S3Error(
            "NoSuchLifecycleConfiguration",
            "The lifecycle configuration does not exist",
            fields={"BucketName": call.bucket.name},
        )
    return xml(text.encode())


async def put_lifecycle(call: Call) -> Answer:
    """PUT ?lifecycle."""
    body = await call.upload().read(DOCUMENT_LIMIT)
    try:
        root = s3xml.parse(body, "LifecycleConfiguration")
    except s3xml.MalformedXMLError as error:
        raise _malformed(str(error)) from None
    read(root)
    await call.metadata.set_setting(call.bucket.name, SETTING, body.decode("utf-8", "replace"))
    call.services.lifecycle_changed()
    return Answer()


async def delete_lifecycle(call: Call) -> Answer:
    """DELETE ?lifecycle."""
    await call.metadata.set_setting(call.bucket.name, SETTING, None)
    return Answer(204)


class _ReplacedError(Exception):
    """The object that was to expire is another one by now."""


class Lifecycle:
    """The job; runs while this process is master."""

    def __init__(self, metadata: Metadata, collector: Collector, clock: Callable[[], float]) -> None:
        self._metadata = metadata
        self._collector = collector
        self._clock = clock
        self.changed = asyncio.Event()
        """Set when a bucket's rules have changed."""

    async def run(self) -> None:
        """Apply all rules now, every hour and after each change, for ever."""
        while True:
            self.changed.clear()
            for bucket, text in await self._metadata.settings(SETTING):
                for rule in read(s3xml.parse(text.encode(), "LifecycleConfiguration")):
                    with contextlib.suppress(BucketMissingError):
                        await self._apply(bucket, rule)
            self._collector.wake()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL):
                    await self.changed.wait()

    async def _apply(self, bucket: str, rule: Rule) -> None:
        now = self._clock()
        before = rule.expires_before(now)
        if before is not None:
            await self._expire(bucket, rule, before)
        if rule.old_days or rule.lone_markers:
            await self._expire_versions(bucket, rule, now)
        if rule.upload_days:
            await self._abort_uploads(bucket, rule, older_than(rule.upload_days, now))

    async def _expire(self, bucket: str, rule: Rule, before: float) -> None:
        count, after = 0, ""
        while batch := await self._metadata.expired(bucket, rule.prefix, after, before, BATCH):
            after = batch[-1].key
            for record in batch:
                if rule.fits(record):
                    with contextlib.suppress(_ReplacedError):
                        await self._metadata.delete_object(bucket, record.key, check=_unchanged(record))
                        count += 1
        if count:
            logger.info("%d objects of %s have expired", count, bucket)

    async def _expire_versions(self, bucket: str, rule: Rule, now: float) -> None:
        limit = older_than(rule.old_days, now) if rule.old_days else None
        newer: ObjectRecord | None = None
        old_seen = 0
        for_deletion: list[tuple[str, str]] = []
        async for record, alone in self._versions(bucket, rule.prefix):
            if newer is None or newer.key != record.key:
                old_seen = 0
            if record.current:
                if rule.lone_markers and record.marker and alone:
                    for_deletion.append((record.key, record.version))
            else:
                old_seen += 1
                # A version is old since the next one was stored.
                since = newer.modified if newer is not None else record.modified
                if limit is not None and since < limit and old_seen > rule.kept_old and rule.fits(record):
                    for_deletion.append((record.key, record.version))
            newer = record
        for key, version in for_deletion:
            await self._metadata.delete_object(bucket, key, version)

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
        page = await self._metadata.list_uploads(ListQuery(bucket, rule.prefix))
        for upload in page.uploads:
            if upload.initiated < before:
                with contextlib.suppress(UploadMissingError):
                    await self._metadata.abort_upload(upload.upload)


def _unchanged(record: ObjectRecord) -> Callable[[ObjectRecord | None], None]:
    def check(present: ObjectRecord | None) -> None:
        if present is None or (present.sequence, present.modified) != (record.sequence, record.modified):
            raise _ReplacedError

    return check
