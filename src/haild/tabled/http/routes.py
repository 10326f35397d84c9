"""Which operation a request asks for. Nothing falls through: a sub-resource that is not listed answers 501.

Source: tabled.md sections 9 and 17.1.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from haild.tabled.operations import (
    acl,
    admission,
    attributes,
    bucket,
    copy,
    deleteobjects,
    documents,
    listing,
    locking,
    multipart,
    multipartlisting,
    object,
    postobject,
    tagging,
    versioning,
)
from haild.tabled.operations.answer import Answer
from haild.tabled.operations.call import Call
from haild.tabled.s3.errors import S3Error

Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation: its name in the S3 API's policy language, what it takes, and who does it.

    `of_version` is the action's name where a version is named; empty where that makes no difference.
    """

    action: str
    permission: str
    handler: Handler
    of_version: str = ""
    is_form: bool = False
    """Whether the body shows who sends the request."""

    def action_for(self, query: Mapping[str, str]) -> str:
        """The action that a request with this query is."""
        return self.of_version if self.of_version and "versionId" in query else self.action


SELECTORS: Final = frozenset(
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

_OF_OBJECTS: Final = frozenset(("versionId", "partNumber"))
"""Parameters of requests for objects, whatever the method; in requests for buckets they mean nothing."""
_OF_ANY: Final = frozenset(
    (
        # Version 2 of boto3's signed addresses repeats headers that have to be sent there.
        "content-type",
        "content-md5",
        "AWSAccessKeyId",
        "Expires",
        "Signature",
    )
)
_PARAMETER_PREFIXES: Final = ("x-", "X-")


async def _put_or_copy(call: Call) -> Answer:
    handler = copy.copy_object if "x-amz-copy-source" in call.headers else object.put_object
    return await handler(call)


OPERATIONS: Final[dict[tuple[str, str, str], Operation]] = {
    ("service", "GET", ""): Operation("s3:ListAllMyBuckets", admission.AUTHENTICATED, bucket.list_buckets),
    ("bucket", "PUT", ""): Operation("s3:CreateBucket", admission.AUTHENTICATED, bucket.create_bucket),
    ("bucket", "GET", ""): Operation("s3:ListBucket", "READ", listing.list_objects),
    ("bucket", "HEAD", ""): Operation("s3:ListBucket", "READ", bucket.head_bucket),
    ("bucket", "DELETE", ""): Operation("s3:DeleteBucket", admission.OWNER, bucket.delete_bucket),
    ("bucket", "GET", "location"): Operation("s3:GetBucketLocation", "READ", bucket.get_location),
    ("bucket", "GET", "versions"): Operation("s3:ListBucketVersions", "READ", listing.list_versions),
    ("bucket", "POST", ""): Operation("s3:PutObject", admission.OBJECT, postobject.post_object, is_form=True),
    ("bucket", "POST", "delete"): Operation("s3:DeleteObject", admission.OBJECT, deleteobjects.delete_objects),
    ("bucket", "GET", "uploads"): Operation("s3:ListBucketMultipartUploads", "READ", multipartlisting.list_uploads),
    ("bucket", "GET", "acl"): Operation("s3:GetBucketAcl", "READ_ACP", acl.get_bucket_acl),
    ("bucket", "PUT", "acl"): Operation("s3:PutBucketAcl", "WRITE_ACP", acl.put_bucket_acl),
    ("bucket", "GET", "policyStatus"): Operation(
        "s3:GetBucketPolicyStatus", admission.OWNER, documents.get_policy_status
    ),
    ("bucket", "GET", "versioning"): Operation("s3:GetBucketVersioning", admission.OWNER, versioning.get_versioning),
    ("bucket", "PUT", "versioning"): Operation("s3:PutBucketVersioning", admission.OWNER, versioning.put_versioning),
    ("object", "POST", "uploads"): Operation("s3:PutObject", "WRITE", multipart.create_upload),
    ("object", "PUT", "uploadId"): Operation("s3:PutObject", "WRITE", multipart.upload_part),
    ("object", "POST", "uploadId"): Operation("s3:PutObject", "WRITE", multipart.complete_upload),
    ("object", "DELETE", "uploadId"): Operation("s3:AbortMultipartUpload", "WRITE", multipart.abort_upload),
    ("object", "GET", "uploadId"): Operation("s3:ListMultipartUploadParts", "WRITE", multipartlisting.list_parts),
    ("object", "GET", "acl"): Operation(
        "s3:GetObjectAcl", admission.OBJECT, acl.get_object_acl, "s3:GetObjectVersionAcl"
    ),
    ("object", "PUT", "acl"): Operation(
        "s3:PutObjectAcl", admission.OBJECT, acl.put_object_acl, "s3:PutObjectVersionAcl"
    ),
    ("object", "GET", "tagging"): Operation(
        "s3:GetObjectTagging", admission.OBJECT, tagging.get_object_tagging, "s3:GetObjectVersionTagging"
    ),
    ("object", "PUT", "tagging"): Operation(
        "s3:PutObjectTagging", admission.OBJECT, tagging.put_object_tagging, "s3:PutObjectVersionTagging"
    ),
    ("object", "DELETE", "tagging"): Operation(
        "s3:DeleteObjectTagging", admission.OBJECT, tagging.delete_object_tagging, "s3:DeleteObjectVersionTagging"
    ),
    ("object", "GET", "attributes"): Operation(
        "s3:GetObjectAttributes", admission.OBJECT, attributes.get_object_attributes, "s3:GetObjectVersionAttributes"
    ),
    ("object", "GET", "retention"): Operation("s3:GetObjectRetention", admission.OBJECT, locking.get_retention),
    ("object", "PUT", "retention"): Operation("s3:PutObjectRetention", admission.OBJECT, locking.put_retention),
    ("object", "GET", "legal-hold"): Operation("s3:GetObjectLegalHold", admission.OBJECT, locking.get_legal_hold),
    ("object", "PUT", "legal-hold"): Operation("s3:PutObjectLegalHold", admission.OBJECT, locking.put_legal_hold),
    ("object", "PUT", ""): Operation("s3:PutObject", "WRITE", _put_or_copy),
    ("object", "GET", ""): Operation("s3:GetObject", admission.OBJECT, object.get_object, "s3:GetObjectVersion"),
    ("object", "HEAD", ""): Operation("s3:GetObject", admission.OBJECT, object.get_object, "s3:GetObjectVersion"),
    ("object", "DELETE", ""): Operation("s3:DeleteObject", "WRITE", object.delete_object, "s3:DeleteObjectVersion"),
}


for _document in documents.DOCUMENTS:
    for _method, _action, _handler in zip(
        ("GET", "PUT", "DELETE"),
        _document.actions,
        (documents.get, documents.put, documents.delete),
        strict=True,
    ):
        if _action and (_method != "PUT" or _document.read is not None):
            OPERATIONS["bucket", _method, _document.name] = Operation(
                _action, admission.OWNER, partial(_handler, _document)
            )


def _harmless(method: str, scope: str, name: str) -> bool:
    """Whether a parameter that is no selector may stand in a request.

    Reads may have any, as cache busters and links with tracking do. A change with a parameter that is not known here
    might be meant as another operation.
    """
    if name in _OF_ANY or name.startswith(_PARAMETER_PREFIXES) or (scope == "object" and name in _OF_OBJECTS):
        return True
    return method in ("GET", "HEAD")


def find(method: str, scope: str, query: Mapping[str, str]) -> Operation:
    """The operation for a request. `scope` is service, bucket or object.

    Raises NotImplemented for sub-resources that are not there, MethodNotAllowed for other methods.
    """
    selector = ""
    for name in query:
        if name in SELECTORS:
            if selector:
                raise S3Error("NotImplemented", f"?{selector} and ?{name} do not go together.")
            selector = name
        elif not _harmless(method, scope, name):
            raise S3Error("NotImplemented", f"?{name} is not implemented.")
    operation = OPERATIONS.get((scope, method, selector))
    if operation is not None:
        return operation
    if selector:
        raise S3Error("NotImplemented", f"{method} ?{selector} is not implemented.")
    raise S3Error("MethodNotAllowed", "The specified method is not allowed against this resource.")
