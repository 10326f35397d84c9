"""Bucket policies with real daemons: what conditions see of a request."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError

from support.tabledstack import Stack, serving


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with serving(tmp_path_factory.mktemp("policies")) as running:
        yield running


def allowed(call: Any, **arguments: Any) -> bool:
    try:
        call(**arguments)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 403:
            raise
        return False
    return True


def statement(bucket: str, action: str | list[str], effect: str = "Allow", **more: Any) -> dict[str, Any]:
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    return {"Effect": effect, "Principal": "*", "Action": action, "Resource": resources, **more}


def put(s3: Any, bucket: str, *statements: dict[str, Any]) -> None:
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))


def test_encryption_can_be_demanded(s3: Any, bucket: str) -> None:
    key = "s3:x-amz-server-side-encryption"
    put(
        s3,
        bucket,
        statement(bucket, "s3:PutObject", "Deny", Condition={"StringNotEquals": {key: "AES256"}}),
        statement(bucket, "s3:PutObject", "Deny", Condition={"Null": {key: "true"}}),
    )
    named = {"Bucket": bucket, "Key": "k", "Body": b"x"}
    assert not allowed(s3.put_object, **named)
    assert not allowed(s3.put_object, **named, ServerSideEncryption="aws:kms")
    assert allowed(s3.put_object, **named, ServerSideEncryption="AES256")


def test_tags_of_the_object_and_of_the_request(s3: Any, bob: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="public", Body=b"x", Tagging="Security=public&a=b")
    s3.put_object(Bucket=bucket, Key="private", Body=b"x", Tagging="Security=private")
    existing = {"StringEquals": {"s3:ExistingObjectTag/Security": "public"}}
    wanted = {"StringEquals": {"s3:RequestObjectTag/Security": "public"}}
    put(
        s3,
        bucket,
        statement(bucket, ["s3:GetObject", "s3:GetObjectTagging"], Condition=existing),
        statement(bucket, "s3:PutObject", Condition=wanted),
    )
    assert allowed(bob.get_object, Bucket=bucket, Key="public")
    assert allowed(bob.get_object_tagging, Bucket=bucket, Key="public")
    assert not allowed(bob.get_object, Bucket=bucket, Key="private")
    assert allowed(bob.put_object, Bucket=bucket, Key="new", Body=b"x", Tagging="Security=public")
    assert not allowed(bob.put_object, Bucket=bucket, Key="new", Body=b"x", Tagging="Security=private")
    assert not allowed(bob.put_object, Bucket=bucket, Key="new", Body=b"x")


def test_the_source_of_a_copy(s3: Any, bob: Any, bucket: str) -> None:
    for name in ("public/a", "private/a"):
        s3.put_object(Bucket=bucket, Key=name, Body=b"x")
    source = {"StringLike": {"s3:x-amz-copy-source": f"{bucket}/public/*"}}
    put(s3, bucket, statement(bucket, "s3:GetObject"), statement(bucket, "s3:PutObject", Condition=source))
    assert allowed(bob.copy_object, Bucket=bucket, Key="new", CopySource=f"{bucket}/public/a")
    assert not allowed(bob.copy_object, Bucket=bucket, Key="new", CopySource=f"{bucket}/private/a")


def test_address_and_transport(s3: Any, bob: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for condition, holds in (
        ({"IpAddress": {"aws:SourceIp": ["127.0.0.0/8", "::1/128"]}}, True),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, False),
        ({"Bool": {"aws:SecureTransport": "false"}}, True),
        ({"Bool": {"aws:SecureTransport": "true"}}, False),
        ({"StringEquals": {"aws:username": "bob"}}, True),
        ({"DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, False),
    ):
        put(s3, bucket, statement(bucket, "s3:GetObject", Condition=condition))
        assert allowed(bob.get_object, Bucket=bucket, Key="k") is holds


def test_a_form_is_seen_like_any_other_put(stack: Stack, s3: Any, bucket: str) -> None:
    deny = {"StringEquals": {"s3:x-amz-acl": "public-read"}}
    put(s3, bucket, statement(bucket, "s3:PutObject"), statement(bucket, "s3:PutObject", "Deny", Condition=deny))

    def post(**fields: str) -> int:
        url = f"http://127.0.0.1:{stack.tabled.port}/{bucket}"
        return requests.post(url, data={"key": "k", **fields}, files={"file": b"x"}, timeout=10).status_code

    assert post() == 204
    assert post(acl="private") == 204
    assert post(acl="public-read") == 403
    assert post(**{"x-amz-acl": "public-read"}) == 403
