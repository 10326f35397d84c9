"""Checksums: what a client names is verified, kept and given back; storage classes are kept."""

from __future__ import annotations

import base64
import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from haild.tabled.s3 import checksums
from support.tabledrequests import code
from support.tabledstack import Stack, serving

PART = 5 << 20
SMALL = b"hello"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with serving(Path(tmp_path_factory.mktemp("checksums"))) as running:
        yield running


@pytest.fixture(scope="module")
def s3(stack: Stack) -> Any:
    return stack.client(request_checksum_calculation="when_required", response_checksum_validation="when_required")


def value(algorithm: str, content: bytes) -> str:
    checksum = checksums.new(algorithm)
    checksum.update(content)
    return checksums.text(checksum)


def sums(answer: dict[str, Any]) -> dict[str, str]:
    return {name: found for name, found in answer.items() if name.startswith("Checksum")}


@pytest.mark.parametrize("algorithm", checksums.ALGORITHMS)
def test_a_named_checksum_is_verified_kept_and_given_back(s3: Any, bucket: str, algorithm: str) -> None:
    name = f"Checksum{algorithm.upper()}"
    right, wrong = value(algorithm, SMALL), value(algorithm, b"other")
    assert code(s3.put_object, Bucket=bucket, Key="k", Body=SMALL, **{name: wrong}) == "BadDigest"
    assert code(s3.head_object, Bucket=bucket, Key="k") == "404"
    expected = {name: right, "ChecksumType": "FULL_OBJECT"}
    assert sums(s3.put_object(Bucket=bucket, Key="k", Body=SMALL, **{name: right})) == expected
    assert sums(s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")) == expected
    assert sums(s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k")["CopyObjectResult"]) == expected
    for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]:
        assert (entry["ChecksumAlgorithm"], entry["ChecksumType"]) == ([algorithm.upper()], "FULL_OBJECT")
    told = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["Checksum"])["Checksum"]
    assert sums(told) == expected


def test_known_values() -> None:
    """Of the catalogue of CRCs and of xxHash's own documentation: the algorithms are what their names say."""
    assert value("crc64nvme", b"123456789") == base64.b64encode(bytes.fromhex("ae8b14860a799888")).decode()
    assert value("crc32", b"123456789") == base64.b64encode(zlib.crc32(b"123456789").to_bytes(4, "big")).decode()
    assert value("xxhash64", b"") == base64.b64encode(bytes.fromhex("ef46db3751d8e999")).decode()
    assert value("xxhash3", b"") == base64.b64encode(bytes.fromhex("2d06800538d394c2")).decode()
    assert value("xxhash128", b"") == base64.b64encode(bytes.fromhex("99aa06d3014798d86001c324468d497f")).decode()


def test_without_one_it_is_crc64nvme(s3: Any, bucket: str) -> None:
    expected = {"ChecksumCRC64NVME": value("crc64nvme", SMALL), "ChecksumType": "FULL_OBJECT"}
    assert sums(s3.put_object(Bucket=bucket, Key="k", Body=SMALL)) == expected
    assert sums(s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")) == expected
    assert sums(s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED", Range="bytes=1-2")) == {}
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    whole = {"Bucket": bucket, "Key": "m", "UploadId": upload}
    bodies = [os.urandom(PART), b"end"]
    parts = [
        {"PartNumber": n, "ETag": s3.upload_part(**whole, PartNumber=n, Body=body)["ETag"]}
        for n, body in enumerate(bodies, 1)
    ]
    expected["ChecksumCRC64NVME"] = value("crc64nvme", b"".join(bodies))
    assert sums(s3.complete_multipart_upload(**whole, MultipartUpload={"Parts": parts})) == expected
    part = s3.get_object(Bucket=bucket, Key="m", ChecksumMode="ENABLED", PartNumber=2)
    assert sums(part) == {"ChecksumCRC64NVME": value("crc64nvme", b"end"), "ChecksumType": "FULL_OBJECT"}


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [("SHA256", "COMPOSITE"), ("CRC32", "COMPOSITE"), ("CRC32C", "FULL_OBJECT"), ("XXHASH3", "COMPOSITE")],
)
def test_parts_and_the_whole(s3: Any, bucket: str, algorithm: str, kind: str) -> None:
    lower, name = algorithm.lower(), f"Checksum{algorithm}"
    created = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm, ChecksumType=kind)
    whole = {"Bucket": bucket, "Key": "k", "UploadId": created["UploadId"]}
    listed = s3.list_multipart_uploads(Bucket=bucket)["Uploads"][0]
    assert (listed["ChecksumAlgorithm"], listed["ChecksumType"]) == (algorithm, kind)
    bodies = [os.urandom(PART), b"end"]
    parts = []
    for number, body in enumerate(bodies, 1):
        wrong = {name: value(lower, b"other")}
        assert code(s3.upload_part, **whole, PartNumber=number, Body=body, **wrong) == "BadDigest"
        answer = s3.upload_part(**whole, PartNumber=number, Body=body, **{name: value(lower, body)})
        assert sums(answer) == {name: value(lower, body)}
        parts.append({"PartNumber": number, "ETag": answer["ETag"], name: value(lower, body)})
    other = "crc32" if lower != "crc32" else "sha1"
    mixed = {f"Checksum{other.upper()}": value(other, b"end")}
    assert code(s3.upload_part, **whole, PartNumber=2, Body=b"end", **mixed) == "InvalidRequest"
    complete = s3.complete_multipart_upload
    bad = {"Parts": [parts[0] | {name: value(lower, b"other")}, parts[1]]}
    assert code(complete, **whole, MultipartUpload=bad) == "InvalidPart"
    bare = {"Parts": [{"PartNumber": p["PartNumber"], "ETag": p["ETag"]} for p in parts]}
    if kind == "COMPOSITE":
        assert code(complete, **whole, MultipartUpload=bare) == "InvalidRequest"
    wrong_type = "FULL_OBJECT" if kind == "COMPOSITE" else "COMPOSITE"
    assert code(complete, **whole, MultipartUpload={"Parts": parts}, ChecksumType=wrong_type) == "InvalidRequest"
    wrong_whole = {name: value(lower, b"other")}
    assert code(complete, **whole, MultipartUpload={"Parts": parts}, **wrong_whole) == "BadDigest"
    found = complete(**whole, MultipartUpload={"Parts": parts})
    if kind == "COMPOSITE":
        digests = b"".join(base64.b64decode(part[name]) for part in parts)
        expected = f"{value(lower, digests)}-2"
    else:
        expected = value(lower, b"".join(bodies))
    assert sums(found) == {name: expected, "ChecksumType": kind}
    copied = s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")["CopyObjectResult"]
    assert sums(copied) == {name: value(lower, b"".join(bodies)), "ChecksumType": "FULL_OBJECT"}


def test_copies_by_another_algorithm_and_of_parts(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=SMALL)
    copied = s3.copy_object(Bucket=bucket, Key="b", CopySource=f"{bucket}/a", ChecksumAlgorithm="SHA512")
    assert sums(copied["CopyObjectResult"])["ChecksumSHA512"] == value("sha512", SMALL)
    created = s3.create_multipart_upload(Bucket=bucket, Key="m", ChecksumAlgorithm="MD5")
    whole = {"Bucket": bucket, "Key": "m", "UploadId": created["UploadId"]}
    source = {"CopySource": f"{bucket}/a", "CopySourceRange": "bytes=1-3"}
    part = s3.upload_part_copy(**whole, PartNumber=1, **source)["CopyPartResult"]
    assert part["ChecksumMD5"] == base64.b64encode(hashlib.md5(b"ell").digest()).decode()
    named = {"PartNumber": 1, "ETag": part["ETag"], "ChecksumMD5": part["ChecksumMD5"]}
    s3.complete_multipart_upload(**whole, MultipartUpload={"Parts": [named]})
    assert s3.get_object(Bucket=bucket, Key="m")["Body"].read() == b"ell"


def test_kinds_that_do_not_exist(s3: Any, bucket: str) -> None:
    for wrong in (
        {"ChecksumAlgorithm": "SHA256", "ChecksumType": "FULL_OBJECT"},
        {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "COMPOSITE"},
        {"ChecksumAlgorithm": "CRC31"},
        {"ChecksumType": "FULL_OBJECT"},
    ):
        assert code(s3.create_multipart_upload, Bucket=bucket, Key="k", **wrong) == "InvalidRequest"
    both = {"ChecksumCRC32": value("crc32", SMALL), "ChecksumSHA1": value("sha1", SMALL)}
    assert code(s3.put_object, Bucket=bucket, Key="k", Body=SMALL, **both) == "InvalidRequest"
    assert code(s3.put_object, Bucket=bucket, Key="k", Body=SMALL, ChecksumCRC32="AAAA") == "InvalidRequest"


def test_a_storage_class_is_kept_listed_and_changed_by_copies(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=SMALL, StorageClass="REDUCED_REDUNDANCY", Metadata={"a": "b"})
    assert s3.head_object(Bucket=bucket, Key="k")["StorageClass"] == "REDUCED_REDUNDANCY"
    for lists in (s3.list_objects, s3.list_objects_v2):
        assert [entry["StorageClass"] for entry in lists(Bucket=bucket)["Contents"]] == ["REDUCED_REDUNDANCY"]
    same = {"Bucket": bucket, "Key": "k", "CopySource": f"{bucket}/k"}
    assert code(s3.copy_object, **same) == "InvalidRequest"
    s3.copy_object(**same, StorageClass="STANDARD_IA")
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (head["StorageClass"], head["Metadata"]) == ("STANDARD_IA", {"a": "b"})
    s3.copy_object(**same, StorageClass="STANDARD")
    assert "StorageClass" not in s3.head_object(Bucket=bucket, Key="k")
    created = s3.create_multipart_upload(Bucket=bucket, Key="m", StorageClass="ONEZONE_IA")
    assert s3.list_multipart_uploads(Bucket=bucket)["Uploads"][0]["StorageClass"] == "ONEZONE_IA"
    whole = {"Bucket": bucket, "Key": "m", "UploadId": created["UploadId"]}
    assert s3.list_parts(**whole)["StorageClass"] == "ONEZONE_IA"
    # What would have to be restored before it can be read is refused.
    assert code(s3.put_object, Bucket=bucket, Key="k", Body=SMALL, StorageClass="GLACIER") == "InvalidStorageClass"


def test_deleting_versions_page_by_page(s3: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for _ in range(7):
        s3.put_object(Bucket=bucket, Key="k")
    marker: dict[str, str] = {}
    deleted = 0
    while True:
        page = s3.list_object_versions(Bucket=bucket, MaxKeys=3, **marker)
        for version in page["Versions"]:
            s3.delete_object(Bucket=bucket, Key="k", VersionId=version["VersionId"])
            deleted += 1
        if not page["IsTruncated"]:
            break
        marker = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
    assert deleted == 7
    assert "Versions" not in s3.list_object_versions(Bucket=bucket)
