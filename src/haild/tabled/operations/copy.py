"""CopyObject, and the source of copies in general (tabled.md 17.7).

Bodies are never changed, so a copy shares them: no byte moves, whatever the size.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import unquote

from haild.tabled.encryption import spec
from haild.tabled.metadata.port import BodyMissingError
from haild.tabled.metadata.records import Bucket, ObjectRecord, PartSize, Segment, StoredBody
from haild.tabled.operations import admission, expiration, locking, sealing
from haild.tabled.operations import object as objects
from haild.tabled.operations.answer import Answer, quoted, xml
from haild.tabled.operations.call import Call, access_denied
from haild.tabled.s3 import addressing, checksums, conditions, storageclass
from haild.tabled.s3.errors import S3Error
from haild.wire.s3 import xml as s3xml

MAXIMUM: Final = 5 << 30
ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class Source:
    """What x-amz-copy-source names."""

    bucket: str
    key: str
    version: str


def parse_source(text: str) -> Source:
    """`bucket/key` or `/bucket/key`, percent-encoded (`+` is a blank), maybe with `?versionId=`.

    Raises InvalidArgument.
    """
    path, _, query = text.partition("?")
    version = ""
    if query:
        name, _, version = query.partition("=")
        if name != "versionId" or not version:
            raise S3Error("InvalidArgument", "The query of x-amz-copy-source is not versionId=.")
    try:
        bucket, slash, key = addressing.decode(path.replace("+", " ")).removeprefix("/").partition("/")
    except S3Error:
        raise S3Error("InvalidArgument", "x-amz-copy-source is not UTF-8.") from None
    if not (bucket and slash and key):
        raise S3Error("InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
    addressing.check_bucket_name(bucket)
    addressing.check_key(key)
    return Source(bucket, key, unquote(version))


async def find_source(call: Call, source: Source) -> tuple[Bucket, ObjectRecord]:
    """The object to copy from, if the requester may read it and the source's conditions hold. Raises S3Error."""
    bucket = await call.metadata.bucket(source.bucket)
    if bucket is None:
        raise S3Error("NoSuchBucket", "The specified bucket does not exist.", fields={"BucketName": source.bucket})
    admission.check_owner(call, "x-amz-source-expected-bucket-owner", bucket)
    await admission.load_rules(call, bucket)
    record = await call.metadata.object(source.bucket, source.key, source.version)
    if record is None or record.marker:
        if not call.may("s3:ListBucket", "READ", of=bucket):
            raise access_denied()
        if source.version:
            raise S3Error("NoSuchVersion", "The specified version does not exist.")
        raise admission.no_such_key(source.key)
    action = "s3:GetObjectVersion" if source.version else "s3:GetObject"
    if not call.may(action, "READ", source.key, acl=record.acl, of=bucket, tags=record.tags):
        raise access_denied()
    conditions.check_read(call.headers, record.etag, record.modified, "x-amz-copy-source-")
    return bucket, record


def _directive(headers: Mapping[str, str], name: str) -> bool:
    """True for REPLACE."""
    value = headers.get(name, "COPY").upper()
    if value not in ("COPY", "REPLACE"):
        raise S3Error("InvalidArgument", f"Unknown {name}.")
    return value == "REPLACE"


async def copy_object(call: Call) -> Answer:
    """PUT object with x-amz-copy-source."""
    source = parse_source(call.headers["x-amz-copy-source"])
    if call.headers.get("Content-Length", "0") != "0":
        raise S3Error("InvalidRequest", "A copy has no body.")
    given = await objects.attributes(call)
    algorithm = checksums.algorithm_of(call.headers)
    new_headers = _directive(call.headers, "x-amz-metadata-directive")
    new_tags = _directive(call.headers, "x-amz-tagging-directive")
    wanted = await sealing.wanted(call)
    lock = await locking.wanted(call, has_body=False)
    check = objects.write_check(call)
    for attempt in range(ATTEMPTS):
        bucket, record = await find_source(call, source)
        other_key = wanted.customer is not None or dict(wanted.encryption) != dict(record.encryption)
        _refuse_senseless(call, source, record, changed=new_headers or other_key)
        checksum, parts = await _checksum(call, record, algorithm)
        segments, stored = await bodies_for(call, record, record.segments, wanted)
        copy = replace(
            record,
            bucket=call.address.bucket,
            key=call.key,
            modified=call.services.clock(),
            acl=given.acl,
            headers=given.headers if new_headers else _kept(record.headers, given.headers),
            tags=given.tags if new_tags else record.tags,
            checksum=checksum,
            parts=parts,
            upload="",
            segments=segments,
            encryption=wanted.encryption,
            lock=lock,
        )
        try:
            version = await objects.commit(call, copy, stored, check, event="ObjectCreated:Copy")
            break
        except BodyMissingError:  # the source was replaced in this moment: copy what is there now
            if attempt == ATTEMPTS - 1:
                raise
    headers = objects.written_version(version)
    headers.update(await expiration.header(call, copy))
    headers.update(spec.answer_headers(wanted.encryption, wanted.customer))
    if bucket.versioning:
        headers["x-amz-copy-source-version-id"] = record.version
    answer = xml(s3xml.document("CopyObjectResult", *_result(copy)))
    answer.headers.update(headers)
    return answer


def source_key(call: Call, record: ObjectRecord) -> bytes | None:
    """The customer's key of a copy's source. Raises S3Error where it does not fit the source."""
    return spec.reading_key(record.encryption, spec.customer_key(call.headers, spec.SOURCE))


async def bodies_for(
    call: Call, record: ObjectRecord, segments: tuple[Segment, ...], wanted: sealing.Wanted
) -> tuple[tuple[Segment, ...], StoredBody | None]:
    """The segments of a copy of what these segments of an object make up, and the body that had to be made for it.

    The bodies are shared where both sides are plain or under the same key. Raises S3Error.
    """
    customer = source_key(call, record)
    if spec.shares(record.encryption, wanted.encryption):
        return segments, None
    length = sum(segment.length for segment in segments)
    pieces = objects.content(call, sealing.reader(call, customer), segments, 0, length)
    stored = await sealing.store(call, length, pieces, wanted)
    return sealing.whole(stored), stored


def _result(copy: ObjectRecord) -> list[str]:
    parts = [
        s3xml.element("LastModified", s3xml.timestamp(copy.modified)),
        s3xml.element("ETag", quoted(copy.etag)),
    ]
    parts.append(checksums.elements_of(copy.checksum.items()))
    return parts


_OF_EACH: Final = frozenset((storageclass.HEADER, "x-amz-website-redirect-location"))
"""Headers of the source that a copy never has: it has its own, or none."""


def _kept(source: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """The headers of a copy that keeps those of its source."""
    found = {name: value for name, value in source.items() if name.lower() not in _OF_EACH}
    return found | {name: value for name, value in given.items() if name.lower() in _OF_EACH}


async def _checksum(call: Call, record: ObjectRecord, wanted: str) -> tuple[Mapping[str, str], tuple[PartSize, ...]]:
    """The checksum of a copy, and its parts: of the whole, by the algorithm that is wanted or the source's."""
    present = checksums.stored_algorithm(record.checksum)
    algorithm = wanted or present
    if not algorithm or (algorithm == present and record.checksum["type"] == "FULL_OBJECT"):
        return record.checksum, record.parts
    known = algorithm == present and all(part.checksum for part in record.parts)
    if known and algorithm in checksums.COMBINABLE:
        values = [(b64decode(part.checksum), part.size) for part in record.parts]
        return {algorithm: checksums.of_parts(algorithm, "FULL_OBJECT", values), "type": "FULL_OBJECT"}, record.parts
    found = checksums.new(algorithm)
    await read_through(call, record, record.segments, (found,))
    without = tuple(PartSize(part.number, part.size) for part in record.parts)
    return {algorithm: checksums.text(found), "type": "FULL_OBJECT"}, record.parts if known else without


async def read_through(
    call: Call, record: ObjectRecord, segments: tuple[Segment, ...], digests: Sequence[checksums.Checksum]
) -> None:
    """Feed what segments of a copy's source make up to the digests."""
    length = sum(segment.length for segment in segments)
    read = sealing.reader(call, source_key(call, record))
    async for block in objects.content(call, read, segments, 0, length):
        for digest in digests:
            digest.update(block)


def _refuse_senseless(call: Call, source: Source, record: ObjectRecord, *, changed: bool) -> None:
    if record.size > MAXIMUM:
        raise S3Error("InvalidRequest", "The specified copy source is larger than the maximum allowable size.")
    itself = (source.bucket, source.key) == (call.address.bucket, call.key)
    changed = changed or any(name in call.headers for name in (*_OF_EACH, "x-amz-checksum-algorithm"))
    if itself and not changed and not source.version:
        raise S3Error(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself without changing the "
            "object's metadata, storage class, website redirect location or encryption attributes.",
        )
