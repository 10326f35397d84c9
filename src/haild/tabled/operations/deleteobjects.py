"""POST ?delete: many objects in one request (S3 API, DeleteObjects)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from haild.tabled.metadata.port import Check
from haild.tabled.metadata.records import Deletion
from haild.tabled.operations import events, locking
from haild.tabled.operations import object as objects
from haild.tabled.operations.answer import Answer, xml
from haild.tabled.operations.call import Call, access_denied
from haild.tabled.s3 import addressing, conditions
from haild.tabled.s3.arguments import read_document
from haild.tabled.s3.errors import S3Error
from haild.wire.s3 import xml as s3xml

MOST: Final = 1000
DOCUMENT_LIMIT: Final = 4 << 20
"""Bytes: a thousand keys of 1,024 bytes, escaped."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    key: str
    version: str
    conditions: conditions.Deletion | None


async def delete_objects(call: Call) -> Answer:
    """Delete up to 1000 objects; each has its own outcome. A missing one counts as deleted."""
    upload = call.upload()
    if "Content-MD5" not in call.headers and not upload.checksum_algorithm and not upload.has_sha256:
        raise S3Error("InvalidRequest", "Missing required header for this request: Content-MD5")
    root = read_document(await upload.read(DOCUMENT_LIMIT), "Delete")
    wanted = list(read_wanted(root))
    if not 0 < len(wanted) <= MOST:
        raise S3Error("MalformedXML", f"A Delete names 1 to {MOST} objects.")
    outcomes = await asyncio.gather(*(_delete(call, item) for item in wanted))
    call.services.collect()
    call.services.events_changed()
    quiet = root.value("Quiet").strip().lower() == "true"
    parts = []
    for item, outcome in zip(wanted, outcomes, strict=True):
        if isinstance(outcome, S3Error):
            parts.append(_error(item, outcome))
        elif not quiet:
            parts.append(_deleted(item, outcome))
    return xml(s3xml.document("DeleteResult", *parts))


def read_wanted(root: s3xml.Element) -> Iterable[_Wanted]:
    """The objects that a Delete document names. Raises MalformedXML."""
    for item in root.all("Object"):
        key = item.first("Key")
        if key is None or not key.text:
            raise S3Error("MalformedXML", "An Object needs a Key.")
        given = (item.first(name) for name in ("ETag", "Size", "LastModifiedTime"))
        found = conditions.Deletion.of(*(None if element is None else element.text for element in given))
        yield _Wanted(key.text, item.value("VersionId"), found)


async def _delete(call: Call, item: _Wanted) -> Deletion | S3Error:
    try:
        addressing.check_key(item.key)
        if not call.may(f"s3:DeleteObject{'Version' if item.version else ''}", "WRITE", item.key):
            return access_denied()
        check: Check | None = None
        if item.conditions is not None:
            check = objects.deletion_check(item.conditions, item.version)
        if item.version:
            check = locking.guard(call, item.key, check)
        notify = await events.notes(call, "ObjectRemoved:Delete", item.key)
        return await call.metadata.delete_object(call.bucket.name, item.key, item.version, check, notify)
    except S3Error as error:
        return error


def _deleted(item: _Wanted, deletion: Deletion) -> str:
    parts = [s3xml.element("Key", item.key)]
    if item.version:
        parts.append(s3xml.element("VersionId", item.version))
    if deletion.marker:
        parts.append(s3xml.element("DeleteMarker", True))
        parts.append(s3xml.element("DeleteMarkerVersionId", deletion.version))
    return f"<Deleted>{''.join(parts)}</Deleted>"


def _error(item: _Wanted, error: S3Error) -> str:
    parts = [s3xml.element("Key", item.key)]
    if item.version:
        parts.append(s3xml.element("VersionId", item.version))
    parts += [s3xml.element("Code", error.code), s3xml.element("Message", error.message)]
    return f"<Error>{''.join(parts)}</Error>"
