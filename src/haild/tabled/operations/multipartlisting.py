"""Listings of multipart uploads in progress and of their parts (tabled.md 17.6)."""

from __future__ import annotations

from typing import Final

from haild.tabled.metadata.records import ListQuery, Upload
from haild.tabled.operations import multipart
from haild.tabled.operations.answer import Answer, quoted, xml
from haild.tabled.operations.call import Call
from haild.tabled.s3 import checksums, storageclass
from haild.tabled.s3.arguments import number
from haild.wire.s3 import xml as s3xml

MOST: Final = 1000


async def list_parts(call: Call) -> Answer:
    """GET ?uploadId."""
    upload = await multipart.find(call)
    limit = number(call.query, "max-parts", MOST, MOST)
    marker = number(call.query, "part-number-marker", 0, multipart.MOST_PARTS)
    parts = await call.metadata.parts(upload.upload, marker, limit + 1)
    truncated = 0 < limit < len(parts)
    parts = parts[:limit]
    fields = [
        s3xml.element("Bucket", upload.bucket),
        s3xml.element("Key", upload.key),
        s3xml.element("UploadId", upload.upload),
        s3xml.owner(upload.acl.owner, "Initiator"),
        s3xml.owner(upload.acl.owner),
        s3xml.element("StorageClass", storageclass.of(upload.headers)),
        s3xml.element("PartNumberMarker", marker),
        s3xml.element("NextPartNumberMarker", parts[-1].number if parts else 0),
        s3xml.element("MaxParts", limit),
        s3xml.element("IsTruncated", truncated),
    ]
    fields.append(_checksum(upload))
    for part in parts:
        sums = checksums.elements_of(part.checksum.items())
        fields.append(
            f"<Part><PartNumber>{part.number}</PartNumber>"
            f"{s3xml.element('LastModified', s3xml.timestamp(part.modified))}"
            f"{s3xml.element('ETag', quoted(part.etag))}<Size>{part.size}</Size>{sums}</Part>"
        )
    return xml(s3xml.document("ListPartsResult", *fields))


def _checksum(upload: Upload) -> str:
    if not upload.checksum_algorithm:
        return ""
    algorithm = s3xml.element("ChecksumAlgorithm", upload.checksum_algorithm.upper())
    return f"{algorithm}{s3xml.element('ChecksumType', upload.checksum_type)}"


async def list_uploads(call: Call) -> Answer:
    """GET bucket ?uploads."""
    query = call.query
    url = query.get("encoding-type", "").lower() == "url"
    prefix, delimiter, marker = (query.get(name, "") for name in ("prefix", "delimiter", "key-marker"))
    limit = number(query, "max-uploads", MOST, MOST)
    after = query.get("upload-id-marker", "") if marker else ""
    page = await call.metadata.list_uploads(ListQuery(call.bucket.name, prefix, delimiter, marker, limit, after))

    def key(name: str, value: str) -> str:
        return f"<{name}>{s3xml.listed_key(value, url)}</{name}>"

    fields = [
        s3xml.element("Bucket", call.bucket.name),
        key("KeyMarker", marker),
        s3xml.element("UploadIdMarker", after),
    ]
    if page.truncated:
        last = page.uploads[-1] if page.uploads else None
        last_prefix = page.prefixes[-1] if page.prefixes else ""
        by_key = last is not None and last.key > last_prefix
        fields.append(key("NextKeyMarker", last.key if last is not None and by_key else last_prefix))
        fields.append(s3xml.element("NextUploadIdMarker", last.upload if last is not None and by_key else ""))
    if delimiter:
        fields.append(key("Delimiter", delimiter))
    fields += [
        key("Prefix", prefix),
        s3xml.element("MaxUploads", limit),
        s3xml.element("IsTruncated", page.truncated),
    ]
    if url:
        fields.append("<EncodingType>url</EncodingType>")
    for upload in page.uploads:
        fields.append(
            f"<Upload>{key('Key', upload.key)}<UploadId>{upload.upload}</UploadId>"
            f"{s3xml.owner(upload.acl.owner, 'Initiator')}{s3xml.owner(upload.acl.owner)}"
            f"{s3xml.element('StorageClass', storageclass.of(upload.headers))}"
            f"{s3xml.element('Initiated', s3xml.timestamp(upload.initiated))}{_checksum(upload)}</Upload>"
        )
    fields += [f"<CommonPrefixes>{key('Prefix', common)}</CommonPrefixes>" for common in page.prefixes]
    return xml(s3xml.document("ListMultipartUploadsResult", *fields))
