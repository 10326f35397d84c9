"""Tags of buckets and objects, and GetObjectAttributes (tabled.md 17.1)."""

from __future__ import annotations

import json

from haild.tabled.metadata.records import ObjectRecord
from haild.tabled.operations import admission as access
from haild.tabled.operations import object as objects
from haild.tabled.operations.call import Answer, Call, number, xml
from haild.tabled.s3 import conditions
from haild.tabled.s3.errors import S3Error
from haild.wire.s3 import xml as s3xml

BUCKET_LIMIT = 50
SETTING = "tagging"


def _document(tags: tuple[tuple[str, str], ...]) -> Answer:
    parts = [f"<Tag>{s3xml.element('Key', name)}{s3xml.element('Value', value)}</Tag>" for name, value in tags]
    return xml(s3xml.document("Tagging", "<TagSet>", *parts, "</TagSet>"))


def read(root: s3xml.Element, limit: int = objects.TAG_LIMIT) -> tuple[tuple[str, str], ...]:
    """The tags in a Tagging document. Raises MalformedXML and InvalidTag."""
    tag_set = root.first("TagSet")
    if tag_set is None:
        raise S3Error("MalformedXML", "A Tagging needs a TagSet.")
    tags = [(tag.value("Key"), tag.value("Value")) for tag in tag_set.all("Tag")]
    return objects.check_tags(tags, limit)


async def get_bucket_tagging(call: Call) -> Answer:
    """GET bucket ?tagging."""
    text = await call.metadata.setting(call.bucket.name, SETTING)
    if text is None:
        raise S3Error("NoSuchTagSet", "The TagSet does not exist", fields={"BucketName": call.bucket.name})
    return _document(tuple((name, value) for name, value in json.loads(text)))


async def put_bucket_tagging(call: Call) -> Answer:
    """PUT bucket ?tagging."""
    tags = read(await call.document("Tagging"), BUCKET_LIMIT)
    await call.metadata.set_setting(call.bucket.name, SETTING, json.dumps(tags))
    return Answer(204)


async def delete_bucket_tagging(call: Call) -> Answer:
    """DELETE bucket ?tagging."""
    await call.metadata.set_setting(call.bucket.name, SETTING, None)
    return Answer(204)


async def get_object_tagging(call: Call) -> Answer:
    """GET object ?tagging."""
    record = await access.readable(call)
    answer = _document(record.tags)
    answer.headers.update(objects.version_header(call, record.version))
    return answer


async def put_object_tagging(call: Call) -> Answer:
    """PUT object ?tagging, by those who may write in the bucket."""
    record = await access.readable(call, "WRITE_ACP")
    await call.metadata.update_object(record, tags=read(await call.document("Tagging")))
    return Answer(headers=objects.version_header(call, record.version))


async def delete_object_tagging(call: Call) -> Answer:
    """DELETE object ?tagging."""
    record = await access.readable(call, "WRITE_ACP")
    await call.metadata.update_object(record, tags=())
    return Answer(204, objects.version_header(call, record.version))


async def get_object_attributes(call: Call) -> Answer:
    """GET object ?attributes (S3 API, GetObjectAttributes)."""
    record = await access.readable(call)
    wanted = {name.strip() for name in call.headers.get("x-amz-object-attributes", "").split(",")} - {""}
    if not wanted or wanted - {"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"}:
        raise S3Error("InvalidArgument", "Invalid attribute name specified.")
    conditions.check_read(call.headers, record.etag, record.modified)
    parts = []
    if "ETag" in wanted:
        parts.append(s3xml.element("ETag", record.etag))
    if "Checksum" in wanted and record.checksum:
        sums = (
            s3xml.element("ChecksumType" if n == "type" else f"Checksum{n.upper()}", v)
            for n, v in record.checksum.items()
        )
        parts.append(f"<Checksum>{''.join(sums)}</Checksum>")
    if "ObjectParts" in wanted and record.parts:
        parts.append(_parts(call, record))
    if "StorageClass" in wanted:
        parts.append("<StorageClass>STANDARD</StorageClass>")
    if "ObjectSize" in wanted:
        parts.append(s3xml.element("ObjectSize", record.size))
    answer = xml(s3xml.document("GetObjectAttributesResponse", *parts))
    answer.headers["Last-Modified"] = conditions.http_date(record.modified)
    answer.headers.update(objects.version_header(call, record.version))
    return answer


def _parts(call: Call, record: ObjectRecord) -> str:
    limit = number({"n": call.headers.get("x-amz-max-parts", "")}, "n", 1000, 1000)
    marker = number({"n": call.headers.get("x-amz-part-number-marker", "")}, "n", 0, 10_000)
    after = [part for part in record.parts if part.number > marker]
    shown = after[:limit]
    algorithm = next((name for name in record.checksum if name != "type"), "")
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
