"""boto3 against tabled, with no settings but the endpoint, the credentials and the region."""

import base64
import hashlib
import io
import urllib.error
import urllib.request
from typing import Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError
from filetree import fetch, read_bucket, refused
from oddnames import FOR_LIBRARIES, LONGEST, ODD, PRESIGNED, THOUSANDS, body_of, noise
from s3endpoint import Endpoint

BUCKET = "of-boto3"
CHECKSUMS = {
    "CRC32": "cbf43926",
    "CRC32C": "e3069283",
    "CRC64NVME": "ae8b14860a799888",
    "SHA1": hashlib.sha1(b"123456789").hexdigest(),
    "SHA256": hashlib.sha256(b"123456789").hexdigest(),
}
"""Of `123456789`; for the CRCs the check values of the CRC catalogue. boto3 by itself computes CRC32 and hashes."""


def connect(endpoint: Endpoint, **options: Any) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=endpoint.url,
        aws_access_key_id=endpoint.key,
        aws_secret_access_key=endpoint.secret,
        region_name=endpoint.variables["AWS_DEFAULT_REGION"],
        **options,
    )


@pytest.fixture(scope="module")
def s3(endpoint: Endpoint) -> Any:
    return connect(endpoint)


@pytest.fixture(scope="module")
def bucket(s3: Any):
    assert s3.create_bucket(Bucket=BUCKET)["Location"] == f"/{BUCKET}"
    s3.get_waiter("bucket_exists").wait(Bucket=BUCKET)
    yield BUCKET
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    for page in pages:
        keys = [{"Key": item["Key"]} for item in page.get("Contents", [])]
        assert "Errors" not in s3.delete_objects(Bucket=BUCKET, Delete={"Objects": keys})
    s3.delete_bucket(Bucket=BUCKET)
    s3.get_waiter("bucket_not_exists").wait(Bucket=BUCKET)


def post(form: dict[str, Any], name: str, body: bytes) -> int:
    """Send a form with a file as a browser does; the status of the answer."""
    line = "a-boundary"
    parts = [f'"{field}"\r\n\r\n{value}'.encode() for field, value in form["fields"].items()]
    parts.append(f'"file"; filename="{name}"\r\nContent-Type: text/plain\r\n\r\n'.encode() + body)
    sent = b"".join(f"--{line}\r\nContent-Disposition: form-data; name=".encode() + part + b"\r\n" for part in parts)
    headers = {"Content-Type": f"multipart/form-data; boundary={line}"}
    request = urllib.request.Request(form["url"], sent + f"--{line}--\r\n".encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def code(caught: pytest.ExceptionInfo[ClientError]) -> str:
    return str(caught.value.response["Error"]["Code"])


def test_buckets_come_and_go(s3: Any, bucket: str) -> None:
    assert bucket in [found["Name"] for found in s3.list_buckets()["Buckets"]]
    s3.create_bucket(Bucket="boto3-short-lived")
    s3.put_object(Bucket="boto3-short-lived", Key="k")
    with pytest.raises(ClientError) as caught:
        s3.delete_bucket(Bucket="boto3-short-lived")
    assert code(caught) == "BucketNotEmpty"
    s3.delete_object(Bucket="boto3-short-lived", Key="k")
    s3.delete_bucket(Bucket="boto3-short-lived")
    with pytest.raises(ClientError) as caught:
        s3.head_bucket(Bucket="boto3-short-lived")
    assert code(caught) == "404"
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None


@pytest.mark.parametrize("size", [0, 3, 7_000_000])
def test_an_object_comes_back_whole(s3: Any, bucket: str, size: int) -> None:
    body = noise(size)
    stored = s3.put_object(Bucket=bucket, Key=f"size/{size}", Body=body, Metadata={"Colour": "green"})
    assert stored["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    back = s3.get_object(Bucket=bucket, Key=f"size/{size}")
    assert back["Body"].read() == body
    assert back["ContentLength"] == size
    # Amazon shows names in lower case, tabled as they were sent.
    assert {name.lower(): value for name, value in back["Metadata"].items()} == {"colour": "green"}
    assert back["ChecksumCRC32"] == stored["ChecksumCRC32"]
    assert s3.head_object(Bucket=bucket, Key=f"size/{size}")["ETag"] == stored["ETag"]


def test_a_large_file_goes_up_in_parts(s3: Any, bucket: str) -> None:
    body = noise(30_000_000)
    s3.upload_fileobj(io.BytesIO(body), bucket, "managed")
    assert s3.head_object(Bucket=bucket, Key="managed")["ETag"].endswith('-4"')
    back = io.BytesIO()
    s3.download_fileobj(bucket, "managed", back)
    assert back.getvalue() == body
    s3.copy({"Bucket": bucket, "Key": "managed"}, bucket, "managed copy")
    assert s3.get_object(Bucket=bucket, Key="managed copy")["Body"].read() == body
    assert s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_parts_by_hand(s3: Any, bucket: str) -> None:
    pieces = [noise(5 << 20, 1), noise(5 << 20, 2), noise(100, 3)]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts", ContentType="text/x-parts")["UploadId"]
    where = {"Bucket": bucket, "Key": "parts", "UploadId": upload}
    etags = {n: s3.upload_part(**where, PartNumber=n, Body=pieces[n - 1])["ETag"] for n in (3, 1, 2)}
    assert [part["PartNumber"] for part in s3.list_parts(**where)["Parts"]] == [1, 2, 3]
    assert [found["UploadId"] for found in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [upload]
    parts = [{"PartNumber": n, "ETag": etags[n]} for n in (1, 2, 3)]
    for wrong, expected in (
        (parts[::-1], "InvalidPartOrder"),
        ([*parts, {**parts[0], "PartNumber": 4}], "InvalidPart"),
    ):
        with pytest.raises(ClientError) as caught:
            s3.complete_multipart_upload(**where, MultipartUpload={"Parts": wrong})
        assert code(caught) == expected
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    whole = s3.get_object(Bucket=bucket, Key="parts")
    assert whole["Body"].read() == b"".join(pieces)
    assert whole["ContentType"] == "text/x-parts"
    digests = b"".join(hashlib.md5(piece).digest() for piece in pieces)
    assert whole["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-3"'
    second = s3.get_object(Bucket=bucket, Key="parts", PartNumber=2)
    assert (second["Body"].read(), second["PartsCount"]) == (pieces[1], 3)
    with pytest.raises(ClientError) as caught:
        s3.abort_multipart_upload(**where)
    assert code(caught) == "NoSuchUpload"


@pytest.mark.parametrize("operation", ["list_objects_v2", "list_objects"])
def test_thousands_are_listed(s3: Any, thousands: str, operation: str) -> None:
    paginator = s3.get_paginator(operation)
    pages = list(paginator.paginate(Bucket=thousands))
    assert len(pages) == 3
    found = [item for page in pages for item in page["Contents"]]
    expected = sorted([*THOUSANDS, *ODD, LONGEST], key=str.encode)
    assert [item["Key"] for item in found] == expected
    assert [item["Size"] for item in found] == [len(body_of(key)) for key in expected]
    assert found[-1]["ETag"] == f'"{hashlib.md5(body_of(expected[-1])).hexdigest()}"'
    pages = list(
        paginator.paginate(Bucket=thousands, Prefix="many/", Delimiter="/", PaginationConfig={"PageSize": 3})
    )
    folders = [[folder["Prefix"] for folder in page["CommonPrefixes"]] for page in pages]
    assert [len(page) for page in folders] == [3, 3, 3, 1]
    assert [name for page in folders for name in page] == [f"many/{digit}/" for digit in range(10)]


def test_versions_are_listed_by_tools_that_empty_buckets(s3: Any, thousands: str) -> None:
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=thousands)
    found = [version for page in pages for version in page["Versions"]]
    assert {version["VersionId"] for version in found} == {"null"}
    assert len(found) == len(THOUSANDS) + len(ODD) + 1


@pytest.mark.parametrize("key", [*ODD, *FOR_LIBRARIES, "/leading", LONGEST])
def test_a_name_is_only_itself(s3: Any, bucket: str, key: str) -> None:
    body = b"body of " + key.encode()
    s3.put_object(Bucket=bucket, Key=key, Body=body)
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == body
    assert s3.list_objects_v2(Bucket=bucket, Prefix=key)["Contents"][0]["Key"] == key
    s3.copy_object(Bucket=bucket, Key="copy of odd", CopySource={"Bucket": bucket, "Key": key})
    assert s3.get_object(Bucket=bucket, Key="copy of odd")["Body"].read() == body


def test_copy(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="source", Body=b"copied", Metadata={"a": "b"}, ContentType="text/x-a")
    source = {"Bucket": bucket, "Key": "source"}
    etag = s3.copy_object(Bucket=bucket, Key="target", CopySource=source)["CopyObjectResult"]["ETag"]
    target = s3.head_object(Bucket=bucket, Key="target")
    assert (target["ETag"], target["Metadata"], target["ContentType"]) == (etag, {"a": "b"}, "text/x-a")
    replace = {"MetadataDirective": "REPLACE", "Metadata": {"c": "d"}}
    s3.copy_object(Bucket=bucket, Key="source", CopySource=source, **replace)
    assert s3.head_object(Bucket=bucket, Key="source")["Metadata"] == {"c": "d"}
    for options, expected in (({}, "InvalidRequest"), ({"CopySourceIfMatch": '"x"'}, "PreconditionFailed")):
        with pytest.raises(ClientError) as caught:
            s3.copy_object(Bucket=bucket, Key="source", CopySource=source, **options)
        assert code(caught) == expected


def test_ranges(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="digits", Body=b"0123456789")
    for asked, expected in (("3-5", b"345"), ("-2", b"89"), ("7-", b"789"), ("8-100", b"89")):
        answer = s3.get_object(Bucket=bucket, Key="digits", Range=f"bytes={asked}")
        assert (answer["Body"].read(), answer["ResponseMetadata"]["HTTPStatusCode"]) == (expected, 206)
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket=bucket, Key="digits", Range="bytes=10-")
    assert code(caught) == "InvalidRange"


def test_conditions(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="conditional", Body=b"1")["ETag"]
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket=bucket, Key="conditional", IfNoneMatch=etag)
    assert code(caught) == "304"
    assert s3.get_object(Bucket=bucket, Key="conditional", IfMatch=etag)["Body"].read() == b"1"
    for condition in ({"IfNoneMatch": "*"}, {"IfMatch": '"another"'}):
        with pytest.raises(ClientError) as caught:
            s3.put_object(Bucket=bucket, Key="conditional", Body=b"2", **condition)
        assert code(caught) == "PreconditionFailed"
    s3.put_object(Bucket=bucket, Key="conditional", Body=b"2", IfMatch=etag)
    assert s3.get_object(Bucket=bucket, Key="conditional")["Body"].read() == b"2"


@pytest.mark.parametrize("signature", [None, "s3v4", "s3"])
def test_presigned_urls(s3: Any, bucket: str, endpoint: Endpoint, signature: str | None) -> None:
    signer = connect(endpoint, config=Config(signature_version=signature)) if signature else s3
    s3.put_object(Bucket=bucket, Key=PRESIGNED, Body=b"only this", ContentType="text/x-a")
    where = {"Bucket": bucket, "Key": PRESIGNED}
    url = signer.generate_presigned_url("get_object", where, ExpiresIn=60)
    assert fetch(url) == b"only this"
    assert refused(url.partition("?")[0]) == 403
    assert refused(signer.generate_presigned_url("get_object", where, ExpiresIn=-60)) in (400, 403)
    assert refused(signer.generate_presigned_url("delete_object", where)) == 403
    assert s3.head_object(**where)["ContentLength"] == 9


@pytest.mark.parametrize("signature", ["s3v4", "s3"])
def test_a_browser_uploads_with_a_form(s3: Any, bucket: str, endpoint: Endpoint, signature: str) -> None:
    signer = connect(endpoint, config=Config(signature_version=signature))
    conditions = [["content-length-range", 1, 10]]
    form = signer.generate_presigned_post(bucket, "form/${filename}", Conditions=conditions)
    assert post(form, "ä.txt", b"from a form") == 400
    assert post(form, "ä.txt", b"from form") == 204
    assert s3.get_object(Bucket=bucket, Key="form/ä.txt")["Body"].read() == b"from form"
    form["fields"]["key"] = "elsewhere"
    assert post(form, "ä.txt", b"from form") == 403


@pytest.mark.parametrize("algorithm", sorted(CHECKSUMS))
def test_checksums(s3: Any, bucket: str, algorithm: str) -> None:
    member = f"Checksum{algorithm}"
    expected = base64.b64encode(bytes.fromhex(CHECKSUMS[algorithm])).decode()
    s3.put_object(Bucket=bucket, Key="summed", Body=b"123456789", **{member: expected})
    assert s3.head_object(Bucket=bucket, Key="summed", ChecksumMode="ENABLED")[member] == expected
    assert s3.get_object(Bucket=bucket, Key="summed", ChecksumMode="ENABLED")[member] == expected
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=bucket, Key="summed", Body=b"another", **{member: expected})
    assert code(caught) == "BadDigest"


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_checksums_of_parts(s3: Any, bucket: str, algorithm: str) -> None:
    body = noise(6_000_000)
    parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    s3.upload_fileobj(io.BytesIO(body), bucket, "summed", ExtraArgs={"ChecksumAlgorithm": algorithm}, Config=parts)
    assert f"Checksum{algorithm}" in s3.head_object(Bucket=bucket, Key="summed", ChecksumMode="ENABLED")
    assert s3.get_object(Bucket=bucket, Key="summed", ChecksumMode="ENABLED")["Body"].read() == body


def test_what_is_deleted_is_gone(s3: Any, bucket: str, endpoint: Endpoint) -> None:
    keys = [f"doomed/{number}" for number in range(20)]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key)
    doomed = [{"Key": key} for key in (*keys, "doomed/never there")]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": doomed})
    assert [found["Key"] for found in answer["Deleted"]] == [found["Key"] for found in doomed]
    with endpoint.hstor() as other:
        assert read_bucket(other, bucket, "doomed/") == {}
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket=bucket, Key=keys[0])
    assert code(caught) == "NoSuchKey"
    assert s3.delete_object(Bucket=bucket, Key=keys[0])["ResponseMetadata"]["HTTPStatusCode"] == 204
