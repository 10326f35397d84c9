"""Multipart uploads: begin, parts, complete, abort (tabled.md 17.6).

A part is a body of its own; completing writes a manifest of the parts' bodies, so it takes the time of one commit.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from haild.tabled.encryption import spec
from haild.tabled.metadata.port import BodyMissingError, UploadMissingError
from haild.tabled.metadata.records import ObjectRecord, Part, PartSize, Segment, StoredBody, Upload
from haild.tabled.operations import copy, events, expiration, locking, sealing
from haild.tabled.operations import object as objects
from haild.tabled.operations.answer import Answer, quoted, xml
from haild.tabled.operations.call import Call
from haild.tabled.s3 import checksums
from haild.tabled.s3.arguments import read_document
from haild.tabled.s3.errors import S3Error
from haild.wire.numbers import decimal
from haild.wire.s3 import xml as s3xml

MOST_PARTS: Final = 10_000
LEAST_PART: Final = 5 << 20
"""Bytes of every part but the last."""
MAXIMUM_OBJECT: Final = 5 << 40
DOCUMENT_LIMIT: Final = 4 << 20
_SOURCE_RANGE: Final = re.compile(r"bytes=([0-9]{1,19})-([0-9]{1,19})")


async def create_upload(call: Call) -> Answer:
    """POST ?uploads."""
    given = await objects.attributes(call)
    await objects.check_early(call)
    wanted = await sealing.wanted(call)
    lock = await locking.wanted(call, has_body=False)
    algorithm, kind = _checksum_wanted(call)
    upload = Upload(
        upload=secrets.token_hex(24),
        bucket=call.address.bucket,
        key=call.key,
        initiated=call.now,
        acl=given.acl,
        headers=given.headers,
        tags=given.tags,
        checksum_algorithm=algorithm,
        checksum_type=kind,
        encryption=wanted.encryption,
        lock=lock,
    )
    await call.metadata.create_upload(upload)
    answer = xml(
        s3xml.document(
            "InitiateMultipartUploadResult",
            s3xml.element("Bucket", upload.bucket),
            s3xml.element("Key", upload.key),
            s3xml.element("UploadId", upload.upload),
        )
    )
    answer.headers.update(spec.answer_headers(wanted.encryption, wanted.customer))
    if algorithm:
        answer.headers["x-amz-checksum-algorithm"] = algorithm.upper()
        answer.headers[checksums.TYPE_HEADER] = kind
    return answer


def _checksum_wanted(call: Call) -> tuple[str, str]:
    """Algorithm and type of checksum that a new upload shall have; both empty where the client names none."""
    algorithm = checksums.algorithm_of(call.headers)
    kind = call.headers.get(checksums.TYPE_HEADER, "").upper()
    if kind not in ("", *checksums.TYPES):
        raise S3Error("InvalidRequest", "Value for x-amz-checksum-type header is invalid.")
    if kind and not algorithm:
        raise S3Error(
            "InvalidRequest",
            "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
        )
    if algorithm and not kind:
        kind = "FULL_OBJECT" if algorithm == checksums.DEFAULT else "COMPOSITE"
    wrong = algorithm == checksums.DEFAULT if kind == "COMPOSITE" else algorithm not in checksums.COMBINABLE
    if kind and wrong:
        raise S3Error(
            "InvalidRequest", f"The {kind} checksum type cannot be used with the {algorithm} checksum algorithm."
        )
    return algorithm, kind


async def find(call: Call) -> Upload:
    """The upload that the request names. Raises NoSuchUpload."""
    upload = await _in_progress(call)
    if upload is None:
        raise UploadMissingError
    return upload


async def _in_progress(call: Call) -> Upload | None:
    upload = await call.metadata.upload(call.query.get("uploadId", ""))
    if upload is None or (upload.bucket, upload.key) != (call.address.bucket, call.key):
        return None
    return upload


def _part_number(call: Call) -> int:
    number = decimal(call.query.get("partNumber", ""), 1, MOST_PARTS)
    if number is None:
        raise S3Error("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
    return number


async def upload_part(call: Call) -> Answer:
    """PUT ?partNumber&uploadId, with a body or from another object."""
    number = _part_number(call)
    upload = await find(call)
    for name in ("If-Match", "If-None-Match"):
        if name in call.headers:
            raise S3Error("NotImplemented", "Parts have no conditions; the completion of their upload has.")
    if "x-amz-copy-source" in call.headers:
        return await _copy_part(call, upload, number)
    wanted = _wanted(call, upload)
    body = call.upload(always=upload.checksum_algorithm or checksums.DEFAULT)
    if body.checksum_algorithm and upload.checksum_algorithm not in ("", body.checksum_algorithm):
        raise S3Error(
            "InvalidRequest",
            f"Checksum Type mismatch occurred, expected checksum Type: {upload.checksum_algorithm}, actual checksum "
            f"Type: {body.checksum_algorithm}",
        )
    stored = await sealing.store(call, body.length, body.pieces(), wanted)
    sums = body.checksums
    part = Part(number, body.length, body.md5, call.services.clock(), sealing.whole(stored), sums)
    try:
        await _put_part(call, upload, part, stored)
    finally:
        if stored is not None:
            call.services.placement.being_stored.discard(stored.body)
    headers = {"ETag": quoted(part.etag), **spec.answer_headers(wanted.encryption, wanted.customer)}
    told = body.checksum_algorithm or upload.checksum_algorithm or checksums.DEFAULT
    headers.update(checksums.headers_of({told: sums[told]}))
    return Answer(headers=headers)


def _wanted(call: Call, upload: Upload) -> sealing.Wanted:
    """How a part is stored: as its upload began. Raises InvalidRequest for another key than the upload's."""
    return sealing.Wanted(upload.encryption, spec.part_key(upload.encryption, spec.customer_key(call.headers)))


async def _put_part(call: Call, upload: Upload, part: Part, stored: StoredBody | None) -> None:
    try:
        await call.metadata.put_part(upload.upload, part, () if stored is None else (stored,))
    except UploadMissingError:
        await objects.discard(call, stored)
        raise
    call.services.collect()


async def _copy_part(call: Call, upload: Upload, number: int) -> Answer:
    source = copy.parse_source(call.headers["x-amz-copy-source"])
    bucket, record = await copy.find_source(call, source)
    first, last = _source_range(call.headers.get("x-amz-copy-source-range"), record.size)
    wanted = _wanted(call, upload)
    copied = cut(record.segments, first, last - first + 1)
    algorithm = upload.checksum_algorithm or checksums.DEFAULT
    whole = last - first + 1 == record.size and len(record.etag) == 32
    etag, checksum = record.etag, record.checksum.get(algorithm, "")
    if not (whole and checksum and record.checksum["type"] == "FULL_OBJECT"):
        # What is not known of the source must be computed: its bytes are read once.
        digest, found = hashlib.md5(usedforsecurity=False), checksums.new(algorithm)
        await copy.read_through(call, record, copied, (digest, found))
        etag, checksum = digest.hexdigest(), checksums.text(found)
    segments, stored = await copy.bodies_for(call, record, copied, wanted)
    try:
        part = Part(number, last - first + 1, etag, call.services.clock(), segments, {algorithm: checksum})
        await _put_part(call, upload, part, stored)
    finally:
        if stored is not None:
            call.services.placement.being_stored.discard(stored.body)
    result = s3xml.document(
        "CopyPartResult",
        s3xml.element("LastModified", s3xml.timestamp(part.modified)),
        s3xml.element("ETag", quoted(part.etag)),
        checksums.elements_of(part.checksum.items()),
    )
    answer = xml(result)
    answer.headers.update(spec.answer_headers(wanted.encryption, wanted.customer))
    if bucket.versioning:
        answer.headers["x-amz-copy-source-version-id"] = record.version
    return answer


def _source_range(text: str | None, size: int) -> tuple[int, int]:
    """First and last byte of the source. Raises S3Error: what is asked for must be there whole."""
    first, last = 0, size - 1
    if text is not None:
        match = _SOURCE_RANGE.fullmatch(text.strip())
        if not match or int(match[1]) > int(match[2]):
            raise S3Error("InvalidArgument", "The x-amz-copy-source-range value must be of the form bytes=first-last")
        first, last = int(match[1]), int(match[2])
        if last >= size:
            raise S3Error("InvalidArgument", f"Range specified is not valid for source object of size: {size}")
    if last - first >= copy.MAXIMUM:
        raise S3Error("InvalidRequest", "The specified copy source is larger than the maximum allowable size.")
    return first, last


def cut(segments: Sequence[Segment], first: int, length: int) -> tuple[Segment, ...]:
    """The segments that make up `length` bytes from byte `first` on of what `segments` make up."""
    found, start = [], 0
    for segment in segments:
        begin, end = max(first, start), min(first + length, start + segment.length)
        if begin < end:
            found.append(Segment(segment.body, segment.offset + begin - start, end - begin))
        start += segment.length
    return tuple(found)


async def abort_upload(call: Call) -> Answer:
    """DELETE ?uploadId."""
    upload = await find(call)
    await call.metadata.abort_upload(upload.upload)
    call.services.collect()
    return Answer(204)


@dataclass(frozen=True, slots=True)
class _Named:
    number: int
    etag: str
    checksum: tuple[str, str] | None


def read_parts(root: s3xml.Element) -> list[_Named]:
    """The parts that a CompleteMultipartUpload names. Raises MalformedXML and InvalidPartOrder."""
    named = []
    for element in root.all("Part"):
        number = decimal(element.value("PartNumber").strip(), 0, 999_999)
        etag = element.value("ETag").strip().strip('"')
        if number is None or not etag:
            raise S3Error("MalformedXML", "A Part needs a PartNumber and an ETag.")
        sums = [(name, element.value(f"Checksum{name.upper()}").strip()) for name in checksums.ALGORITHMS]
        named.append(_Named(number, etag, next((pair for pair in sums if pair[1]), None)))
    if not named:
        raise S3Error("MalformedXML", "You must specify at least one part")
    if any(a.number >= b.number for a, b in pairwise(named)):
        raise S3Error("InvalidPartOrder", "The list of parts was not in ascending order.")
    return named


async def complete_upload(call: Call) -> Answer:
    """POST ?uploadId: the parts that are named become the object.

    A client whose answer was lost asks again, and gets the same answer as long as the object is there.
    """
    found = await _in_progress(call) or await _completed(call)
    # A checksum in the headers is the object's to be.
    root = read_document(await call.upload(promised=False).read(DOCUMENT_LIMIT), "CompleteMultipartUpload")
    named = read_parts(root)
    record = await _complete(call, found, named) if isinstance(found, Upload) else _again(found, named)
    host = call.headers.get("Host", "")
    fields = [
        s3xml.element("Location", f"http://{host}{call.target.partition('?')[0]}"),
        s3xml.element("Bucket", record.bucket),
        s3xml.element("Key", record.key),
        s3xml.element("ETag", quoted(record.etag)),
    ]
    fields.append(checksums.elements_of(record.checksum.items()))
    answer = xml(s3xml.document("CompleteMultipartUploadResult", *fields))
    answer.headers.update(objects.written_version(record.version))
    answer.headers.update(await expiration.header(call, record))
    if record.encryption.get("algorithm") != spec.CUSTOMER:  # that key is not in this request
        answer.headers.update(spec.answer_headers(record.encryption))
    return answer


async def _complete(call: Call, upload: Upload, named: list[_Named]) -> ObjectRecord:
    known = {part.number: part for part in await call.metadata.parts(upload.upload, 0, MOST_PARTS)}
    if not known and await call.metadata.upload(upload.upload) is None:
        return _again(await _completed(call), named)
    _require_checksums(upload, named)
    parts = [_chosen(item, known) for item in named]
    for part in parts[:-1]:
        if part.size < LEAST_PART:
            raise S3Error(
                "EntityTooSmall",
                "Your proposed upload is smaller than the minimum allowed size",
                fields={"PartNumber": str(part.number), "ProposedSize": str(part.size), "ETag": part.etag},
            )
    record = _assemble(call, upload, parts)
    try:
        notify = await events.notes(call, "ObjectCreated:CompleteMultipartUpload", record.key, record)
        version = await call.metadata.complete_upload(upload.upload, record, objects.write_check(call), notify)
    except UploadMissingError:
        return _again(await _completed(call), named)
    except BodyMissingError:
        raise S3Error("InvalidPart", "A part was replaced while the upload was completed.") from None
    call.services.collect()
    if notify is not None:
        call.services.events_changed()
    return replace(record, version=version)


def _require_checksums(upload: Upload, named: list[_Named]) -> None:
    """Raise InvalidRequest where a part's checksum is missing that the upload was begun with."""
    if upload.checksum_type != "COMPOSITE":
        return
    for item in named:
        if item.checksum is None or item.checksum[0] != upload.checksum_algorithm:
            raise S3Error(
                "InvalidRequest",
                f"The upload was created using a {upload.checksum_algorithm} checksum. The complete request must "
                f"include the checksum for each part. It was missing for part {item.number} in the request.",
            )


async def _completed(call: Call) -> ObjectRecord:
    """What the upload that the request names became. Raises NoSuchUpload."""
    upload = call.query.get("uploadId")  # every other object has an empty id
    record = await call.metadata.completed_upload(call.address.bucket, call.key, upload) if upload else None
    if record is None:
        raise UploadMissingError
    return record


def _again(record: ObjectRecord, named: list[_Named]) -> ObjectRecord:
    """The record, if the parts named are those it was made of. Raises NoSuchUpload."""
    same_numbers = [part.number for part in record.parts] == [item.number for item in named]
    if not same_numbers or record.etag != _etag([item.etag for item in named]):
        raise UploadMissingError
    return record


def _etag(parts: Sequence[str]) -> str:
    """The tag of an object made of parts with these tags; empty if one of them is no tag of a part."""
    try:
        digests = b"".join(bytes.fromhex(etag) for etag in parts)
    except ValueError:
        return ""
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"


def _chosen(item: _Named, known: dict[int, Part]) -> Part:
    part = known.get(item.number)
    wrong_sum = part is not None and item.checksum is not None and _differs(part, item.checksum)
    if part is None or part.etag != item.etag or wrong_sum:
        raise S3Error(
            "InvalidPart",
            "One or more of the specified parts could not be found. The part may not have been uploaded, or the "
            "specified entity tag may not match the part's entity tag.",
            fields={"PartNumber": str(item.number), "ETag": item.etag},
        )
    return part


def _differs(part: Part, checksum: tuple[str, str]) -> bool:
    """Whether a part has another checksum, or none to compare with: what cannot be verified is not accepted."""
    name, value = checksum
    return part.checksum.get(name) != value


def _assemble(call: Call, upload: Upload, parts: list[Part]) -> ObjectRecord:
    size = sum(part.size for part in parts)
    if size > MAXIMUM_OBJECT:
        raise S3Error("EntityTooLarge", "An object has at most 5 TiB.")
    announced = call.headers.get("x-amz-mp-object-size")
    if announced is not None and announced != str(size):
        raise S3Error("InvalidRequest", "The size of the parts is not x-amz-mp-object-size.")
    algorithm = upload.checksum_algorithm or checksums.DEFAULT
    return ObjectRecord(
        bucket=upload.bucket,
        key=upload.key,
        size=size,
        etag=_etag([part.etag for part in parts]),
        modified=call.services.clock(),
        acl=upload.acl,
        headers=upload.headers,
        segments=tuple(segment for part in parts for segment in part.segments),
        parts=tuple(PartSize(part.number, part.size, part.checksum.get(algorithm, "")) for part in parts),
        checksum=_checksum(call, upload, parts),
        tags=upload.tags,
        upload=upload.upload,
        encryption=upload.encryption,
        lock=upload.lock,
    )


def _checksum(call: Call, upload: Upload, parts: list[Part]) -> dict[str, str]:
    """The object's checksum from its parts'. Raises BadDigest and InvalidRequest for one that is not as promised."""
    algorithm = upload.checksum_algorithm or checksums.DEFAULT
    kind = upload.checksum_type or "FULL_OBJECT"
    if call.headers.get(checksums.TYPE_HEADER, kind).upper() != kind:
        raise S3Error(
            "InvalidRequest",
            f"The upload was created using the {kind} checksum mode. The complete request must use the same checksum "
            "mode.",
        )
    promised = checksums.named(call.headers, allow_composite=True)
    found: dict[str, str] = {}
    for name in {algorithm, *promised}:
        values = [(b64decode(part.checksum[name]), part.size) for part in parts if name in part.checksum]
        can_be = name == algorithm or name in checksums.COMBINABLE
        if can_be and len(values) == len(parts):
            found[name] = checksums.of_parts(name, kind, values)
    for name, value in promised.items():
        if name not in found:
            raise S3Error("InvalidRequest", f"The upload was created using a {algorithm} checksum, not {name}.")
        if value not in (found[name], found[name].partition("-")[0]):
            raise S3Error("BadDigest", f"The {name.upper()} you specified did not match the calculated checksum.")
    return {algorithm: found[algorithm], "type": kind} if algorithm in found else {}
