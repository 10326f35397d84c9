"""A client of 2010 against tabled: V2 signatures over plain sockets, one connection for everything."""

import base64
import calendar
import hashlib
import time
import urllib.error
import urllib.request
from urllib.parse import quote

import pytest
from hstor import Hstor, date, signature
from oddnames import LONGEST, ODD, PRESIGNED, THOUSANDS, body_of, noise
from s3endpoint import Endpoint

BUCKET = "of-2010"


@pytest.fixture(scope="module")
def hstor(endpoint: Endpoint):
    """One connection for the whole module: keep-alive is part of what the client expects."""
    with endpoint.hstor() as connection:
        assert connection.request("PUT", BUCKET).status == 200
        yield connection
        for key in connection.keys(BUCKET):
            assert connection.request("DELETE", BUCKET, key).status == 204
        assert connection.request("DELETE", BUCKET).status == 204
        assert BUCKET not in connection.request("GET").texts("Name")


def test_buckets_of_mine_are_listed(hstor: Hstor) -> None:
    answer = hstor.request("GET")
    assert answer.status == 200
    assert b"<ListAllMyBucketsResult" in answer.body
    assert BUCKET in answer.texts("Name")
    assert answer.texts("ID") == [hstor.key]


@pytest.mark.parametrize("size", [0, 1, 4096, 12_000_000])
def test_an_object_comes_back_whole(hstor: Hstor, size: int) -> None:
    body = noise(size)
    stored = hstor.request("PUT", BUCKET, f"size/{size}", body=body)
    assert stored.status == 200
    assert stored.headers["etag"] == f'"{hashlib.md5(body).hexdigest()}"'
    back = hstor.request("GET", BUCKET, f"size/{size}")
    assert (back.status, back.body) == (200, body)
    assert "content-encoding" not in back.headers
    head = hstor.request("HEAD", BUCKET, f"size/{size}")
    assert (head.status, head.headers["content-length"], head.body) == (200, str(size), b"")


def test_the_server_is_asked_before_a_large_body_goes_out(hstor: Hstor, endpoint: Endpoint) -> None:
    body = noise(100_000)
    assert hstor.request("PUT", BUCKET, "asked", body=body, headers={"Expect": "100-continue"}).status == 200
    assert hstor.request("GET", BUCKET, "asked").body == body
    with endpoint.hstor() as other:
        refused = other.request("PUT", "no-such-bucket", "k", body=body, headers={"Expect": "100-continue"})
    assert refused.status == 404
    assert refused.texts("Code") == ["NoSuchBucket"]


def test_headers_are_kept_and_signed(hstor: Hstor) -> None:
    body = b"with headers"
    sent = {
        "Content-Type": "text/plain",
        "Content-MD5": base64.b64encode(hashlib.md5(body).digest()).decode(),
        "Cache-Control": "max-age=60",
        "x-amz-meta-colour": "green",
        "x-amz-acl": "public-read",
    }
    assert hstor.request("PUT", BUCKET, "headers", body=body, headers=sent).status == 200
    head = hstor.request("HEAD", BUCKET, "headers").headers
    kept = {"content-type": "text/plain", "cache-control": "max-age=60", "x-amz-meta-colour": "green"}
    assert {name: head[name] for name in kept} == kept
    assert "FULL_CONTROL" in hstor.request("GET", BUCKET, "headers", query="acl").texts("Permission")
    wrong = hstor.request("PUT", BUCKET, "headers", body=b"another", headers=sent)
    assert (wrong.status, wrong.texts("Code")) == (400, ["BadDigest"])


@pytest.mark.parametrize("key", [*ODD, LONGEST])
def test_a_name_is_only_itself(hstor: Hstor, key: str) -> None:
    body = b"body of " + key.encode()
    assert hstor.request("PUT", BUCKET, key, body=body).status == 200
    assert hstor.request("GET", BUCKET, key).body == body
    assert list(hstor.keys(BUCKET, prefix=key))[:1] == [key]


def test_a_name_of_1025_bytes_is_refused(endpoint: Endpoint) -> None:
    with endpoint.hstor() as other:
        answer = other.request("PUT", BUCKET, LONGEST + "x", body=b"")
    assert (answer.status, answer.texts("Code")) == (400, ["KeyTooLongError"])


@pytest.mark.parametrize("page", [1000, 100])
def test_thousands_are_listed_in_order(hstor: Hstor, thousands: str, page: int) -> None:
    keys = list(hstor.keys(thousands, page=page))
    assert keys == sorted([*THOUSANDS, *ODD, LONGEST], key=str.encode)


def test_prefix_and_delimiter(hstor: Hstor, thousands: str) -> None:
    assert len(list(hstor.keys(thousands, prefix="many/3/"))) == len(THOUSANDS) / 10
    answer = hstor.request("GET", thousands, query="prefix=many/&delimiter=/&max-keys=20")
    assert answer.texts("Key") == []
    assert answer.texts("Prefix") == ["many/", *(f"many/{digit}/" for digit in range(10))]


def test_every_odd_object_is_read_through_its_name(hstor: Hstor, thousands: str) -> None:
    for key in (*ODD, LONGEST, THOUSANDS[7]):
        assert hstor.request("GET", thousands, key).body == body_of(key)


def test_range_and_conditions(hstor: Hstor) -> None:
    etag = hstor.request("PUT", BUCKET, "digits", body=b"0123456789").headers["etag"]
    written = hstor.request("HEAD", BUCKET, "digits").headers["last-modified"]
    # The client wrote a numeric zone where today's servers and clients say GMT.
    seconds = calendar.timegm(time.strptime(written, "%a, %d %b %Y %H:%M:%S GMT"))
    part = hstor.request("GET", BUCKET, "digits", headers={"Range": "bytes=3-5"})
    assert (part.status, part.body, part.headers["content-range"]) == (206, b"345", "bytes 3-5/10")
    tail = hstor.request("GET", BUCKET, "digits", headers={"Range": "bytes=-2"})
    assert (tail.status, tail.body) == (206, b"89")
    assert hstor.request("GET", BUCKET, "digits", headers={"If-None-Match": etag}).status == 304
    assert hstor.request("GET", BUCKET, "digits", headers={"If-Modified-Since": date(seconds)}).status == 304
    assert hstor.request("GET", BUCKET, "digits", headers={"If-Modified-Since": date(seconds - 1)}).status == 200
    assert hstor.request("GET", BUCKET, "digits").body == b"0123456789"


def test_a_copy_is_an_object_of_its_own(hstor: Hstor) -> None:
    body = noise(50_000)
    hstor.request("PUT", BUCKET, "source ä", body=body, headers={"x-amz-meta-a": "b"})
    source = {"x-amz-copy-source": quote(f"/{BUCKET}/source ä")}
    copied = hstor.request("PUT", BUCKET, "copy", body=b"", headers=source)
    assert copied.status == 200
    assert b"<CopyObjectResult" in copied.body
    assert hstor.request("DELETE", BUCKET, "source ä").status == 204
    back = hstor.request("GET", BUCKET, "copy")
    assert (back.body, back.headers["x-amz-meta-a"]) == (body, "b")


def test_a_presigned_url_opens_one_object(hstor: Hstor, endpoint: Endpoint) -> None:
    hstor.request("PUT", BUCKET, PRESIGNED, body=b"only this")
    path = f"/{BUCKET}/{quote(PRESIGNED)}"

    def presigned(expires: int) -> str:
        signed = signature(endpoint.secret, "GET", {"date": str(expires)}, path)
        query = f"AWSAccessKeyId={endpoint.key}&Expires={expires}&Signature={quote(signed, safe='')}"
        return f"{endpoint.url}{path}?{query}"

    with urllib.request.urlopen(presigned(int(time.time()) + 60), timeout=10) as answer:
        assert answer.read() == b"only this"
    for url in (presigned(int(time.time()) - 60), endpoint.url + path):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(url, timeout=10)


def test_buckets_as_host_names(hstor: Hstor, endpoint: Endpoint) -> None:
    with endpoint.hstor(subdomain="localhost") as other:
        assert other.request("PUT", BUCKET, "in host", body=b"virtual").status == 200
        assert "in host" in other.keys(BUCKET)
    assert hstor.request("GET", BUCKET, "in host").body == b"virtual"


def test_a_wrong_signature_and_a_stranger_are_refused(endpoint: Endpoint) -> None:
    for key, secret in ((endpoint.key, endpoint.secret[:-1]), ("stranger", ""), ("stranger", endpoint.secret)):
        with Hstor(endpoint.url, key, secret) as other:
            answer = other.request("GET", BUCKET)
        assert answer.status == 403, key
        assert set(answer.texts("Code")) <= {"SignatureDoesNotMatch", "InvalidAccessKeyId"}


def test_what_is_deleted_is_gone(hstor: Hstor, endpoint: Endpoint) -> None:
    hstor.request("PUT", BUCKET, "short-lived", body=b"x")
    assert hstor.request("DELETE", BUCKET, "short-lived").status == 204
    assert hstor.request("DELETE", BUCKET, "short-lived").status == 204
    with endpoint.hstor() as other:
        assert other.request("GET", BUCKET, "short-lived").status == 404
    hstor.request("PUT", BUCKET, "still-there", body=b"x")
    with endpoint.hstor() as other:
        refused = other.request("DELETE", BUCKET)
    assert (refused.status, refused.texts("Code")) == (409, ["BucketNotEmpty"])
