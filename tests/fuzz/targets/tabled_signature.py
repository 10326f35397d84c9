"""The sender of a request, from headers and query: no input gets in without knowing a password."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from types import MappingProxyType

from haild.tabled.s3 import addressing
from haild.tabled.s3.authentication import Authenticator, RequestFacts
from haild.tabled.s3.errors import S3Error
from haild.wire.s3 import sigv2, sigv4

TOKENS = (
    b"AWS4-HMAC-SHA256 ",
    b"AWS alice:",
    b"Credential=alice/20101128/r/s3/aws4_request",
    b"SignedHeaders=host",
    b"Signature=",
    b"X-Amz-Algorithm=AWS4-HMAC-SHA256",
    b"X-Amz-Expires=600",
    b"AWSAccessKeyId=alice",
    b"Expires=",
    b"x-amz-content-sha256: ",
    b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    b"\x00" * 32,
)
NOW = datetime(2010, 11, 28, 18, 41, 22, tzinfo=UTC)
_PASSWORDS = MappingProxyType({"alice": f"{time.time_ns()}", "bob": "x" * 40})


async def _password(user: str) -> str | None:
    return _PASSWORDS.get(user)


_AUTHENTICATOR = Authenticator(_password)


def seeds() -> Iterator[bytes]:
    headers = {"Host": "h", "x-amz-meta-a": "b"}
    target = "/docs/k?versionId=v"
    options = {"key": "alice", "secret": "wrong"}
    four = headers | sigv4.sign_headers(
        "GET", target, headers, region="r", when=NOW, payload_hash="UNSIGNED-PAYLOAD", **options
    )
    yield _request(target, four)
    yield _request(
        sigv4.presign("GET", target, {"Host": "h"}, region="r", when=NOW, expires=60, **options), {"Host": "h"}
    )
    two = {"Date": "Sun, 28 Nov 2010 18:41:22 +0000"}
    yield _request(target, two | {"Authorization": sigv2.sign_headers("GET", target, two, **options)})
    yield _request(sigv2.presign("GET", target, {}, expires=int(NOW.timestamp()) + 9, **options), {})


def _request(target: str, headers: dict[str, str]) -> bytes:
    return "\n".join([f"GET {target}", *(f"{name}: {value}" for name, value in headers.items())]).encode()


def fuzz(data: bytes) -> None:
    first, *lines = data.decode("utf-8", "surrogateescape").split("\n")
    method, _, target = first.partition(" ")
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip(): value.strip() for name, _, value in pairs}
    try:
        query = addressing.parse_query(target.partition("?")[2])
        facts = RequestFacts(method, target, headers, query, "buck" if "HOST" in headers else "")
        identity = _run(facts)
    except S3Error as error:
        if error.status not in (400, 403, 501):
            raise
    else:
        assert identity is None, identity


def _run(facts: RequestFacts) -> str | None:
    """Run the coroutine by hand: nothing in it waits."""
    coroutine = _AUTHENTICATOR.identify(facts, NOW.timestamp())
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value.user  # type: ignore[no-any-return]
    raise AssertionError("it waits")
