"""tabled with boto3 and plain sockets, over a real stack of cld, two chunkd nodes and tabled."""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import os
import re
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from haild.tabled.http import routes
from support.tabledrequests import code, raw, signed_v2, signed_v4
from support.tabledstack import Stack, serving

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with serving(tmp_path_factory.mktemp("stack"), nodes=2) as stack:
        yield stack


# buckets


def test_buckets(s3: Any, stack: Stack) -> None:
    assert s3.create_bucket(Bucket="one-bucket")["Location"] == "/one-bucket"
    assert s3.create_bucket(Bucket="one-bucket")["Location"] == "/one-bucket"  # in us-east-1 alone
    bob = stack.client("bob")
    assert code(bob.create_bucket, Bucket="one-bucket") == "BucketAlreadyExists"
    assert "one-bucket" in [b["Name"] for b in s3.list_buckets()["Buckets"]]
    assert bob.list_buckets()["Buckets"] == []
    assert s3.head_bucket(Bucket="one-bucket")["BucketRegion"] == "us-east-1"
    assert s3.get_bucket_location(Bucket="one-bucket")["LocationConstraint"] is None
    assert code(bob.head_bucket, Bucket="one-bucket") == "403"
    assert code(s3.head_bucket, Bucket="no-bucket") == "404"
    assert code(s3.list_objects_v2, Bucket="no-bucket") == "NoSuchBucket"
    assert code(s3.put_object, Bucket="no-bucket", Key="k", Body=b"x") == "NoSuchBucket"
    assert code(bob.delete_bucket, Bucket="one-bucket") == "AccessDenied"
    s3.put_object(Bucket="one-bucket", Key="k", Body=b"x")
    assert code(s3.delete_bucket, Bucket="one-bucket") == "BucketNotEmpty"
    s3.delete_object(Bucket="one-bucket", Key="k")
    s3.delete_bucket(Bucket="one-bucket")
    assert code(s3.delete_bucket, Bucket="one-bucket") == "NoSuchBucket"


# objects

ODD_KEYS = [
    "a//b",
    "ä",
    "%2F",
    "+",
    "dir/",
    "/lead",
    "a?b#c",
    " ",
    "k" * 1024,
    "\u20ac" * 341,
    "..",
    "a/../b",
    "x&y<z>",
]


@pytest.mark.parametrize("key", ODD_KEYS)
def test_odd_keys(s3: Any, stack: Stack, key: str) -> None:
    if "odd-keys" not in [b["Name"] for b in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket="odd-keys")
    s3.put_object(Bucket="odd-keys", Key=key, Body=key.encode())
    assert s3.get_object(Bucket="odd-keys", Key=key)["Body"].read() == key.encode()
    for version in (s3.list_objects, s3.list_objects_v2):
        assert key in [entry["Key"] for entry in version(Bucket="odd-keys")["Contents"]]


@pytest.mark.parametrize("size", [0, 1, 4096, 262144, 262145, 5 * MEGABYTE + 1])
def test_sizes(s3: Any, bucket: str, size: int) -> None:
    body = os.urandom(size)
    put = s3.put_object(Bucket=bucket, Key="k", Body=body)
    assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == size
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == body
    assert got["ETag"] == put["ETag"]


def test_kept_headers(s3: Any, bucket: str) -> None:
    given = {
        "CacheControl": "no-cache",
        "ContentDisposition": "attachment",
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "ContentType": "text/plain",
        "Metadata": {"colour": "blue", "size": "9"},
    }
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", **given)
    head = s3.head_object(Bucket=bucket, Key="k")
    assert {name: head[name] for name in given} == given
    changed = s3.get_object(Bucket=bucket, Key="k", ResponseContentType="image/png")
    assert changed["ContentType"] == "image/png"
    assert code(s3.put_object, Bucket=bucket, Key="k", Metadata={"a": "x" * 2049}) == "MetadataTooLarge"
    s3.put_object(Bucket=bucket, Key="plain", Body=b"x")
    assert s3.head_object(Bucket=bucket, Key="plain")["ContentType"] == "binary/octet-stream"


def test_overwrite_and_delete(s3: Any, bucket: str) -> None:
    for body in (b"first", b"second"):
        s3.put_object(Bucket=bucket, Key="k", Body=body)
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == body
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_object(Bucket=bucket, Key="k")
    assert code(s3.get_object, Bucket=bucket, Key="k") == "NoSuchKey"
    assert code(s3.head_object, Bucket=bucket, Key="k") == "404"


def test_ranges(s3: Any, bucket: str) -> None:
    body = os.urandom(MEGABYTE)
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    for first, last in ((0, 0), (5, 70000), (65536, 131071), (1000, MEGABYTE - 1)):
        part = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={first}-{last}")
        assert part["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert part["ContentRange"] == f"bytes {first}-{last}/{MEGABYTE}"
        assert part["Body"].read() == body[first : last + 1]
    assert s3.get_object(Bucket=bucket, Key="k", Range="bytes=-10")["Body"].read() == body[-10:]
    assert code(s3.get_object, Bucket=bucket, Key="k", Range=f"bytes={MEGABYTE}-") == "InvalidRange"


def test_conditional_reads(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    assert s3.get_object(Bucket=bucket, Key="k", IfMatch=etag)["Body"].read() == b"x"
    assert code(s3.get_object, Bucket=bucket, Key="k", IfMatch='"no"') == "PreconditionFailed"
    assert code(s3.get_object, Bucket=bucket, Key="k", IfNoneMatch=etag) == "304"
    assert code(s3.get_object, Bucket=bucket, Key="k", IfModifiedSince=datetime.now(UTC) + timedelta(1)) == "304"


def test_conditional_writes(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    assert code(s3.put_object, Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*") == "PreconditionFailed"
    assert code(s3.put_object, Bucket=bucket, Key="k", Body=b"2", IfMatch='"x"') == "PreconditionFailed"
    assert code(s3.put_object, Bucket=bucket, Key="none", Body=b"2", IfMatch=etag) == "NoSuchKey"
    s3.put_object(Bucket=bucket, Key="k", Body=b"3", IfMatch=etag)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"3"

    def create(number: int) -> int:
        try:
            s3.put_object(Bucket=bucket, Key="race", Body=b"%d" % number, IfNoneMatch="*")
        except ClientError:
            return 0
        return 1

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(create, range(8))) == 1


IN_NO_BUFFER = 24 * MEGABYTE
"""More than the buffers of both sockets take (tcp_wmem and tcp_rmem: 4 and 6 MiB) and the server reads ahead."""


class Slow(io.BytesIO):
    """A body in the middle of which something happens: when no buffer can hold what was sent, so that the server has
    looked at the conditions and takes the body."""

    def __init__(self, size: int, happens: Callable[[], object]) -> None:
        super().__init__(bytes(size))
        self.happens = happens
        self.happened = False

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > IN_NO_BUFFER and not self.happened:
            self.happened = True
            self.happens()
        return super().read(min(size if size is not None and size > 0 else MEGABYTE, MEGABYTE))


def test_a_conditional_write_that_is_overtaken(s3: Any, bucket: str, stack: Stack) -> None:
    """Its condition held when it began, and was broken by another request while the body came."""
    url = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "k"})
    target = url.partition(f":{stack.tabled.port}")[2]

    def put(condition: dict[str, str], happens: Callable[[], object]) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", stack.tabled.port, timeout=20)
        try:
            body = Slow(32 * MEGABYTE, happens)
            connection.request("PUT", target, body, {"Content-Length": str(32 * MEGABYTE), **condition})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    status, answer = put({"If-None-Match": "*"}, lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"first"))
    assert status == 409
    assert b"<Code>ConditionalRequestConflict</Code>" in answer
    etag = s3.head_object(Bucket=bucket, Key="k")["ETag"]
    status, _ = put({"If-Match": etag}, lambda: s3.delete_object(Bucket=bucket, Key="k"))
    assert status == 409
    assert code(s3.head_object, Bucket=bucket, Key="k") == "404"
    status, _ = put({"If-None-Match": "*"}, lambda: None)
    assert status == 200


# listings


def test_listing_pages(s3: Any, bucket: str) -> None:
    keys = [f"{letter}/{number}" for letter in "abc" for number in range(4)] + ["top", "z"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key)
    for kind in ("list_objects", "list_objects_v2"):
        for delimiter in ("", "/"):
            pages = list(
                s3.get_paginator(kind).paginate(Bucket=bucket, Delimiter=delimiter, PaginationConfig={"PageSize": 2})
            )
            found = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
            prefixes = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", [])]
            assert found == (["top", "z"] if delimiter else keys)
            assert prefixes == (["a/", "b/", "c/"] if delimiter else [])
    page = s3.list_objects_v2(Bucket=bucket, Prefix="b/", StartAfter="b/1", MaxKeys=1, FetchOwner=True)
    assert [(e["Key"], e["Owner"]["ID"]) for e in page["Contents"]] == [("b/2", "alice")]
    assert page["IsTruncated"]
    assert s3.list_objects_v2(Bucket=bucket, MaxKeys=0)["KeyCount"] == 0
    assert code(s3.list_objects_v2, Bucket=bucket, ContinuationToken="!") == "InvalidArgument"
    assert s3.list_objects_v2(Bucket=bucket, MaxKeys=5000)["MaxKeys"] == 1000


def test_batch_delete(s3: Any, bucket: str) -> None:
    for number in range(5):
        s3.put_object(Bucket=bucket, Key=f"k{number}")
    wanted = [{"Key": f"k{number}"} for number in range(6)]
    assert len(s3.delete_objects(Bucket=bucket, Delete={"Objects": wanted})["Deleted"]) == 6
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    many = [{"Key": f"k{number}"} for number in range(1001)]
    assert code(s3.delete_objects, Bucket=bucket, Delete={"Objects": many}) == "MalformedXML"
    assert "Deleted" not in s3.delete_objects(Bucket=bucket, Delete={"Objects": wanted, "Quiet": True})


# multipart and copy


def upload_parts(s3: Any, bucket: str, key: str, parts: list[bytes], **options: Any) -> dict[str, Any]:
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key, **options)["UploadId"]
    done: list[dict[str, Any]] = []
    algorithm = {"ChecksumAlgorithm": options["ChecksumAlgorithm"]} if "ChecksumAlgorithm" in options else {}
    for number, body in reversed(list(enumerate(parts, 1))):
        part = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body, **algorithm)
        sums = {name: value for name, value in part.items() if name.startswith("Checksum") and algorithm}
        done.insert(0, {"PartNumber": number, "ETag": part["ETag"], **sums})
    return {"Bucket": bucket, "Key": key, "UploadId": upload, "MultipartUpload": {"Parts": done}}


def test_multipart(s3: Any, bucket: str) -> None:
    bodies = [os.urandom(5 * MEGABYTE), os.urandom(5 * MEGABYTE), b"end"]
    request = upload_parts(s3, bucket, "k", bodies, Metadata={"a": "b"}, ContentType="text/plain")
    listed = s3.list_parts(Bucket=bucket, Key="k", UploadId=request["UploadId"], MaxParts=2)
    assert [(p["PartNumber"], p["Size"]) for p in listed["Parts"]] == [(1, 5 * MEGABYTE), (2, 5 * MEGABYTE)]
    assert listed["IsTruncated"]
    assert [u["Key"] for u in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == ["k"]
    done = s3.complete_multipart_upload(**request)
    digests = b"".join(hashlib.md5(body).digest() for body in bodies)
    assert done["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-3"'
    whole = b"".join(bodies)
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == whole
    assert got["Metadata"] == {"a": "b"}
    middle = f"bytes={5 * MEGABYTE - 10}-{10 * MEGABYTE + 1}"
    assert s3.get_object(Bucket=bucket, Key="k", Range=middle)["Body"].read() == whole[5 * MEGABYTE - 10 : -1]
    part = s3.get_object(Bucket=bucket, Key="k", PartNumber=3)
    assert part["Body"].read() == b"end"
    assert part["PartsCount"] == 3


def test_completing_again_answers_the_same(s3: Any, bucket: str) -> None:
    """A client whose answer was lost asks again; AWS answers as before."""
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    request = upload_parts(s3, bucket, "k", [b"only"], ChecksumAlgorithm="SHA1")

    def complete(**changes: Any) -> dict[str, Any]:
        answer = s3.complete_multipart_upload(**request | changes)
        return {name: value for name, value in answer.items() if name != "ResponseMetadata"}

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: complete(IfNoneMatch="*"), range(4)))
    s3.put_object(Bucket=bucket, Key="k", Body=b"newer")
    assert [complete(), *answers] == [answers[0]] * 5
    assert s3.get_object(Bucket=bucket, Key="k", VersionId=answers[0]["VersionId"])["Body"].read() == b"only"
    assert len(s3.list_object_versions(Bucket=bucket)["Versions"]) == 2
    for wrong in ([{"PartNumber": 1, "ETag": '"x"'}], [dict(request["MultipartUpload"]["Parts"][0], PartNumber=2)]):
        assert code(complete, MultipartUpload={"Parts": wrong}) == "NoSuchUpload"
    assert code(complete, Key="other") == "NoSuchUpload"
    source = {"Bucket": bucket, "Key": "k", "VersionId": answers[0]["VersionId"]}
    s3.copy_object(Bucket=bucket, Key="k", CopySource=source, MetadataDirective="REPLACE")
    s3.delete_object(**source)
    assert code(complete) == "NoSuchUpload"
    assert code(s3.abort_multipart_upload, Bucket=bucket, Key="k", UploadId=request["UploadId"]) == "NoSuchUpload"


def test_multipart_errors(s3: Any, bucket: str) -> None:
    request = upload_parts(s3, bucket, "k", [b"small", b"end"])
    assert code(s3.complete_multipart_upload, **request) == "EntityTooSmall"
    parts = request["MultipartUpload"]["Parts"]
    wrong = dict(request, MultipartUpload={"Parts": parts[::-1]})
    assert code(s3.complete_multipart_upload, **wrong) == "InvalidPartOrder"
    wrong = dict(request, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": '"0"'}]})
    assert code(s3.complete_multipart_upload, **wrong) == "InvalidPart"
    single = dict(request, MultipartUpload={"Parts": parts[1:]})
    s3.complete_multipart_upload(**single)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"end"
    upload = s3.create_multipart_upload(Bucket=bucket, Key="gone")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="gone", UploadId=upload, PartNumber=1, Body=b"x")
    s3.abort_multipart_upload(Bucket=bucket, Key="gone", UploadId=upload)
    arguments = {"Bucket": bucket, "Key": "gone", "UploadId": upload}
    assert code(s3.upload_part, PartNumber=1, Body=b"x", **arguments) == "NoSuchUpload"
    assert code(s3.list_parts, **arguments) == "NoSuchUpload"
    assert code(s3.head_object, Bucket=bucket, Key="gone") == "404"


def test_full_object_checksum_of_parts(s3: Any, bucket: str) -> None:
    bodies = [os.urandom(5 * MEGABYTE), b"the end"]
    upload = s3.create_multipart_upload(
        Bucket=bucket, Key="k", ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT"
    )["UploadId"]
    parts = []
    for number, body in enumerate(bodies, 1):
        answer = s3.upload_part(
            Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=body, ChecksumAlgorithm="CRC32"
        )
        parts.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumCRC32": answer["ChecksumCRC32"]})
    done = s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
    expected = base64.b64encode(zlib.crc32(b"".join(bodies)).to_bytes(4, "big")).decode()
    assert done["ChecksumCRC32"] == expected
    attributes = s3.get_object_attributes(
        Bucket=bucket, Key="k", ObjectAttributes=["ETag", "Checksum", "ObjectParts", "ObjectSize", "StorageClass"]
    )
    assert attributes["Checksum"]["ChecksumCRC32"] == expected
    assert attributes["ObjectParts"]["TotalPartsCount"] == 2
    assert attributes["ObjectSize"] == 5 * MEGABYTE + 7


def test_a_checksum_of_the_whole_object_may_come_when_its_upload_is_completed(s3: Any, bucket: str) -> None:
    """As MinIO's clients send it: of the object to be, and not of the document that is the request's body."""
    names = {"Bucket": bucket, "Key": "k"}
    upload = s3.create_multipart_upload(**names, ChecksumAlgorithm="CRC32")["UploadId"]
    answer = s3.upload_part(**names, UploadId=upload, PartNumber=1, Body=b"content", ChecksumAlgorithm="CRC32")
    part = {"PartNumber": 1, "ETag": answer["ETag"], "ChecksumCRC32": answer["ChecksumCRC32"]}
    of_parts = zlib.crc32(base64.b64decode(answer["ChecksumCRC32"])).to_bytes(4, "big")
    done = {**names, "UploadId": upload, "MultipartUpload": {"Parts": [part]}}
    wrong = base64.b64encode(b"none").decode()
    assert code(s3.complete_multipart_upload, **done, ChecksumCRC32=wrong) == "BadDigest"
    right = base64.b64encode(of_parts).decode()
    assert s3.complete_multipart_upload(**done, ChecksumCRC32=right)["ChecksumCRC32"] == f"{right}-1"


def test_transfer_manager(s3: Any, bucket: str, tmp_path: Any) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(20 * MEGABYTE))
    s3.upload_file(str(source), bucket, "big")
    s3.download_file(bucket, "big", str(target))
    assert target.read_bytes() == source.read_bytes()


def test_copy(s3: Any, bucket: str, stack: Stack) -> None:
    s3.put_object(Bucket=bucket, Key="ä b", Body=b"content", Metadata={"a": "1"}, ContentType="text/plain")
    source = {"Bucket": bucket, "Key": "ä b"}
    copied = s3.copy_object(Bucket=bucket, Key="copy", CopySource=source)
    assert copied["CopyObjectResult"]["ETag"] == f'"{hashlib.md5(b"content").hexdigest()}"'
    s3.delete_object(Bucket=bucket, Key="ä b")
    got = s3.get_object(Bucket=bucket, Key="copy")
    assert got["Body"].read() == b"content"
    assert got["Metadata"] == {"a": "1"}
    itself = {"Bucket": bucket, "Key": "copy", "CopySource": f"{bucket}/copy"}
    assert code(s3.copy_object, **itself) == "InvalidRequest"
    s3.copy_object(**itself, MetadataDirective="REPLACE", Metadata={"a": "2"}, ContentType="text/html")
    head = s3.head_object(Bucket=bucket, Key="copy")
    assert (head["Metadata"], head["ContentType"]) == ({"a": "2"}, "text/html")
    assert code(s3.copy_object, Bucket=bucket, Key="x", CopySource=f"{bucket}/none") == "NoSuchKey"
    assert (
        code(s3.copy_object, Bucket=bucket, Key="x", CopySource=f"{bucket}/copy", CopySourceIfMatch="no")
        == "PreconditionFailed"
    )
    bob = stack.client("bob")
    bob.create_bucket(Bucket="bobs-own")
    assert code(bob.copy_object, Bucket="bobs-own", Key="x", CopySource=f"{bucket}/copy") == "AccessDenied"
    headers = signed_v2("PUT", f"/{bucket}/x", {"x-amz-copy-source": f"{bucket}/%ff"})
    status, _, answer = raw(stack, "PUT", f"/{bucket}/x", headers)
    assert status == 400
    assert b"<Code>InvalidArgument</Code>" in answer


def test_part_copy(s3: Any, bucket: str) -> None:
    whole = os.urandom(6 * MEGABYTE)
    s3.put_object(Bucket=bucket, Key="source", Body=whole)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    target = {"Bucket": bucket, "Key": "k", "UploadId": upload, "CopySource": f"{bucket}/source"}
    parts = []
    for number, span in enumerate((None, f"bytes=10-{5 * MEGABYTE + 9}", "bytes=5-7"), 1):
        options = {} if span is None else {"CopySourceRange": span}
        etag = s3.upload_part_copy(**target, PartNumber=number, **options)["CopyPartResult"]["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    for wrong in ("bytes=5-", "bytes=-5", "bytes=7-5", "5-7", "bytes=1-2,4-5", f"bytes=0-{6 * MEGABYTE}"):
        assert code(s3.upload_part_copy, **target, PartNumber=4, CopySourceRange=wrong) == "InvalidArgument"
    s3.delete_object(Bucket=bucket, Key="source")
    s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
    expected = whole + whole[10 : 5 * MEGABYTE + 10] + whole[5:8]
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == expected
    assert parts[2]["ETag"] == f'"{hashlib.md5(whole[5:8]).hexdigest()}"'


# rights


def test_acls(s3: Any, bucket: str, stack: Stack) -> None:
    bob = stack.client("bob")
    s3.put_object(Bucket=bucket, Key="private", Body=b"x")
    s3.put_object(Bucket=bucket, Key="public", Body=b"y", ACL="public-read")
    assert code(bob.get_object, Bucket=bucket, Key="private") == "AccessDenied"
    assert bob.get_object(Bucket=bucket, Key="public")["Body"].read() == b"y"
    assert raw(stack, "GET", f"/{bucket}/public")[0] == 200
    assert raw(stack, "GET", f"/{bucket}/private")[0] == 403
    assert raw(stack, "GET", f"/{bucket}/none")[0] == 403
    assert raw(stack, "GET", f"/{bucket}")[0] == 403
    assert code(bob.put_object, Bucket=bucket, Key="x", Body=b"x") == "AccessDenied"
    assert code(bob.delete_object, Bucket=bucket, Key="private") == "AccessDenied"
    grants = s3.get_object_acl(Bucket=bucket, Key="public")["Grants"]
    assert [(g["Grantee"].get("ID"), g["Permission"]) for g in grants] == [("alice", "FULL_CONTROL"), (None, "READ")]
    s3.put_object_acl(Bucket=bucket, Key="public", ACL="private")
    assert code(bob.get_object, Bucket=bucket, Key="public") == "AccessDenied"
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    assert raw(stack, "GET", f"/{bucket}")[0] == 200
    policy = {
        "Owner": {"ID": "alice"},
        "Grants": [
            {"Grantee": {"Type": "CanonicalUser", "ID": user}, "Permission": permission}
            for user, permission in (("alice", "FULL_CONTROL"), ("bob", "WRITE"))
        ],
    }
    s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy=policy)
    bob.put_object(Bucket=bucket, Key="by-bob", Body=b"z")
    assert bob.get_object(Bucket=bucket, Key="by-bob")["Body"].read() == b"z"
    s3.put_object(Bucket=bucket, Key="granted", Body=b"x", GrantRead='id=bob, id="alice"', GrantReadACP="id=bob")
    grants = s3.get_object_acl(Bucket=bucket, Key="granted")["Grants"]
    listed = [("alice", "READ"), ("bob", "READ"), ("bob", "READ_ACP")]
    assert [(g["Grantee"]["ID"], g["Permission"]) for g in grants] == listed
    assert bob.get_object(Bucket=bucket, Key="granted")["Body"].read() == b"x"
    mail = "emailaddress=nobody@example.org"
    for grant, refusal in (
        ("id=carol", "InvalidArgument"),
        ("uri=x", "InvalidArgument"),
        ("bob", "InvalidArgument"),
        (mail, "UnresolvableGrantByEmailAddress"),
    ):
        assert code(s3.put_object, Bucket=bucket, Key="g", GrantRead=grant) == refusal
    both = {"ACL": "private", "GrantRead": "id=bob"}
    assert code(s3.put_bucket_acl, Bucket=bucket, **both) == "InvalidRequest"
    unknown = {"Grantee": {"Type": "CanonicalUser", "ID": "carol"}, "Permission": "READ"}
    wrong = {"Owner": {"ID": "alice"}, "Grants": [unknown]}
    assert code(s3.put_bucket_acl, Bucket=bucket, AccessControlPolicy=wrong) == "InvalidArgument"


def test_an_owner_without_grants_keeps_only_the_list(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    nothing: dict[str, Any] = {"Owner": {"ID": "alice"}, "Grants": []}
    s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy=nothing)
    assert s3.get_bucket_acl(Bucket=bucket)["Grants"] == []
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    assert code(s3.put_object, Bucket=bucket, Key="l", Body=b"x") == "AccessDenied"
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    s3.put_object(Bucket=bucket, Key="l", Body=b"x")


@pytest.mark.parametrize(
    "name", ["ab", "a_b", "a..b", "a.-b", "a-.b", "-ab", "ab-", "192.168.1.1", "xn--a", "a-s3alias"]
)
def test_names_that_no_new_bucket_has(stack: Stack, name: str) -> None:
    """As S3 has it; requests with signature version 2 have the rule of 2010."""
    target = f"/{name}"
    assert raw(stack, "PUT", target, signed_v4(stack, "PUT", target, "UNSIGNED-PAYLOAD"))[0] == 400
    if re.fullmatch("[a-z0-9][a-z0-9._-]*", name) and not re.fullmatch(r"[0-9.]+", name):
        assert raw(stack, "PUT", target, signed_v2("PUT", target))[0] == 200


def test_conditions_of_deletions(s3: Any, bucket: str) -> None:
    there = s3.put_object(Bucket=bucket, Key="k", Body=b"12345")["ETag"]
    modified = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    past = datetime(2015, 1, 1, tzinfo=UTC)
    for wrong in ({"Size": 4}, {"LastModifiedTime": past}, {"ETag": '"x"'}, {"Size": 5, "ETag": "x"}):
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k", **wrong}]})
        assert [error["Code"] for error in answer["Errors"]] == ["PreconditionFailed"], wrong
    for wrong in ({"IfMatchSize": 4}, {"IfMatchLastModifiedTime": past}, {"IfMatch": '"x"'}):
        assert code(s3.delete_object, Bucket=bucket, Key="k", **wrong) == "PreconditionFailed"
    right = {"Size": 5, "LastModifiedTime": modified, "ETag": there}
    assert "Errors" not in s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k", **right}]})
    assert code(s3.delete_object, Bucket=bucket, Key="k", IfMatch="*") == "NoSuchKey"
    gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k", **right}]})
    assert gone["Errors"][0]["Code"] == "NoSuchKey"


def test_conditions_that_nothing_evaluates_are_refused(s3: Any, bucket: str, stack: Stack) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    for method, target, name in (
        ("PUT", f"/{bucket}/k", "If-Unmodified-Since"),
        ("DELETE", f"/{bucket}/k", "If-None-Match"),
        ("DELETE", f"/{bucket}/k?tagging", "If-Match"),
        ("PUT", f"/{bucket}/m?partNumber=1&uploadId={upload}", "If-Match"),
        ("DELETE", f"/{bucket}", "If-Match"),
    ):
        headers = signed_v2(method, target) | {name: "Sun, 28 Nov 2010 18:41:22 GMT"}
        assert raw(stack, method, target, headers)[0] == 501, (method, target, name)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    other = {"Bucket": bucket, "Key": "k", "Body": b"y"}
    s3.put_object(**other, IfNoneMatch='"another"')
    assert (
        code(s3.put_object, **other, IfNoneMatch=s3.head_object(Bucket=bucket, Key="k")["ETag"])
        == "PreconditionFailed"
    )


def test_tagging(s3: Any, bucket: str) -> None:
    tags = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=1&b=2")
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == tags
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": tags[:1]})
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == tags[:1]
    s3.delete_object_tagging(Bucket=bucket, Key="k")
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    assert code(s3.get_bucket_tagging, Bucket=bucket) == "NoSuchTagSet"
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags
    s3.delete_bucket_tagging(Bucket=bucket)
    s3.head_bucket(Bucket=bucket)


PARAMETERS = ("prefix=k", "prefix", "versions=1", "list-type=2", "partNumber=1", "versionId=null", "max-keys=1")


def test_no_sub_resource_falls_through(s3: Any, bucket: str, stack: Stack) -> None:
    """Every one, with and without a value, with every method: what is not there answers 501, and nothing is done.

    Only reads may have parameters that mean nothing, as cache busters and links with tracking do.
    """
    s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    state = (s3.get_bucket_acl(Bucket=bucket)["Grants"], s3.head_object(Bucket=bucket, Key="k")["LastModified"])
    served = {"GET", "HEAD"}
    for scope, path in (("bucket", f"/{bucket}"), ("object", f"/{bucket}/k")):
        for name in sorted(routes.SELECTORS | {"unheard-of", "Policy", "ACL"}):
            for value in ("", "=", "=x"):
                for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
                    there = (scope, method, name) in routes.OPERATIONS
                    reading = name not in routes.SELECTORS and method in served
                    if there or reading:
                        continue
                    target = f"{path}?{name}{value}"
                    status = raw(stack, method, target, signed_v2(method, target))[0]
                    assert status == 501, (method, target, status)
        for query in PARAMETERS:
            for method in ("PUT", "POST", "DELETE"):
                target = f"{path}?{query}"
                if target in (f"{path}?versionId=null",) and scope == "object" and method == "DELETE":
                    continue  # that is the object
                status = raw(stack, method, target, signed_v2(method, target))[0]
                assert status in (400, 405, 501), (method, target, status)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"content"
    after = (s3.get_bucket_acl(Bucket=bucket)["Grants"], s3.head_object(Bucket=bucket, Key="k")["LastModified"])
    assert after == state


@pytest.mark.parametrize(
    "name",
    [
        "x-amz-write-offset-bytes",
        "x-amz-if-match-etag",
    ],
)
def test_headers_that_are_never_accepted_silently(s3: Any, bucket: str, stack: Stack, name: str) -> None:
    """By no operation: to ignore one would be to do something else than was asked for."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    copy = {"x-amz-copy-source": f"{bucket}/k"}
    for method, target, more in (
        ("PUT", f"/{bucket}/k", {}),
        ("PUT", f"/{bucket}/copy", copy),
        ("GET", f"/{bucket}/k", {}),
        ("HEAD", f"/{bucket}/k", {}),
        ("DELETE", f"/{bucket}/k", {}),
        ("POST", f"/{bucket}/other?uploads", {}),
        ("PUT", f"/{bucket}/parts?partNumber=1&uploadId={upload}", {}),
    ):
        headers = signed_v2(method, target, {**more, name: "0"})
        assert raw(stack, method, target, headers)[0] == 501, (method, target)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"content"
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1


def test_sub_resources_without_a_home(s3: Any, bucket: str, stack: Stack) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    absent = {
        "get_bucket_website": "NoSuchWebsiteConfiguration",
        "get_bucket_encryption": "ServerSideEncryptionConfigurationNotFoundError",
        "get_bucket_replication": "ReplicationConfigurationNotFoundError",
        "get_public_access_block": "NoSuchPublicAccessBlockConfiguration",
        "get_bucket_ownership_controls": "OwnershipControlsNotFoundError",
        "get_object_lock_configuration": "ObjectLockConfigurationNotFoundError",
    }
    for name, expected in absent.items():
        assert code(getattr(s3, name), Bucket=bucket) == expected
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    for query in ("website", "encryption", "replication", "publicAccessBlock", "ownershipControls"):
        assert raw(stack, "DELETE", f"/{bucket}?{query}", signed_v2("DELETE", f"/{bucket}?{query}"))[0] == 204
    for method, target in (
        ("DELETE", f"/{bucket}?analytics&id=1"),
        ("DELETE", f"/{bucket}?unknown"),
        ("DELETE", f"/{bucket}/k?legal-hold"),
        ("GET", f"/{bucket}/k?torrent"),
        ("PUT", f"/{bucket}?replication"),
        ("POST", f"/{bucket}/k?restore"),
        ("POST", f"/{bucket}/k?select&select-type=2"),
    ):
        assert raw(stack, method, target, signed_v2(method, target))[0] == 501, target
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    assert code(s3.put_object, Bucket=bucket, Key="e", StorageClass="GLACIER") == "InvalidStorageClass"
