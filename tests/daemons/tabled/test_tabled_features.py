"""Versioning, policy, CORS, lifecycle, browser uploads: over a real stack."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests

from haild.tabled.s3 import policy
from haild.tabled.s3.errors import S3Error
from haild.wire.s3 import xml as s3xml
from support.tabledrequests import code, raw, signed_v4
from support.tabledstack import Stack, serving, wait_for


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with serving(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


def versions(s3: Any, bucket: str, **options: Any) -> list[tuple[str, str, bool, bool]]:
    """Key, version, whether latest, whether a marker; newest first within a key."""
    answer = s3.list_object_versions(Bucket=bucket, **options)
    found = [(v["Key"], v["VersionId"], v["IsLatest"], False) for v in answer.get("Versions", [])]
    return found + [(m["Key"], m["VersionId"], m["IsLatest"], True) for m in answer.get("DeleteMarkers", [])]


# buckets


def test_buckets_in_pages(stack: Stack) -> None:
    bob = stack.client("bob")
    names = [f"pages-{letter}-{number}" for letter in "ab" for number in range(3)]
    for name in [*names, "zz-pages"]:
        bob.create_bucket(Bucket=name)
    pages = list(bob.get_paginator("list_buckets").paginate(Prefix="pages-", PaginationConfig={"PageSize": 4}))
    assert [[found["Name"] for found in page["Buckets"]] for page in pages] == [names[:4], names[4:]]
    assert [page["Prefix"] for page in pages] == ["pages-", "pages-"]
    assert ["ContinuationToken" in page for page in pages] == [True, False]
    whole = bob.list_buckets(MaxBuckets=7)
    assert [found["Name"] for found in whole["Buckets"]] == [*names, "zz-pages"]
    assert {found["BucketRegion"] for found in whole["Buckets"]} == {"us-east-1"}
    assert "ContinuationToken" not in whole
    plain = bob.list_buckets()
    assert len(plain["Buckets"]) == 7
    assert plain.keys().isdisjoint({"Prefix", "ContinuationToken"})
    assert "BucketRegion" not in plain["Buckets"][0]
    assert bob.list_buckets(Prefix="pages-b-1", BucketRegion="us-east-1")["Buckets"][0]["Name"] == "pages-b-1"
    assert bob.list_buckets(BucketRegion="eu-west-1")["Buckets"] == []
    assert bob.list_buckets(Prefix="other-<&")["Prefix"] == "other-<&"
    unchecked = stack.client("bob", parameter_validation=False)
    for wrong in ({"MaxBuckets": 0}, {"MaxBuckets": 10_001}, {"ContinuationToken": "!"}):
        assert code(unchecked.list_buckets, **wrong) == "InvalidArgument"


def test_expected_owners(s3: Any, bucket: str, stack: Stack) -> None:
    bob = stack.client("bob")
    bob.create_bucket(Bucket="expected-of-bob")
    bob.put_bucket_acl(Bucket="expected-of-bob", ACL="public-read-write")
    bob.put_object(Bucket="expected-of-bob", Key="k", Body=b"bobs", ACL="public-read")
    own: dict[str, Any] = {"Bucket": bucket, "ExpectedBucketOwner": "alice"}
    s3.put_object(**own, Key="k", Body=b"x")
    assert s3.get_object(**own, Key="k")["Body"].read() == b"x"
    other = own | {"ExpectedBucketOwner": "111122223333"}
    assert code(s3.head_bucket, **other) == "403"
    for call, more in (
        (s3.list_objects_v2, {}),
        (s3.get_bucket_policy, {}),
        (s3.delete_bucket, {}),
        (s3.delete_objects, {"Delete": {"Objects": [{"Key": "k"}]}}),
        (s3.get_object, {"Key": "k"}),
        (s3.put_object, {"Key": "k", "Body": b"changed"}),
        (s3.delete_object, {"Key": "k"}),
        (s3.create_multipart_upload, {"Key": "k"}),
    ):
        assert code(call, **other, **more) == "AccessDenied", call
    assert code(s3.put_object, Bucket="expected-of-bob", ExpectedBucketOwner="alice", Key="k") == "AccessDenied"
    assert code(s3.list_objects_v2, Bucket="no-such", ExpectedBucketOwner="alice") == "NoSuchBucket"
    copy: dict[str, Any] = {**own, "Key": "copy", "CopySource": "expected-of-bob/k"}
    assert code(s3.copy_object, **copy, ExpectedSourceBucketOwner="alice") == "AccessDenied"
    part = {**copy, "UploadId": s3.create_multipart_upload(**own, Key="copy")["UploadId"], "PartNumber": 1}
    assert code(s3.upload_part_copy, **part, ExpectedSourceBucketOwner="alice") == "AccessDenied"
    assert "CopyPartResult" in s3.upload_part_copy(**part, ExpectedSourceBucketOwner="bob")
    s3.copy_object(**copy, ExpectedSourceBucketOwner="bob")
    assert s3.get_object(**own, Key="copy")["Body"].read() == b"bobs"
    assert s3.get_object(**own, Key="k")["Body"].read() == b"x"


@pytest.mark.parametrize(("owner", "expected"), [("alice", 200), ("bob", 403)])
def test_an_expected_owner_in_the_query_counts(bucket: str, stack: Stack, owner: str, expected: int) -> None:
    """Where presigned URLs of some SDKs have it."""
    s3 = stack.client(signature_version="s3v4")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")

    def add(request: Any, **_: Any) -> None:
        request.params["x-amz-expected-bucket-owner"] = owner

    s3.meta.events.register("before-sign.s3.GetObject", add)
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"})
    assert f"x-amz-expected-bucket-owner={owner}" in url
    assert requests.get(url, timeout=10).status_code == expected


# versioning


def test_versioning(s3: Any, bucket: str) -> None:
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"null")
    assert versions(s3, bucket) == [("k", "null", True, False)]
    assert s3.get_object(Bucket=bucket, Key="k", VersionId="null")["Body"].read() == b"null"
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"first")["VersionId"]
    second = s3.put_object(Bucket=bucket, Key="k", Body=b"second")["VersionId"]
    assert len({first, second, "null"}) == 3
    for version, body in (("null", b"null"), (first, b"first"), (second, b"second")):
        assert s3.get_object(Bucket=bucket, Key="k", VersionId=version)["Body"].read() == body
    marker = s3.delete_object(Bucket=bucket, Key="k")
    assert marker["DeleteMarker"]
    assert code(s3.get_object, Bucket=bucket, Key="k") == "NoSuchKey"
    assert code(s3.get_object, Bucket=bucket, Key="k", VersionId=marker["VersionId"]) == "MethodNotAllowed"
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    expected = [
        ("k", second, False, False),
        ("k", first, False, False),
        ("k", "null", False, False),
        ("k", marker["VersionId"], True, True),
    ]
    assert versions(s3, bucket) == expected
    paged: list[Any] = []
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, PaginationConfig={"PageSize": 1}):
        paged += [v["VersionId"] for v in page.get("Versions", []) + page.get("DeleteMarkers", [])]
    assert paged == [marker["VersionId"], second, first, "null"]
    assert code(s3.delete_bucket, Bucket=bucket) == "BucketNotEmpty"
    # Removing the marker brings the object back; removing the newest version brings the one before.
    s3.delete_object(Bucket=bucket, Key="k", VersionId=marker["VersionId"])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"second"
    s3.delete_object(Bucket=bucket, Key="k", VersionId=second)
    assert s3.get_object(Bucket=bucket, Key="k")["VersionId"] == first
    assert code(s3.get_object, Bucket=bucket, Key="k", VersionId=second) == "NoSuchVersion"


def test_suspended_versioning(s3: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    kept = s3.put_object(Bucket=bucket, Key="k", Body=b"kept")["VersionId"]
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    for body in (b"one", b"two"):
        assert "VersionId" not in s3.put_object(Bucket=bucket, Key="k", Body=body)
    assert s3.head_object(Bucket=bucket, Key="k")["VersionId"] == "null"
    assert [v[1] for v in versions(s3, bucket)] == ["null", kept]
    s3.delete_object(Bucket=bucket, Key="k")
    assert versions(s3, bucket) == [("k", kept, False, False), ("k", "null", True, True)]
    objects = [{"Key": "k", "VersionId": version} for version in (kept, "null")]
    s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    s3.delete_bucket(Bucket=bucket)


# policy


def allow(bucket: str, **statement: Any) -> str:
    base = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [{**base, **statement}]})


def test_policy(s3: Any, bucket: str, stack: Stack) -> None:
    bob = stack.client("bob")
    s3.put_object(Bucket=bucket, Key="open/k", Body=b"x")
    s3.put_object(Bucket=bucket, Key="shut/k", Body=b"x")
    assert code(s3.get_bucket_policy, Bucket=bucket) == "NoSuchBucketPolicy"
    text = allow(bucket, Resource=f"arn:aws:s3:::{bucket}/open/*")
    s3.put_bucket_policy(Bucket=bucket, Policy=text)
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == text
    url = f"http://127.0.0.1:{stack.tabled.port}/{bucket}"
    assert requests.get(f"{url}/open/k", timeout=5).content == b"x"
    assert requests.get(f"{url}/shut/k", timeout=5).status_code == 403
    assert requests.get(url, timeout=5).status_code == 403
    assert code(bob.put_object, Bucket=bucket, Key="open/l", Body=b"y") == "AccessDenied"
    named = {"AWS": "arn:aws:iam::1:user/bob"}
    s3.put_bucket_policy(
        Bucket=bucket, Policy=allow(bucket, Principal=named, Action=["s3:PutObject", "s3:DeleteObject"])
    )
    bob.put_object(Bucket=bucket, Key="bobs", Body=b"y")
    bob.delete_object(Bucket=bucket, Key="bobs")
    assert code(bob.get_object, Bucket=bucket, Key="open/k") == "AccessDenied"
    s3.put_bucket_policy(Bucket=bucket, Policy=allow(bucket, Effect="Deny", Action="s3:*"))
    assert code(s3.get_object, Bucket=bucket, Key="open/k") == "AccessDenied"
    s3.delete_bucket_policy(Bucket=bucket)
    assert s3.get_object(Bucket=bucket, Key="open/k")["Body"].read() == b"x"


def test_policy_conditions(s3: Any, bucket: str, stack: Stack) -> None:
    bob = stack.client("bob")
    condition = {"StringLike": {"s3:prefix": ["home/*"]}}
    text = allow(bucket, Action="s3:ListBucket", Resource=f"arn:aws:s3:::{bucket}", Condition=condition)
    s3.put_bucket_policy(Bucket=bucket, Policy=text)
    assert bob.list_objects_v2(Bucket=bucket, Prefix="home/bob")["KeyCount"] == 0
    assert code(bob.list_objects_v2, Bucket=bucket) == "AccessDenied"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "MalformedPolicy"),
        ("[]", "MalformedPolicy"),
        ('{"Statement": []}', "MalformedPolicy"),
        (allow("other"), "MalformedPolicy"),
        (allow("b", Effect="Maybe"), "MalformedPolicy"),
        (allow("b", Extra=1), "MalformedPolicy"),
        (allow("b", Principal={"Service": "*"}), "MalformedPolicy"),
        (allow("b", Condition={"IpAddress": {"aws:SourceIp": "somewhere"}}), "MalformedPolicy"),
        (allow("b", Condition={"StringEquals": {"s3:Referer": "x"}}), "MalformedPolicy"),
        ("[" * 100_000, "MalformedPolicy"),
    ],
)
def test_policies_that_are_refused(text: str, expected: str) -> None:
    with pytest.raises(S3Error) as caught:
        policy.parse(text, "b")
    assert caught.value.code == expected


def test_wildcards_are_only_those_of_policies() -> None:
    document = policy.parse(allow("b", Resource="arn:aws:s3:::b/[ab]?"), "b")
    assert document.decide(None, "s3:GetObject", "b/[ab]c", {})
    assert document.decide(None, "s3:GetObject", "b/ac", {}) is None


# CORS


def test_cors(s3: Any, bucket: str, stack: Stack) -> None:
    url = f"http://127.0.0.1:{stack.tabled.port}/{bucket}/k"
    asking = {"Origin": "http://app.example", "Access-Control-Request-Method": "PUT"}
    assert requests.options(url, headers=asking, timeout=5).status_code == 403
    assert code(s3.get_bucket_cors, Bucket=bucket) == "NoSuchCORSConfiguration"
    rule = {
        "AllowedOrigins": ["http://*.example"],
        "AllowedMethods": ["GET", "PUT"],
        "AllowedHeaders": ["x-amz-*"],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": 60,
    }
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == [rule]
    answer = requests.options(url, headers=asking | {"Access-Control-Request-Headers": "x-amz-acl"}, timeout=5)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "http://app.example"
    assert answer.headers["Access-Control-Allow-Headers"] == "x-amz-acl"
    refused = asking | {"Access-Control-Request-Headers": "authorization"}
    assert requests.options(url, headers=refused, timeout=5).status_code == 403
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="public-read")
    plain = requests.get(url, headers={"Origin": "http://app.example"}, timeout=5)
    assert plain.headers["Access-Control-Expose-Headers"] == "ETag"
    assert "Access-Control-Allow-Origin" not in requests.get(url, headers={"Origin": "http://x"}, timeout=5).headers
    for method, there in (("PUT", True), ("DELETE", False)):
        named = {"Origin": "http://app.example", "Access-Control-Request-Method": method}
        assert ("Access-Control-Allow-Origin" in requests.get(url, headers=named, timeout=5).headers) is there
    for path, status in (("/none", 403), ("/k?acl", 403), ("/k?versionId=none", 403), ("?select", 501)):
        refusal = requests.get(f"{url.removesuffix('/k')}{path}", headers={"Origin": "http://app.example"}, timeout=5)
        assert refusal.status_code == status
        assert refusal.headers["Access-Control-Allow-Origin"] == "http://app.example"
    s3.delete_bucket_cors(Bucket=bucket)
    s3.head_bucket(Bucket=bucket)


# regions


def test_one_region(tmp_path: Path) -> None:
    with serving(tmp_path, settings="<Region>eu-test-1</Region>") as stack:
        s3 = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{stack.tabled.port}",
            region_name="eu-test-1",
            aws_access_key_id="alice",
            aws_secret_access_key="sesame",
        )
        s3.create_bucket(Bucket="region", CreateBucketConfiguration={"LocationConstraint": "eu-test-1"})
        assert s3.get_bucket_location(Bucket="region")["LocationConstraint"] == "eu-test-1"
        assert s3.head_bucket(Bucket="region")["BucketRegion"] == "eu-test-1"
        assert s3.list_buckets(BucketRegion="eu-test-1")["Buckets"][0]["BucketRegion"] == "eu-test-1"
        refusal = requests.head(f"http://127.0.0.1:{stack.tabled.port}/region", timeout=5)
        assert (refusal.status_code, refusal.headers["x-amz-bucket-region"]) == (403, "eu-test-1")
        # Another region is refused, and the right one told: clients ask again with it.
        target = "/region?list-type=2"
        empty = hashlib.sha256(b"").hexdigest()
        status, _, answer = raw(stack, "GET", target, signed_v4(stack, "GET", target, empty))
        error = s3xml.parse(answer, "Error")
        assert status == 400
        assert (error.value("Code"), error.value("Region")) == ("AuthorizationHeaderMalformed", "eu-test-1")
        assert raw(stack, "GET", target, signed_v4(stack, "GET", target, empty, region="eu-test-1"))[0] == 200
        assert stack.client().list_objects_v2(Bucket="region")["KeyCount"] == 0  # boto3, which began with us-east-1


# lifecycle


def test_lifecycle(s3: Any, bucket: str) -> None:
    for key in ("old/a", "old/b", "new/a"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x", Tagging="keep=no" if key == "old/a" else "keep=yes")
    past = datetime(2020, 1, 1, tzinfo=UTC)
    tag = {"Key": "keep", "Value": "no"}
    rules = [
        {
            "ID": "one",
            "Status": "Enabled",
            "Filter": {"And": {"Prefix": "old/", "Tags": [tag]}},
            "Expiration": {"Date": past},
        },
        {"ID": "off", "Status": "Disabled", "Filter": {"Prefix": ""}, "Expiration": {"Date": past}},
    ]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    shown = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert [rule["ID"] for rule in shown] == ["one", "off"]

    def keys() -> list[str]:
        return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]

    wait_for(lambda: keys() == ["new/a", "old/b"], "one object expires")
    s3.delete_bucket_lifecycle(Bucket=bucket)
    assert code(s3.get_bucket_lifecycle_configuration, Bucket=bucket) == "NoSuchLifecycleConfiguration"
    moving = {"Status": "Enabled", "Filter": {"Prefix": "a"}, "Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]}
    later = {"ID": "later", "Status": "Enabled", "Prefix": "", "Expiration": {"Days": 3}}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [moving, later]})
    first, second = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert (first.pop("ID") != "", first, second) == (True, moving, later)
    for answer in (s3.put_object(Bucket=bucket, Key="k"), s3.head_object(Bucket=bucket, Key="k")):
        assert answer["Expiration"].endswith('GMT", rule-id="later"')


# browser uploads


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_post_upload(s3: Any, bucket: str, stack: Stack, version: str) -> None:
    client = stack.client(signature_version=version)
    body = os.urandom(3_000_000)
    extra = {"acl": "public-read", "Content-Type": "text/plain", "success_action_status": "201"}
    conditions: list[Any] = [{name: value} for name, value in extra.items()]
    conditions.append(["content-length-range", 1, 4_000_000])
    form = client.generate_presigned_post(bucket, "dir/${filename}", extra, conditions)
    answer = requests.post(form["url"], data=form["fields"], files={"file": ("a.txt", body)}, timeout=10)
    assert answer.status_code == 201, answer.text
    assert s3xml.parse(answer.content, "PostResponse").value("Key") == "dir/a.txt"
    got = s3.get_object(Bucket=bucket, Key="dir/a.txt")
    assert got["Body"].read() == body
    assert got["ContentType"] == "text/plain"
    assert requests.get(f"{form['url']}/dir/a.txt", timeout=5).content == body

    def refused(fields: dict[str, str], content: bytes = b"x") -> str:
        answer = requests.post(form["url"], data=fields, files={"file": ("a.txt", content)}, timeout=10)
        return s3xml.parse(answer.content, "Error").value("Code")

    fields = form["fields"]
    assert refused(fields, b"") == "EntityTooSmall"
    assert refused(fields, os.urandom(4_000_001)) == "EntityTooLarge"
    assert refused(fields | {"acl": "private"}) == "AccessDenied"
    assert refused(fields | {"x-amz-meta-a": "1"}) == "AccessDenied"
    signature = "signature" if version == "s3" else "x-amz-signature"
    changed = base64.b64encode(base64.b64decode(fields["policy"]) + b" ").decode()
    assert refused(fields | {"policy": changed}) == "SignatureDoesNotMatch"
    assert refused({n: v for n, v in fields.items() if n != signature}) == "InvalidArgument"


def test_more_that_a_form_may_say(s3: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    tagging = "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>"

    def post(**more: str) -> requests.Response:
        form = s3.generate_presigned_post(bucket, "k", dict(more), [{name: value} for name, value in more.items()])
        return requests.post(form["url"], data=form["fields"], files={"file": ("a", b"x")}, timeout=10)

    answer = post(tagging=tagging)
    assert answer.status_code == 204
    assert answer.headers["x-amz-version-id"] == s3.head_object(Bucket=bucket, Key="k")["VersionId"]
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "a", "Value": "1"}]
    for wrong, status in (
        ({"tagging": "<Tagging>"}, 400),
        ({"x-amz-server-side-encryption": "rot13"}, 400),
        ({"x-amz-write-offset-bytes": "0"}, 501),
        ({"x-amz-storage-class": "GLACIER"}, 400),
    ):
        assert post(**wrong).status_code == status
    assert len(s3.list_object_versions(Bucket=bucket)["Versions"]) == 1
