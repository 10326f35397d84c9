"""s3fs against tabled: a bucket as a file system, with the settings of its manual for other hosts than Amazon's."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filetree import read_bucket, read_tree, write_tree
from hstor import Hstor
from oddnames import AS_FILES, LONGEST, THOUSANDS, body_of, noise
from program import Client, program
from s3endpoint import Endpoint

BUCKET = "of-s3fs"
DEVICE = "/dev/fuse"
CAP_SYS_ADMIN = 21


def need_fuse() -> None:
    """Skip where this user cannot mount anything: no device, or root without the capability (capabilities(7))."""
    try:
        os.close(os.open(DEVICE, os.O_RDWR))
    except OSError as error:
        pytest.skip(f"s3fs cannot mount anything here: {DEVICE}: {error.strerror}")
    effective = int(Path("/proc/self/status").read_text().partition("CapEff:")[2].split()[0], 16)
    if os.geteuid() == 0 and not effective >> CAP_SYS_ADMIN & 1:
        pytest.skip("s3fs cannot mount anything here: root of this container has no CAP_SYS_ADMIN")


@contextmanager
def mounted(s3fs: Client, bucket: str, *options: str) -> Iterator[Path]:
    """A bucket as a directory, for a while."""
    point = s3fs.home / f"mnt-{bucket}-{len(options)}"
    point.mkdir()
    words = [word for option in ("passwd_file=passwd", *options) for word in ("-o", option)]
    s3fs.run(bucket, str(point), *words)
    try:
        # It leaves its parent before it answers; the first call waits for that.
        assert point.is_mount()
        yield point
    finally:
        subprocess.run(["fusermount", "-u", "-z", str(point)], check=True)


@pytest.fixture(scope="module")
def s3fs(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Client:
    client = Client([program("s3fs")], tmp_path_factory.mktemp("s3fs"))
    need_fuse()
    passwords = client.home / "passwd"
    passwords.write_text(f"{endpoint.key}:{endpoint.secret}\n")
    passwords.chmod(0o600)
    return client


@pytest.fixture(scope="module")
def mount(s3fs: Client, endpoint: Endpoint) -> Iterator[Path]:
    """The bucket, mounted for the whole module. s3fs makes no buckets itself."""
    with endpoint.hstor() as hstor:
        assert hstor.request("PUT", BUCKET).status == 200
    with mounted(s3fs, BUCKET, f"url={endpoint.url}", "use_path_request_style") as point:
        yield point
        for path in point.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    with endpoint.hstor() as hstor:
        assert list(hstor.keys(BUCKET)) == []
        assert hstor.request("DELETE", BUCKET).status == 204


@pytest.mark.parametrize(("size", "in_parts"), [(0, False), (3, False), (7_000_000, False), (30_000_000, True)])
def test_a_file_comes_back_whole(mount: Path, other: Hstor, size: int, in_parts: bool) -> None:
    body = noise(size)
    (mount / f"size-{size}").write_bytes(body)
    stored = other.request("GET", BUCKET, f"size-{size}")
    assert stored.body == body
    assert ("-" in stored.headers["etag"]) is in_parts
    other.request("PUT", BUCKET, f"of another-{size}", body=body)
    assert (mount / f"of another-{size}").read_bytes() == body


def test_thousands_are_listed(s3fs: Client, endpoint: Endpoint, thousands: str) -> None:
    with mounted(s3fs, thousands, f"url={endpoint.url}", "use_path_request_style") as point:
        assert sorted(path.name for path in (point / "many").iterdir()) == [str(digit) for digit in range(10)]
        names = [path.name for path in sorted((point / "many" / "3").iterdir())]
        assert names == [key.rpartition("/")[2] for key in THOUSANDS if key.startswith("many/3/")]
        for key in ("percent%2Fencoded", "percent/encoded", LONGEST):
            assert (point / key).read_bytes() == body_of(key)


def test_the_bucket_as_a_host_name(s3fs: Client, endpoint: Endpoint, mount: Path) -> None:
    """Its default; the names below localhost are this machine's."""
    (mount / "seen by both").write_bytes(b"virtual")
    with mounted(s3fs, BUCKET, f"url={endpoint.url.replace('127.0.0.1', 'localhost')}") as point:
        assert (point / "seen by both").read_bytes() == b"virtual"
        (point / "written there").write_bytes(b"host")
    assert (mount / "written there").read_bytes() == b"host"


def test_odd_names(mount: Path, other: Hstor) -> None:
    # For a new file s3fs asks whether there is something of that name followed by `_$folder$`.
    tree = write_tree(mount, [*AS_FILES, LONGEST[: -len("_$folder$")]])
    # s3fs makes an object for each directory too.
    stored = {key: body for key, body in read_bucket(other, BUCKET).items() if not key.endswith("/")}
    assert {name: stored[name] for name in tree} == tree
    seen = read_tree(mount)
    assert {name: seen[name] for name in tree} == tree


def test_copy_and_rename(mount: Path, other: Hstor) -> None:
    body = noise(30_000_000, 1)
    (mount / "source ä").write_bytes(body)
    shutil.copy(mount / "source ä", mount / "copied")
    (mount / "copied").rename(mount / "renamed+")
    assert other.request("GET", BUCKET, "renamed+").body == body
    assert "copied" not in other.keys(BUCKET)
    assert (mount / "renamed+").read_bytes() == body
    (mount / "folder").mkdir()
    (mount / "folder" / "file").write_bytes(b"inside")
    (mount / "folder").rename(mount / "elsewhere")
    assert (mount / "elsewhere" / "file").read_bytes() == b"inside"
    assert not (mount / "folder").exists()


def test_a_change_in_a_large_file_leaves_its_other_parts_on_the_server(mount: Path, other: Hstor) -> None:
    body = noise(40_000_000, 2)
    (mount / "changed").write_bytes(body)
    with (mount / "changed").open("r+b") as file:
        file.seek(25_000_000)
        file.write(b"in the middle")
        file.seek(0, os.SEEK_END)
        file.write(b"at the end")
    expected = body[:25_000_000] + b"in the middle" + body[25_000_013:] + b"at the end"
    assert other.request("GET", BUCKET, "changed").body == expected


def test_a_range_of_a_file(mount: Path, other: Hstor) -> None:
    body = noise(30_000_000, 3)
    other.request("PUT", BUCKET, "partly", body=body)
    with (mount / "partly").open("rb") as file:
        file.seek(-1_000, os.SEEK_END)
        assert file.read() == body[-1_000:]


def test_what_a_file_has_besides_its_bytes(mount: Path, other: Hstor) -> None:
    path = mount / "properties"
    path.write_bytes(b"x")
    path.chmod(0o640)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    (mount / "link").symlink_to("properties")
    headers = other.request("HEAD", BUCKET, "properties").headers
    assert int(headers["x-amz-meta-mode"]) & 0o777 == 0o640
    assert int(headers["x-amz-meta-mtime"].partition(".")[0]) == 1_000_000_000
    assert (mount / "link").readlink() == Path("properties")
    assert (mount / "link").read_bytes() == b"x"


def test_what_is_deleted_is_gone(mount: Path, other: Hstor) -> None:
    (mount / "gone").write_bytes(b"x")
    (mount / "gone").unlink()
    assert other.request("HEAD", BUCKET, "gone").status == 404
    (mount / "full").mkdir()
    (mount / "full" / "file").touch()
    with pytest.raises(OSError, match="not empty"):
        (mount / "full").rmdir()
    shutil.rmtree(mount / "full")
    assert list(other.keys(BUCKET, prefix="full")) == []
