"""Operations on one object: put, get, head, delete (tabled.md 9.5 to 9.8, 17.3, 17.7)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from haild.tabled.encryption import spec
from haild.tabled.metadata.port import Check, StorageError
from haild.tabled.metadata.records import NULL_VERSION, ObjectRecord, Segment, StoredBody
from haild.tabled.operations import acl as accesslists
from haild.tabled.operations import admission, events, expiration, locking, sealing
from haild.tabled.operations.answer import Answer, quoted
from haild.tabled.operations.call import Call
from haild.tabled.s3 import acl, checksums, conditions, dates, storageclass, tags
from haild.tabled.s3 import headers as s3headers
from haild.tabled.s3.arguments import number
from haild.tabled.s3.errors import S3Error

_OVERRIDES: Final = {
    "response-cache-control": "Cache-Control",
    "response-content-disposition": "Content-Disposition",
    "response-content-encoding": "Content-Encoding",
    "response-content-language": "Content-Language",
    "response-content-type": "Content-Type",
    "response-expires": "Expires",
}

_ON_NOT_MODIFIED: Final = frozenset(("etag", "last-modified", "cache-control", "expires", "x-amz-version-id"))


P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a request says about the object it makes."""

    headers: dict[str, str]
    acl: acl.Acl
    tags: tuple[tuple[str, str], ...]


async def attributes(call: Call, headers: Mapping[str, str] | None = None) -> Attributes:
    """Read and check the headers that are kept or must be refused. Raises S3Error."""
    headers = call.headers if headers is None else headers
    rights = await accesslists.from_headers(call, headers, call.identity.user or call.bucket.owner)
    rules = call.rules.get(call.bucket.name)
    if rules is not None:
        rights = rules.of_new_object(rights, None if rights.own is not None else headers.get("x-amz-acl", ""))
    return Attributes(
        s3headers.kept(headers) | storageclass.kept(headers), rights, tags.parse(headers.get("x-amz-tagging", ""))
    )


async def discard(call: Call, stored: StoredBody | None) -> None:
    """Have a stored body deleted that no metadata will name."""
    if stored is not None:
        await call.metadata.add_garbage([(stored.body, node) for node in stored.nodes])
        call.services.collect()


def write_check(call: Call) -> Check | None:
    """The condition of a write, to be checked in its transaction."""
    if "If-Match" not in call.headers and "If-None-Match" not in call.headers:
        return None
    headers = {name: call.headers[name] for name in ("If-Match", "If-None-Match") if name in call.headers}
    return lambda present: conditions.check_write(headers, None if present is None else present.etag)


def _unless_overtaken(check: Check) -> Check:
    """A condition that held when the body began to come, and is broken now: by another request, meanwhile."""

    def again(present: ObjectRecord | None) -> None:
        try:
            check(present)
        except S3Error:
            raise S3Error(
                "ConditionalRequestConflict", "Another request has changed the object meanwhile; please retry."
            ) from None

    return again


async def check_early(call: Call) -> Check | None:
    """The condition of a write; if it does not hold even now, the body need not be read. Raises S3Error."""
    check = write_check(call)
    if check is None:
        return None
    present = await call.metadata.object(call.address.bucket, call.key)
    check(None if present is None or present.marker else present)
    return _unless_overtaken(check)


async def put_object(call: Call) -> Answer:
    """PUT object."""
    if "partNumber" in call.query or "versionId" in call.query:
        raise S3Error("InvalidArgument", "This operation takes neither a part number nor a version id.")
    given = await attributes(call)
    wanted = await sealing.wanted(call)
    lock = await locking.wanted(call)
    check = await check_early(call)
    upload = call.upload(default=checksums.DEFAULT)
    stored = await sealing.store(call, upload.length, upload.pieces(), wanted)
    checksum = upload.checksums | {"type": "FULL_OBJECT"}
    record = ObjectRecord(
        bucket=call.address.bucket,
        key=call.key,
        size=upload.length,
        etag=upload.md5,
        modified=call.services.clock(),
        acl=given.acl,
        headers=given.headers,
        segments=sealing.whole(stored),
        checksum=checksum,
        tags=given.tags,
        encryption=wanted.encryption,
        lock=lock,
    )
    version = await commit(call, record, stored, check, event="ObjectCreated:Put")
    headers = {"ETag": quoted(record.etag)}
    headers.update(written_version(version))
    headers.update(await expiration.header(call, record))
    headers.update(checksums.headers_of(checksum))
    headers.update(spec.answer_headers(wanted.encryption, wanted.customer))
    return Answer(headers=headers)


async def commit(
    call: Call, record: ObjectRecord, stored: StoredBody | None, check: Check | None = None, *, event: str
) -> str:
    """Make a record current; its body is discarded if that is refused. Returns the version id."""
    placement = call.services.placement
    try:
        notify = await events.notes(call, event, record.key, record)
        version = await call.metadata.put_object(record, () if stored is None else (stored,), check, notify)
    except (StorageError, S3Error):
        await discard(call, stored)
        raise
    finally:
        if stored is not None:
            placement.being_stored.discard(stored.body)
    call.services.collect()
    if notify is not None:
        call.services.events_changed()
    return version


def version_header(call: Call, version: str) -> dict[str, str]:
    """x-amz-version-id where the bucket has ever been versioned."""
    return {"x-amz-version-id": version} if call.bucket.versioning else {}


def written_version(version: str) -> dict[str, str]:
    """x-amz-version-id of what was just written: S3 sends it only where versioning is enabled."""
    return {"x-amz-version-id": version} if version != NULL_VERSION else {}


def describe(call: Call, record: ObjectRecord) -> dict[str, str]:
    """The headers that tell of an object."""
    headers = s3headers.shown(record.headers)
    headers["ETag"] = quoted(record.etag)
    headers["Last-Modified"] = dates.http_date(record.modified)
    headers["Accept-Ranges"] = "bytes"
    headers.update(version_header(call, record.version))
    headers.update(locking.told(call, record))
    if record.tags:
        headers["x-amz-tagging-count"] = str(len(record.tags))
    return headers


def _checksum(call: Call, record: ObjectRecord, wanted_part: int | None, whole: bool) -> dict[str, str]:
    """The headers of the checksum of what is answered: the object, or a part of it; nothing of any other range."""
    if call.headers.get("x-amz-checksum-mode", "").upper() != "ENABLED":
        return {}
    if wanted_part is not None and record.parts:
        value = record.parts[wanted_part - 1].checksum
        algorithm = checksums.stored_algorithm(record.checksum)
        return checksums.headers_of({algorithm: value, "type": record.checksum["type"]}) if value else {}
    return checksums.headers_of(record.checksum) if whole else {}


def _override(call: Call, headers: dict[str, str]) -> None:
    wanted = {name: call.query[name] for name in _OVERRIDES if name in call.query}
    if not wanted:
        return
    if call.identity.user is None:
        raise S3Error("InvalidRequest", "Request specific response headers cannot be used for anonymous requests.")
    for name, value in wanted.items():
        header = _OVERRIDES[name]
        if any(ord(character) < 32 for character in value):
            raise S3Error("InvalidArgument", f"{name} has control characters.")
        for known in [k for k in headers if k.lower() == header.lower()]:
            del headers[known]
        headers[header] = value


def _part_range(record: ObjectRecord, wanted: int) -> tuple[int, int]:
    """First and last byte of a part."""
    if not record.parts:
        if wanted == 1:
            return 0, record.size - 1
    else:
        start = 0
        for position, part in enumerate(record.parts, 1):
            if position == wanted:
                return start, start + part.size - 1
            start += part.size
    raise S3Error("InvalidPartNumber", "The requested partnumber is not satisfiable")


def _conditions(call: Call, record: ObjectRecord, headers: dict[str, str]) -> None:
    try:
        conditions.check_read(call.headers, record.etag, record.modified)
    except S3Error as error:
        if error.code == "NotModified":
            error.headers.update({k: v for k, v in headers.items() if k.lower() in _ON_NOT_MODIFIED})
        raise


async def get_object(call: Call) -> Answer:
    """GET and HEAD object, whole or a range or a part of it."""
    record = await admission.readable(call)
    customer = sealing.reading_key(call, record)
    headers = describe(call, record)
    headers.update(spec.answer_headers(record.encryption, customer))
    headers.update(await expiration.header(call, record))
    _conditions(call, record, headers)
    _override(call, headers)
    chosen, part = None, None
    if "partNumber" in call.query:
        if "Range" in call.headers:
            raise S3Error("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
        part = number(call.query, "partNumber", 0, 100_000)
        if not 1 <= part <= 10_000:
            raise S3Error("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
        chosen = _part_range(record, part)
        if record.parts:
            headers["x-amz-mp-parts-count"] = str(len(record.parts))
    elif "Range" in call.headers and _range_applies(call, record):
        chosen = conditions.byte_range(call.headers["Range"], record.size)
    first, last = (0, record.size - 1) if chosen is None else chosen
    if chosen is not None and record.size:
        headers["Content-Range"] = f"bytes {first}-{last}/{record.size}"
    headers.update(_checksum(call, record, part, first == 0 and last == record.size - 1))
    length = last - first + 1
    answer = Answer(206 if chosen is not None and record.size else 200, headers, length=length)
    if call.method != "HEAD" and length:
        small = await _small(call, record, customer)
        if small is not None:
            answer.body = small[first : last + 1]
        elif record.encryption:
            answer.stream = content(call, sealing.reader(call, customer), record.segments, first, length)
        else:
            answer.stream = content(call, call.services.placement.pass_on, record.segments, first, length)
    return answer


async def _small(call: Call, record: ObjectRecord, customer: bytes | None) -> bytes | None:
    """The content of an object that is one small body; None for any other."""
    if len(record.segments) > 1 or record.segments[0].length != record.size:
        return None
    whole, segment = call.services.placement.whole, record.segments[0]
    if record.encryption:
        stored = await _places(call, segment)
        body = await whole(segment.body, partial(_places, call, segment))
        if body is not None:
            body = await sealing.open_small(call, stored, customer, body)
    else:
        body = await whole(segment.body, partial(_places, call, segment))
    return None if body is None else body[segment.offset : segment.offset + segment.length]


async def _places(call: Call, segment: Segment) -> StoredBody:
    stored = await call.metadata.body(segment.body)
    if stored is None:
        raise S3Error("InternalError", "The object was replaced while it was read; please retry.")
    return stored


def _range_applies(call: Call, record: ObjectRecord) -> bool:
    condition = call.headers.get("If-Range")
    if condition is None:
        return True
    if '"' in condition:
        return conditions.etag_matches(condition, record.etag)
    return dates.parse_date(condition) == int(record.modified)


async def content(
    call: Call,
    read: Callable[[StoredBody, int, int], AsyncGenerator[P, None]],
    segments: tuple[Segment, ...],
    first: int,
    length: int,
) -> AsyncGenerator[P, None]:
    """`length` bytes from byte `first` on of what the segments make up, each read by `read`."""
    start = 0
    for segment in segments:
        begin, end = max(first, start), min(first + length, start + segment.length)
        if begin < end:
            body = await _places(call, segment)
            async with contextlib.aclosing(read(body, segment.offset + begin - start, end - begin)) as pieces:
                async for piece in pieces:
                    yield piece
        start += segment.length


def deletion_check(wanted: conditions.Deletion, version: str) -> Check:
    """The conditions of a deletion, to be checked in its transaction."""

    def check(present: ObjectRecord | None) -> None:
        if present is None:
            raise S3Error(
                "NoSuchVersion" if version else "NoSuchKey", "What the conditions are about does not exist."
            )
        wanted.check(present.etag, present.size, present.modified)

    return check


async def delete_object(call: Call) -> Answer:
    """DELETE object or a version of it: 204 also where there is none."""
    if "partNumber" in call.query:
        raise S3Error("InvalidArgument", "This operation does not take a part number.")
    version = call.query.get("versionId", "")
    wanted = conditions.Deletion.from_headers(call.headers)
    check = None if wanted is None else deletion_check(wanted, version)
    if version:
        check = locking.guard(call, call.key, check)
    notify = await events.notes(call, "ObjectRemoved:Delete", call.key)
    deletion = await call.metadata.delete_object(call.address.bucket, call.key, version, check, notify)
    call.services.collect()
    if notify is not None:
        call.services.events_changed()
    headers = {}
    if deletion.version and (call.bucket.versioning or version != NULL_VERSION):
        headers["x-amz-version-id"] = deletion.version
    if deletion.marker:
        headers["x-amz-delete-marker"] = "true"
    return Answer(204, headers)
