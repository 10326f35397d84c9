"""What tabled reads in a request's first line and headers: address, query, operation, dates, ranges, entity tags."""

import contextlib
from collections.abc import Iterator

from haild.tabled.http import routes
from haild.tabled.s3 import addressing, conditions
from haild.tabled.s3.errors import S3Error

TOKENS = (
    b"bytes=",
    b"%2F",
    b"%3f",
    b"%00",
    b"?acl",
    b"&uploadId=",
    b"http://",
    b".s3.local",
    b"GMT",
    b"+0000",
    b'W/"',
    b"-1",
    b"\xc3\xa4",
)
METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE", "PATCH")
OWN = ("s3.local", "localhost")


def seeds() -> Iterator[bytes]:
    yield b"localhost:8080\n/docs/a%2Fb?list-type=2&prefix=%C3%A4\nbytes=0-5\nSun, 28 Nov 2010 18:41:22 GMT"
    yield b'buck.s3.local\n/k?acl\nbytes=-5\n"abc", W/"x", *'
    yield b"x\nhttp://h:1/b//k?uploadId=u&partNumber=7\nbytes=7-\n2010-11-28T18:41:22.000Z"
    yield b"[::1]:8080\n/?location\nbytes=1-2,3-4\nSunday, 28-Nov-10 18:41:22 +0000"


def fuzz(data: bytes) -> None:
    texts = data.decode("utf-8", "surrogateescape").split("\n")
    host, target, wanted, value = ([*texts, "", "", "", ""])[:4]
    with contextlib.suppress(S3Error):
        _address(host, target)
    for size in (0, 1, 5 << 30):
        with contextlib.suppress(S3Error):
            found = conditions.byte_range(wanted, size)
            assert found is None or 0 <= found[0] < found[1] <= size or 0 <= found[0] <= found[1] < size
    conditions.etag_matches(value, "9e107d9d372bb6826bd81d3542a419d6")
    seconds = conditions.parse_date(value)
    assert seconds is None or isinstance(seconds, float)
    headers = {"If-Match": value, "If-Modified-Since": value, "If-None-Match": wanted, "If-Unmodified-Since": wanted}
    with contextlib.suppress(S3Error):
        conditions.check_read(headers, "abc", 0.0)


def _address(host: str, target: str) -> None:
    target = addressing.absolute_to_origin(target)
    address = addressing.locate(host, target, OWN)
    assert len(address.key.encode()) <= 1024
    assert address.bucket or not address.key
    if address.bucket:
        addressing.check_bucket_name(address.bucket)
    query = addressing.parse_query(target.partition("?")[2])
    scope = "object" if address.key else "bucket" if address.bucket else "service"
    for method in METHODS:
        with contextlib.suppress(S3Error):
            operation = routes.find(method, scope, query)
            base = routes.OPERATIONS.get((scope, method, ""))
            assert operation is not base or not routes.SELECTORS & query.keys(), "fell through"
