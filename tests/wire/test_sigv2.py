"""Signature version 2 against the vectors of tabled.md section 7 and botocore's own signer."""

from __future__ import annotations

import pytest
from botocore.auth import HmacV1Auth, HmacV1QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from haild.wire.s3 import sigv2

DATE = "Sun, 28 Nov 2010 18:41:22 +0000"
PUPPY_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

VECTORS = [
    ("GET", "/", {"Date": DATE}, "", "sesame", "SdpwuIbU860TY6eo9hHRmUrkMbs="),
    ("GET", "/docs/hello%20world", {"Date": DATE}, "", "sesame", "rqoDYWm884ISk1tYFg8VhNgsQtE="),
    (
        "PUT",
        "/k",
        {
            "Date": DATE,
            "Content-Type": "text/plain",
            "X-Amz-Meta-Test1": "foo bar",
            "x-amz-meta-Abc": "one",
            "x-amz-meta-abc": "two",
        },
        "buck",
        "sesame",
        "uKiCFZPE26GbQ5zX4nKnymo/xdg=",
    ),
    (
        "PUT",
        "/docs/k?acl",
        {"x-amz-date": DATE, "x-amz-acl": "public-read"},
        "",
        "sesame",
        "A7itHy/xI0aPaV0xoTMBZ92vRG0=",
    ),
    (
        "GET",
        "/photos/puppy.jpg",
        {"Date": "Tue, 27 Mar 2007 19:36:42 +0000"},
        "johnsmith",
        PUPPY_KEY,
        "bWq2s1WEIj+Ydj0vQ697zp+IXMU=",
    ),
]


@pytest.mark.parametrize(("method", "target", "headers", "bucket", "secret", "expected"), VECTORS)
def test_vectors(method: str, target: str, headers: dict[str, str], bucket: str, secret: str, expected: str) -> None:
    value = sigv2.sign_headers(method, target, headers, key="alice", secret=secret, bucket_in_host=bucket)
    assert value == f"AWS alice:{expected}"
    assert sigv2.verify(expected, method, target, headers, secret=secret, bucket_in_host=bucket)


@pytest.mark.parametrize("claimed", ["", "S", "SdpwuIbU860TY6eo9hHRmUrkMbs", "SdpwuIbU860TY6eo9hHRmUrkMbt=", "ä"])
def test_a_part_of_the_signature_is_not_enough(claimed: str) -> None:
    assert not sigv2.verify(claimed, "GET", "/", {"Date": DATE}, secret="sesame")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("AWS alice:abc=", sigv2.Authorization("alice", "abc=")),
        ("AWS alice:", None),
        ("AWS :abc", None),
        ("AWS alice", None),
        ("Basic alice:abc", None),
        ("AWS4-HMAC-SHA256 Credential=a", None),
        ("", None),
    ],
)
def test_parse_authorization(value: str, expected: sigv2.Authorization | None) -> None:
    assert sigv2.parse_authorization(value) == expected


def test_the_old_words_are_signed_in_any_case() -> None:
    assert sigv2.canonical_resource("/b/k?ACL") == "/b/k?ACL"
    assert sigv2.canonical_resource("/b?prefix=a&marker=b") == "/b"


NAMES = ["acl", "uploadId", "partNumber", "prefix", "versionId", "response-content-type", "x"]


@settings(max_examples=40, deadline=None)
@given(
    pairs=st.lists(
        st.tuples(st.sampled_from(NAMES), st.text("ab%20/ ", max_size=4)), max_size=4, unique_by=lambda p: p[0]
    ),
    metadata=st.dictionaries(st.sampled_from(["a", "b-c"]), st.text("xy z", min_size=1, max_size=5), max_size=2),
)
def test_agrees_with_botocore(pairs: list[tuple[str, str]], metadata: dict[str, str]) -> None:
    from urllib.parse import quote

    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in pairs)
    target = "/bucket/some%20key" + (f"?{query}" if query else "")
    headers = {"Date": DATE, "Content-Type": "text/plain"}
    headers |= {f"X-Amz-Meta-{name}": value.strip() for name, value in metadata.items()}
    request = AWSRequest("PUT", f"http://localhost:8080{target}", headers=dict(headers))
    HmacV1Auth(Credentials("alice", "sesame")).add_auth(request)
    signed = dict(request.headers.items())
    theirs = signed.pop("Authorization").partition(":")[2]
    assert sigv2.verify(theirs, "PUT", target, signed, secret="sesame")


def test_presign_agrees_with_botocore() -> None:
    request = AWSRequest("GET", "http://localhost:8080/b/k")
    HmacV1QueryAuth(Credentials("alice", "sesame"), expires=100).add_auth(request)
    theirs = request.url.partition("8080")[2]
    expires = int(theirs.split("Expires=")[1].partition("&")[0])
    ours = sigv2.presign("GET", "/b/k", {}, key="alice", secret="sesame", expires=expires)
    assert sorted(ours.partition("?")[2].split("&")) == sorted(theirs.partition("?")[2].split("&"))
