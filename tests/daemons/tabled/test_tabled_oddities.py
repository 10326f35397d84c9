"""Requests that are signed properly and make little sense: each is answered, none with 500, and nothing breaks.

Unlike mutated bytes these get past the signature, so they reach every operation. HAILBOX_SEED=N chooses another lot.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from haild.wire.s3 import sigv2
from support.tabledrequests import raw
from support.tabledstack import Stack, serving

REQUESTS = 1000
METHODS = ("GET", "PUT", "PUT", "POST", "DELETE", "HEAD", "OPTIONS")
PATHS = ("/", "/b", "/b/", "/b/k", "/b/new", "/b/parts", "/none/k")
QUERIES = (
    "acl", "tagging", "location", "uploads", "uploadId={upload}", "partNumber=1&uploadId={upload}", "partNumber=1",
    "partNumber=x", "partNumber=99999999999", "versionId=null", "versionId=%00", "versionId=%0d%0aa:b", "versions",
    "delete", "policy", "cors", "lifecycle", "versioning", "attributes", "list-type=2", "restore", "=", "&&&", "%=1",
    "list-type=2&continuation-token=MQ==", "list-type=2&max-keys=1&start-after=%F4%8F%BF%BF", "a=%", "max-buckets=1",
    "delimiter=%F4%8F%BF%BF", "prefix=%F4%8F%BF%BF&marker=%F4%8F%BF%BF", "marker=%ED%9F%BF&delimiter=%ED%9F%BF",
    "encoding-type=url&prefix=%00", "max-keys=0&versions", "key-marker=a&version-id-marker=x&versions",
    "uploads&max-uploads=0", "uploads&key-marker=a&upload-id-marker=b", "response-content-type=a%0d%0ab",
    "response-expires=x", "X-Amz-Signature=1", "prefix=%FF", "prefix=\udcff",
)  # fmt: skip
NAMES = (
    "x-amz-acl", "x-amz-tagging", "x-amz-meta-a", "Content-Type", "Range", "If-Match", "If-None-Match",
    "If-Modified-Since", "If-Unmodified-Since", "If-Range", "x-amz-copy-source", "x-amz-copy-source-range",
    "x-amz-copy-source-if-match", "x-amz-copy-source-if-modified-since", "x-amz-metadata-directive",
    "x-amz-tagging-directive", "x-amz-storage-class", "x-amz-checksum-crc32", "x-amz-checksum-sha256",
    "x-amz-checksum-algorithm", "x-amz-checksum-type", "x-amz-checksum-mode", "x-amz-trailer", "x-amz-date",
    "x-amz-decoded-content-length", "x-amz-content-sha256", "x-amz-mp-object-size", "Content-MD5", "Content-Encoding",
    "Cache-Control", "Expires", "x-amz-object-attributes", "x-amz-max-parts", "x-amz-part-number-marker", "Origin",
    "x-amz-expected-bucket-owner", "Access-Control-Request-Method", "Access-Control-Request-Headers", "Expect",
    "x-amz-website-redirect-location", "x-amz-bucket-object-lock-enabled",
)  # fmt: skip
VALUES = (
    "", "*", "public-read", "bytes=0-3", "bytes=1-", "bytes=-1", "bytes=99999999999999999999-", "bytes=٠-٠", "b/k",
    "/b/k?versionId=null", "b/parts", "b/%FF", "REPLACE", "COPY", "CRC32", "SHA256", "FULL_OBJECT", "COMPOSITE",
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "UNSIGNED-PAYLOAD", "0", "5", "-1",
    "1" * 30, "aws-chunked", "a=1&b=2", "a=%FF", "a=1&" * 120, "AAAAAA==", "100-continue", "http://x", "GET", "PUT",
    "Sun, 28 Nov 2010 18:41:22 GMT", "0001-01-01", "9999-12-31T23:59:59+23:59", "ETag,Checksum,ObjectParts",
    '"5d41402abc4b2a76b9719d911017c592"', 'W/"x"', "alice", "true", "ENABLED", "x-amz-checksum-crc32", "ä", "\udcff",
    "\udced\udca0\udc80", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
)  # fmt: skip
BODIES = (
    b"", b"x", b"hello", b"<a/>", b"\xff\xfe<\0a\0/\0>\0", b"5\r\nhello\r\n0\r\n\r\n",
    b"<Delete><Object><Key>k2</Key></Object></Delete>", b"<Delete><Object><Key>&#xD800;</Key></Object></Delete>",
    b"<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>",
    b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>",
    b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
    b"<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule>"
    b"</CORSConfiguration>",
    b"<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter><Prefix>z</Prefix></Filter><Expiration>"
    b"<Date>9999-12-31T23:59:59Z</Date></Expiration></Rule></LifecycleConfiguration>",
    b'{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":'
    b'"arn:aws:s3:::b/\\ud800*"}]}',
    b"<AccessControlPolicy><Owner><ID>alice</ID></Owner><AccessControlList><Grant><Grantee><ID>b\xc3\xa4</ID>"
    b"</Grantee><Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>",
)  # fmt: skip


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with serving(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


def send(stack: Stack, method: str, target: str, headers: dict[str, str], body: bytes) -> bytes:
    """Sign and send a request; all that comes until the server closes. Surrogates stand for bytes of no UTF-8."""
    headers = {"Date": datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S +0000"), **headers}
    text = sigv2.string_to_sign(method, target, headers)
    headers |= {"Authorization": f"AWS alice:{sigv2.signature('sesame', text)}", "Host": "x", "Connection": "close"}
    lines = [
        f"{method} {target} HTTP/1.1",
        *(f"{n}: {v}" for n, v in headers.items()),
        f"Content-Length: {len(body)}",
    ]
    with socket.create_connection(("127.0.0.1", stack.tabled.port), timeout=20) as client:
        client.sendall("\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body)
        answer = b""
        try:
            while block := client.recv(65536):
                answer += block
        except ConnectionResetError:  # it has answered and does not want the rest
            pass
        return answer


def test_odd_requests(stack: Stack) -> None:
    seed = int(os.environ.get("HAILBOX_SEED", 7))
    print(f"HAILBOX_SEED={seed}")
    choice = random.Random(seed)
    s3: Any = stack.client()
    send(stack, "PUT", "/b", {}, b"")
    s3.put_object(Bucket="b", Key="k", Body=b"hello")
    upload = s3.create_multipart_upload(Bucket="b", Key="parts", ChecksumAlgorithm="CRC32")["UploadId"]
    for _ in range(REQUESTS):
        method, target, body = choice.choice(METHODS), choice.choice(PATHS), choice.choice(BODIES)
        if choice.random() < 0.6:
            target += "?" + choice.choice(QUERIES).replace("{upload}", upload)
        headers = {choice.choice(NAMES): choice.choice(VALUES) for _ in range(choice.choice([0, 1, 1, 2, 3]))}
        answer = send(stack, method, target, headers, body)
        told = (method, target, headers, body)
        assert answer.startswith(b"HTTP/1."), (told, answer[:100])
        assert not answer[9:12].startswith(b"5") or answer[9:12] in (b"501", b"503"), (told, answer)
        if method == "DELETE":  # so that there is something for the next ones
            send(stack, "PUT", "/b", {}, b"")
            send(stack, "PUT", "/b/k", {}, b"hello")
    assert "Traceback" not in stack.log(stack.tabled)


def test_headers_that_are_no_text(stack: Stack) -> None:
    """They could not be kept; also from those who have not signed anything yet."""
    send(stack, "PUT", "/bytes", {}, b"")
    for name in ("Content-Type", "Content-Disposition", "Cache-Control"):
        answer = send(stack, "PUT", "/bytes/k", {name: "a\udcff"}, b"x")
        assert answer[9:12] == b"400"
        assert b"<Code>InvalidArgument</Code>" in answer
        kept = send(stack, "PUT", "/bytes/k", {name: "aä"}, b"x")
        assert kept[9:12] == b"200"
        assert f"{name}: aä\r\n".encode() in send(stack, "GET", "/bytes/k", {}, b"")
    # Metadata may be UTF-8, Latin-1 or encoded words; the answer has encoded words (RFC 2047).
    for given in ("aä", "a\udce4", "=?UTF-8?B?YcOk?=", "=?iso-8859-1?q?a=e4?="):
        assert send(stack, "PUT", "/bytes/k", {"x-amz-meta-a": given}, b"x")[9:12] == b"200"
        assert b"x-amz-meta-a: =?UTF-8?B?YcOk?=\r\n" in send(stack, "GET", "/bytes/k", {}, b"")
    anonymous = {"Authorization": "AWS \xff:x", "Date": "x"}
    assert raw(stack, "GET", "/bytes/k", anonymous)[0] == 400
    assert "Traceback" not in stack.log(stack.tabled)


def test_a_name_as_curl_sends_it(stack: Stack) -> None:
    """Bytes of UTF-8 in the address, not percent-encoded."""
    send(stack, "PUT", "/names", {}, b"")
    send(stack, "PUT", "/names/caf%C3%A9", {"x-amz-acl": "public-read"}, b"body")
    with socket.create_connection(("127.0.0.1", stack.tabled.port), timeout=20) as client:
        client.sendall("GET /names/café HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\nbody")
