"""Signature version 4 against the vectors of tabled.md 17.2 and botocore's own signer."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from haild.wire.s3 import sigv4

WHEN = datetime(2010, 11, 28, 18, 41, 22, tzinfo=UTC)
HOST = {"Host": "localhost:8080"}


def test_header_vector() -> None:
    target = "/docs/hello%20world?list-type=2&prefix=a%2Fb"
    added = sigv4.sign_headers(
        "GET",
        target,
        HOST,
        key="alice",
        secret="sesame",
        region="us-east-1",
        when=WHEN,
        payload_hash=sigv4.EMPTY_SHA256,
    )
    claimed = sigv4.parse_authorization(added["Authorization"])
    assert claimed.signature == "c66ecc6cbe44d6b83def6ce316b79e5e9cc24a2c5c013b3fe2d0ee532d2022a3"
    assert claimed.signed_headers == ("host", "x-amz-content-sha256", "x-amz-date")
    assert added["x-amz-date"] == "20101128T184122Z"
    assert sigv4.verify(
        claimed,
        "GET",
        target,
        HOST | added,
        secret="sesame",
        timestamp=added["x-amz-date"],
        payload_hash=sigv4.EMPTY_SHA256,
    )


def test_presign_vector() -> None:
    target = sigv4.presign(
        "GET", "/docs/hello%20world", HOST, key="alice", secret="sesame", region="us-east-1", when=WHEN, expires=3600
    )
    proof = "d275cd15a5886704f33c9df9b5b61160b1275faccc8680e7067546987518b16e"
    assert target.endswith(f"&X-Amz-Signature={proof}")
    claimed = sigv4.claim("alice/20101128/us-east-1/s3/aws4_request", "host", proof)
    common = {"secret": "sesame", "timestamp": "20101128T184122Z", "payload_hash": sigv4.UNSIGNED_PAYLOAD}
    assert sigv4.verify(claimed, "GET", target, HOST, **common)
    assert not sigv4.verify(claimed, "PUT", target, HOST, **common)
    assert not sigv4.verify(claimed, "GET", target + "&acl", HOST, **common)
    assert not sigv4.verify(claimed, "GET", target, {"Host": "other"}, **common)


CREDENTIAL = "alice/20101128/us-east-1/s3/aws4_request"
PROOF = "0" * 64


@pytest.mark.parametrize(
    "value",
    [
        "",
        "AWS alice:x",
        "AWS4-HMAC-SHA256",
        f"AWS4-HMAC-SHA256 Credential={CREDENTIAL}, SignedHeaders=host",
        f"AWS4-HMAC-SHA256 Credential={CREDENTIAL}, SignedHeaders=host, Signature={PROOF[1:]}",
        f"AWS4-HMAC-SHA256 Credential={CREDENTIAL}, SignedHeaders=Host, Signature={PROOF}",
        f"AWS4-HMAC-SHA256 Credential={CREDENTIAL}, SignedHeaders=, Signature={PROOF}",
        f"AWS4-HMAC-SHA256 Credential=alice/2010/us-east-1/s3, SignedHeaders=host, Signature={PROOF}",
        f"AWS4-HMAC-SHA256 Credential={CREDENTIAL}, Credential={CREDENTIAL}, SignedHeaders=host, Signature={PROOF}",
        f"AWS4-HMAC-SHA256 Credential={CREDENTIAL}, SignedHeaders=host, Signature={PROOF}, More=1",
    ],
)
def test_malformed_authorization(value: str) -> None:
    with pytest.raises(sigv4.MalformedError):
        sigv4.parse_authorization(value)


def test_blanks_after_commas_are_optional() -> None:
    tight = sigv4.parse_authorization(
        f"AWS4-HMAC-SHA256 Credential={CREDENTIAL},SignedHeaders=host;x-amz-date,Signature={PROOF}"
    )
    assert tight.scope == sigv4.Scope("20101128", "us-east-1")
    assert tight.signed_headers == ("host", "x-amz-date")


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for value in (text, f"AWS4-HMAC-SHA256 {text}"):
        with pytest.raises(sigv4.MalformedError):
            sigv4.parse_authorization(value)


@pytest.mark.parametrize("text", ["", "20101128", "20101128T184122", "20101328T184122Z", "2010112 T184122Z"])
def test_bad_timestamps(text: str) -> None:
    assert sigv4.parse_timestamp(text) is None


def test_timestamp() -> None:
    assert sigv4.parse_timestamp("20101128T184122Z") == WHEN


@settings(max_examples=60, deadline=None)
@given(
    key=st.text(min_size=1, max_size=6).filter(lambda k: "\x00" not in k),
    query=st.lists(st.tuples(st.sampled_from(["prefix", "marker", "acl", "a b"]), st.text(max_size=3)), max_size=3),
    value=st.text("ab  ", max_size=6),
)
def test_agrees_with_botocore(key: str, query: list[tuple[str, str]], value: str) -> None:
    key = key.encode("utf-8", "replace").decode()
    query = [(name, text.encode("utf-8", "replace").decode()) for name, text in query]
    target = "/bucket/" + quote(key, safe="/~")
    if query:
        target += "?" + "&".join(f"{quote(n, safe='~')}={quote(v, safe='~')}" for n, v in query)
    request = AWSRequest("PUT", f"http://localhost:8080{target}", data=b"body", headers={"x-amz-meta-a": value})
    S3SigV4Auth(Credentials("alice", "sesame"), "s3", "eu-west-1").add_auth(request)
    headers = dict(request.headers.items()) | HOST
    claimed = sigv4.parse_authorization(headers["Authorization"])
    assert sigv4.verify(
        claimed,
        "PUT",
        target,
        headers,
        secret="sesame",
        timestamp=headers["X-Amz-Date"],
        payload_hash=headers["X-Amz-Content-SHA256"],
    )


def test_programs_beside_the_project_find_the_signers_in_one_place() -> None:
    from haild import wire
    from haild.wire.s3 import sigv2, sigv4

    assert (wire.sigv2, wire.sigv4) == (sigv2, sigv4)
    with pytest.raises(AttributeError):
        wire.sigv3  # noqa: B018 - reading it is the test
