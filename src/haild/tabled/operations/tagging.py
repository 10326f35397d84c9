"""Tags of objects (S3 API, GetObjectTagging and its like). Those of buckets are a document (documents.py)."""

from __future__ import annotations

from haild.tabled.operations import admission, events
from haild.tabled.operations import object as objects
from haild.tabled.operations.answer import Answer, xml
from haild.tabled.operations.call import Call
from haild.tabled.s3 import tags


async def get_object_tagging(call: Call) -> Answer:
    """GET object ?tagging."""
    record = await admission.readable(call)
    answer = xml(tags.document(record.tags))
    answer.headers.update(objects.version_header(call, record.version))
    return answer


async def put_object_tagging(call: Call) -> Answer:
    """PUT object ?tagging, by those who may write in the bucket."""
    record = await admission.readable(call, "WRITE_ACP")
    wanted = tags.read(await call.document("Tagging"))
    notify = await events.notes(call, "ObjectTagging:Put", record.key, record)
    await call.metadata.update_object(record, tags=wanted, notify=notify)
    call.services.events_changed()
    return Answer(headers=objects.version_header(call, record.version))


async def delete_object_tagging(call: Call) -> Answer:
    """DELETE object ?tagging."""
    record = await admission.readable(call, "WRITE_ACP")
    notify = await events.notes(call, "ObjectTagging:Delete", record.key, record)
    await call.metadata.update_object(record, tags=(), notify=notify)
    call.services.events_changed()
    return Answer(204, objects.version_header(call, record.version))
