"""Parts of bodies and conditional requests, at every back end; curl and wget resume. Real daemons."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.iwhd_daemon import Answer, Iwhd, fs, running
from support.iwhd_stack import S3Service, s3_service

pytestmark = pytest.mark.slow

CONTENT = os.urandom(5_000_000)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Service]:
    with s3_service(tmp_path_factory.mktemp("s3")) as service:
        yield service


@pytest.fixture(scope="module", params=["fs", "s3", "http"])
def iwhd(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, service: S3Service
) -> Iterator[Iwhd]:
    """A warehouse whose bodies are in a directory, in tabled, or in another warehouse."""
    root = tmp_path_factory.mktemp("iwhd")
    far = Iwhd(root / "far", [fs(root, "far")])
    provider = {
        "fs": fs(root),
        "s3": service.provider(),
        "http": {"name": "primary", "type": "http", "host": "127.0.0.1", "port": far.port},
    }[request.param]
    with running(far), running(Iwhd(root / "near", [provider])) as daemon:
        assert daemon.request("PUT", "/ranges").status == 201
        assert daemon.request("PUT", "/ranges/k", CONTENT).status == 201
        assert daemon.request("PUT", "/ranges/empty", b"").status == 201
        yield daemon


def get(iwhd: Iwhd, key: str = "k", method: str = "GET", **headers: str) -> Answer:
    return iwhd.request(
        method, f"/ranges/{key}", headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-99", 0, 99),
        ("bytes=4999999-", 4_999_999, 4_999_999),
        ("bytes=-100", 4_999_900, 4_999_999),
        ("bytes=65535-65536", 65_535, 65_536),
        ("bytes=1000000-4600000", 1_000_000, 4_600_000),
        ("bytes=3-99999999", 3, 4_999_999),
    ],
)
def test_parts(iwhd: Iwhd, asked: str, first: int, last: int) -> None:
    answer = get(iwhd, Range=asked)
    assert (answer.status, answer.headers["Content-Range"]) == (206, f"bytes {first}-{last}/5000000")
    assert answer.headers["Content-Length"] == str(last - first + 1)
    assert answer.body == CONTENT[first : last + 1]


def test_what_is_no_part(iwhd: Iwhd) -> None:
    for asked in ("bytes=0-1,4-5", "bytes=5-1", "lines=1-2", "nonsense"):
        answer = get(iwhd, Range=asked)
        assert (answer.status, answer.body == CONTENT) == (200, True), asked
    for key, asked in (("k", "bytes=5000000-"), ("empty", "bytes=0-"), ("k", "bytes=-0")):
        answer = get(iwhd, key, Range=asked)
        assert (answer.status, answer.body) == (416, b"")
        assert answer.headers["Content-Range"] == f"bytes */{0 if key == 'empty' else 5_000_000}"
    head = get(iwhd, method="HEAD", Range="bytes=0-1")
    assert (head.status, head.headers["Content-Length"], head.headers["Accept-Ranges"]) == (200, "5000000", "bytes")


def test_conditions(iwhd: Iwhd) -> None:
    whole = get(iwhd, method="HEAD")
    etag, date = whole.headers["ETag"], whole.headers["Last-Modified"]
    assert etag == f'"{iwhd.request("GET", "/ranges/k/_etag").text}"'
    for method in ("GET", "HEAD"):
        for name, value in (("If_None_Match", etag), ("If_Modified_Since", date)):
            answer = get(iwhd, method=method, **{name: value})
            assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", etag)
        assert get(iwhd, method=method, If_Match='"other"').status == 412
    assert get(iwhd, Range="bytes=0-1", If_Range=etag).status == 206
    assert get(iwhd, Range="bytes=0-1", If_Range=date).status == 206
    assert get(iwhd, Range="bytes=0-1", If_Range='"other"').body == CONTENT


def test_a_put_of_a_part_is_refused(iwhd: Iwhd) -> None:
    answer = iwhd.request("PUT", "/ranges/k", b"x", {"Content-Range": "bytes 0-0/2"})
    assert (answer.status, "Content-Range" in answer.text) == (400, True)
    assert get(iwhd, Range="bytes=0-9").body == CONTENT[:10]


@pytest.mark.parametrize("command", [["curl", "-sS", "-C", "-", "-o", "part"], ["wget", "-q", "-c", "-O", "part"]])
def test_programs_resume(iwhd: Iwhd, tmp_path: Path, command: list[str]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    (tmp_path / "part").write_bytes(CONTENT[:1_234_567])
    subprocess.run([*command, f"http://127.0.0.1:{iwhd.port}/ranges/k"], cwd=tmp_path, check=True)
    assert (tmp_path / "part").read_bytes() == CONTENT
