"""The documents that configure a bucket: one table, and GET, PUT and DELETE of any of them.

A document is stored with the bucket, as text, under its name. To add one, write a `Document` below: the routes
follow from the table.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from haild.tabled.encryption import spec
from haild.tabled.metadata.records import Bucket
from haild.tabled.operations import events, locking
from haild.tabled.operations.answer import XML, Answer, xml
from haild.tabled.operations.call import Call, Services
from haild.tabled.s3 import cors, lifecycle, notification, objectlock, payment, policy, publicaccess, tags
from haild.tabled.s3.arguments import read_document
from haild.tabled.s3.errors import S3Error
from haild.wire.s3 import xml as s3xml

Read = Callable[[bytes, Bucket], str]
"""From the body of a PUT, and the bucket it is for, to the text that is stored. Raises S3Error."""

Accept = Callable[[Call, str], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Document:
    """One kind of document.

    `name` is the query parameter, and the setting's name in the metadata. `actions` are the names of GET, PUT and
    DELETE in the policy language; an empty one means that S3 has no such operation. `absent` is the error (code and
    text) of a GET where nothing is stored, or the document that is answered instead. Without `read`, PUT is not
    implemented. `show` makes the answer of the stored text. `changed` is called after every change.
    """

    name: str
    actions: tuple[str, str, str]
    absent: tuple[str, str] | bytes
    read: Read | None = None
    show: Callable[[str], bytes] = str.encode
    content_type: str = XML
    limit: int = 64 << 10
    """Bytes of the body of a PUT."""
    put_status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further headers of the answers to GET and PUT."""
    changed: Callable[[Services], None] = lambda services: None
    accept: Accept | None = None
    """Looks at the call and the text that is to be stored; raises S3Error to refuse."""


async def get(document: Document, call: Call) -> Answer:
    """GET ?name. Raises the document's own error where the bucket has none."""
    bucket = call.bucket
    text = await call.metadata.setting(bucket.name, document.name) if document.name in bucket.settings else None
    if text is not None:
        body = document.show(text)
    elif isinstance(document.absent, bytes):
        body = document.absent
    else:
        code, message = document.absent
        raise S3Error(code, message, fields={"BucketName": bucket.name})
    return Answer(headers={"Content-Type": document.content_type, **document.headers}, body=body)


async def put(document: Document, call: Call) -> Answer:
    """PUT ?name. Raises S3Error for a document that S3 does not take."""
    assert document.read is not None  # noqa: S101 - the routes have no PUT without it
    text = document.read(await call.upload().read(document.limit), call.bucket)
    if document.accept is not None:
        await document.accept(call, text)
    await call.metadata.set_setting(call.bucket.name, document.name, text)
    document.changed(call.services)
    return Answer(document.put_status, dict(document.headers))


async def delete(document: Document, call: Call) -> Answer:
    """DELETE ?name: 204 also where there is none."""
    if document.name in call.bucket.settings:
        await call.metadata.set_setting(call.bucket.name, document.name, None)
        document.changed(call.services)
    return Answer(204)


def _same(action: str) -> tuple[str, str, str]:
    """The actions of a document whose DELETE needs the permission to put."""
    return f"s3:Get{action}", f"s3:Put{action}", f"s3:Put{action}"


def _read_policy(body: bytes, bucket: Bucket) -> str:
    text = body.decode("utf-8", "replace")
    policy.parse(text, bucket.name)
    return text


def _read_cors(body: bytes, bucket: Bucket) -> str:
    return cors.to_text(cors.read(read_document(body, "CORSConfiguration")))


def _read_lifecycle(body: bytes, bucket: Bucket) -> str:
    return lifecycle.to_text(read_document(body, "LifecycleConfiguration"))


def _read_encryption(body: bytes, bucket: Bucket) -> str:
    return json.dumps(spec.read_document(read_document(body, "ServerSideEncryptionConfiguration")))


def _read_block(body: bytes, bucket: Bucket) -> str:
    return publicaccess.read_block(read_document(body, "PublicAccessBlockConfiguration"))


def _read_ownership(body: bytes, bucket: Bucket) -> str:
    ownership = publicaccess.read_ownership(read_document(body, "OwnershipControls"))
    if ownership == publicaccess.ENFORCED and bucket.acl.grants:
        raise publicaccess.acl_with_ownership()
    return ownership


def _read_object_lock(body: bytes, bucket: Bucket) -> str:
    if bucket.versioning != "Enabled":
        raise S3Error(
            "InvalidBucketState",
            "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
        )
    return json.dumps(objectlock.read_configuration(read_document(body, "ObjectLockConfiguration")))


def _read_payment(body: bytes, bucket: Bucket) -> str:
    return payment.read_payment(read_document(body, "RequestPaymentConfiguration"))


def _read_acceleration(body: bytes, bucket: Bucket) -> str:
    return payment.read_acceleration(read_document(body, "AccelerateConfiguration"), bucket.name)


async def _accept_policy(call: Call, text: str) -> None:
    rules = call.rules.get(call.bucket.name)
    if rules is not None:
        rules.check_policy(text)


async def _accept_object_lock(call: Call, text: str) -> None:
    locking.require_digest(call)


async def get_policy_status(call: Call) -> Answer:
    """GET ?policyStatus: whether the bucket is public, by its policy or its list."""
    bucket, rules = call.bucket, call.rules.get(call.bucket.name) or publicaccess.Rules(call.bucket.owner)
    by_policy = rules.public_policy and "RestrictPublicBuckets" not in rules.switches
    public = by_policy or publicaccess.is_public_acl(rules.effective(bucket.acl))
    return xml(publicaccess.status_document(public=public))


def _read_logging(body: bytes, bucket: Bucket) -> str:
    if read_document(body, "BucketLoggingStatus").first("LoggingEnabled") is not None:
        raise S3Error("NotImplemented", "Bucket logging is not implemented: it can only be switched off.")
    return ""


def _read_notification(body: bytes, bucket: Bucket) -> str:
    return notification.to_text(notification.read(read_document(body, "NotificationConfiguration")))


def _read_tags(body: bytes, bucket: Bucket) -> str:
    return tags.to_text(tags.read(read_document(body, "Tagging"), tags.BUCKET_LIMIT))


DOCUMENTS: Final[Sequence[Document]] = (
    Document(
        name=policy.SETTING,
        actions=("s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"),
        absent=("NoSuchBucketPolicy", "The bucket policy does not exist"),
        read=_read_policy,
        content_type="application/json",
        limit=policy.LIMIT,
        put_status=204,
        accept=_accept_policy,
    ),
    Document(
        name=cors.SETTING,
        actions=_same("BucketCORS"),
        absent=("NoSuchCORSConfiguration", "The CORS configuration does not exist"),
        read=_read_cors,
        show=lambda text: cors.document(cors.from_text(text)),
    ),
    Document(
        name=lifecycle.SETTING,
        actions=_same("LifecycleConfiguration"),
        absent=("NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist"),
        read=_read_lifecycle,
        headers=lifecycle.answer_headers(),
        limit=512 << 10,
        changed=lambda services: services.lifecycle_changed(),
    ),
    Document(
        name=tags.SETTING,
        actions=_same("BucketTagging"),
        absent=("NoSuchTagSet", "The TagSet does not exist"),
        read=_read_tags,
        show=lambda text: tags.document(tags.from_text(text)),
        put_status=204,
    ),
    Document(
        name="website",
        actions=("s3:GetBucketWebsite", "s3:PutBucketWebsite", "s3:DeleteBucketWebsite"),
        absent=("NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration"),
    ),
    Document(
        name="encryption",
        actions=_same("EncryptionConfiguration"),
        absent=(
            "ServerSideEncryptionConfigurationNotFoundError",
            "The server side encryption configuration was not found",
        ),
        read=_read_encryption,
        show=lambda text: spec.document(json.loads(text)),
    ),
    Document(
        name="replication",
        actions=_same("ReplicationConfiguration"),
        absent=("ReplicationConfigurationNotFoundError", "The replication configuration was not found"),
    ),
    Document(
        name="publicAccessBlock",
        actions=_same("BucketPublicAccessBlock"),
        absent=(
            "NoSuchPublicAccessBlockConfiguration",
            "The public access block configuration was not found",
        ),
        read=_read_block,
        show=publicaccess.block_document,
    ),
    Document(
        name="ownershipControls",
        actions=_same("BucketOwnershipControls"),
        absent=("OwnershipControlsNotFoundError", "The bucket ownership controls were not found"),
        read=_read_ownership,
        show=publicaccess.ownership_document,
    ),
    Document(
        name="object-lock",
        actions=("s3:GetBucketObjectLockConfiguration", "s3:PutBucketObjectLockConfiguration", ""),
        absent=(
            "ObjectLockConfigurationNotFoundError",
            "Object Lock configuration does not exist for this bucket",
        ),
        read=_read_object_lock,
        show=lambda text: objectlock.configuration_document(objectlock.load_default(text)),
        accept=_accept_object_lock,
    ),
    Document(
        name="logging",
        actions=("s3:GetBucketLogging", "s3:PutBucketLogging", ""),
        absent=s3xml.document("BucketLoggingStatus"),
        read=_read_logging,
        show=lambda _text: s3xml.document("BucketLoggingStatus"),
    ),
    Document(
        name="notification",
        actions=("s3:GetBucketNotification", "s3:PutBucketNotification", ""),
        absent=s3xml.document("NotificationConfiguration"),
        read=_read_notification,
        show=lambda text: notification.document(notification.from_text(text)),
        accept=events.accept,
    ),
    Document(
        name="accelerate",
        actions=("s3:GetAccelerateConfiguration", "s3:PutAccelerateConfiguration", ""),
        absent=s3xml.document("AccelerateConfiguration"),
        read=_read_acceleration,
        show=payment.acceleration_document,
    ),
    Document(
        name="requestPayment",
        actions=("s3:GetBucketRequestPayment", "s3:PutBucketRequestPayment", ""),
        absent=payment.payment_document("BucketOwner"),
        read=_read_payment,
        show=payment.payment_document,
    ),
)
