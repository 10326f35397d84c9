"""Which operation a request asks for. Nothing falls through: a sub-resource that is not listed answers 501.

Source: tabled.md sections 9 and 17.1.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from haild.tabled.operations import acl as accesscontrol
from haild.tabled.operations import admission as access
from haild.tabled.operations import (
    bucket,
    copy,
    cors,
    lifecycle,
    listing,
    multipart,
    multipartlisting,
    object,
    policy,
    tagging,
    versioning,
)
from haild.tabled.operations import deleteobjects as batch
from haild.tabled.operations import postobject as postform
from haild.tabled.operations.call import Answer, Call, xml
from haild.tabled.s3.errors import S3Error
from haild.wire.s3 import xml as s3xml

Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation: its name in the S3 API's policy language, what it takes, and who does it."""

    action: str
    permission: str
    handler: Handler


SELECTORS = frozenset(
    (
        "abac",
        "accelerate",
        "acl",
        "analytics",
        "annotation",
        "append",
        "attributes",
        "cors",
        "defaultObjectAcl",
        "delete",
        "encryption",
        "intelligent-tiering",
        "inventory",
        "legal-hold",
        "lifecycle",
        "location",
        "logging",
        "metadataAnnotationTable",
        "metadataConfiguration",
        "metadataInventoryTable",
        "metadataJournalTable",
        "metadataTable",
        "metrics",
        "notification",
        "object-lock",
        "ownershipControls",
        "policy",
        "policyStatus",
        "publicAccessBlock",
        "renameObject",
        "replication",
        "requestPayment",
        "restore",
        "retention",
        "select",
        "session",
        "tagging",
        "torrent",
        "uploadId",
        "uploads",
        "versioning",
        "versions",
        "website",
    )
)
"""Query parameters that choose another operation than the base one."""

_OF_OBJECTS = frozenset(("versionId", "partNumber"))
"""Parameters of requests for objects, whatever the method; in requests for buckets they mean nothing."""
_OF_READS = frozenset(
    (
        "prefix",
        "marker",
        "delimiter",
        "max-keys",
        "list-type",
        "continuation-token",
        "start-after",
        "fetch-owner",
        "encoding-type",
        "key-marker",
        "version-id-marker",
        "upload-id-marker",
        "max-uploads",
        "max-buckets",
        "bucket-region",
        "max-parts",
        "part-number-marker",
        "allow-unordered",
    )
)
"""Parameters that may also be empty."""
_OF_ANY = frozenset(
    (
        # Version 2 of boto3's signed addresses repeats headers that have to be sent there.
        "content-type",
        "content-md5",
        "AWSAccessKeyId",
        "Expires",
        "Signature",
    )
)
_PARAMETER_PREFIXES = ("x-", "X-")


async def _put_or_copy(call: Call) -> Answer:
    handler = copy.copy_object if "x-amz-copy-source" in call.headers else object.put_object
    return await handler(call)


OPERATIONS: dict[tuple[str, str, str], Operation] = {
    ("service", "GET", ""): Operation("s3:ListAllMyBuckets", access.AUTHENTICATED, bucket.list_buckets),
    ("bucket", "PUT", ""): Operation("s3:CreateBucket", access.AUTHENTICATED, bucket.create_bucket),
    ("bucket", "GET", ""): Operation("s3:ListBucket", "READ", listing.list_objects),
    ("bucket", "HEAD", ""): Operation("s3:ListBucket", "READ", bucket.head_bucket),
    ("bucket", "DELETE", ""): Operation("s3:DeleteBucket", access.OWNER, bucket.delete_bucket),
    ("bucket", "GET", "location"): Operation("s3:GetBucketLocation", "READ", bucket.get_location),
    ("bucket", "GET", "versions"): Operation("s3:ListBucketVersions", "READ", listing.list_versions),
    ("bucket", "POST", ""): Operation("s3:PutObject", access.OBJECT, postform.post_object),
    ("bucket", "POST", "delete"): Operation("s3:DeleteObject", access.OBJECT, batch.delete_objects),
    ("bucket", "GET", "uploads"): Operation("s3:ListBucketMultipartUploads", "READ", multipartlisting.list_uploads),
    ("bucket", "GET", "acl"): Operation("s3:GetBucketAcl", "READ_ACP", accesscontrol.get_bucket_acl),
    ("bucket", "PUT", "acl"): Operation("s3:PutBucketAcl", "WRITE_ACP", accesscontrol.put_bucket_acl),
    ("bucket", "GET", "tagging"): Operation("s3:GetBucketTagging", access.OWNER, tagging.get_bucket_tagging),
    ("bucket", "PUT", "tagging"): Operation("s3:PutBucketTagging", access.OWNER, tagging.put_bucket_tagging),
    ("bucket", "DELETE", "tagging"): Operation("s3:PutBucketTagging", access.OWNER, tagging.delete_bucket_tagging),
    ("bucket", "GET", "versioning"): Operation("s3:GetBucketVersioning", access.OWNER, versioning.get_versioning),
    ("bucket", "PUT", "versioning"): Operation("s3:PutBucketVersioning", access.OWNER, versioning.put_versioning),
    ("bucket", "GET", "policy"): Operation("s3:GetBucketPolicy", access.OWNER, policy.get_policy),
    ("bucket", "PUT", "policy"): Operation("s3:PutBucketPolicy", access.OWNER, policy.put_policy),
    ("bucket", "DELETE", "policy"): Operation("s3:DeleteBucketPolicy", access.OWNER, policy.delete_policy),
    ("bucket", "GET", "lifecycle"): Operation("s3:GetLifecycleConfiguration", access.OWNER, lifecycle.get_lifecycle),
    ("bucket", "PUT", "lifecycle"): Operation("s3:PutLifecycleConfiguration", access.OWNER, lifecycle.put_lifecycle),
    ("bucket", "DELETE", "lifecycle"): Operation(
        "s3:PutLifecycleConfiguration", access.OWNER, lifecycle.delete_lifecycle
    ),
    ("bucket", "GET", "cors"): Operation("s3:GetBucketCORS", access.OWNER, cors.get_cors),
    ("bucket", "PUT", "cors"): Operation("s3:PutBucketCORS", access.OWNER, cors.put_cors),
    ("bucket", "DELETE", "cors"): Operation("s3:PutBucketCORS", access.OWNER, cors.delete_cors),
    ("object", "POST", "uploads"): Operation("s3:PutObject", "WRITE", multipart.create_upload),
    ("object", "PUT", "uploadId"): Operation("s3:PutObject", "WRITE", multipart.upload_part),
    ("object", "POST", "uploadId"): Operation("s3:PutObject", "WRITE", multipart.complete_upload),
    ("object", "DELETE", "uploadId"): Operation("s3:AbortMultipartUpload", "WRITE", multipart.abort_upload),
    ("object", "GET", "uploadId"): Operation("s3:ListMultipartUploadParts", "WRITE", multipartlisting.list_parts),
    ("object", "GET", "acl"): Operation("s3:GetObjectAcl", access.OBJECT, accesscontrol.get_object_acl),
    ("object", "PUT", "acl"): Operation("s3:PutObjectAcl", access.OBJECT, accesscontrol.put_object_acl),
    ("object", "GET", "tagging"): Operation("s3:GetObjectTagging", access.OBJECT, tagging.get_object_tagging),
    ("object", "PUT", "tagging"): Operation("s3:PutObjectTagging", access.OBJECT, tagging.put_object_tagging),
    ("object", "DELETE", "tagging"): Operation(
        "s3:DeleteObjectTagging", access.OBJECT, tagging.delete_object_tagging
    ),
    ("object", "GET", "attributes"): Operation(
        "s3:GetObjectAttributes", access.OBJECT, tagging.get_object_attributes
    ),
    ("object", "PUT", ""): Operation("s3:PutObject", "WRITE", _put_or_copy),
    ("object", "GET", ""): Operation("s3:GetObject", access.OBJECT, object.get_object),
    ("object", "HEAD", ""): Operation("s3:GetObject", access.OBJECT, object.get_object),
    ("object", "DELETE", ""): Operation("s3:DeleteObject", "WRITE", object.delete_object),
}


def _absent(code: str, text: str) -> Handler:
    async def answer(call: Call) -> Answer:
        raise S3Error(code, text, fields={"BucketName": call.address.bucket})

    return answer


def _empty(root: str, content: str = "") -> Handler:
    async def answer(call: Call) -> Answer:
        return xml(s3xml.document(root, content))

    return answer


async def _nothing_to_delete(call: Call) -> Answer:
    return Answer(204)


_ABSENT = {
    "website": (
        "BucketWebsite",
        "NoSuchWebsiteConfiguration",
        "The specified bucket does not have a website configuration",
    ),
    "encryption": (
        "EncryptionConfiguration",
        "ServerSideEncryptionConfigurationNotFoundError",
        "The server side encryption configuration was not found",
    ),
    "replication": (
        "ReplicationConfiguration",
        "ReplicationConfigurationNotFoundError",
        "The replication configuration was not found",
    ),
    "publicAccessBlock": (
        "BucketPublicAccessBlock",
        "NoSuchPublicAccessBlockConfiguration",
        "The public access block configuration was not found",
    ),
    "ownershipControls": (
        "BucketOwnershipControls",
        "OwnershipControlsNotFoundError",
        "The bucket ownership controls were not found",
    ),
    "object-lock": (
        "BucketObjectLockConfiguration",
        "ObjectLockConfigurationNotFoundError",
        "Object Lock configuration does not exist for this bucket",
    ),
}
"""What a bucket never has: the action's name, the error and its text."""
_DEFAULTS = {
    "logging": ("BucketLogging", "BucketLoggingStatus", ""),
    "notification": ("BucketNotification", "NotificationConfiguration", ""),
    "accelerate": ("AccelerateConfiguration", "AccelerateConfiguration", ""),
    "requestPayment": ("BucketRequestPayment", "RequestPaymentConfiguration", "<Payer>BucketOwner</Payer>"),
}
"""What is always as it is: the action's name and the document."""

for _name, (_action, _code, _text) in _ABSENT.items():
    OPERATIONS["bucket", "GET", _name] = Operation(f"s3:Get{_action}", access.OWNER, _absent(_code, _text))
    if _name != "object-lock":
        OPERATIONS["bucket", "DELETE", _name] = Operation(f"s3:Put{_action}", access.OWNER, _nothing_to_delete)
for _name, (_action, _root, _content) in _DEFAULTS.items():
    OPERATIONS["bucket", "GET", _name] = Operation(f"s3:Get{_action}", access.OWNER, _empty(_root, _content))


def _harmless(method: str, scope: str, name: str, value: str) -> bool:
    """Whether a parameter that is no selector may stand in a request; unknown ones only with a value, on reads."""
    if name in _OF_ANY or name.startswith(_PARAMETER_PREFIXES) or (scope == "object" and name in _OF_OBJECTS):
        return True
    return method in ("GET", "HEAD") and (bool(value) or name in _OF_READS or name.startswith("response-"))


def find(method: str, scope: str, query: Mapping[str, str]) -> Operation:
    """The operation for a request. `scope` is service, bucket or object.

    Raises NotImplemented for sub-resources that are not there, MethodNotAllowed for other methods.
    """
    selector = ""
    for name, value in query.items():
        if name in SELECTORS:
            if selector:
                raise S3Error("NotImplemented", f"?{selector} and ?{name} do not go together.")
            selector = name
        elif not _harmless(method, scope, name, value):
            raise S3Error("NotImplemented", f"?{name} is not implemented.")
    operation = OPERATIONS.get((scope, method, selector))
    if operation is not None:
        return operation
    if selector:
        raise S3Error("NotImplemented", f"{method} ?{selector} is not implemented.")
    raise S3Error("MethodNotAllowed", "The specified method is not allowed against this resource.")
