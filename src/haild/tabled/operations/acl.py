"""Operations ?acl of buckets and objects (tabled.md 9.2, 9.7 and 17.1)."""

from __future__ import annotations

from haild.tabled.operations import admission
from haild.tabled.operations.answer import Answer, xml
from haild.tabled.operations.call import Call
from haild.tabled.s3 import acl
from haild.tabled.s3.errors import S3Error

DOCUMENT_LIMIT = 256 << 10


async def get_bucket_acl(call: Call) -> Answer:
    """GET bucket ?acl."""
    return xml(acl.document(call.bucket.acl))


async def put_bucket_acl(call: Call) -> Answer:
    """PUT bucket ?acl: a canned name, or a document."""
    await call.metadata.set_bucket_acl(call.bucket.name, await _wanted(call, call.bucket.acl))
    return Answer()


async def get_object_acl(call: Call) -> Answer:
    """GET object ?acl."""
    record = await admission.readable(call, "READ_ACP")
    return xml(acl.document(record.acl))


async def put_object_acl(call: Call) -> Answer:
    """PUT object ?acl: a canned name, or a document."""
    record = await admission.readable(call, "WRITE_ACP")
    await call.metadata.update_object(record, acl=await _wanted(call, record.acl))
    return Answer()


async def _wanted(call: Call, present: acl.Acl) -> acl.Acl:
    """The list that the request asks for. Raises S3Error."""
    listed = await _read(call, present)
    rules = call.rules.get(call.bucket.name)
    if rules is not None:
        rules.check_acl(listed, None if call.has_body else call.headers.get("x-amz-acl", ""))
    return listed


async def _read(call: Call, present: acl.Acl) -> acl.Acl:
    acl.refuse_grants(call.headers)
    name = call.headers.get("x-amz-acl")
    body = b""
    if call.has_body:
        body = await call.upload().read(DOCUMENT_LIMIT)
    if name is not None:
        if body:
            raise S3Error("InvalidRequest", "A canned ACL and a document do not go together.")
        return acl.canned(name, present.owner, call.bucket.owner)
    if not body:
        # 2010's tabled took a request with neither as private.
        return acl.canned("", present.owner)
    return acl.from_document(body, present.owner)
