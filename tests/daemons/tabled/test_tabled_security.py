"""No operation is served on a signature that was not verified; no secret leaves tabled in an answer or the log."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from haild.tabled.http import routes
from haild.wire.s3 import sigv2, sigv4
from support import s3history
from support.ports import free_port
from support.tabledstack import Stack, serving

pytestmark = pytest.mark.slow

SECRETS = {"alice": "Kd93-sesame-zQ71", "bob": "Mw55-builder-xV20"}
KEYS = ("Pa47-cldkey-uH36", "Rt82-chunkkey-cN19")
"""Texts that stand nowhere by chance."""


@pytest.fixture(scope="module")
def status_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, status_port: int) -> Iterator[Stack]:
    """With all that can be logged, and secrets that can be found again."""
    directory = tmp_path_factory.mktemp("stack")
    settings = f"<StatusPort>{status_port}</StatusPort>"
    with serving(directory, settings=settings, debug=True, users=SECRETS, keys=KEYS) as stack:
        yield stack


def ask(
    connection: http.client.HTTPConnection, method: str, target: str, headers: dict[str, str]
) -> tuple[int, bytes]:
    connection.request(method, target, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


Sign = Callable[[str, str, str], tuple[str, dict[str, str]]]


def signers(host: str) -> dict[str, Sign]:
    """By kind: what turns method, target and secret into the target and the headers of a signed request."""

    def four(method: str, target: str, secret: str) -> tuple[str, dict[str, str]]:
        headers = {"Host": host}
        signed = sigv4.sign_headers(
            method,
            target,
            headers,
            key="alice",
            secret=secret,
            region="us-east-1",
            when=datetime.now(UTC),
            payload_hash=sigv4.EMPTY_SHA256,
        )
        return target, headers | signed

    def two(method: str, target: str, secret: str) -> tuple[str, dict[str, str]]:
        headers = {"Date": datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")}
        value = sigv2.sign_headers(method, target, headers, key="alice", secret=secret)
        return target, headers | {"Authorization": value}

    def four_in_query(method: str, target: str, secret: str) -> tuple[str, dict[str, str]]:
        headers = {"Host": host}
        now = datetime.now(UTC)
        signed = sigv4.presign(
            method, target, headers, key="alice", secret=secret, region="us-east-1", when=now, expires=60
        )
        return signed, headers

    def two_in_query(method: str, target: str, secret: str) -> tuple[str, dict[str, str]]:
        return sigv2.presign(method, target, {}, key="alice", secret=secret, expires=int(time.time()) + 60), {}

    return {"v4": four, "v2": two, "v4 query": four_in_query, "v2 query": two_in_query}


def test_no_operation_is_served_on_a_wrong_signature(stack: Stack) -> None:
    """Every method on every sub-resource there is, of a bucket and of an object, with each kind of signature."""
    s3 = stack.client()
    s3.create_bucket(Bucket="walked")
    s3.put_object(Bucket="walked", Key="k", Body=b"content")
    upload = s3.create_multipart_upload(Bucket="walked", Key="part")["UploadId"]
    connection = http.client.HTTPConnection("127.0.0.1", stack.tabled.port, timeout=10)
    kinds = signers(f"127.0.0.1:{stack.tabled.port}")
    selectors = [
        "",
        *sorted(routes.SELECTORS),
        "list-type=2",
        "partNumber=1",
        "versionId=null",
        "unheard-of",
        "%61cl",
    ]
    asked = 0
    for selector in selectors:
        query = f"?{selector}={upload}" if selector == "uploadId" else f"?{selector}" if selector else ""
        for path in ("/", "/walked", "/walked/k", "/none", "/none/k"):
            for number, method in enumerate(("GET", "HEAD", "PUT", "POST", "DELETE")):
                if (method, path.count("/"), selector) == ("POST", 1, ""):
                    continue  # a form, which is signed inside
                sign = list(kinds.values())[(asked + number) % len(kinds)]
                target, headers = sign(method, f"{path}{query}", "wrong")
                status, body = ask(connection, method, target, headers)
                assert status == 403, (method, path, selector, status, body)
                assert method == "HEAD" or b"<Code>SignatureDoesNotMatch</Code>" in body
                asked += 1
        asked += 1
    assert asked > 1000
    assert [found["Key"] for found in s3.list_objects_v2(Bucket="walked")["Contents"]] == ["k"]
    assert s3history.read(s3, "walked", "k") == b"content"
    assert [found["UploadId"] for found in s3.list_multipart_uploads(Bucket="walked")["Uploads"]] == [upload]
    assert [found["Name"] for found in s3.list_buckets()["Buckets"]] == ["walked"]
    for kind, sign in kinds.items():
        target, headers = sign("GET", "/walked/k", SECRETS["alice"])
        assert ask(connection, "GET", target, headers) == (200, b"content"), kind
    connection.close()


def test_no_secret_leaves(stack: Stack, status_port: int) -> None:
    """Neither passwords nor keys nor valid signatures stand in any log, status page, error or header."""
    s3 = stack.client()
    s3.create_bucket(Bucket="quiet")
    s3.put_object(Bucket="quiet", Key="k", Body=b"content")
    answers: list[str] = []
    proofs: set[str] = set()
    connection = http.client.HTTPConnection("127.0.0.1", stack.tabled.port, timeout=10)
    for sign in signers(f"127.0.0.1:{stack.tabled.port}").values():
        for method, path in (("GET", "/quiet/k"), ("GET", "/quiet/none"), ("PUT", "/quiet?website"), ("GET", "/b/")):
            for secret in (SECRETS["alice"], "wrong"):
                target, headers = sign(method, path, secret)
                proofs.update(re.findall(r"[Ss]ignature=([^&,]+)", target + headers.get("Authorization", "")))
                if headers.get("Authorization", "").startswith("AWS "):
                    proofs.add(headers["Authorization"].rpartition(":")[2])
                connection.request(method, target, headers=headers)
                answer = connection.getresponse()
                answers.append(str(answer.getheaders()) + answer.read().decode())
    connection.close()
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "quiet", "Key": "k"})
    assert "Signature=" in url
    proofs.add(urlsplit(url).query.rpartition("Signature=")[2].partition("&")[0])
    s3.delete_object(Bucket="quiet", Key="k")
    assert stack.tabled.process is not None
    stack.tabled.process.send_signal(signal.SIGUSR1)
    status = http.client.HTTPConnection("127.0.0.1", status_port, timeout=10)
    answers += [str(ask(status, "GET", path, {})) for path in ("/", "/status.json", "/metrics", "/none?Signature=x")]
    status.close()
    assert stack.tabled.stop() == 0
    stack.tabled.start()
    stack.wait_serving()
    logs = "".join(path.read_text() for path in stack.directory.glob("*.log"))
    assert "counters" in logs, "SIGUSR1 was not heard"
    assert len(proofs) > 20
    for text in (*answers, logs):
        for secret in (*SECRETS.values(), *KEYS, *proofs):
            assert secret not in text


def memory(process: int) -> int:
    """The most memory that a process has used, in MiB."""
    text = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1]) >> 10


LINE = b"x-amz-meta-a" + b": " + b"v" * 8000 + b"\r\n"


@pytest.mark.parametrize(
    ("start", "block"),
    [
        (b"GET /", b"a" * (1 << 20)),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", LINE * 100),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"a: b\r\n" * 100_000),
        (b"GET / HTTP/1.1\r\nHost: x\r\nx-amz-meta-a: ", b"v" * (1 << 20)),
        (b"GET / HTTP/1.1\r\nHost: x\r\nx-amz-meta-a: b", b"\r\n folded" * 100_000),
        (b"", b"\r\n" * (1 << 19)),
    ],
    ids=["target", "headers", "short headers", "one header", "folded header", "empty lines"],
)
def test_a_gigabyte_of_header_is_refused(stack: Stack, start: bytes, block: bytes) -> None:
    assert stack.tabled.process is not None
    limit, sent, answer = 1 << 30, len(start), b""
    with socket.create_connection(("127.0.0.1", stack.tabled.port), timeout=20) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(start)
            while sent < limit:
                client.sendall(block)
                sent += len(block)
        with contextlib.suppress(ConnectionError):
            answer = client.recv(100)
    assert sent < 64 << 20, "it was read all the same"
    assert answer[9:12] in (b"", b"400")
    assert memory(stack.tabled.process.pid) < 150
    assert stack.client().list_buckets()["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.parametrize(
    ("document", "status"),
    [
        (b'<!DOCTYPE D [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><Delete>&b;</Delete>', 400),
        (b"<Delete>" * 100_000, 400),
        (b"<Delete>" + b"<Object><Key>k</Key></Object>" * 1001 + b"</Delete>", 400),
        (b"<Delete><Object><Key>" + b"k" * (5 << 20) + b"</Key></Object></Delete>", 400),
        (b"\xff\xfe<\x00D\x00", 400),
    ],
    ids=["entities", "depth", "too many", "too long", "broken UTF-16"],
)
def test_documents_that_cost_too_much_are_refused(stack: Stack, document: bytes, status: int) -> None:
    s3 = stack.client()
    with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket="documents")
    target, headers = signers(f"127.0.0.1:{stack.tabled.port}")["v2"]("POST", "/documents?delete", SECRETS["alice"])
    checksum = base64.b64encode(hashlib.md5(document).digest()).decode()
    value = sigv2.sign_headers(
        "POST",
        target,
        plain := {"Date": headers["Date"], "Content-MD5": checksum},
        key="alice",
        secret=SECRETS["alice"],
    )
    connection = http.client.HTTPConnection("127.0.0.1", stack.tabled.port, timeout=20)
    connection.request("POST", target, body=document, headers={**plain, "Authorization": value})
    answer = connection.getresponse()
    assert answer.status == status, answer.read()
    connection.close()
    assert stack.tabled.process is not None
    assert memory(stack.tabled.process.pid) < 150
