"""Operations on buckets: list, create, delete, look, location (tabled.md 9.1, 9.2, 9.4, 17.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from haild.tabled.metadata.port import BucketExistsError
from haild.tabled.metadata.records import Bucket
from haild.tabled.operations import acl as accesslists
from haild.tabled.operations import listing
from haild.tabled.operations.answer import Answer, xml
from haild.tabled.operations.call import REGION, Call
from haild.tabled.s3 import acl, addressing, objectlock, publicaccess
from haild.tabled.s3.arguments import read_document
from haild.tabled.s3.errors import S3Error
from haild.wire.numbers import decimal
from haild.wire.s3 import xml as s3xml

MOST_BUCKETS: Final = 10_000
"""Buckets of one page, where the request asks for pages."""
LISTING_PARAMETERS: Final = ("prefix", "max-buckets", "continuation-token", "bucket-region")
"""Query parameters of a listing of buckets."""


async def list_buckets(call: Call) -> Answer:
    """GET service: the requester's own buckets, filtered and in pages where the request says so.

    Source: S3 API, ListBuckets. Requests of 2010 have no parameters and get all buckets at once.
    """
    query = call.query
    prefix, token, region = (query.get(name, "") for name in ("prefix", "continuation-token", "bucket-region"))
    limit = _page_size(query)
    after = listing.from_token(token) if token else ""
    buckets = []
    if region in ("", call.services.region):
        # One more than the page has tells whether there is a next one.
        buckets = await call.metadata.buckets(call.user, prefix, after, None if limit is None else limit + 1)
    page = buckets[:limit]
    filtered = any(query.get(name) for name in LISTING_PARAMETERS)
    parts = [
        "<Buckets>",
        *(_entry(bucket, call.services.region if filtered else "") for bucket in page),
        "</Buckets>",
    ]
    if len(page) < len(buckets):
        parts.append(s3xml.element("ContinuationToken", listing.to_token(page[-1].name)))
    if prefix:
        parts.append(s3xml.element("Prefix", prefix))
    return xml(s3xml.document("ListAllMyBucketsResult", s3xml.owner(call.user), *parts))


def _page_size(query: Mapping[str, str]) -> int | None:
    text = query.get("max-buckets", "")
    if not text:
        return None
    size = decimal(text, 1, MOST_BUCKETS)
    if size is None:
        raise S3Error(
            "InvalidArgument",
            f"Argument max-buckets must be an integer between 1 and {MOST_BUCKETS}",
            fields={"ArgumentName": "max-buckets", "ArgumentValue": text},
        )
    return size


def _entry(bucket: Bucket, region: str) -> str:
    """One bucket; Amazon names the region only where the request has parameters."""
    name, created = s3xml.element("Name", bucket.name), s3xml.timestamp(bucket.created)
    place = s3xml.element("BucketRegion", region) if region else ""
    return f"<Bucket>{name}{s3xml.element('CreationDate', created)}{place}</Bucket>"


async def create_bucket(call: Call) -> Answer:
    """PUT bucket. A CreateBucketConfiguration is accepted and ignored."""
    if call.identity.version != 2:  # clients of 2010 have the rule of their time (tabled.md section 6)
        addressing.check_new_bucket_name(call.address.bucket)
    if call.has_body:
        body = await call.upload().read(1 << 16)
        if body:
            read_document(body, "CreateBucketConfiguration")
    name = call.address.bucket
    rights = await accesslists.from_headers(call, call.headers, call.user)
    settings = _first_settings(call.headers, rights)
    new = Bucket(name, call.now, rights, "Enabled" if objectlock.SETTING in settings else "")
    try:
        await call.metadata.create_bucket(new, settings)
    except BucketExistsError:
        there = await call.metadata.bucket(name)
        if there is not None and there.owner == call.user:
            if call.services.region == REGION:  # as S3 does there alone: the bucket stays, its list is set again
                await call.metadata.set_bucket_acl(name, rights)
                return Answer(headers={"Location": f"/{name}"})
            text = "Your previous request to create the named bucket succeeded and you already own it."
            raise S3Error("BucketAlreadyOwnedByYou", text, fields={"BucketName": name}) from None
        text = "The requested bucket name is not available."
        raise S3Error("BucketAlreadyExists", text, fields={"BucketName": name}) from None
    return Answer(headers={"Location": f"/{name}"})


def _first_settings(headers: Mapping[str, str], rights: acl.Acl) -> dict[str, str]:
    """The documents that a bucket has from the start, by its headers. Raises S3Error."""
    settings = {}
    ownership = headers.get("x-amz-object-ownership")
    if ownership is not None:
        settings[publicaccess.OWNERSHIP] = publicaccess.check_ownership(ownership)
        if ownership == publicaccess.ENFORCED and rights.grants:
            raise publicaccess.acl_with_ownership()
    if headers.get("x-amz-bucket-object-lock-enabled", "").lower() == "true":
        settings[objectlock.SETTING] = "{}"
    return settings


async def delete_bucket(call: Call) -> Answer:
    """DELETE bucket, by its owner, when it is empty."""
    await call.metadata.delete_bucket(call.bucket.name)
    call.services.collect()
    return Answer(204)


async def head_bucket(call: Call) -> Answer:
    """HEAD bucket."""
    return Answer(headers={"x-amz-bucket-region": call.services.region, "Content-Type": "application/xml"})


async def get_location(call: Call) -> Answer:
    """GET ?location: empty, which means us-east-1, or the region that the configuration names."""
    region = call.services.region
    return xml(s3xml.document("LocationConstraint", "" if region == REGION else s3xml.escape(region)))
