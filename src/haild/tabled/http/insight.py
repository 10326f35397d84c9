"""Counting tabled's requests, and telling of them while there is a reader."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from haild.client import chunk
from haild.daemon.insight import HERE, key_text
from haild.http.insight import tell
from haild.http.request import Request
from haild.tabled.operations import call as calls
from haild.wire.chunk.messages import Operation
from haild.wire.traceparent import Trace

_NAMES: Final[Mapping[tuple[str, str], str]] = {
    ("HEAD", "GetObject"): "HeadObject",
    ("HEAD", "ListBucket"): "HeadBucket",
    ("GET", "ListBucket"): "ListObjects",
    ("GET", "ListBucketVersions"): "ListObjectVersions",
    ("GET", "ListAllMyBuckets"): "ListBuckets",
    ("GET", "ListBucketMultipartUploads"): "ListMultipartUploads",
    ("GET", "ListMultipartUploadParts"): "ListParts",
    ("POST", "DeleteObject"): "DeleteObjects",
}
"""By method and action: the API's name of an operation that has another one than its action."""


_plain_names: dict[tuple[str, str], str] = {}
"""By method and action: the name of an operation without parameters, as far as they were met."""
_MOST_NAMES: Final = 500


def operation_name(method: str, action: str, query: Mapping[str, str], copies: bool) -> str:
    """What the S3 API calls an operation. `action`: its name in policies; `copies`: whether it names a source."""
    name = action.removeprefix("s3:")
    if name == "PutObject":
        if "uploadId" in query:
            part = "UploadPartCopy" if copies else "UploadPart"
            return part if method == "PUT" else "CompleteMultipartUpload"
        if "uploads" in query:
            return "CreateMultipartUpload"
        return "CopyObject" if copies else "PutObject" if method == "PUT" else "PostObject"
    if name == "ListBucket" and query.get("list-type") == "2":
        return "ListObjectsV2"
    return _NAMES.get((method, name), name) or "unknown"


def note(request: Request, call: calls.Request | None, action: str, request_id: str, began: float) -> None:
    """A request was answered. `action`: as S3's policies name it, empty if it did not come so far; `began` by
    time.perf_counter()."""
    seconds = time.perf_counter() - began
    method = request.method
    query = call.query if call is not None else {}
    copies = method == "PUT" and "x-amz-copy-source" in request.headers
    # Half a microsecond of each request without this.
    operation = None if query or copies else _plain_names.get((method, action))
    if operation is None:
        operation = operation_name(method, action, query, copies)
        if not query and not copies and len(_plain_names) < _MOST_NAMES:
            _plain_names[method, action] = operation
    received = request.length or 0
    HERE.count(operation, request.status, seconds, received, request.sent)
    if HERE.watching:
        bucket, key = ("", "") if call is None else (call.address.bucket, call.address.key)
        tell(request, seconds, operation, bucket=bucket, key=key, received=received, id=request_id)


def _begun(operation: Operation, key: bytes, trace: Trace) -> None:
    if HERE.watching:
        HERE.tell(
            {
                "kind": "call",
                "time": time.time(),
                "operation": f"CHO_{operation.name}",
                "key": key_text(key),
                "trace": trace.trace,
                "span": trace.span,
            }
        )


chunk.observer.begun = _begun
