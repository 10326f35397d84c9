"""tabled and its requests byte by byte: signatures, encodings of bodies, checksums, hosts, clients that go away."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import random
import re
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import Any

import pytest

from haild.tabled.s3 import checksums
from haild.wire.s3 import awschunked, sigv2, sigv4
from support.tabledrequests import code, raw, signed_v2, signed_v4
from support.tabledstack import Stack, serving

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with serving(tmp_path_factory.mktemp("stack"), nodes=2) as stack:
        yield stack


# signatures on the wire


def test_presigned(s3: Any, bucket: str, stack: Stack) -> None:
    for version in ("s3", "s3v4"):
        client = stack.client(signature_version=version)
        prefix = f"http://127.0.0.1:{stack.tabled.port}"
        put = client.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "k ä"}, 60)
        assert raw(stack, "PUT", put.removeprefix(prefix), body=version.encode())[0] == 200
        get = client.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k ä"}, 60).removeprefix(prefix)
        assert raw(stack, "GET", get)[2] == version.encode()
        assert raw(stack, "DELETE", get)[0] == 403
        late = client.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k ä"}, -10)
        assert raw(stack, "GET", late.removeprefix(prefix))[0] in (400, 403)
        both = signed_v2("GET", f"/{bucket}")
        assert raw(stack, "GET", get, both)[0] == 400


def test_a_client_of_2010(bucket: str, stack: Stack) -> None:
    """What libhail sends: V2, path style, dates with +0000, trailing slashes, no body and no length."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.tabled.port, timeout=10)

    def ask(
        method: str, target: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        connection.putrequest(method, target, skip_accept_encoding=True)
        signed = signed_v2(method, target.partition("?")[0], headers)
        if body is not None:
            signed["Content-Length"] = str(len(body))
        for name, value in signed.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        return response.status, response.read()

    assert ask("PUT", "/old-bucket/")[0] == 200
    assert ask("PUT", "/old-bucket/a%20key", b"value", {"x-amz-meta-Colour": "Blue"})[0] == 200
    assert ask("GET", "/old-bucket/a%20key") == (200, b"value")
    status, listing = ask("GET", "/old-bucket/?prefix=&delimiter=/&max-keys=20")
    assert status == 200
    assert b"<Key>a key</Key>" in listing
    assert b"ListAllMyBucketsResult" in ask("GET", "/")[1]
    assert ask("DELETE", "/old-bucket/a%20key")[0] == 204
    assert ask("DELETE", "/old-bucket/")[0] == 204
    connection.close()


def test_header_names_come_back_as_sent(bucket: str, stack: Stack) -> None:
    target = f"/{bucket}/k"
    assert raw(stack, "PUT", target, signed_v2("PUT", target, {"X-Amz-Meta-CoLour": "Blue"}), b"x")[0] == 200
    connection = http.client.HTTPConnection("127.0.0.1", stack.tabled.port, timeout=10)
    connection.request("GET", target, headers=signed_v2("GET", target))
    response = connection.getresponse()
    assert ("X-Amz-Meta-CoLour", "Blue") in response.getheaders()
    assert response.getheader("Server") == "tabled 0.5.2"
    connection.close()


@pytest.mark.parametrize(
    ("user", "secret", "expected"),
    [
        ("alice", "wrong", b"SignatureDoesNotMatch"),
        ("nobody", "", b"SignatureDoesNotMatch"),
        ("alice", "", b"Signature"),
    ],
)
def test_wrong_signatures(stack: Stack, user: str, secret: str, expected: bytes) -> None:
    headers = {"Date": formatdate(usegmt=True)}
    value = sigv2.sign_headers("GET", "/", headers, key=user, secret=secret)
    status, _, body = raw(stack, "GET", "/", headers | {"Authorization": value})
    assert (status, expected in body) == (403, True)
    four = signed_v4(stack, "GET", "/", sigv4.EMPTY_SHA256, key=user, secret=secret)
    status, _, body = raw(stack, "GET", "/", four)
    assert (status, expected in body) == (403, True)


def test_more_of_what_is_refused(stack: Stack, bucket: str) -> None:
    def refused(headers: dict[str, str], target: str = "/") -> bytes:
        status, _, body = raw(stack, "GET", target, headers)
        assert status >= 400
        return body

    late = datetime.now(UTC) - timedelta(minutes=16)
    assert b"RequestTimeTooSkewed" in refused(signed_v4(stack, "GET", "/", sigv4.EMPTY_SHA256, when=late))
    old = {"Date": formatdate(time.time() - 1000, usegmt=True)}
    old["Authorization"] = sigv2.sign_headers("GET", "/", old, key="alice", secret="sesame")
    assert b"RequestTimeTooSkewed" in refused(old)
    prefix = signed_v2("GET", "/")
    prefix["Authorization"] = prefix["Authorization"][: len("AWS alice:") + 3]
    assert b"SignatureDoesNotMatch" in refused(prefix)
    unsigned = signed_v4(stack, "GET", "/", sigv4.EMPTY_SHA256) | {"x-amz-meta-extra": "1"}
    assert b"HeadersNotSigned" in refused(unsigned)
    assert b"InvalidToken" in refused(signed_v2("GET", "/", {"x-amz-security-token": "t"}))
    assert b"InvalidArgument" in refused({"Authorization": "Basic eA=="})
    assert b"AuthorizationHeaderMalformed" in refused({"Authorization": "AWS4-HMAC-SHA256 nonsense"})
    assert b"AuthorizationQueryParametersError" in refused({}, "/?X-Amz-Signature=1&X-Amz-Algorithm=x")


# bodies


def chunked_body(stack: Stack, target: str, kind: str, content: bytes, trailer: str) -> tuple[dict[str, str], bytes]:
    extra = {"x-amz-decoded-content-length": str(len(content)), "Content-Encoding": "aws-chunked,gzip"}
    if kind != awschunked.SIGNED:
        extra["x-amz-trailer"] = "x-amz-checksum-crc32"
    headers = signed_v4(stack, "PUT", target, kind, extra)
    claimed = sigv4.parse_authorization(headers["Authorization"])
    key = sigv4.signing_key("sesame", claimed.scope)
    seed = awschunked.Seed(key, headers["x-amz-date"], claimed.scope, claimed.signature)
    used = None if kind == awschunked.UNSIGNED_TRAILER else seed
    body, previous = b"", seed.signature
    for start in range(0, len(content), 65536):
        frame, previous = awschunked.encode_frame(content[start : start + 65536], used, previous)
        body += frame
    frame, previous = awschunked.encode_frame(b"", used, previous)
    if kind == awschunked.SIGNED:
        return headers, body + frame + b"\r\n"
    return headers, body + frame + awschunked.encode_trailer({"x-amz-checksum-crc32": trailer}, used, previous)


@pytest.mark.parametrize("kind", sorted(awschunked.KINDS))
def test_aws_chunked(s3: Any, bucket: str, stack: Stack, kind: str) -> None:
    content, target = os.urandom(200_000), f"/{bucket}/k"
    checksum = base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()
    headers, body = chunked_body(stack, target, kind, content, checksum)
    status, _, answer = raw(stack, "PUT", target, headers, body)
    assert (status, answer) == (200, b"")
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["ContentEncoding"] == "gzip"
    assert got["Body"].read() == content
    damaged = body[:1000] + bytes([body[1000] ^ 1]) + body[1001:]
    headers, _ = chunked_body(stack, target, kind, content, checksum)
    if kind == awschunked.UNSIGNED_TRAILER:
        assert b"BadDigest" in raw(stack, "PUT", target, headers, damaged)[2]
    else:
        assert b"SignatureDoesNotMatch" in raw(stack, "PUT", target, headers, damaged)[2]
    assert b"IncompleteBody" in raw(stack, "PUT", target, headers, body[:5000])[2]
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == content


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_checksums(s3: Any, bucket: str, stack: Stack, algorithm: str) -> None:
    value = checksums.new(algorithm.lower())
    value.update(b"content")
    text = checksums.text(value)
    header = f"x-amz-checksum-{algorithm.lower()}"
    target = f"/{bucket}/k"
    assert raw(stack, "PUT", target, signed_v2("PUT", target, {header: text}), b"content")[0] == 200
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head[f"Checksum{algorithm}"] == text
    status, _, body = raw(stack, "PUT", target, signed_v2("PUT", target, {header: text}), b"another")
    assert (status, b"BadDigest" in body) == (400, True)
    assert b"InvalidRequest" in raw(stack, "PUT", target, signed_v2("PUT", target, {header: "eA=="}), b"x")[2]


def test_digests(s3: Any, bucket: str, stack: Stack) -> None:
    target = f"/{bucket}/k"
    md5 = base64.b64encode(hashlib.md5(b"content").digest()).decode()
    assert raw(stack, "PUT", target, signed_v2("PUT", target, {"Content-MD5": md5}), b"content")[0] == 200
    assert b"BadDigest" in raw(stack, "PUT", target, signed_v2("PUT", target, {"Content-MD5": md5}), b"other")[2]
    assert b"InvalidDigest" in raw(stack, "PUT", target, signed_v2("PUT", target, {"Content-MD5": "x"}), b"other")[2]
    wrong = signed_v4(stack, "PUT", target, hashlib.sha256(b"other").hexdigest())
    assert b"XAmzContentSHA256Mismatch" in raw(stack, "PUT", target, wrong, b"content")[2]
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"content"


def test_expect_100_continue_is_answered_only_for_wanted_bodies(bucket: str, stack: Stack) -> None:
    def first_line(headers: dict[str, str]) -> bytes:
        with socket.create_connection(("127.0.0.1", stack.tabled.port), timeout=10) as client:
            lines = [f"PUT /{bucket}/k HTTP/1.1", "Host: x", "Content-Length: 5", "Expect: 100-continue"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            client.sendall("\r\n".join([*lines, "", ""]).encode())
            return client.recv(4096).partition(b"\r\n")[0]

    assert first_line(signed_v2("PUT", f"/{bucket}/k")) == b"HTTP/1.1 100 Continue"
    assert first_line({}) == b"HTTP/1.1 403 Forbidden"


def test_virtual_hosts(s3: Any, bucket: str, stack: Stack) -> None:
    s3.put_object(Bucket=bucket, Key="a/b", Body=b"x")
    headers = {"Host": f"{bucket}.S3.local:{stack.tabled.port}", "Date": formatdate(usegmt=True)}
    value = sigv2.sign_headers("GET", "/a/b", headers, key="alice", secret="sesame", bucket_in_host=bucket)
    assert raw(stack, "GET", "/a/b", headers | {"Authorization": value})[::2] == (200, b"x")


def test_answers_have_what_clients_rely_on(bucket: str, stack: Stack) -> None:
    status, headers, body = raw(stack, "HEAD", f"/{bucket}/none", signed_v2("HEAD", f"/{bucket}/none"))
    assert (status, body) == (404, b"")
    assert headers["x-amz-request-id"]
    status, headers, body = raw(stack, "GET", f"/{bucket}/none", signed_v2("GET", f"/{bucket}/none"))
    assert f"<Resource>/{bucket}/none</Resource>".encode() in body
    assert headers["x-amz-request-id"].encode() in body
    assert raw(stack, "PUT", f"/{bucket}/k", signed_v2("PUT", f"/{bucket}/k") | {"Content-Length": "x"})[0] == 400
    assert raw(stack, "GET", "/x" * 9000)[0] == 400


def send_and_go(stack: Stack, data: bytes, *, read: int = 0, reset: bool = False) -> None:
    """Send bytes over a socket, read some, and be gone."""
    with socket.create_connection(("127.0.0.1", stack.tabled.port), timeout=10) as client:
        client.sendall(data)
        if read:
            client.recv(read)
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def complaints(stack: Stack) -> list[str]:
    """What is logged beside the code of each error."""
    lines = stack.log(stack.tabled).splitlines()
    return [line for line in lines if not re.fullmatch(r"\S+ request [0-9A-F]{16} of \S+: \w+", line)]


def test_errors_are_logged_with_address_and_code(s3: Any, bucket: str, stack: Stack) -> None:
    assert code(s3.head_object, Bucket=bucket, Key="none") == "404"
    answer = raw(stack, "GET", f"/{bucket}/none", signed_v2("GET", f"/{bucket}/none"))
    line = f"request {answer[1]['x-amz-request-id']} of ::ffff:127.0.0.1: NoSuchKey\n"
    assert line in stack.log(stack.tabled) or line.replace("::ffff:", "") in stack.log(stack.tabled)


def test_clients_that_go_away_leave_nothing_and_no_complaints_in_the_log(s3: Any, bucket: str, stack: Stack) -> None:
    s3.put_object(Bucket=bucket, Key="big", Body=os.urandom(4 * MEGABYTE))
    before = complaints(stack)
    for reset in (False, True):
        put, get = f"/{bucket}/half", f"/{bucket}/big"
        headers = signed_v2("PUT", put) | {"Host": "x", "Content-Length": "1000000"}
        send_and_go(stack, head("PUT", put, headers) + b"x" * 500_000, reset=reset)
        send_and_go(stack, head("GET", get, signed_v2("GET", get) | {"Host": "x"}), read=1000, reset=reset)
    assert code(s3.head_object, Bucket=bucket, Key="half") == "404"
    assert s3.get_object(Bucket=bucket, Key="big")["ContentLength"] == 4 * MEGABYTE
    assert complaints(stack) == before


def head(method: str, target: str, headers: dict[str, str]) -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", *(f"{n}: {v}" for n, v in headers.items()), "", ""]).encode()


@pytest.mark.parametrize("version", ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/3.0", "http/1.1", "HTTP/1", "ICY"])
def test_only_two_versions_of_http_are_served(s3: Any, bucket: str, stack: Stack, version: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"content", ACL="public-read")
    with socket.create_connection(("127.0.0.1", stack.tabled.port), timeout=10) as client:
        client.sendall(f"GET /{bucket}/k {version}\r\nHost: x\r\n\r\n".encode())
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert b" 400 " in answer.partition(b"\r\n")[0]
    assert b"<Code>InvalidArgument</Code>" in answer


def test_mutated_requests_are_answered_or_refused(s3: Any, bucket: str, stack: Stack) -> None:
    claim = f"Credential=alice/20101128/us-east-1/s3/aws4_request, SignedHeaders=host, Signature={'0' * 64}"
    headers = {"Host": "x", "Authorization": f"AWS4-HMAC-SHA256 {claim}", "x-amz-date": "20101128T184122Z"}
    headers |= {"Range": "bytes=0-5", "If-Match": '"x"', "Content-Length": "5"}
    base = head("GET", f"/{bucket}/k?prefix=a&list-type=2", headers) + b"hello"
    before = complaints(stack)
    chance = random.Random(5)
    for _ in range(150):
        data = bytearray(base)
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        with socket.create_connection(("127.0.0.1", stack.tabled.port), timeout=10) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            answer = client.recv(300)
            assert answer[:5] in (b"", b"HTTP/")
            assert answer[9:12] not in (b"200", b"500")
    assert complaints(stack) == before
    assert s3.list_buckets()["Owner"]["ID"] == "alice"
