"""Block Public Access, Object Ownership and request payment with real daemons."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from support.tabledstack import Stack, serving


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with serving(tmp_path_factory.mktemp("public")) as running:
        yield running


def code(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def block(s3: Any, bucket: str, *names: str) -> None:
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(names, True))


def own(s3: Any, bucket: str, ownership: str) -> None:
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": ownership}]})


def for_all(bucket: str, **more: Any) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [{**statement, **more}]})


def test_the_block_comes_and_goes(s3: Any, bucket: str) -> None:
    assert code(s3.get_public_access_block, Bucket=bucket) == "NoSuchPublicAccessBlockConfiguration"
    block(s3, bucket, "BlockPublicAcls", "RestrictPublicBuckets")
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == {
        "BlockPublicAcls": True,
        "IgnorePublicAcls": False,
        "BlockPublicPolicy": False,
        "RestrictPublicBuckets": True,
    }
    s3.delete_public_access_block(Bucket=bucket)
    assert code(s3.get_public_access_block, Bucket=bucket) == "NoSuchPublicAccessBlockConfiguration"


def test_public_acls_are_blocked(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    block(s3, bucket, "BlockPublicAcls")
    for public in ("public-read", "public-read-write", "authenticated-read"):
        assert code(s3.put_bucket_acl, Bucket=bucket, ACL=public) == "AccessDenied"
        assert code(s3.put_object_acl, Bucket=bucket, Key="k", ACL=public) == "AccessDenied"
        assert code(s3.put_object, Bucket=bucket, Key="n", Body=b"x", ACL=public) == "AccessDenied"
        copy = {"Bucket": bucket, "Key": "c", "CopySource": f"{bucket}/k", "ACL": public}
        assert code(s3.copy_object, **copy) == "AccessDenied"
        assert code(s3.create_multipart_upload, Bucket=bucket, Key="n", ACL=public) == "AccessDenied"
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="private")


def test_public_acls_are_ignored(s3: Any, bob: Any, bucket: str) -> None:
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="public-read")
    bob.get_object(Bucket=bucket, Key="k")
    bob.list_objects_v2(Bucket=bucket)
    block(s3, bucket, "IgnorePublicAcls")
    assert code(bob.get_object, Bucket=bucket, Key="k") == "AccessDenied"
    assert code(bob.list_objects_v2, Bucket=bucket) == "AccessDenied"
    assert len(s3.get_bucket_acl(Bucket=bucket)["Grants"]) == 2
    s3.get_object(Bucket=bucket, Key="k")


def test_public_policies_are_blocked_and_restricted(s3: Any, bob: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    block(s3, bucket, "BlockPublicPolicy")
    assert code(s3.put_bucket_policy, Bucket=bucket, Policy=for_all(bucket)) == "AccessDenied"
    s3.put_bucket_policy(Bucket=bucket, Policy=for_all(bucket, Principal={"AWS": "bob"}))
    bob.get_object(Bucket=bucket, Key="k")
    s3.delete_public_access_block(Bucket=bucket)
    s3.put_bucket_policy(Bucket=bucket, Policy=for_all(bucket))
    bob.get_object(Bucket=bucket, Key="k")
    block(s3, bucket, "RestrictPublicBuckets")
    assert code(bob.get_object, Bucket=bucket, Key="k") == "AccessDenied"
    s3.get_object(Bucket=bucket, Key="k")


def test_the_status_of_a_bucket(s3: Any, bucket: str) -> None:
    def public() -> bool:
        return bool(s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"])

    assert public() is False
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    assert public() is True
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    s3.put_bucket_policy(Bucket=bucket, Policy=for_all(bucket))
    assert public() is True
    s3.put_bucket_policy(Bucket=bucket, Policy=for_all(bucket, Effect="Deny"))
    assert public() is False


def test_a_bucket_owner_who_owns_all(s3: Any, bob: Any, bucket: str) -> None:
    assert code(s3.get_bucket_ownership_controls, Bucket=bucket) == "OwnershipControlsNotFoundError"
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    wrong = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    refused = code(s3.put_bucket_ownership_controls, Bucket=bucket, OwnershipControls=wrong)
    assert refused == "InvalidBucketAclWithObjectOwnership"
    bob.put_object(Bucket=bucket, Key="bobs", Body=b"x")
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    own(s3, bucket, "BucketOwnerEnforced")
    rules = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    assert rules == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert s3.get_object(Bucket=bucket, Key="bobs")["Body"].read() == b"x"
    assert code(bob.get_object, Bucket=bucket, Key="bobs") == "AccessDenied"
    for refused in ("private", "public-read"):
        assert code(s3.put_bucket_acl, Bucket=bucket, ACL=refused) == "AccessControlListNotSupported"
        named = {"Bucket": bucket, "Key": "k", "ACL": refused}
        assert code(s3.put_object, **named, Body=b"x") == "AccessControlListNotSupported"
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="bucket-owner-full-control")
    s3.delete_bucket_ownership_controls(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="public-read")


def test_ownership_from_the_start(s3: Any, bob: Any, bucket: str) -> None:
    name = f"{bucket}-2"
    enforced = {"Bucket": name, "ObjectOwnership": "BucketOwnerEnforced"}
    assert code(s3.create_bucket, **enforced, ACL="public-read") == "InvalidBucketAclWithObjectOwnership"
    s3.create_bucket(**enforced)
    assert code(s3.put_bucket_acl, Bucket=name, ACL="public-read") == "AccessControlListNotSupported"
    own(s3, bucket, "BucketOwnerPreferred")
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    bob.put_object(Bucket=bucket, Key="mine", Body=b"x")
    bob.put_object(Bucket=bucket, Key="given", Body=b"x", ACL="bucket-owner-full-control")
    assert s3.get_object_acl(Bucket=bucket, Key="given")["Owner"]["ID"] == "alice"
    assert bob.get_object_acl(Bucket=bucket, Key="mine")["Owner"]["ID"] == "bob"


def test_the_requester_pays(s3: Any, bob: Any, bucket: str) -> None:
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "Requester"})
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "Requester"
    assert code(bob.list_objects_v2, Bucket=bucket) == "AccessDenied"
    bob.list_objects_v2(Bucket=bucket, RequestPayer="requester")
    s3.list_objects_v2(Bucket=bucket)


def test_logging_can_be_switched_off_only(s3: Any, bucket: str) -> None:
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)
    enabled = {"LoggingEnabled": {"TargetBucket": bucket, "TargetPrefix": "log/"}}
    assert code(s3.put_bucket_logging, Bucket=bucket, BucketLoggingStatus=enabled) == "NotImplemented"


def test_acceleration_is_kept(s3: Any, bucket: str) -> None:
    assert "Status" not in s3.get_bucket_accelerate_configuration(Bucket=bucket)
    s3.put_bucket_accelerate_configuration(Bucket=bucket, AccelerateConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_accelerate_configuration(Bucket=bucket)["Status"] == "Enabled"
