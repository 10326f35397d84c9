"""Object lock with real daemons."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from support.tabledstack import Stack, bucket_of, serving

LATER = datetime(2035, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with serving(tmp_path_factory.mktemp("lock")) as running:
        yield running


@pytest.fixture
def bucket(s3: Any, request: pytest.FixtureRequest) -> str:
    name = "b" + hashlib.sha1(request.node.name.encode()).hexdigest()[:20]
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


def code(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def retention(mode: str, until: datetime = LATER) -> dict[str, Any]:
    return {"Mode": mode, "RetainUntilDate": until}


def locked(mode: str, until: datetime = LATER) -> dict[str, Any]:
    return {"ObjectLockMode": mode, "ObjectLockRetainUntilDate": until}


def default(**period: Any) -> dict[str, Any]:
    return {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": period}}


def test_the_buckets_configuration(s3: Any, bucket: str, request: pytest.FixtureRequest) -> None:
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"] == {
        "ObjectLockEnabled": "Enabled"
    }
    wanted = default(Mode="GOVERNANCE", Days=3)
    s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=wanted)
    assert s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"] == wanted
    zero = default(Mode="GOVERNANCE", Days=0)
    assert (
        code(s3.put_object_lock_configuration, Bucket=bucket, ObjectLockConfiguration=zero)
        == "InvalidRetentionPeriod"
    )
    suspend = {"Status": "Suspended"}
    assert code(s3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration=suspend) == "InvalidBucketState"
    before = datetime.now(UTC) + timedelta(days=3)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    head = s3.head_object(Bucket=bucket, Key="k")
    assert head["ObjectLockMode"] == "GOVERNANCE"
    assert abs(head["ObjectLockRetainUntilDate"] - before) < timedelta(minutes=2)


def test_a_bucket_without_object_lock(s3: Any, request: pytest.FixtureRequest) -> None:
    plain = bucket_of(s3, request)
    named = {"Bucket": plain, "Key": "k"}
    s3.put_object(**named, Body=b"x")
    assert code(s3.get_object_lock_configuration, Bucket=plain) == "ObjectLockConfigurationNotFoundError"
    wanted = {"ObjectLockConfiguration": default(Mode="GOVERNANCE", Days=1)}
    assert code(s3.put_object_lock_configuration, Bucket=plain, **wanted) == "InvalidBucketState"
    assert code(s3.put_object, **named, Body=b"x", ObjectLockLegalHoldStatus="ON") == "InvalidRequest"
    assert code(s3.get_object_retention, **named) == "InvalidRequest"
    assert code(s3.put_object_retention, **named, Retention=retention("GOVERNANCE")) == "InvalidRequest"
    assert code(s3.get_object_legal_hold, **named) == "InvalidRequest"
    assert code(s3.put_object_legal_hold, **named, LegalHold={"Status": "ON"}) == "InvalidRequest"
    s3.put_bucket_versioning(Bucket=plain, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object_lock_configuration(Bucket=plain, **wanted)
    assert s3.put_object(**named, Body=b"x")["VersionId"]


def test_retention_and_hold_come_and_go(s3: Any, bucket: str) -> None:
    named = {"Bucket": bucket, "Key": "k"}
    version = s3.put_object(**named, Body=b"x")["VersionId"]
    assert code(s3.get_object_retention, **named) == "NoSuchObjectLockConfiguration"
    assert code(s3.get_object_legal_hold, **named) == "NoSuchObjectLockConfiguration"
    s3.put_object_legal_hold(**named, LegalHold={"Status": "ON"})
    assert s3.get_object_legal_hold(**named)["LegalHold"] == {"Status": "ON"}
    assert code(s3.delete_object, **named, VersionId=version) == "AccessDenied"
    s3.put_object_legal_hold(**named, LegalHold={"Status": "OFF"})
    s3.put_object_retention(**named, Retention=retention("GOVERNANCE"))
    assert s3.get_object_retention(**named, VersionId=version)["Retention"] == retention("GOVERNANCE")
    head = s3.head_object(**named)
    assert (head["ObjectLockMode"], head["ObjectLockLegalHoldStatus"]) == ("GOVERNANCE", "OFF")
    assert head["ObjectLockRetainUntilDate"] == LATER
    sooner = retention("GOVERNANCE", LATER - timedelta(days=1))
    assert code(s3.put_object_retention, **named, Retention=sooner) == "AccessDenied"
    s3.put_object_retention(**named, Retention=sooner, BypassGovernanceRetention=True)
    assert code(s3.put_object_retention, **named, Retention=retention("COMPLIANCE")) == "AccessDenied"
    s3.put_object_retention(**named, Retention={}, BypassGovernanceRetention=True)
    assert code(s3.get_object_retention, **named) == "NoSuchObjectLockConfiguration"
    s3.delete_object(**named, VersionId=version)
    past = retention("GOVERNANCE", datetime(2020, 1, 1, tzinfo=UTC))
    s3.put_object(**named, Body=b"x")
    assert code(s3.put_object_retention, **named, Retention=past) == "InvalidArgument"


@pytest.mark.parametrize(("mode", "bypassed"), [("GOVERNANCE", True), ("COMPLIANCE", False)])
def test_what_is_retained_stays(stack: Stack, s3: Any, bucket: str, mode: str, bypassed: bool) -> None:
    named = {"Bucket": bucket, "Key": "k"}
    soon = datetime.now(UTC) + timedelta(days=1)
    version = s3.put_object(**named, Body=b"x", **locked(mode, soon))["VersionId"]
    assert code(s3.delete_object, **named, VersionId=version) == "AccessDenied"
    batch = {"Objects": [{"Key": "k", "VersionId": version}]}
    (error,) = s3.delete_objects(Bucket=bucket, Delete=batch)["Errors"]
    assert (error["Code"], error["VersionId"]) == ("AccessDenied", version)
    marker = s3.delete_object(**named)
    assert marker["DeleteMarker"] is True
    s3.delete_object(**named, VersionId=marker["VersionId"])
    assert s3.get_object(**named)["Body"].read() == b"x"
    resource = f"arn:aws:s3:::{bucket}/*"
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:DeleteObject*", "Resource": resource}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Statement": [statement]}))
    bob = stack.client("bob")
    assert code(bob.delete_object, **named, VersionId=version, BypassGovernanceRetention=True) == "AccessDenied"
    if bypassed:
        assert "Errors" not in s3.delete_objects(Bucket=bucket, Delete=batch, BypassGovernanceRetention=True)
        assert code(s3.get_object, **named) == "NoSuchKey"
    else:
        assert code(s3.delete_object, **named, VersionId=version, BypassGovernanceRetention=True) == "AccessDenied"


def test_copies_and_uploads_have_their_own_lock(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", **locked("COMPLIANCE"))
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")
    assert "ObjectLockMode" not in s3.head_object(Bucket=bucket, Key="copy")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k", **locked("GOVERNANCE"))
    assert s3.head_object(Bucket=bucket, Key="copy")["ObjectLockMode"] == "GOVERNANCE"
    named = {"Bucket": bucket, "Key": "parts"}
    upload = s3.create_multipart_upload(**named, **locked("COMPLIANCE"), ObjectLockLegalHoldStatus="ON")["UploadId"]
    part = s3.upload_part(**named, UploadId=upload, PartNumber=1, Body=b"x")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(**named, UploadId=upload, MultipartUpload=parts)
    head = s3.head_object(**named)
    assert (head["ObjectLockMode"], head["ObjectLockLegalHoldStatus"]) == ("COMPLIANCE", "ON")


def test_headers_need_each_other_and_a_digest(stack: Stack, s3: Any, bucket: str) -> None:
    named = {"Bucket": bucket, "Key": "k", "Body": b"x"}
    assert code(s3.put_object, **named, ObjectLockMode="GOVERNANCE") == "InvalidArgument"
    assert code(s3.put_object, **named, **locked("SOMETIMES")) == "InvalidArgument"
    plain = stack.client(request_checksum_calculation="when_required")
    plain.put_object(**named)
    digest = b64encode(hashlib.md5(b"x").digest()).decode()
    plain.put_object(**named, **locked("GOVERNANCE"), ContentMD5=digest)
    plain.meta.events.register("before-sign.s3.PutObject", lambda request, **_: _without_digest(request))
    assert code(plain.put_object, **named, **locked("GOVERNANCE")) == "InvalidRequest"


def _without_digest(request: Any) -> None:
    for name in [name for name in request.headers if "checksum" in name.lower() or name.lower() == "content-md5"]:
        del request.headers[name]
    for name in ("x-amz-trailer",):
        if name in request.headers:
            del request.headers[name]
