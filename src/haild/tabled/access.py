"""Who may do what: ACLs of buckets and objects (tabled.md sections 8 and 17.3)."""

from __future__ import annotations

from haild.tabled.call import Call, access_denied
from haild.tabled.errors import S3Error
from haild.tabled.metadata.records import ObjectRecord

OWNER = "OWNER"
"""Pseudo-permission: the owner of the bucket only."""
AUTHENTICATED = "AUTHENTICATED"
"""Pseudo-permission: any user, no bucket needed."""
OBJECT = "OBJECT"
"""Pseudo-permission: the operation asks for itself, on the object's list."""


async def admit(call: Call, permission: str) -> None:
    """Find the bucket and let the requester in, or raise NoSuchBucket or AccessDenied."""
    if permission == AUTHENTICATED:
        _ = call.user
        return
    call.found_bucket = await call.metadata.bucket(call.address.bucket)
    bucket = call.bucket
    if permission == OBJECT:
        return
    if permission == OWNER:
        if call.identity.user != bucket.owner:
            raise access_denied()
    elif not call.may(call.action, permission, call.key):
        raise access_denied()


async def readable(call: Call, permission: str = "READ") -> ObjectRecord:
    """The object (or version) that the request names, if the requester has the permission on it.

    Raises NoSuchKey (AccessDenied to those who may not list the bucket, so that existence does not leak),
    NoSuchVersion, MethodNotAllowed for a delete marker.
    """
    version = call.query.get("versionId", "")
    record = await call.metadata.object(call.address.bucket, call.key, version)
    if record is None:
        if not call.may("s3:ListBucket", "READ"):
            raise access_denied()
        if version:
            raise S3Error(
                "NoSuchVersion",
                "The specified version does not exist.",
                fields={"Key": call.key, "VersionId": version},
            )
        raise no_such_key(call.key)
    if record.marker:
        headers = {"x-amz-delete-marker": "true", "x-amz-version-id": record.version}
        if version:
            raise S3Error("MethodNotAllowed", "This version is a delete marker.", headers=headers)
        raise no_such_key(call.key, headers)
    if not call.may(call.action, permission, call.key, acl=record.acl):
        raise access_denied()
    return record


def no_such_key(key: str, headers: dict[str, str] | None = None) -> S3Error:
    """There is no such object."""
    return S3Error("NoSuchKey", "The specified key does not exist.", fields={"Key": key}, headers=headers)
