"""Who may do what: ACLs of buckets and objects (tabled.md sections 8 and 17.3)."""

from __future__ import annotations

from typing import Final

from haild.tabled.metadata.records import Bucket, ObjectRecord
from haild.tabled.operations import unsupported
from haild.tabled.operations.call import OWNER, Call, Request, access_denied
from haild.tabled.s3 import headers as s3headers
from haild.tabled.s3 import payment, policy, publicaccess
from haild.tabled.s3.authentication import Identity
from haild.tabled.s3.errors import S3Error

AUTHENTICATED: Final = "AUTHENTICATED"
"""Pseudo-permission: any user, no bucket needed."""
__all__ = ["AUTHENTICATED", "OBJECT", "OWNER", "admit", "check_owner", "load_rules", "no_such_key", "readable"]

_RULES: Final = frozenset((policy.SETTING, publicaccess.BLOCK, publicaccess.OWNERSHIP, payment.SETTING))
"""Settings of a bucket that say who may do what."""

OBJECT: Final = "OBJECT"
"""Pseudo-permission: the operation asks for itself, on the object's list."""


async def admit(request: Request, identity: Identity, action: str, permission: str) -> Call:
    """Find the bucket and let the requester in, or raise NoSuchBucket or AccessDenied.

    `permission`: what the bucket's list must grant, or one of the pseudo-permissions.
    """
    everyone = permission == AUTHENTICATED
    headers = s3headers.effective(request.headers, request.query)
    unsupported.refuse(headers)
    unsupported.refuse_conditions(request.method, action, headers)
    call = Call(
        services=request.services,
        method=request.method,
        target=request.target,
        headers=headers,
        query=request.query,
        address=request.address,
        request_id=request.request_id,
        now=request.now,
        source=request.source,
        block=request.block,
        before_reading=request.before_reading,
        remote=request.remote,
        own_address=request.own_address,
        secure=request.secure,
        identity=identity,
        action=action,
        found_bucket=None if everyone else await request.metadata.bucket(request.address.bucket),
    )
    call.limits = await _limits(call)
    if everyone:
        _ = call.user
        if not call.within_limits(action, call.address.bucket):
            raise access_denied()
        return call
    bucket = call.bucket
    check_owner(call, "x-amz-expected-bucket-owner", bucket)
    await load_rules(call, bucket)
    if permission == OBJECT:
        return call
    owner_keeps = identity.user == bucket.owner and action.endswith("BucketPolicy") and not call.limits
    if not owner_keeps and not call.may(action, permission, call.key):
        refusal = access_denied()
        if call.method == "HEAD" and not call.key:  # where the bucket is may be told (tabled.md 17.1)
            refusal.headers["x-amz-bucket-region"] = call.services.region
        raise refusal
    return call


async def _limits(call: Call) -> tuple[policy.Policy, ...]:
    """The policies that the requester must keep to, beside those of buckets."""
    identity = call.identity
    if identity.user is None:
        return ()
    texts = await call.metadata.user_policies(identity.user)
    limits: tuple[policy.Policy, ...] = ()
    if texts:  # what one of a user's policies allows the user may; what one denies not
        limits += (policy.Policy(tuple(s for text in texts for s in policy.parse(text, "").statements)),)
    if identity.session is not None and identity.session.policy:
        limits += (policy.parse(identity.session.policy, ""),)
    return limits


def check_owner(call: Call, name: str, bucket: Bucket) -> None:
    """Raise AccessDenied where the request expects the bucket to be another user's.

    `name` is that of the header (S3 user guide, "Verifying bucket ownership with bucket owner condition"). Some
    SDKs put it into the query of presigned URLs.
    """
    if call.headers.get(name, bucket.owner) != bucket.owner:
        raise access_denied()


async def load_rules(call: Call, bucket: Bucket) -> None:
    """Have `call.may` respect the bucket's policy, Block Public Access and Object Ownership.

    Raises AccessDenied where the requester should say that it pays, and does not.
    """
    if bucket.settings.isdisjoint(_RULES) or bucket.name in call.rules:
        return
    texts = {name: await call.metadata.setting(bucket.name, name) for name in _RULES & bucket.settings}
    text = texts.get(policy.SETTING)
    if text is not None:
        call.policies[bucket.name] = policy.parse(text, bucket.name)
    call.rules[bucket.name] = publicaccess.Rules(
        bucket.owner,
        frozenset((texts.get(publicaccess.BLOCK) or "").split()),
        texts.get(publicaccess.OWNERSHIP) or publicaccess.WRITER,
        text is not None and publicaccess.is_public_policy(text),
    )
    if texts.get(payment.SETTING) == payment.REQUESTER and call.identity.user != bucket.owner:
        payer = call.headers.get(payment.HEADER, "")
        if call.identity.user is None or payer.lower() != "requester":
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
    if not call.may(call.action, permission, call.key, acl=record.acl, tags=record.tags):
        raise access_denied()
    return record


def no_such_key(key: str, headers: dict[str, str] | None = None) -> S3Error:
    """There is no such object."""
    return S3Error("NoSuchKey", "The specified key does not exist.", fields={"Key": key}, headers=headers)
