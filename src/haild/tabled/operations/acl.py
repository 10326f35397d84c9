"""Operations ?acl of buckets and objects (tabled.md 9.2, 9.7 and 17.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from haild.tabled.operations import admission, events
from haild.tabled.operations.answer import Answer, xml
from haild.tabled.operations.call import Call
from haild.tabled.s3 import acl
from haild.tabled.s3.errors import S3Error

DOCUMENT_LIMIT: Final = 256 << 10


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
    wanted = await _wanted(call, record.acl)
    notify = await events.notes(call, "ObjectAcl:Put", record.key, record)
    await call.metadata.update_object(record, acl=wanted, notify=notify)
    call.services.events_changed()
    return Answer()


async def _wanted(call: Call, present: acl.Acl) -> acl.Acl:
    """The list that the request asks for. Raises S3Error."""
    listed = await _read(call, present)
    rules = call.rules.get(call.bucket.name)
    if rules is not None:
        rules.check_acl(listed, None if call.has_body else call.headers.get("x-amz-acl", ""))
    return listed


async def _read(call: Call, present: acl.Acl) -> acl.Acl:
    body = b""
    if call.has_body:
        body = await call.upload().read(DOCUMENT_LIMIT)
    if not body:  # 2010's tabled took a request with neither as private
        return await from_headers(call, call.headers, present.owner)
    if "x-amz-acl" in call.headers or any(name.lower().startswith("x-amz-grant-") for name in call.headers):
        raise S3Error("UnexpectedContent", "This request does not support content")
    return await _known(call, acl.from_document(body, present.owner))


async def from_headers(call: Call, headers: Mapping[str, str], owner: str) -> acl.Acl:
    """The list for something of `owner` that x-amz-acl or x-amz-grant-* headers ask for. Raises S3Error."""
    bucket = call.found_bucket
    return await _known(call, acl.from_headers(headers, owner, bucket.owner if bucket is not None else ""))


async def _known(call: Call, listed: acl.Acl) -> acl.Acl:
    """The list, if all users whom it names exist: a slip of the pen shall not pass."""
    for user in sorted(acl.users(listed)):
        if await call.metadata.password(user) is None:
            raise acl.unknown_user(user)
    return listed
