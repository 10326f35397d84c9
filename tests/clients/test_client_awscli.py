"""The aws-cli against tabled. Its settings are the variables that `hailbox env` prints, and no others."""

import json

import pytest
from filetree import fetch, read_bucket, read_tree, refused, write_tree
from hstor import Hstor
from oddnames import LONGEST, ODD, PRESIGNED, THOUSANDS, noise
from program import Client, program
from s3endpoint import Endpoint

BUCKET = "of-aws-cli"


@pytest.fixture(scope="module")
def aws(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return Client([program("aws")], tmp_path_factory.mktemp("aws-cli"), endpoint.variables)


@pytest.fixture(scope="module")
def bucket(aws: Client) -> str:
    assert aws.run("s3", "mb", f"s3://{BUCKET}") == f"make_bucket: {BUCKET}\n"
    return BUCKET


def test_buckets_come_and_go(aws: Client, bucket: str) -> None:
    aws.run("s3", "mb", "s3://aws-cli-short-lived")
    listed = [line.split()[-1] for line in aws.run("s3", "ls").splitlines()]
    assert {bucket, "aws-cli-short-lived"} <= set(listed)
    aws.run("s3", "cp", "-", "s3://aws-cli-short-lived/k", stdin=b"x")
    assert "BucketNotEmpty" in aws.fail("s3", "rb", "s3://aws-cli-short-lived")
    aws.run("s3", "rb", "--force", "s3://aws-cli-short-lived")
    assert "aws-cli-short-lived" not in aws.run("s3", "ls")


@pytest.mark.parametrize(("size", "parts"), [(3, 0), (7_000_000, 0), (20_000_000, 3)])
def test_an_object_comes_back_whole(aws: Client, bucket: str, other: Hstor, size: int, parts: int) -> None:
    body = noise(size)
    (aws.home / "up").write_bytes(body)
    aws.run("s3", "cp", "up", f"s3://{bucket}/size/{size}")
    stored = other.request("GET", bucket, f"size/{size}")
    assert stored.body == body
    assert stored.headers["etag"].endswith(f'-{parts}"') is bool(parts)
    aws.run("s3", "cp", f"s3://{bucket}/size/{size}", "down")
    assert (aws.home / "down").read_bytes() == body


def test_a_stream_of_unknown_length(aws: Client, bucket: str) -> None:
    body = noise(9_000_000)
    aws.run("s3", "cp", "-", f"s3://{bucket}/stream", stdin=body)
    assert aws.read("s3", "cp", f"s3://{bucket}/stream", "-") == body


def test_thousands_are_listed(aws: Client, thousands: str) -> None:
    everything = [*THOUSANDS, *ODD, LONGEST]
    listed = [line[31:] for line in aws.run("s3", "ls", "--recursive", f"s3://{thousands}").splitlines()]
    assert listed == sorted(everything, key=str.encode)
    folders = [line.strip() for line in aws.run("s3", "ls", f"s3://{thousands}/many/").splitlines()]
    assert folders == [f"PRE {digit}/" for digit in range(10)]
    found = aws.run("s3api", "list-objects", "--bucket", thousands, "--prefix", "percent", "--output", "json")
    assert [item["Key"] for item in json.loads(found)["Contents"]] == ["percent%2Fencoded", "percent/encoded"]


def test_sync_both_ways(aws: Client, other: Hstor) -> None:
    aws.run("s3", "mb", "s3://aws-cli-sync")
    tree = write_tree(aws.home / "tree")
    aws.run("s3", "sync", "tree", "s3://aws-cli-sync")
    assert read_bucket(other, "aws-cli-sync") == tree
    assert aws.run("s3", "sync", "tree", "s3://aws-cli-sync") == ""
    (aws.home / "tree" / "one+two").unlink()
    del tree["one+two"]
    assert aws.run("s3", "sync", "--delete", "tree", "s3://aws-cli-sync") == "delete: s3://aws-cli-sync/one+two\n"
    aws.run("s3", "sync", "s3://aws-cli-sync", "back")
    assert read_tree(aws.home / "back") == tree
    assert aws.run("s3", "sync", "s3://aws-cli-sync", "back") == ""
    aws.run("s3", "rm", "--recursive", "s3://aws-cli-sync")
    assert read_bucket(other, "aws-cli-sync") == {}


@pytest.mark.parametrize("key", ["a//b", "trailing/", "/leading"])
def test_names_that_no_file_has(aws: Client, bucket: str, other: Hstor, key: str) -> None:
    (aws.home / "body").write_bytes(b"odd")
    aws.run("s3api", "put-object", "--bucket", bucket, "--key", key, "--body", "body")
    assert other.request("GET", bucket, key).body == b"odd"
    aws.run("s3api", "get-object", "--bucket", bucket, "--key", key, "odd-back")
    assert (aws.home / "odd-back").read_bytes() == b"odd"
    aws.run("s3api", "delete-object", "--bucket", bucket, "--key", key)
    assert list(other.keys(bucket, prefix=key)) == []


def test_copy_and_move(aws: Client, bucket: str, other: Hstor) -> None:
    body = noise(20_000_000, 1)
    (aws.home / "big").write_bytes(body)
    (aws.home / "small").write_bytes(b"small")
    aws.run("s3", "cp", "big", f"s3://{bucket}/big ä")
    aws.run("s3", "cp", "small", f"s3://{bucket}/small ä", "--metadata", "colour=green")
    aws.run("s3", "cp", f"s3://{bucket}/big ä", f"s3://{bucket}/copied")
    copied = other.request("GET", bucket, "copied")
    assert copied.body == body
    assert copied.headers["etag"].endswith('-3"')  # a copy of parts
    aws.run("s3", "mv", f"s3://{bucket}/small ä", f"s3://{bucket}/moved+")
    moved = other.request("GET", bucket, "moved+")
    assert (moved.body, moved.headers["x-amz-meta-colour"]) == (b"small", "green")
    assert "small ä" not in other.keys(bucket)


def test_range(aws: Client, bucket: str) -> None:
    aws.run("s3", "cp", "-", f"s3://{bucket}/digits", stdin=b"0123456789")
    words = ["--bucket", bucket, "--key", "digits", "--range", "bytes=3-5", "--output", "json", "part"]
    answer = json.loads(aws.run("s3api", "get-object", *words))
    assert answer["ContentRange"] == "bytes 3-5/10"
    assert (aws.home / "part").read_bytes() == b"345"


def test_presign(aws: Client, bucket: str, endpoint: Endpoint) -> None:
    aws.run("s3", "cp", "-", f"s3://{bucket}/{PRESIGNED}", stdin=b"only this")
    url = aws.run("s3", "presign", f"s3://{bucket}/{PRESIGNED}").strip()
    assert fetch(url) == b"only this"
    assert refused(url.partition("?")[0]) == 403
    assert refused(url.replace("of-aws-cli", "thousands")) == 403


def test_what_is_deleted_is_gone(aws: Client, bucket: str, other: Hstor) -> None:
    aws.run("s3", "cp", "-", f"s3://{bucket}/gone", stdin=b"x")
    aws.run("s3", "rm", f"s3://{bucket}/gone")
    assert "(404)" in aws.fail("s3", "cp", f"s3://{bucket}/gone", "nothing")
    aws.run("s3", "rb", "--force", f"s3://{bucket}")
    assert other.request("GET", bucket).status == 404
