"""Operation ?versioning of a bucket (S3 user guide, "Using versioning in S3 buckets")."""

from __future__ import annotations

from haild.tabled.operations.answer import Answer, xml
from haild.tabled.operations.call import Call
from haild.tabled.s3 import objectlock
from haild.tabled.s3.errors import S3Error
from haild.wire.s3 import xml as s3xml


async def get_versioning(call: Call) -> Answer:
    """GET ?versioning: empty for a bucket that never was versioned."""
    state = call.bucket.versioning
    return xml(s3xml.document("VersioningConfiguration", s3xml.element("Status", state) if state else ""))


async def put_versioning(call: Call) -> Answer:
    """PUT ?versioning."""
    root = await call.document("VersioningConfiguration")
    if root.value("MfaDelete", "Disabled") != "Disabled":
        raise S3Error("NotImplemented", "MFA delete is not implemented.")
    state = root.value("Status")
    if state not in ("Enabled", "Suspended"):
        raise S3Error("MalformedXML", "The status must be Enabled or Suspended.")
    if state == "Suspended" and objectlock.SETTING in call.bucket.settings:
        raise S3Error(
            "InvalidBucketState",
            "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.",
        )
    await call.metadata.set_versioning(call.bucket.name, state)
    return Answer()
