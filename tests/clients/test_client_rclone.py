"""rclone against tabled, with the settings of its manual for providers that it does not know."""

import json

import pytest
from filetree import fetch, read_bucket, read_tree, refused, write_tree
from hstor import Hstor
from oddnames import AS_FILES, DECOMPOSED, LONGEST, ODD, PRESIGNED, THOUSANDS, noise
from program import Client, program
from s3endpoint import Endpoint

BUCKET = "of-rclone"
SETTINGS = """[hail]
type = s3
provider = Other
env_auth = false
access_key_id = {key}
secret_access_key = {secret}
endpoint = {url}
"""


@pytest.fixture(scope="module")
def rclone(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Client:
    home = tmp_path_factory.mktemp("rclone")
    settings = home / ".config" / "rclone" / "rclone.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text(SETTINGS.format(key=endpoint.key, secret=endpoint.secret, url=endpoint.url))
    return Client([program("rclone")], home)


@pytest.fixture(scope="module")
def bucket(rclone: Client) -> str:
    rclone.run("mkdir", f"hail:{BUCKET}")
    return BUCKET


def test_buckets_come_and_go(rclone: Client, bucket: str) -> None:
    rclone.run("mkdir", "hail:rclone-short-lived")
    listed = [line.split()[-1] for line in rclone.run("lsd", "hail:").splitlines()]
    assert {bucket, "rclone-short-lived"} <= set(listed)
    rclone.run("rcat", "hail:rclone-short-lived/k", stdin=b"x")
    assert "BucketNotEmpty" in rclone.fail("rmdir", "hail:rclone-short-lived")
    rclone.run("purge", "hail:rclone-short-lived")
    assert "rclone-short-lived" not in rclone.run("lsd", "hail:")


@pytest.mark.parametrize("size", [0, 3, 7_000_000])
def test_a_file_comes_back_whole(rclone: Client, bucket: str, other: Hstor, size: int) -> None:
    body = noise(size)
    (rclone.home / "up").write_bytes(body)
    rclone.run("copyto", "up", f"hail:{bucket}/size/{size}")
    assert other.request("GET", bucket, f"size/{size}").body == body
    rclone.run("copyto", f"hail:{bucket}/size/{size}", "down")
    assert (rclone.home / "down").read_bytes() == body
    assert (rclone.home / "down").stat().st_mtime_ns == (rclone.home / "up").stat().st_mtime_ns


def test_a_large_file_goes_up_in_parts(rclone: Client, bucket: str, other: Hstor) -> None:
    """From 200 MiB on, in parts of 5 MiB, four at a time."""
    size = (200 << 20) + 3
    block = noise(1 << 20)
    with (rclone.home / "large").open("wb") as file:
        for number in range(200):
            file.write(bytes([number]) + block[1:])
        file.write(b"end")
    rclone.run("copyto", "large", f"hail:{bucket}/large")
    head = other.request("HEAD", bucket, "large").headers
    assert (int(head["content-length"]), head["etag"][-4:]) == (size, '-41"')
    rclone.run("check", "--download", "--one-way", "--include", "/large", ".", f"hail:{bucket}")
    rclone.run("deletefile", f"hail:{bucket}/large")


def test_a_stream_of_unknown_length_goes_up_in_parts(rclone: Client, bucket: str, other: Hstor) -> None:
    body = noise(12_000_000, 1)
    rclone.run("rcat", f"hail:{bucket}/stream", stdin=body)
    stored = other.request("GET", bucket, "stream")
    assert stored.body == body
    assert stored.headers["etag"].endswith('-3"')
    assert rclone.read("cat", f"hail:{bucket}/stream") == body


def test_thousands_are_listed(rclone: Client, thousands: str) -> None:
    # rclone shows a marker of a directory as the directory.
    files = sorted(key for key in (*THOUSANDS, *ODD, LONGEST) if not key.endswith("/"))
    listed = rclone.run("lsf", "--recursive", "--files-only", "--fast-list", f"hail:{thousands}").splitlines()
    assert sorted(name for name in listed if not name.endswith("/")) == files
    assert rclone.run("lsf", f"hail:{thousands}/many").splitlines() == [f"{digit}/" for digit in range(10)]
    assert len(rclone.run("lsf", f"hail:{thousands}/many/3").splitlines()) == len(THOUSANDS) / 10
    assert json.loads(rclone.run("size", "--json", f"hail:{thousands}/many"))["count"] == len(THOUSANDS)


def test_sync_both_ways(rclone: Client, other: Hstor) -> None:
    # rclone takes the two ways to write an ä for one name, on its side.
    tree = write_tree(rclone.home / "tree", [key for key in (*AS_FILES, LONGEST) if key != DECOMPOSED])
    rclone.run("sync", "tree", "hail:rclone-sync")
    assert read_bucket(other, "rclone-sync") == tree
    rclone.run("check", "tree", "hail:rclone-sync")
    (rclone.home / "tree" / "one+two").unlink()
    del tree["one+two"]
    (rclone.home / "tree" / "one two").touch()
    done = rclone.start("sync", "--verbose", "tree", "hail:rclone-sync")
    assert b"one+two: Deleted" in done.stderr
    assert b"one two: Updated modification time in destination" in done.stderr
    assert b"There was nothing to transfer" in done.stderr
    rclone.run("sync", "hail:rclone-sync", "back")
    assert read_tree(rclone.home / "back") == tree
    rclone.run("delete", "hail:rclone-sync")
    assert read_bucket(other, "rclone-sync") == {}


def test_copy_and_move_stay_on_the_server(rclone: Client, bucket: str, other: Hstor) -> None:
    body = noise(1_000_000, 2)
    rclone.run("rcat", f"hail:{bucket}/source ä", stdin=body)
    done = rclone.start("copyto", "--verbose", f"hail:{bucket}/source ä", f"hail:{bucket}/copied")
    assert b"Copied (server-side copy)" in done.stderr
    assert other.request("GET", bucket, "copied").body == body
    rclone.run("moveto", f"hail:{bucket}/copied", f"hail:{bucket}/moved+")
    assert other.request("GET", bucket, "moved+").body == body
    assert "copied" not in other.keys(bucket)


def test_range(rclone: Client, bucket: str) -> None:
    rclone.run("rcat", f"hail:{bucket}/digits", stdin=b"0123456789")
    assert rclone.read("cat", "--offset", "3", "--count", "3", f"hail:{bucket}/digits") == b"345"
    assert rclone.read("cat", "--tail", "2", f"hail:{bucket}/digits") == b"89"


def test_presign(rclone: Client, bucket: str) -> None:
    rclone.run("rcat", f"hail:{bucket}/{PRESIGNED}", stdin=b"only this")
    url = rclone.run("link", "--expire", "60s", f"hail:{bucket}/{PRESIGNED}").strip()
    assert fetch(url) == b"only this"
    assert refused(url.partition("?")[0]) == 403
    assert refused(url.replace("X-Amz-Expires=60", "X-Amz-Expires=61")) == 403


def test_what_is_deleted_is_gone(rclone: Client, bucket: str, other: Hstor) -> None:
    rclone.run("rcat", f"hail:{bucket}/gone", stdin=b"x")
    rclone.run("deletefile", f"hail:{bucket}/gone")
    assert json.loads(rclone.run("size", "--json", f"hail:{bucket}/gone")) == {"count": 0, "bytes": 0, "sizeless": 0}
    rclone.run("purge", f"hail:{bucket}")
    assert other.request("GET", bucket).status == 404
