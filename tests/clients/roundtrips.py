"""Round trips through the operations of S3: each does something, and sees in another way that it was done.

A round trip takes a boto3 client and an empty bucket of its own, and may leave things in it.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

PART = 5 << 20
"""Bytes of the smallest part that is not the last."""
POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::{bucket}/*"}
        ],
    }
)


def refusal(call: Callable[..., Any], **arguments: Any) -> str:
    """The error code with which a call is refused; empty if it is not."""
    try:
        call(**arguments)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def buckets(s3: Any, bucket: str) -> None:
    second = f"{bucket}-second"
    s3.create_bucket(Bucket=second)
    s3.head_bucket(Bucket=second)
    assert {bucket, second} <= {found["Name"] for found in s3.list_buckets()["Buckets"]}
    assert [found["Name"] for found in s3.list_buckets(Prefix=second, MaxBuckets=1)["Buckets"]] == [second]
    assert s3.get_bucket_location(Bucket=second)["LocationConstraint"] is None
    s3.delete_bucket(Bucket=second)
    assert refusal(s3.head_bucket, Bucket=second) == "404"


def objects(s3: Any, bucket: str) -> None:
    where = {"Bucket": bucket, "Key": "k"}
    s3.put_object(**where, Body=b"body")
    assert s3.get_object(**where)["Body"].read() == b"body"
    assert s3.head_object(**where)["ContentLength"] == 4
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=where)
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == b"body"
    for listing in (s3.list_objects, s3.list_objects_v2):
        assert [item["Key"] for item in listing(Bucket=bucket)["Contents"]] == ["copy", "k"]
    attributes = s3.get_object_attributes(**where, ObjectAttributes=["ETag", "ObjectSize"])
    assert attributes["ObjectSize"] == 4
    s3.delete_object(**where)
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "copy"}]})
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def multipart(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="source", Body=b"s" * PART)
    where = {"Bucket": bucket, "Key": "parts"}
    upload = {**where, "UploadId": s3.create_multipart_upload(**where)["UploadId"]}
    first = s3.upload_part_copy(**upload, PartNumber=1, CopySource={"Bucket": bucket, "Key": "source"})
    second = s3.upload_part(**upload, PartNumber=2, Body=b"end")
    assert [part["Size"] for part in s3.list_parts(**upload)["Parts"]] == [PART, 3]
    assert len(s3.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 1
    etags = (first["CopyPartResult"]["ETag"], second["ETag"])
    parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, start=1)]
    done = s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    assert s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})["ETag"] == done["ETag"]
    assert s3.get_object(**where)["Body"].read() == b"s" * PART + b"end"
    upload["UploadId"] = s3.create_multipart_upload(**where)["UploadId"]
    s3.abort_multipart_upload(**upload)
    assert refusal(s3.list_parts, **upload) == "NoSuchUpload"


def acls(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k")
    for put, get, where in (
        (s3.put_bucket_acl, s3.get_bucket_acl, {"Bucket": bucket}),
        (s3.put_object_acl, s3.get_object_acl, {"Bucket": bucket, "Key": "k"}),
    ):
        assert len(get(**where)["Grants"]) == 1
        put(**where, ACL="public-read")
        assert "READ" in [grant["Permission"] for grant in get(**where)["Grants"]]


def tags(s3: Any, bucket: str) -> None:
    tagging = {"TagSet": [{"Key": "colour", "Value": "green"}]}
    where = {"Bucket": bucket}
    s3.put_bucket_tagging(**where, Tagging=tagging)
    assert s3.get_bucket_tagging(**where)["TagSet"] == tagging["TagSet"]
    s3.delete_bucket_tagging(**where)
    assert refusal(s3.get_bucket_tagging, **where) == "NoSuchTagSet"
    where["Key"] = "k"
    s3.put_object(**where)
    s3.put_object_tagging(**where, Tagging=tagging)
    assert s3.get_object_tagging(**where)["TagSet"] == tagging["TagSet"]
    s3.delete_object_tagging(**where)
    assert s3.get_object_tagging(**where)["TagSet"] == []


def versions(s3: Any, bucket: str) -> None:
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    where = {"Bucket": bucket, "Key": "k"}
    first = s3.put_object(**where, Body=b"1")["VersionId"]
    second = s3.put_object(**where, Body=b"2")["VersionId"]
    marker = s3.delete_object(**where)["VersionId"]
    found = s3.list_object_versions(Bucket=bucket)
    assert [version["VersionId"] for version in found["Versions"]] == [second, first]
    assert [version["VersionId"] for version in found["DeleteMarkers"]] == [marker]
    assert s3.get_object(**where, VersionId=first)["Body"].read() == b"1"
    s3.delete_object(**where, VersionId=marker)
    assert s3.get_object(**where)["Body"].read() == b"2"


def policy(s3: Any, bucket: str) -> None:
    text = POLICY.replace("{bucket}", bucket)
    s3.put_bucket_policy(Bucket=bucket, Policy=text)
    assert json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"]) == json.loads(text)
    s3.delete_bucket_policy(Bucket=bucket)
    assert refusal(s3.get_bucket_policy, Bucket=bucket) == "NoSuchBucketPolicy"


def cors(s3: Any, bucket: str) -> None:
    rules = [{"AllowedMethods": ["GET"], "AllowedOrigins": ["http://a.example"]}]
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": rules})
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == rules
    s3.delete_bucket_cors(Bucket=bucket)
    assert refusal(s3.get_bucket_cors, Bucket=bucket) == "NoSuchCORSConfiguration"


def lifecycle(s3: Any, bucket: str) -> None:
    where = {"Bucket": bucket}
    rule = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": "old/"}, "Expiration": {"Days": 7}}
    s3.put_bucket_lifecycle_configuration(**where, LifecycleConfiguration={"Rules": [rule]})
    assert s3.get_bucket_lifecycle_configuration(**where)["Rules"] == [rule]
    s3.delete_bucket_lifecycle(**where)
    assert refusal(s3.get_bucket_lifecycle_configuration, **where) == "NoSuchLifecycleConfiguration"
    # The form before 2016, which has the prefix in the rule.
    rule = {"ID": "r", "Status": "Enabled", "Prefix": "old/", "Expiration": {"Days": 7}}
    s3.put_bucket_lifecycle(**where, LifecycleConfiguration={"Rules": [rule]})
    assert s3.get_bucket_lifecycle(**where)["Rules"][0]["Expiration"] == {"Days": 7}


def encryption(s3: Any, bucket: str) -> None:
    where = {"Bucket": bucket}
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}
    s3.put_bucket_encryption(**where, ServerSideEncryptionConfiguration={"Rules": [rule]})
    shown = s3.get_bucket_encryption(**where)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert shown["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert s3.put_object(**where, Key="k", Body=b"secret")["ServerSideEncryption"] == "AES256"
    assert s3.get_object(**where, Key="k")["Body"].read() == b"secret"
    s3.delete_bucket_encryption(**where)


def locks(s3: Any, bucket: str) -> None:
    locked = {"Bucket": f"{bucket}-held"}
    s3.create_bucket(**locked, ObjectLockEnabledForBucket=True)
    s3.put_object_lock_configuration(**locked, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"})
    shown = s3.get_object_lock_configuration(**locked)["ObjectLockConfiguration"]
    assert shown == {"ObjectLockEnabled": "Enabled"}
    version = s3.put_object(**locked, Key="k", Body=b"x")["VersionId"]
    s3.put_object_legal_hold(**locked, Key="k", LegalHold={"Status": "ON"})
    assert s3.get_object_legal_hold(**locked, Key="k")["LegalHold"] == {"Status": "ON"}
    assert refusal(s3.delete_object, **locked, Key="k", VersionId=version) == "AccessDenied"
    s3.put_object_legal_hold(**locked, Key="k", LegalHold={"Status": "OFF"})
    until = datetime.now(UTC) + timedelta(days=1)
    s3.put_object_retention(**locked, Key="k", Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until})
    assert s3.get_object_retention(**locked, Key="k")["Retention"]["Mode"] == "GOVERNANCE"
    assert refusal(s3.delete_object, **locked, Key="k", VersionId=version) == "AccessDenied"
    s3.delete_object(**locked, Key="k", VersionId=version, BypassGovernanceRetention=True)
    s3.delete_bucket(**locked)


def settings(s3: Any, bucket: str) -> None:
    where = {"Bucket": bucket}
    switches = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    block = dict.fromkeys(switches, True)
    s3.put_bucket_policy(**where, Policy=POLICY.replace("{bucket}", bucket))
    assert s3.get_bucket_policy_status(**where)["PolicyStatus"]["IsPublic"]
    s3.put_public_access_block(**where, PublicAccessBlockConfiguration=block)
    assert s3.get_public_access_block(**where)["PublicAccessBlockConfiguration"] == block
    assert refusal(s3.put_object, **where, Key="k", ACL="public-read") == "AccessDenied"
    s3.delete_public_access_block(**where)
    rules = [{"ObjectOwnership": "BucketOwnerEnforced"}]
    s3.put_bucket_ownership_controls(**where, OwnershipControls={"Rules": rules})
    assert s3.get_bucket_ownership_controls(**where)["OwnershipControls"]["Rules"] == rules
    s3.delete_bucket_ownership_controls(**where)
    s3.put_bucket_request_payment(**where, RequestPaymentConfiguration={"Payer": "Requester"})
    assert s3.get_bucket_request_payment(**where)["Payer"] == "Requester"
    s3.put_bucket_accelerate_configuration(**where, AccelerateConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_accelerate_configuration(**where)["Status"] == "Enabled"


def notification(s3: Any, bucket: str) -> None:
    """Without a web hook in the configuration: who would be told is asked for; deliveries have tests of their own."""
    where = {"Bucket": bucket}
    unknown = {"QueueArn": "arn:aws:sqs:us-east-1:000000000000:nowhere", "Events": ["s3:ObjectCreated:*"]}
    wrong = {"QueueConfigurations": [unknown]}
    refused = refusal(s3.put_bucket_notification_configuration, **where, NotificationConfiguration=wrong)
    assert refused == "InvalidArgument"
    for call in (s3.put_bucket_notification_configuration, s3.put_bucket_notification):
        call(**where, NotificationConfiguration={})
        assert "QueueConfigurations" not in s3.get_bucket_notification_configuration(**where)


def logging(s3: Any, bucket: str) -> None:
    """Switched off, as Terraform and CDK write it. Switching it on is refused."""
    where = {"Bucket": bucket}
    s3.put_bucket_logging(**where, BucketLoggingStatus={})
    assert "LoggingEnabled" not in s3.get_bucket_logging(**where)
    enabled = {"LoggingEnabled": {"TargetBucket": bucket, "TargetPrefix": "log/"}}
    assert refusal(s3.put_bucket_logging, **where, BucketLoggingStatus=enabled) == "NotImplemented"


ALL: tuple[Callable[[Any, str], None], ...] = (
    buckets,
    objects,
    multipart,
    acls,
    tags,
    versions,
    policy,
    cors,
    lifecycle,
    encryption,
    locks,
    settings,
    notification,
    logging,
)
"""The operations that a round trip uses are those that are there."""
