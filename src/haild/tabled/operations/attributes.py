"""GetObjectAttributes (S3 API)."""

from __future__ import annotations

from haild.tabled.metadata.records import ObjectRecord
from haild.tabled.operations import admission, sealing
from haild.tabled.operations import object as objects
from haild.tabled.operations.answer import Answer, xml
from haild.tabled.operations.call import Call
from haild.tabled.s3 import checksums, conditions, dates, storageclass
from haild.tabled.s3.arguments import number
from haild.tabled.s3.errors import S3Error
from haild.wire.s3 import xml as s3xml


async def get_object_attributes(call: Call) -> Answer:
    """GET object ?attributes (S3 API, GetObjectAttributes)."""
    record = await admission.readable(call)
    wanted = {name.strip() for name in call.headers.get("x-amz-object-attributes", "").split(",")} - {""}
    if not wanted or wanted - {"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"}:
        raise S3Error("InvalidArgument", "Invalid attribute name specified.")
    sealing.reading_key(call, record)
    conditions.check_read(call.headers, record.etag, record.modified)
    parts = []
    if "ETag" in wanted:
        parts.append(s3xml.element("ETag", record.etag))
    if "Checksum" in wanted and record.checksum:
        parts.append(f"<Checksum>{checksums.elements_of(record.checksum.items())}</Checksum>")
    if "ObjectParts" in wanted and record.parts:
        parts.append(_parts(call, record))
    if "StorageClass" in wanted:
        parts.append(s3xml.element("StorageClass", storageclass.of(record.headers)))
    if "ObjectSize" in wanted:
        parts.append(s3xml.element("ObjectSize", record.size))
    answer = xml(s3xml.document("GetObjectAttributesResponse", *parts))
    answer.headers["Last-Modified"] = dates.http_date(record.modified)
    answer.headers.update(objects.version_header(call, record.version))
    return answer


def _parts(call: Call, record: ObjectRecord) -> str:
    limit = number({"n": call.headers.get("x-amz-max-parts", "")}, "n", 1000, 1000)
    marker = number({"n": call.headers.get("x-amz-part-number-marker", "")}, "n", 0, 10_000)
    after = [part for part in record.parts if part.number > marker]
    shown = after[:limit]
    algorithm = checksums.stored_algorithm(record.checksum)
    fields = [
        s3xml.element("PartsCount", len(record.parts)),
        s3xml.element("PartNumberMarker", marker),
        s3xml.element("NextPartNumberMarker", shown[-1].number if shown else 0),
        s3xml.element("MaxParts", limit),
        s3xml.element("IsTruncated", len(after) > limit),
    ]
    for part in shown:
        checksum = s3xml.element(f"Checksum{algorithm.upper()}", part.checksum) if part.checksum else ""
        fields.append(f"<Part><PartNumber>{part.number}</PartNumber><Size>{part.size}</Size>{checksum}</Part>")
    return f"<ObjectParts>{''.join(fields)}</ObjectParts>"
