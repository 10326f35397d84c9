"""s3cmd against tabled, with the settings of its manual for other hosts: host_base, host_bucket, use_https."""

import re

import pytest
from filetree import fetch, read_bucket, read_tree, refused, write_tree
from hstor import Hstor
from oddnames import LONGEST, ODD, PRESIGNED, THOUSANDS, noise
from program import Client, program
from s3endpoint import Endpoint

BUCKET = "of-s3cmd"
SETTINGS = """[default]
access_key = {key}
secret_key = {secret}
host_base = {address}
host_bucket = {address}
use_https = False
"""


@pytest.fixture(scope="module")
def s3cmd(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Client:
    home = tmp_path_factory.mktemp("s3cmd")
    settings = SETTINGS.format(key=endpoint.key, secret=endpoint.secret, address=endpoint.address)
    (home / ".s3cfg").write_text(settings)
    return Client([program("s3cmd")], home)


@pytest.fixture(scope="module")
def bucket(s3cmd: Client) -> str:
    assert s3cmd.run("mb", f"s3://{BUCKET}") == f"Bucket 's3://{BUCKET}/' created\n"
    return BUCKET


def names(listing: str) -> list[str]:
    """The keys and prefixes in a listing."""
    return re.findall(r"^.*?(?:DIR|\d)  s3://[^/]+/(.*)$", listing, re.MULTILINE)


def test_buckets_come_and_go(s3cmd: Client, bucket: str) -> None:
    s3cmd.run("mb", "s3://s3cmd-short-lived")
    listed = [line.split()[-1] for line in s3cmd.run("ls").splitlines()]
    assert {f"s3://{bucket}", "s3://s3cmd-short-lived"} <= set(listed)
    s3cmd.run("put", "-", "s3://s3cmd-short-lived/k", stdin=b"x")
    assert "BucketNotEmpty" in s3cmd.fail("rb", "s3://s3cmd-short-lived")
    s3cmd.run("rb", "--recursive", "--force", "s3://s3cmd-short-lived")
    assert "s3cmd-short-lived" not in s3cmd.run("ls")
    assert re.search(r"Location:\s+us-east-1\n", s3cmd.run("info", f"s3://{bucket}"))


@pytest.mark.parametrize(("size", "parts"), [(3, 0), (7_000_000, 0), (32_000_000, 3)])
def test_an_object_comes_back_whole(s3cmd: Client, bucket: str, other: Hstor, size: int, parts: int) -> None:
    body = noise(size)
    (s3cmd.home / "up").write_bytes(body)
    s3cmd.run("put", "up", f"s3://{bucket}/size/{size}")
    stored = other.request("GET", bucket, f"size/{size}")
    assert stored.body == body
    assert stored.headers["etag"].endswith(f'-{parts}"') is bool(parts)
    s3cmd.run("get", "--force", f"s3://{bucket}/size/{size}", "down")
    assert (s3cmd.home / "down").read_bytes() == body


def test_thousands_are_listed(s3cmd: Client, thousands: str) -> None:
    everything = [*THOUSANDS, *ODD, LONGEST]
    listed = names(s3cmd.run("ls", "--recursive", f"s3://{thousands}"))
    assert sorted(listed) == sorted(everything)
    assert names(s3cmd.run("ls", f"s3://{thousands}/many/")) == [f"many/{digit}/" for digit in range(10)]
    assert names(s3cmd.run("ls", f"s3://{thousands}/percent")) == ["percent/", "percent%2Fencoded"]


def test_sync_both_ways(s3cmd: Client, other: Hstor) -> None:
    s3cmd.run("mb", "s3://s3cmd-sync")
    tree = write_tree(s3cmd.home / "tree")
    s3cmd.run("sync", "tree/", "s3://s3cmd-sync")
    assert read_bucket(other, "s3cmd-sync") == tree
    assert "upload:" not in s3cmd.run("sync", "tree/", "s3://s3cmd-sync")
    (s3cmd.home / "tree" / "one+two").unlink()
    del tree["one+two"]
    s3cmd.run("sync", "--delete-removed", "tree/", "s3://s3cmd-sync")
    s3cmd.run("sync", "s3://s3cmd-sync/", "back/")
    assert read_tree(s3cmd.home / "back") == tree
    assert "download:" not in s3cmd.run("sync", "s3://s3cmd-sync/", "back/")
    s3cmd.run("del", "--recursive", "--force", "s3://s3cmd-sync")
    assert read_bucket(other, "s3cmd-sync") == {}


@pytest.mark.parametrize("key", ["a//b", "/leading"])
def test_names_that_no_file_has(s3cmd: Client, bucket: str, other: Hstor, key: str) -> None:
    s3cmd.run("put", "-", f"s3://{bucket}/{key}", stdin=b"odd")
    assert other.request("GET", bucket, key).body == b"odd"
    assert s3cmd.read("get", f"s3://{bucket}/{key}", "-") == b"odd"
    s3cmd.run("del", f"s3://{bucket}/{key}")
    assert list(other.keys(bucket, prefix=key)) == []


def test_copy_and_move(s3cmd: Client, bucket: str, other: Hstor) -> None:
    body = noise(1_000_000, 1)
    (s3cmd.home / "source").write_bytes(body)
    s3cmd.run("put", "--add-header=x-amz-meta-colour:green", "source", f"s3://{bucket}/source ä")
    s3cmd.run("cp", f"s3://{bucket}/source ä", f"s3://{bucket}/copied")
    copied = other.request("GET", bucket, "copied")
    assert copied.body == body
    assert copied.headers["x-amz-meta-colour"] == "green"
    s3cmd.run("mv", f"s3://{bucket}/copied", f"s3://{bucket}/moved+")
    assert other.request("GET", bucket, "moved+").body == body
    assert "copied" not in other.keys(bucket)


def test_a_download_goes_on_where_it_stopped(s3cmd: Client, bucket: str) -> None:
    """Its only use of ranges."""
    body = noise(2_000_000, 2)
    (s3cmd.home / "source").write_bytes(body)
    s3cmd.run("put", "source", f"s3://{bucket}/interrupted")
    (s3cmd.home / "half").write_bytes(body[:1_000_000])
    s3cmd.run("get", "--continue", f"s3://{bucket}/interrupted", "half")
    assert (s3cmd.home / "half").read_bytes() == body


def test_presign(s3cmd: Client, bucket: str) -> None:
    s3cmd.run("put", "-", f"s3://{bucket}/{PRESIGNED}", stdin=b"only this")
    url = s3cmd.run("signurl", f"s3://{bucket}/{PRESIGNED}", "+60").strip()
    assert fetch(url) == b"only this"
    assert refused(url.partition("?")[0]) == 403
    assert refused(s3cmd.run("signurl", f"s3://{bucket}/{PRESIGNED}", "1000000000").strip()) == 403


def test_acls_and_metadata(s3cmd: Client, bucket: str, endpoint: Endpoint) -> None:
    s3cmd.run("put", "-", f"s3://{bucket}/public", stdin=b"for all")
    url = f"{endpoint.url}/{bucket}/public"
    assert refused(url) == 403
    s3cmd.run("setacl", "--acl-public", f"s3://{bucket}/public")
    assert fetch(url) == b"for all"
    assert re.search(r"ACL:\s+\*anon\*: READ\n", s3cmd.run("info", f"s3://{bucket}/public"))
    s3cmd.run("setacl", "--acl-private", f"s3://{bucket}/public")
    assert refused(url) == 403
    s3cmd.run("modify", "--add-header=Cache-Control: max-age=60", f"s3://{bucket}/public")
    with endpoint.hstor() as hstor:
        assert hstor.request("GET", bucket, "public").headers["cache-control"] == "max-age=60"


def test_what_is_deleted_is_gone(s3cmd: Client, bucket: str, other: Hstor) -> None:
    s3cmd.run("put", "-", f"s3://{bucket}/gone", stdin=b"x")
    s3cmd.run("del", f"s3://{bucket}/gone")
    assert "does not exist" in s3cmd.fail("get", f"s3://{bucket}/gone", "nothing")
    s3cmd.run("rb", "--recursive", "--force", f"s3://{bucket}")
    assert other.request("GET", bucket).status == 404
