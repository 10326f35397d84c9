"""Policies and fields of browser uploads, and bucket policies: JSON that others wrote."""

import contextlib
from base64 import b64encode
from collections.abc import Iterator

from haild.tabled.s3 import policy, postpolicy
from haild.tabled.s3.errors import S3Error

TOKENS = (
    b'"expiration"',
    b'"conditions"',
    b'"content-length-range"',
    b'"starts-with"',
    b'"$key"',
    b'"Statement"',
    b'"Principal"',
    b'"Effect": "Allow"',
    b'"Action": "s3:*"',
    b'"Resource": "arn:aws:s3:::docs/*"',
    b'"Condition": {"StringLike": {"s3:prefix": "a*"}}',
    b"[[[[[[[[",
)


def seeds() -> Iterator[bytes]:
    yield (
        b'{"expiration": "2010-11-28T19:00:00Z", "conditions": [{"bucket": "docs"}, ["starts-with", "$key", "a"],'
        b' ["content-length-range", 0, 9]]}'
    )
    yield (
        b'{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": ["*"]}, "Action":'
        b' "s3:Get*", "Resource": ["arn:aws:s3:::docs/*"], "Condition": {"StringLike": {"aws:username": "a?"}}}]}'
    )


def fuzz(data: bytes) -> None:
    with contextlib.suppress(S3Error):
        parsed = postpolicy.parse(b64encode(data).decode())
        for fields in ({"key": "a/b", "bucket": "docs"}, {}):
            with contextlib.suppress(S3Error):
                parsed.check(fields, 0.0)
    fields = dict(pair.partition("=")[::2] for pair in data.decode("latin-1").split("&"))
    with contextlib.suppress(S3Error):
        assert not (postpolicy.claimed_key(fields) == "alice" and postpolicy.verify(fields, "no-one-knows-this"))
    with contextlib.suppress(S3Error):
        postpolicy.parse(fields.get("policy", ""))
    with contextlib.suppress(S3Error):
        policy.parse(data.decode("utf-8", "replace"), "docs")
