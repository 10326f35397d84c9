"""Large bodies, which the system passes on from the storage node's connection to the client's."""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.tabledrequests import signed_v2
from support.tabledstack import Process, Stack, bucket_of, serving, wait_for

SIZE = (24 << 20) + 4321
BODY = os.urandom(SIZE)
TRIES = 40
"""Reads after which the copy that is tried first, at random, has been each of two."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with serving(tmp_path_factory.mktemp("passing"), 2, "<RepairDelay>60</RepairDelay>") as stack:
        yield stack


@pytest.fixture
def bucket(stack: Stack, request: pytest.FixtureRequest) -> str:
    s3 = stack.client()
    name = bucket_of(s3, request)
    s3.put_object(Bucket=name, Key="large", Body=BODY)
    s3.put_object(Bucket=name, Key="small", Body=b"small")
    s3.put_object(Bucket=name, Key="empty", Body=b"")
    return name


def pipes(process: Process) -> int:
    """How many pipes a process has open: one for each body that is being passed on."""
    assert process.process is not None
    found = set()
    for each in Path(f"/proc/{process.process.pid}/fd").iterdir():
        try:
            target = os.readlink(each)
        except FileNotFoundError:
            continue
        if target.startswith("pipe:"):
            found.add(target)
    return len(found)


class Reader:
    """A client that reads an object as slowly as it likes, with little room for what it has not read."""

    def __init__(self, stack: Stack, target: str, version: str = "HTTP/1.1") -> None:
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self.sock.settimeout(60)
        self.sock.connect(("127.0.0.1", stack.tabled.port))
        headers = {"Host": "localhost"} | signed_v2("GET", target)
        lines = [f"GET {target} {version}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        self.sock.sendall("\r\n".join(lines).encode())
        self.file = self.sock.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.headers = http.client.parse_headers(self.file)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.sock.close()


def large_files(stack: Stack, number: int) -> list[Path]:
    bodies = stack.directory / f"chunk{number}" / "bodies"
    return [path for path in bodies.rglob("*") if path.is_file() and path.stat().st_size == SIZE]


def damage(path: Path) -> None:
    """Change a byte far from the beginning."""
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(SIZE - 1_000_000)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


def test_a_connection_serves_on_after_a_body_was_passed_on(stack: Stack, bucket: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", stack.tabled.port, timeout=60)
    expected = {"large": BODY, "small": b"small", "empty": b""}
    for method, key in [
        ("GET", "large"),
        ("HEAD", "large"),
        ("GET", "empty"),
        ("GET", "large"),
        ("GET", "small"),
    ] * 2:
        target = f"/{bucket}/{key}"
        connection.request(method, target, headers=signed_v2(method, target))
        response = connection.getresponse()
        body = response.read()
        assert (response.status, response.headers["Content-Length"]) == (200, str(len(expected[key])))
        assert body == (b"" if method == "HEAD" else expected[key])
        assert not response.will_close
    connection.close()


def test_http_1_0(stack: Stack, bucket: str) -> None:
    with Reader(stack, f"/{bucket}/large", "HTTP/1.0") as reader:
        assert (reader.status, reader.headers["Content-Length"]) == (200, str(SIZE))
        assert reader.file.read() == BODY  # up to the end of the connection


def test_ranges_and_parts(stack: Stack, bucket: str) -> None:
    s3 = stack.client()
    ranged = s3.get_object(Bucket=bucket, Key="large", Range=f"bytes=1000-{SIZE - 2}")
    assert ranged["Body"].read() == BODY[1000:-1]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    names = {"Bucket": bucket, "Key": "parts", "UploadId": upload}
    contents = [BODY[: 6 << 20], BODY[6 << 20 : 13 << 20], BODY[-7:]]
    parts = [
        {"PartNumber": n, "ETag": s3.upload_part(**names, PartNumber=n, Body=content)["ETag"]}
        for n, content in enumerate(contents, 1)
    ]
    s3.complete_multipart_upload(**names, MultipartUpload={"Parts": parts})
    assert s3.get_object(Bucket=bucket, Key="parts")["Body"].read() == b"".join(contents)
    copied = s3.create_multipart_upload(Bucket=bucket, Key="copied")["UploadId"]
    source = {"Bucket": bucket, "Key": "parts"}
    s3.upload_part_copy(Bucket=bucket, Key="copied", UploadId=copied, PartNumber=1, CopySource=source)


@pytest.mark.fast_path
def test_a_client_that_stops_reading_keeps_nobody_waiting_and_then_gets_the_rest(stack: Stack, bucket: str) -> None:
    before = pipes(stack.tabled)
    with Reader(stack, f"/{bucket}/large") as reader:
        start = reader.file.read(1000)
        wait_for(lambda: pipes(stack.tabled) == before + 1, "the body is being passed on")
        s3 = stack.client()
        for key, content in (("large", BODY), ("small", b"small")):
            assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == content
        assert pipes(stack.tabled) == before + 1  # it still is
        assert start + reader.file.read(SIZE - 1000) == BODY
    wait_for(lambda: pipes(stack.tabled) == before, "nothing stays open")


@pytest.mark.fast_path
def test_clients_that_go_away_leave_nothing_behind(stack: Stack, bucket: str) -> None:
    assert stack.tabled.process is not None
    descriptors = Path(f"/proc/{stack.tabled.process.pid}/fd")
    before = pipes(stack.tabled)
    readers = [Reader(stack, f"/{bucket}/large") for _ in range(5)]
    for reader in readers:
        reader.file.read(1000)
    wait_for(lambda: pipes(stack.tabled) == before + 5, "the bodies are being passed on")
    many = len(list(descriptors.iterdir()))
    for reader in readers:
        reader.__exit__()
    wait_for(lambda: pipes(stack.tabled) == before, "nothing stays open")
    # At least the pipe, the two ends that were watched and the client's connection of each are gone.
    wait_for(lambda: len(list(descriptors.iterdir())) <= many - 5 * 5, "nor do the connections")
    assert stack.client().get_object(Bucket=bucket, Key="large")["Body"].read() == BODY


def test_damage_in_mid_body_is_made_good_from_the_other_copy(tmp_path: Path) -> None:
    with serving(tmp_path, 2, "<RepairDelay>60</RepairDelay>") as stack:
        s3 = stack.client()
        s3.create_bucket(Bucket="bucket")
        s3.put_object(Bucket="bucket", Key="k", Body=BODY)
        damage(large_files(stack, 1)[0])
        for _ in range(TRIES):
            assert s3.get_object(Bucket="bucket", Key="k")["Body"].read() == BODY
            if "cannot give body" in stack.log(stack.tabled):
                break
        else:
            raise AssertionError("the damaged copy was never read")
        wait_for(lambda: [path.read_bytes() for path in large_files(stack, 1)] == [BODY], "it is repaired")


def test_damage_that_cannot_be_made_good_breaks_the_answer_off(tmp_path: Path) -> None:
    with serving(tmp_path) as stack:
        s3 = stack.client()
        s3.create_bucket(Bucket="bucket")
        s3.put_object(Bucket="bucket", Key="k", Body=BODY)
        damage(large_files(stack, 1)[0])
        with Reader(stack, "/bucket/k") as reader:
            assert (reader.status, reader.headers["Content-Length"]) == (200, str(SIZE))
            got = reader.file.read()  # up to the end of the connection
            assert got
            assert BODY[: SIZE - 1_000_000].startswith(got)
        assert s3.list_objects_v2(Bucket="bucket")["KeyCount"] == 1


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_node_that_ends_in_mid_body_is_replaced_by_the_other(stack: Stack, bucket: str, end: str) -> None:
    node: Any = stack.chunkd[0]
    for _ in range(TRIES):
        told = len(stack.log(stack.tabled))
        with Reader(stack, f"/{bucket}/large") as reader:
            start = reader.file.read(1_000_000)
            getattr(node, end)()
            assert start + reader.file.read(SIZE - len(start)) == BODY
        begun = stack.log(stack.tabled)[told:]
        node.start()
        wait_for(lambda n=told: " is up" in stack.log(stack.tabled)[n:], "the node is back")
        if "cannot give body" in begun:
            return
    raise AssertionError("the node that ended was never the one that was read from")
