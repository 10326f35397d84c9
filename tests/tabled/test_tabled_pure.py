"""Addressing, conditions, ranges, ACLs, checksums, listings and users: what needs no server."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from base64 import b64encode

import botocore.loaders
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haild.daemon import secrets
from haild.tabled.bodies.nodes import NodeRecord, RecordError, parse_record
from haild.tabled.http import routes
from haild.tabled.metadata import listing
from haild.tabled.s3 import acl, addressing, checksums, conditions
from haild.tabled.s3.errors import S3Error

OWN = ("s3.example.com",)


@pytest.mark.parametrize(
    ("host", "target", "expected"),
    [
        ("localhost:8080", "/", ("", "", "")),
        ("localhost:8080", "/b", ("b", "", "")),
        ("localhost:8080", "/b/", ("b", "", "")),
        ("localhost:8080", "/b/k/l", ("b", "k/l", "")),
        ("localhost:8080", "/b//", ("b", "/", "")),
        ("localhost:8080", "/b%2Fk", ("b", "k", "")),
        ("localhost:8080", "/b/%3Fx?acl", ("b", "?x", "")),
        ("localhost:8080", "/b/a+b%2Bc%20d", ("b", "a+b+c d", "")),
        ("localhost:8080", "/b/%C3%A4", ("b", "ä", "")),
        ("b.s3.example.com:8080", "/k", ("b", "k", "b")),
        ("Buck.S3.Example.com", "/b/k?x", ("buck", "b/k", "Buck")),
        ("a.b.s3.example.com", "/", ("a.b", "", "a.b")),
        ("s3.example.com", "/b/k", ("b", "k", "")),
        ("other.host", "/b/k", ("b", "k", "")),
        ("[::1]:8080", "/b/k", ("b", "k", "")),
    ],
)
def test_locate(host: str, target: str, expected: tuple[str, str, str]) -> None:
    assert addressing.locate(host, target, OWN) == addressing.Address(*expected)


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/B/k", "InvalidBucketName"),
        ("/-b", "InvalidBucketName"),
        ("/v1.2.3.4-x", "InvalidBucketName"),
        ("/" + "b" * 64, "InvalidBucketName"),
        ("//k", "InvalidBucketName"),
        ("/b/%FF", "InvalidURI"),
        ("*", "InvalidURI"),
        ("/b/" + "k" * 1025, "KeyTooLongError"),
        ("/b/" + "%C3%A4" * 513, "KeyTooLongError"),
    ],
)
def test_bad_targets(target: str, code: str) -> None:
    with pytest.raises(S3Error) as caught:
        addressing.locate("localhost", target, OWN)
    assert caught.value.code == code


def test_longest_key_is_taken() -> None:
    assert len(addressing.locate("h", "/b/" + "%C3%A4" * 512, OWN).key) == 512


def test_absolute_target() -> None:
    assert addressing.absolute_to_origin("http://other:80/b/k?x") == "/b/k?x"
    assert addressing.absolute_to_origin("http://other") == "/"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('"abc"', True),
        ("abc", True),
        ("*", True),
        ('"x", "abc"', True),
        ('W/"abc"', False),
        ('"ab"', False),
        ("", False),
        ('"x" "abc"', False),
    ],
)
def test_etag_lists(header: str, expected: bool) -> None:
    assert conditions.etag_matches(header, "abc") is expected


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 28 Nov 2010 18:41:22 GMT",
        "Sun, 28 Nov 2010 18:41:22 +0000",
        "Sun, 28 Nov 2010 19:41:22 +0100",
        "Sunday, 28-Nov-10 18:41:22 GMT",
        "Sun Nov 28 18:41:22 2010",
        "2010-11-28T18:41:22Z",
        "2010-11-28T18:41:22.000Z",
    ],
)
def test_dates(text: str) -> None:
    assert conditions.parse_date(text) == 1290969682


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"If-Match": '"e"'}, None),
        ({"If-Match": '"x"'}, "PreconditionFailed"),
        ({"If-Match": '"e"', "If-Unmodified-Since": "Sun, 28 Nov 2010 18:41:21 GMT"}, None),
        ({"If-Unmodified-Since": "Sun, 28 Nov 2010 18:41:21 GMT"}, "PreconditionFailed"),
        ({"If-Unmodified-Since": "Sun, 28 Nov 2010 18:41:22 +0000"}, None),
        ({"If-None-Match": '"e"'}, "NotModified"),
        ({"If-None-Match": '"x"', "If-Modified-Since": "Sun, 28 Nov 2010 18:41:22 GMT"}, None),
        ({"If-Modified-Since": "Sun, 28 Nov 2010 18:41:22 GMT"}, "NotModified"),
        ({"If-Modified-Since": "nonsense"}, None),
    ],
)
def test_conditional_reads(headers: dict[str, str], code: str | None) -> None:
    if code is None:
        conditions.check_read(headers, "e", 1290969682.5)
        return
    with pytest.raises(S3Error) as caught:
        conditions.check_read(headers, "e", 1290969682.5)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 0)),
        ("bytes=3-", (3, 9)),
        ("bytes=-4", (6, 9)),
        ("bytes=-40", (0, 9)),
        ("bytes=5-99", (5, 9)),
        ("bytes=5-4", None),
        ("bytes=0-1,3-4", None),
        ("bytes=-", None),
        ("lines=1-2", None),
        ("", None),
        (None, None),
        ("bytes=10-", "InvalidRange"),
        ("bytes=-0", "InvalidRange"),
    ],
)
def test_ranges(header: str | None, expected: object) -> None:
    if expected == "InvalidRange":
        with pytest.raises(S3Error) as caught:
            conditions.byte_range(header, 10)
        assert caught.value.headers == {"Content-Range": "bytes */10"}
    else:
        assert conditions.byte_range(header, 10) == expected


def test_acl_rules() -> None:
    public = acl.canned("Public-Read", "alice")
    assert public.allows(None, "READ")
    assert public.allows("bob", "READ")
    assert not public.allows("bob", "WRITE")
    assert public.allows("alice", "WRITE_ACP")
    assert not acl.canned("", "alice").allows(None, "READ")
    users_only = acl.canned("authenticated-read", "alice")
    assert users_only.allows("bob", "READ")
    assert not users_only.allows(None, "READ")
    with pytest.raises(S3Error):
        acl.canned("nonsense", "alice")


def test_acl_texts() -> None:
    for listed in (acl.Acl("alice"), acl.Acl("alice", (("*", "READ"), ("bob", "FULL_CONTROL")))):
        assert acl.from_text(acl.to_text(listed)) == listed
        assert acl.from_document(acl.document(listed), "alice") == listed


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [("crc32", "cbf43926"), ("crc32c", "e3069283"), ("crc64nvme", "ae8b14860a799888")],
)
def test_check_values(algorithm: str, expected: str) -> None:
    """The values of `123456789` in the catalogue of parametrised CRC algorithms."""
    whole = checksums.new(algorithm)
    whole.update(b"123456789")
    assert whole.digest().hex() == expected
    pieces = checksums.new(algorithm)
    for byte in b"123456789":
        pieces.update(bytes([byte]))
    assert pieces.digest() == whole.digest()


@pytest.mark.parametrize("algorithm", sorted(checksums.COMBINABLE))
@pytest.mark.parametrize("length", [0, 1, 8, 1000])
def test_checksums_of_parts_make_that_of_the_whole(algorithm: str, length: int) -> None:
    data = os.urandom(777 + length)
    whole, first, second = (checksums.new(algorithm) for _ in range(3))
    whole.update(data)
    first.update(data[:777])
    second.update(memoryview(data)[777:])
    assert checksums.combine(algorithm, first.digest(), second.digest(), length) == whole.digest()


def test_checksum_text() -> None:
    data = os.urandom(100)
    value = checksums.new("crc32")
    value.update(data)
    assert checksums.text(value) == b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


KEYS = st.text("ab/\ud7ff\U0010ffff", min_size=1, max_size=5)


@settings(max_examples=150, deadline=None)
@given(
    keys=st.sets(KEYS, max_size=12),
    prefix=st.text("ab/", max_size=2),
    delimiter=st.sampled_from(["", "/", "b", "ab"]),
    limit=st.integers(1, 4),
)
def test_pages_make_up_the_whole_listing(keys: set[str], prefix: str, delimiter: str, limit: int) -> None:
    ordered = sorted(keys, key=lambda k: k.encode("utf-8", "surrogatepass"))

    def seek(start: str, inclusive: bool):  # type: ignore[no-untyped-def]
        return iter([(k, k) for k in ordered if k > start or (inclusive and k == start)])

    expected_rows, expected_prefixes = [], []
    for key in ordered:
        if key.startswith(prefix):
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            if end < 0:
                expected_rows.append(key)
            elif key[: end + len(delimiter)] not in expected_prefixes:
                expected_prefixes.append(key[: end + len(delimiter)])
    rows, prefixes, after = [], [], ""
    for _ in range(len(keys) + 1):
        page = listing.collect(seek, prefix, delimiter, after, limit)
        assert len(page.rows) + len(page.prefixes) <= limit
        rows += page.rows
        prefixes += page.prefixes
        after = page.last
        if not page.truncated:
            break
        assert len(page.rows) + len(page.prefixes) == limit
    assert rows == expected_rows
    assert prefixes == expected_prefixes


def test_a_page_of_nothing() -> None:
    page = listing.collect(lambda start, inclusive: iter([("a", "a")]), "", "", "", 0)
    assert not page.truncated
    assert page.rows == []


def test_users_file() -> None:
    lines = ["# comment\tx", "", "alice\tsesame\t\n", "bob\ta\tb\n", "nobody", "\tx", "empty\t \n"]
    assert secrets.lenient(lines) == [("alice", "sesame"), ("bob", "a\tb")]


@pytest.mark.parametrize(
    ("method", "scope", "query", "code"),
    [
        ("DELETE", "bucket", {"policy": "", "cors": ""}, "NotImplemented"),
        ("GET", "bucket", {"analytics": "", "id": "x"}, "NotImplemented"),
        ("PUT", "object", {"unknown": ""}, "NotImplemented"),
        ("DELETE", "object", {"unknown": "1"}, "NotImplemented"),
        ("GET", "object", {"torrent": ""}, "NotImplemented"),
        ("PATCH", "object", {}, "MethodNotAllowed"),
        ("DELETE", "service", {}, "MethodNotAllowed"),
    ],
)
def test_nothing_falls_through(method: str, scope: str, query: dict[str, str], code: str) -> None:
    with pytest.raises(S3Error) as caught:
        routes.find(method, scope, query)
    assert caught.value.code == code


def test_no_selector_reaches_a_base_operation() -> None:
    for selector in routes.SELECTORS:
        for scope in ("service", "bucket", "object"):
            for method in ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"):
                operation = routes.OPERATIONS.get((scope, method, selector))
                base = routes.OPERATIONS.get((scope, method, ""))
                if operation is not None:
                    assert base is None or operation.handler is not base.handler
                    continue
                with pytest.raises(S3Error, match="NotImplemented"):
                    routes.find(method, scope, {selector: ""})


def test_every_sub_resource_that_botocore_knows_is_a_selector() -> None:
    loaded = botocore.loaders.create_loader().load_service_model("s3", "service-2")
    requests = [operation["http"]["requestUri"] for operation in loaded["operations"].values()]
    words = {word for uri in requests for word in uri.partition("?")[2].split("&") if word and "=" not in word}
    assert len(words) > 35
    assert words <= routes.SELECTORS


def test_unknown_parameters_of_reads_are_ignored() -> None:
    base = routes.OPERATIONS["object", "GET", ""]
    assert routes.find("GET", "object", {"x-id": "GetObject", "cachebuster": "1"}) is base


RECORD = b"""<Chunk>\r
 <NID>1</NID>\r
 <Socket>\r
  <Host>localhost.localdomain</Host>\r
  <Port>8082</Port>\r
 </Socket>\r
 <Geo>\r
  <Area>-</Area>\r
 </Geo>\r
</Chunk>\r
"""


def test_node_records() -> None:
    assert parse_record(RECORD) == NodeRecord(1, "localhost.localdomain", 8082)
    assert parse_record(b"<Chunk><NID>2</NID><Type>fs</Type><Base>x</Base></Chunk>") is None
    two = b"<Chunk><NID>3</NID><Socket><Host>a</Host></Socket><Socket><Host>b</Host><Port>1</Port></Socket></Chunk>"
    assert parse_record(two) == NodeRecord(3, "b", 1)


@pytest.mark.parametrize(
    "text",
    [b"", b"<Chunk>", b"<Chunk><NID>0</NID></Chunk>", b"<Chunk><NID>1</NID></Chunk>", b"\xff", b"<Other/>"],
)
def test_bad_node_records(text: bytes) -> None:
    with pytest.raises(RecordError):
        parse_record(text)


def test_a_server_without_webhooks_starts_without_an_http_client() -> None:
    text = "import sys, haild.tabled.daemon; print('aiohttp' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout == "False\n"
    )
