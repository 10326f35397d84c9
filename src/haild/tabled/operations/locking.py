"""Object lock as operations see it: what a write wants, what a delete must respect, ?retention and ?legal-hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from haild.tabled.metadata.port import Check
from haild.tabled.metadata.records import ObjectRecord
from haild.tabled.operations import admission
from haild.tabled.operations.answer import Answer, xml
from haild.tabled.operations.call import Call, access_denied
from haild.tabled.s3 import objectlock
from haild.tabled.s3.errors import S3Error

_DIGESTS: Final = ("content-md5", "x-amz-trailer", "x-amz-sdk-checksum-algorithm")


def enabled(call: Call) -> bool:
    """Whether the bucket has object lock."""
    return objectlock.SETTING in call.bucket.settings


async def wanted(call: Call, headers: Mapping[str, str] | None = None, *, has_body: bool = True) -> dict[str, str]:
    """The lock of the object that the request makes: its own, else the bucket's default.

    `headers`: those of a form. `has_body`: the content comes with this request, and needs a digest. Raises S3Error.
    """
    given = call.headers if headers is None else headers
    asked = objectlock.from_headers(given, enabled=enabled(call), now=call.now)
    if not enabled(call):
        return {}
    if "mode" in asked:
        _require(call, "s3:PutObjectRetention")
    if "hold" in asked:
        _require(call, "s3:PutObjectLegalHold")
    lock = await with_default(call, asked)
    if lock and has_body and headers is None and not _has_digest(given):
        raise S3Error(
            "InvalidRequest",
            "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock "
            "parameters",
        )
    return lock


async def with_default(call: Call, lock: Mapping[str, str]) -> dict[str, str]:
    """A new version's lock with the bucket's default retention, where it has none of its own."""
    if not enabled(call):
        return dict(lock)
    text = await call.metadata.setting(call.bucket.name, objectlock.SETTING)
    return objectlock.with_default(lock, objectlock.load_default(text) if text else {}, call.services.clock())


def _require(call: Call, action: str) -> None:
    if not call.may(action, admission.OWNER, call.key):
        raise access_denied()


def _has_digest(headers: Mapping[str, str]) -> bool:
    return any(name in headers for name in _DIGESTS) or any(
        name.lower().startswith("x-amz-checksum-") for name in headers
    )


def told(call: Call, record: ObjectRecord) -> dict[str, str]:
    """The headers that tell of an object's lock, as far as the requester may know."""
    if not record.lock:
        return {}
    retention = call.may("s3:GetObjectRetention", admission.OWNER, record.key)
    hold = call.may("s3:GetObjectLegalHold", admission.OWNER, record.key)
    return objectlock.answer_headers(
        {name: value for name, value in record.lock.items() if (hold if name == "hold" else retention)}
    )


def guard(call: Call, key: str, check: Check | None) -> Check | None:
    """A condition of a delete that also respects the version's lock."""
    if not enabled(call):
        return check
    bypass = _bypass(call, key)

    def guarded(present: ObjectRecord | None) -> None:
        if present is not None and present.lock:
            objectlock.check_delete(present.lock, call.now, bypass=bypass)
        if check is not None:
            check(present)

    return guarded


def _bypass(call: Call, key: str) -> bool:
    asked = call.headers.get(objectlock.BYPASS, "").lower() == "true"
    return asked and call.may("s3:BypassGovernanceRetention", admission.OWNER, key)


async def _version(call: Call) -> ObjectRecord:
    if not enabled(call):
        raise objectlock.missing_configuration()
    return await admission.readable(call, admission.OWNER)


def require_digest(call: Call) -> None:
    """Raise InvalidRequest where nothing vouches for the document (S3 API reference, PutObjectRetention)."""
    if not _has_digest(call.headers) and not call.upload().has_sha256:
        raise S3Error("InvalidRequest", "Missing required header for this request: Content-MD5 OR x-amz-checksum-*")


async def get_retention(call: Call) -> Answer:
    """GET object ?retention."""
    return xml(objectlock.retention_document((await _version(call)).lock))


async def put_retention(call: Call) -> Answer:
    """PUT object ?retention."""
    record = await _version(call)
    require_digest(call)
    retention = objectlock.read_retention(await call.document("Retention"), call.now)
    bypass = _bypass(call, call.key)

    def change(lock: Mapping[str, str]) -> Mapping[str, str]:
        objectlock.check_change(lock, retention, call.now, bypass=bypass)
        return {**({"hold": lock["hold"]} if "hold" in lock else {}), **retention}

    await call.metadata.update_object(record, lock=change)
    return Answer()


async def get_legal_hold(call: Call) -> Answer:
    """GET object ?legal-hold."""
    return xml(objectlock.legal_hold_document((await _version(call)).lock))


async def put_legal_hold(call: Call) -> Answer:
    """PUT object ?legal-hold."""
    record = await _version(call)
    require_digest(call)
    hold = objectlock.read_legal_hold(await call.document("LegalHold"))
    await call.metadata.update_object(record, lock=lambda lock: {**lock, "hold": hold})
    return Answer()
