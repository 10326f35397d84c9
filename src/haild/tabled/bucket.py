"""Operations on buckets: list, create, delete, look, location (tabled.md 9.1, 9.2, 9.4, 17.3)."""

from __future__ import annotations

from haild.tabled import acl
from haild.tabled.call import Answer, Call, xml
from haild.tabled.errors import S3Error
from haild.tabled.metadata.port import BucketExistsError, BucketMissingError, BucketNotEmptyError
from haild.tabled.metadata.records import Bucket
from haild.wire import s3xml

REGION = "us-east-1"


async def list_buckets(call: Call) -> Answer:
    """GET service: the requester's own buckets."""
    buckets = await call.metadata.buckets(call.user)
    entries = [
        "<Bucket>"
        + s3xml.element("Name", bucket.name)
        + s3xml.element("CreationDate", s3xml.timestamp(bucket.created))
        + "</Bucket>"
        for bucket in buckets
    ]
    return xml(s3xml.document("ListAllMyBucketsResult", s3xml.owner(call.user), "<Buckets>", *entries, "</Buckets>"))


async def create_bucket(call: Call) -> Answer:
    """PUT bucket. A CreateBucketConfiguration is accepted and ignored."""
    refuse_grants(call)
    if call.headers.get("x-amz-bucket-object-lock-enabled", "").lower() == "true":
        raise S3Error("NotImplemented", "Object lock is not implemented.")
    if call.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in call.headers:
        body = await call.upload().read(1 << 16)
        if body:
            _check_configuration(body)
    name = call.address.bucket
    new = Bucket(name, call.now, acl.canned(call.headers.get("x-amz-acl", ""), call.user))
    try:
        await call.metadata.create_bucket(new)
    except BucketExistsError:
        there = await call.metadata.bucket(name)
        if there is not None and there.owner == call.user:
            text = "Your previous request to create the named bucket succeeded and you already own it."
            raise S3Error("BucketAlreadyOwnedByYou", text, fields={"BucketName": name}) from None
        text = "The requested bucket name is not available."
        raise S3Error("BucketAlreadyExists", text, fields={"BucketName": name}) from None
    return Answer(headers={"Location": f"/{name}"})


def _check_configuration(body: bytes) -> None:
    try:
        s3xml.parse(body, "CreateBucketConfiguration")
    except s3xml.MalformedXMLError as error:
        raise S3Error("MalformedXML", str(error)) from None


def refuse_grants(call: Call) -> None:
    """Raise NotImplemented for x-amz-grant-* headers (tabled.md 17.1)."""
    if any(name.lower().startswith("x-amz-grant-") for name in call.headers):
        raise S3Error("NotImplemented", "x-amz-grant-* headers are not implemented.")


async def delete_bucket(call: Call) -> Answer:
    """DELETE bucket, by its owner, when it is empty."""
    try:
        await call.metadata.delete_bucket(call.bucket.name)
    except BucketNotEmptyError:
        raise S3Error("BucketNotEmpty", "The bucket you tried to delete is not empty.") from None
    except BucketMissingError:
        raise S3Error("NoSuchBucket", "The specified bucket does not exist.") from None
    call.services.collect()
    return Answer(204)


async def head_bucket(call: Call) -> Answer:
    """HEAD bucket."""
    return Answer(headers={"x-amz-bucket-region": REGION, "Content-Type": "application/xml"})


async def get_location(call: Call) -> Answer:
    """GET ?location: empty, which means us-east-1."""
    return xml(s3xml.document("LocationConstraint"))
