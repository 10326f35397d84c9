"""Bodies of large uploads, which are received past the HTTP parser: what comes before, after and instead of them."""

from __future__ import annotations

import hashlib
import http.client
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from haild.wire.s3 import awschunked
from support.tabledrequests import signed_v2, signed_v4
from support.tabledstack import Stack, bucket_of, serving, wait_for

SIZE = (9 << 20) + 77
BODY = os.urandom(SIZE)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with serving(tmp_path_factory.mktemp("intake")) as stack:
        yield stack


@pytest.fixture
def bucket(stack: Stack, request: pytest.FixtureRequest) -> str:
    return bucket_of(stack.client(), request)


class Client:
    """A connection on which every byte is sent as the test has it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.sock = socket.create_connection(("127.0.0.1", stack.tabled.port), timeout=60)
        self.file = self.sock.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.file.close()
        self.sock.close()

    def head(self, method: str, target: str, length: int, headers: dict[str, str] | None = None) -> bytes:
        every = {"Host": "localhost", "Content-Length": str(length)} | (headers or {})
        every |= {} if "Authorization" in every else signed_v2(method, target, headers)
        return "\r\n".join([f"{method} {target} HTTP/1.1", *(f"{n}: {v}" for n, v in every.items()), "", ""]).encode()

    def answer(self) -> tuple[int, bytes, bool]:
        """Status, body, and whether the connection stays open."""
        status = int(self.file.readline().split()[1])
        headers = http.client.parse_headers(self.file)
        body = self.file.read(int(headers["Content-Length"]))
        return status, body, headers.get("Connection", "").lower() != "close"


def stored(stack: Stack, bucket: str, key: str) -> bytes:
    body: bytes = stack.client().get_object(Bucket=bucket, Key=key)["Body"].read()
    return body


@pytest.mark.parametrize("step", [SIZE, 1_000_003, 70_001])
def test_a_connection_takes_one_upload_after_the_other(stack: Stack, bucket: str, step: int) -> None:
    with Client(stack) as client:
        for number in range(3):
            client.sock.sendall(client.head("PUT", f"/{bucket}/{number}", SIZE))
            for start in range(0, SIZE, step):
                client.sock.sendall(BODY[start : start + step])
            assert client.answer() == (200, b"", True)
            client.sock.sendall(client.head("PUT", f"/{bucket}/small", 5) + b"small")
            assert client.answer() == (200, b"", True)
    for number in range(3):
        assert stored(stack, bucket, str(number)) == BODY
    assert stored(stack, bucket, "small") == b"small"


def test_requests_sent_behind_a_body_are_answered_after_it(stack: Stack, bucket: str) -> None:
    with Client(stack) as client:
        requests = client.head("PUT", f"/{bucket}/a", 3) + b"abc"
        requests += client.head("PUT", f"/{bucket}/b", SIZE) + BODY
        requests += client.head("PUT", f"/{bucket}/c", SIZE) + BODY
        requests += client.head("PUT", f"/{bucket}/d", 3) + b"def"
        client.sock.sendall(requests)
        for _ in range(4):
            status, _, _ = client.answer()
            assert status == 200
    assert [stored(stack, bucket, key) for key in "abcd"] == [b"abc", BODY, BODY, b"def"]


def test_the_body_is_waited_for_until_it_is_asked_for(stack: Stack, bucket: str) -> None:
    with Client(stack) as client:
        client.sock.sendall(client.head("PUT", f"/{bucket}/k", SIZE, {"Expect": "100-continue"}))
        assert client.file.readline() + client.file.readline() == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sock.sendall(BODY)
        assert client.answer() == (200, b"", True)
    assert stored(stack, bucket, "k") == BODY


def test_a_body_that_is_not_what_was_promised_is_refused_and_the_connection_serves_on(
    stack: Stack, bucket: str
) -> None:
    wrong = hashlib.sha256(b"something else").hexdigest()
    target = f"/{bucket}/k"
    with Client(stack) as client:
        for _ in range(2):
            client.sock.sendall(client.head("PUT", target, SIZE, signed_v4(stack, "PUT", target, wrong)) + BODY)
            status, body, stays = client.answer()
            assert (status, b"XAmzContentSHA256Mismatch" in body, stays) == (400, True, True)
        client.sock.sendall(client.head("GET", target, 0))
        assert client.answer()[0] == 404


def test_what_is_refused_in_mid_body_is_answered_while_the_client_still_sends(stack: Stack, bucket: str) -> None:
    frame, _ = awschunked.encode_frame(BODY[:3_000_000])
    broken = frame[:-2] + b"no end of a frame" + bytes(6 << 20)
    headers = {"x-amz-decoded-content-length": str(SIZE)}
    target = f"/{bucket}/k"
    with Client(stack) as client:
        headers = signed_v4(stack, "PUT", target, awschunked.UNSIGNED_TRAILER, headers)
        client.sock.sendall(client.head("PUT", target, len(broken), headers) + broken)
        status, body, _ = client.answer()
        assert (status, b"<Code>IncompleteBody</Code>" in body) == (400, True)
    with Client(stack) as client:
        client.sock.sendall(client.head("GET", target, 0))
        assert client.answer()[0] == 404


def test_what_is_refused_before_the_body_leaves_the_connection_usable(stack: Stack, bucket: str) -> None:
    with Client(stack) as client:
        client.sock.sendall(client.head("PUT", "/no-such-bucket/k", SIZE) + BODY)
        status, body, stays = client.answer()
        assert (status, b"NoSuchBucket" in body, stays) == (404, True, True)
        client.sock.sendall(client.head("PUT", f"/{bucket}/k", SIZE) + BODY)
        assert client.answer() == (200, b"", True)
    assert stored(stack, bucket, "k") == BODY


def test_framed_bodies(stack: Stack, bucket: str) -> None:
    frames = [awschunked.encode_frame(BODY[start : start + 65_536])[0] for start in range(0, SIZE, 65_536)]
    body = b"".join(frames) + awschunked.encode_frame(b"")[0] + awschunked.encode_trailer({})
    target = f"/{bucket}/k"
    headers = {"x-amz-decoded-content-length": str(SIZE)}
    with Client(stack) as client:
        headers = signed_v4(stack, "PUT", target, awschunked.UNSIGNED_TRAILER, headers)
        client.sock.sendall(client.head("PUT", target, len(body), headers) + body)
        assert client.answer() == (200, b"", True)
    assert stored(stack, bucket, "k") == BODY


def remote_ports(port: int) -> set[int]:
    """The other ends of the connections that the server at a port of loopback holds or has yet to accept."""
    tables = [Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table.splitlines()[1:]]
    # Columns 1 to 3: both addresses and the state, of which 06 is TIME_WAIT (proc_net_tcp(5)).
    return {int(row[2][-4:], 16) for row in rows if int(row[1][-4:], 16) == port and row[3] != "06"}


@pytest.mark.parametrize("sent", [1000, 300_000, SIZE - 1])
def test_a_client_that_goes_away_in_mid_body_leaves_nothing(stack: Stack, bucket: str, sent: int) -> None:
    port = stack.tabled.port
    clients = [Client(stack) for _ in range(8)]
    own = {client.sock.getsockname()[1] for client in clients}
    for client in clients:
        client.sock.sendall(client.head("PUT", f"/{bucket}/k", SIZE) + BODY[:sent])
    wait_for(lambda: own <= remote_ports(port), "all are connected")
    for client in clients:
        client.close()
    # Descriptors would count connections to the node as well, which are kept for later.
    wait_for(lambda: not own & remote_ports(port), "all connections are closed")
    assert stack.client().list_objects_v2(Bucket=bucket)["KeyCount"] == 0
