"""Encryption with real daemons: what clients see, and what lies on the storage nodes."""

import base64
import contextlib
import hashlib
import io
import os
import sqlite3
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from botocore.exceptions import ClientError

from support.tabledstack import Stack, bucket_of, serving

MARK = b"This must never be seen on a node. "
SMALL, LARGE = MARK * 9, MARK * 20_000
PART = 5 << 20
KEY, OTHER = os.urandom(32), os.urandom(32)
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "own": {"ServerSideEncryption": "AES256"},
    "kms": {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "test-key"},
    "customer": {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY},
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with serving(tmp_path_factory.mktemp("sse"), nodes=2) as running:
        yield running


@pytest.fixture
def s3(stack: Stack) -> Any:
    return stack.client()


@pytest.fixture
def bucket(s3: Any, request: pytest.FixtureRequest) -> str:
    return bucket_of(s3, request)


def key_for(kind: str, name: str = "SSECustomer") -> dict[str, Any]:
    return {f"{name}Algorithm": "AES256", f"{name}Key": KEY} if kind == "customer" else {}


def code(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def status(call: Any, **arguments: Any) -> int:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return int(caught.value.response["ResponseMetadata"]["HTTPStatusCode"])


def on_nodes(stack: Stack) -> bytes:
    """Everything that is in the nodes' directories."""
    return b"".join(
        path.read_bytes() for n in (1, 2) for path in (stack.directory / f"chunk{n}").rglob("*") if path.is_file()
    )


@pytest.mark.parametrize("kind", ["own", "kms", "customer"])
def test_nodes_never_see_what_is_encrypted(stack: Stack, s3: Any, bucket: str, kind: str) -> None:
    secret = hashlib.sha256(kind.encode()).hexdigest().encode()
    for name, content in (("small", secret * 9), ("large", secret * 20_000), ("empty", b"")):
        s3.put_object(Bucket=bucket, Key=name, Body=content, **KINDS[kind])
        assert s3.get_object(Bucket=bucket, Key=name, **key_for(kind))["Body"].read() == content
    assert secret not in on_nodes(stack)
    s3.put_object(Bucket=bucket, Key="plain", Body=secret * 9)
    assert secret in on_nodes(stack)  # the search would find it


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_client_sees_is_the_plain_object(s3: Any, bucket: str, kind: str) -> None:
    for content in (SMALL, LARGE):
        put = s3.put_object(Bucket=bucket, Key="k", Body=content, **KINDS[kind])
        head = s3.head_object(Bucket=bucket, Key="k", **key_for(kind))
        for answer in (put, head, s3.get_object(Bucket=bucket, Key="k", **key_for(kind))):
            assert answer.get("ServerSideEncryption") == KINDS[kind].get("ServerSideEncryption")
            assert answer.get("SSEKMSKeyId") == KINDS[kind].get("SSEKMSKeyId")
            digest = base64.b64encode(hashlib.md5(KEY).digest()).decode() if kind == "customer" else None
            assert answer.get("SSECustomerKeyMD5") == digest
        assert put["ETag"] == f'"{hashlib.md5(content).hexdigest()}"'
        assert head["ContentLength"] == len(content) == s3.list_objects_v2(Bucket=bucket)["Contents"][0]["Size"]
        for first, last in (
            (0, 0),
            (5, 99),
            (65_530, 65_545),
            (131_071, 200_000),
            (len(content) - 7, len(content) - 1),
        ):
            if last < len(content):
                got = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={first}-{last}", **key_for(kind))
                assert got["Body"].read() == content[first : last + 1]


@pytest.mark.parametrize(("source", "target"), list(product(KINDS, KINDS)))
def test_copies_between_all_kinds(stack: Stack, s3: Any, bucket: str, source: str, target: str) -> None:
    for name, content in (("small", SMALL), ("large", LARGE), ("empty", b"")):
        s3.put_object(Bucket=bucket, Key=name, Body=content, **KINDS[source])
        copy = {"CopySource": f"{bucket}/{name}", **key_for(source, "CopySourceSSECustomer")}
        answer = s3.copy_object(Bucket=bucket, Key=f"{name}-copy", **copy, **KINDS[target])
        assert answer.get("ServerSideEncryption") == KINDS[target].get("ServerSideEncryption")
        s3.delete_object(Bucket=bucket, Key=name)
        assert s3.get_object(Bucket=bucket, Key=f"{name}-copy", **key_for(target))["Body"].read() == content


@pytest.mark.parametrize(("source", "target"), list(product(KINDS, KINDS)))
def test_parts_of_all_kinds(s3: Any, bucket: str, source: str, target: str) -> None:
    first, last = os.urandom(PART), os.urandom(77_777)
    s3.put_object(Bucket=bucket, Key="source", Body=first + last, **KINDS[source])
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", **KINDS[target])
    assert upload.get("ServerSideEncryption") == KINDS[target].get("ServerSideEncryption")
    names = {"Bucket": bucket, "Key": "k", "UploadId": upload["UploadId"]}
    one = s3.upload_part(**names, PartNumber=1, Body=first, **key_for(target))
    two = s3.upload_part_copy(
        **names,
        PartNumber=2,
        CopySource=f"{bucket}/source",
        CopySourceRange=f"bytes={PART}-{PART + len(last) - 1}",
        **key_for(source, "CopySourceSSECustomer"),
        **key_for(target),
    )
    tags = (one["ETag"], two["CopyPartResult"]["ETag"])
    assert tags[1].strip('"') == hashlib.md5(last).hexdigest()
    parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
    done = s3.complete_multipart_upload(**names, MultipartUpload={"Parts": parts})
    assert done.get("ServerSideEncryption") == KINDS[target].get("ServerSideEncryption")
    assert s3.get_object(Bucket=bucket, Key="k", **key_for(target))["Body"].read() == first + last
    across = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={PART - 9}-{PART + 9}", **key_for(target))
    assert across["Body"].read() == (first + last)[PART - 9 : PART + 10]
    second = s3.get_object(Bucket=bucket, Key="k", PartNumber=2, **key_for(target))
    assert second["Body"].read() == last


def test_a_customers_key_is_needed_and_no_other_does(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=SMALL, **KINDS["customer"])
    s3.put_object(Bucket=bucket, Key="plain", Body=SMALL)
    wrong = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": OTHER}
    named = {"Bucket": bucket, "Key": "k"}
    assert code(s3.get_object, **named) == "InvalidRequest"
    assert code(s3.get_object, **named, **wrong) == "InvalidRequest"
    assert status(s3.head_object, **named) == 400
    assert status(s3.head_object, **named, **wrong) == 400
    assert code(s3.get_object, Bucket=bucket, Key="plain", **wrong) == "InvalidRequest"
    assert code(s3.get_object_attributes, **named, ObjectAttributes=["ETag"]) == "InvalidRequest"
    assert code(s3.copy_object, Bucket=bucket, Key="c", CopySource=f"{bucket}/k") == "InvalidRequest"
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m", **KINDS["customer"])["UploadId"]
    part = {"Bucket": bucket, "Key": "m", "UploadId": upload, "PartNumber": 1, "Body": b"x"}
    assert code(s3.upload_part, **part) == "InvalidRequest"
    assert code(s3.upload_part, **part, **wrong) == "InvalidRequest"
    plain = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    assert code(s3.upload_part, **{**part, "UploadId": plain}, **wrong) == "InvalidRequest"


def test_the_buckets_default(s3: Any, bucket: str) -> None:
    def put_default(**default: Any) -> None:
        rule = {
            "ApplyServerSideEncryptionByDefault": default,
            "BucketKeyEnabled": default["SSEAlgorithm"] != "AES256",
        }
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})

    put_default(SSEAlgorithm="AES256")
    (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule == {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}
    assert s3.put_object(Bucket=bucket, Key="k", Body=SMALL)["ServerSideEncryption"] == "AES256"
    put_default(SSEAlgorithm="aws:kms", KMSMasterKeyID="mine")
    answer = s3.put_object(Bucket=bucket, Key="k", Body=SMALL)
    assert (answer["ServerSideEncryption"], answer["SSEKMSKeyId"], answer["BucketKeyEnabled"]) == (
        "aws:kms",
        "mine",
        True,
    )
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == SMALL
    put_default(SSEAlgorithm="aws:kms")
    assert s3.put_object(Bucket=bucket, Key="k", Body=SMALL)["SSEKMSKeyId"].endswith("alias/aws/s3")
    assert "ServerSideEncryption" not in s3.put_object(Bucket=bucket, Key="k", Body=SMALL, **KINDS["customer"])
    s3.delete_bucket_encryption(Bucket=bucket)
    assert "ServerSideEncryption" not in s3.put_object(Bucket=bucket, Key="k", Body=SMALL)
    wrong = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256", "KMSMasterKeyID": "x"}}]}
    assert code(s3.put_bucket_encryption, Bucket=bucket, ServerSideEncryptionConfiguration=wrong) == "InvalidArgument"


def test_a_copy_onto_itself_may_change_the_encryption(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=LARGE)
    itself = {"Bucket": bucket, "Key": "k", "CopySource": f"{bucket}/k"}
    assert code(s3.copy_object, **itself) == "InvalidRequest"
    before = "plain"
    for kind in ("own", "kms", "customer", "own"):
        s3.copy_object(**itself, **KINDS[kind], **key_for(before, "CopySourceSSECustomer"))
        assert s3.get_object(Bucket=bucket, Key="k", **key_for(kind))["Body"].read() == LARGE
        before = kind


def test_nothing_lasts_of_a_body_whose_promise_was_broken(s3: Any, bucket: str) -> None:
    wrong = base64.b64encode(bytes(16)).decode()
    for content in (SMALL, LARGE):
        assert (
            code(s3.put_object, Bucket=bucket, Key="k", Body=content, ContentMD5=wrong, **KINDS["own"]) == "BadDigest"
        )
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_it_lasts_over_a_restart_and_the_root_key_is_needed(stack: Stack, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=LARGE, **KINDS["kms"])
    stack.tabled.stop()
    root = stack.directory / "tdb" / "rootkey"
    kept = root.read_bytes()
    root.write_bytes(b"another\n")
    stack.revive()
    s3 = stack.client()
    assert status(s3.get_object, Bucket=bucket, Key="k") == 500
    stack.tabled.stop()
    root.write_bytes(kept)
    stack.revive()
    assert stack.client().get_object(Bucket=bucket, Key="k")["Body"].read() == LARGE


def test_the_database_holds_no_key_in_the_clear(stack: Stack, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=SMALL, **KINDS["customer"])
    content = b"".join(path.read_bytes() for path in (stack.directory / "tdb").iterdir() if path.is_file())
    assert KEY not in content
    assert base64.b64encode(KEY) not in content


def test_uploads_of_streams(s3: Any, bucket: str) -> None:
    content = os.urandom(12 << 20)
    s3.upload_fileobj(io.BytesIO(content), bucket, "k", ExtraArgs=KINDS["kms"])
    got = io.BytesIO()
    s3.download_fileobj(bucket, "k", got)
    assert got.getvalue() == content


def test_rotation_of_the_master_key(stack: Stack, s3: Any, bucket: str) -> None:
    from haild.tabled import tdbadm

    for kind in KINDS:
        s3.put_object(Bucket=bucket, Key=kind, Body=LARGE, **KINDS[kind])
    database = next(path for path in (stack.directory / "tdb").iterdir() if path.name == "passwd")

    def wrapped() -> dict[str, str]:
        with contextlib.closing(sqlite3.connect(database)) as connection:
            return dict(
                connection.execute("SELECT body, cipher FROM bodies WHERE cipher NOT LIKE 'c:%' AND cipher != ''")
            )

    before = wrapped()
    assert tdbadm.main(["-C", str(stack.directory / "one.conf"), "--rotate-keys"]) == 0
    after = wrapped()
    assert after.keys() == before.keys()
    assert all(after[body] != before[body] for body in after)
    newest = {text.partition("/")[0] for text in after.values()}
    assert len(newest) == 1
    assert newest.isdisjoint({text.partition("/")[0] for text in before.values()})
    for kind in KINDS:
        assert s3.get_object(Bucket=bucket, Key=kind, **key_for(kind))["Body"].read() == LARGE
    s3.put_object(Bucket=bucket, Key="new", Body=SMALL, **KINDS["own"])
    assert {text.partition("/")[0] for text in wrapped().values()} == newest
    assert s3.get_object(Bucket=bucket, Key="new")["Body"].read() == SMALL
