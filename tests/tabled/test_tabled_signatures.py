"""Who sends a request: nothing that was signed can be changed, and no signature is good for ever."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from haild.tabled.s3 import addressing, postpolicy
from haild.tabled.s3.authentication import Authenticator, Identity, RequestFacts
from haild.tabled.s3.errors import S3Error
from haild.wire.s3 import sigv2, sigv4

NOW = datetime(2010, 11, 28, 18, 41, 22, tzinfo=UTC)
LOOP = asyncio.new_event_loop()
PASSWORDS = {"alice": "sesame", "bob": "builder"}


async def password(user: str) -> str | None:
    return PASSWORDS.get(user)


def identify(
    method: str, target: str, headers: list[tuple[str, str]], *, now: datetime = NOW, bucket_in_host: str = ""
) -> Identity:
    facts = RequestFacts(
        method, target, CIMultiDict(headers), addressing.parse_query(target.partition("?")[2]), bucket_in_host
    )
    return LOOP.run_until_complete(Authenticator(password).identify(facts, now.timestamp()))


def refusal(ask: Callable[[], object]) -> int | None:
    """The status with which a request is refused; None if it is not."""
    try:
        ask()
    except S3Error as error:
        return error.status
    return None


def flipped(text: str, bit: int) -> str:
    data = bytearray(text.encode("latin-1"))
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    return data.decode("latin-1")


QUERY = "versionId=v1&response-content-type=text%2Fplain&uploadId=u"
"""Only what version 2 signs, too."""


def header_v4() -> tuple[str, str, list[tuple[str, str]]]:
    headers = {"Host": "localhost:8080", "x-amz-meta-colour": "blue", "Content-Type": "text/plain"}
    target = f"/docs/hello%20world?{QUERY}"
    signed = sigv4.sign_headers(
        "GET", target, headers, key="alice", secret="sesame", region="r", when=NOW, payload_hash="UNSIGNED-PAYLOAD"
    )
    return "GET", target, list((headers | signed).items())


def query_v4() -> tuple[str, str, list[tuple[str, str]]]:
    headers = {"Host": "localhost:8080", "x-amz-meta-colour": "blue"}
    target = sigv4.presign(
        "GET", f"/docs/k?{QUERY}", headers, key="alice", secret="sesame", region="r", when=NOW, expires=600
    )
    return "GET", target, list(headers.items())


def header_v2() -> tuple[str, str, list[tuple[str, str]]]:
    headers = {"Date": "Sun, 28 Nov 2010 18:41:22 +0000", "x-amz-meta-colour": "blue", "Content-MD5": "eA=="}
    target = f"/docs/hello%20world?{QUERY}"
    value = sigv2.sign_headers("GET", target, headers, key="alice", secret="sesame")
    return "GET", target, [*headers.items(), ("Authorization", value)]


def query_v2() -> tuple[str, str, list[tuple[str, str]]]:
    headers = {"x-amz-meta-colour": "blue", "Content-Type": "text/plain"}
    target = sigv2.presign(
        "GET",
        f"/docs/k?{QUERY}",
        headers,
        key="alice",
        secret="sesame",
        expires=int(NOW.timestamp()) + 600,
    )
    return "GET", target, list(headers.items())


KINDS = {"header v4": header_v4, "query v4": query_v4, "header v2": header_v2, "query v2": query_v2}


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_signed_is_served(kind: str) -> None:
    assert identify(*KINDS[kind]()).user == "alice"


@pytest.mark.parametrize("kind", KINDS)
def test_any_flipped_bit_is_refused(kind: str) -> None:
    """Every bit of the method, of the target with its query, and of the values of all signed headers."""
    method, target, headers = KINDS[kind]()
    original = (method, target, headers)
    changed = [(flipped(method, bit), target, headers) for bit in range(8 * len(method))]
    changed += [(method, flipped(target, bit), headers) for bit in range(8 * len(target))]
    for name, value in headers:
        for bit in range(8 * len(value)):
            changed.append((method, target, [(n, flipped(v, bit) if n == name else v) for n, v in headers]))
    tried = 0
    for request in changed:
        if _means_the_same(original, request):
            continue
        status = refusal(lambda request=request: identify(*request).user)
        tried += status is not None
        # A URL without its question mark bears no signature any more: the request is anonymous.
        assert status in (400, 403, 501) or (identify(*request).user is None and "?" not in request[1]), request
    assert tried > 1000


def _means_the_same(
    one: tuple[str, str, list[tuple[str, str]]], other: tuple[str, str, list[tuple[str, str]]]
) -> bool:
    """Whether two requests ask for the same: another spelling of it, such as %2f for %2F, may bear the signature."""

    def meaning(request: tuple[str, str, list[tuple[str, str]]]) -> Any:
        method, target, headers = request
        path, _, query = target.partition("?")
        values = [(name.lower(), " ".join(value.split())) for name, value in headers]
        try:
            return method, addressing.decode(path), addressing.parse_query(query), values
        except S3Error:
            return object()

    return bool(meaning(one) == meaning(other))


@pytest.mark.parametrize("name", ["acl", "versionId", "tagging", "uploads", "response-content-type", "policy"])
def test_version_2_signs_sub_resources_however_they_are_spelt(name: str) -> None:
    """A signature of the object is none of what a sub-resource of it says."""
    headers = [("Date", "Sun, 28 Nov 2010 18:41:22 +0000")]
    value = sigv2.sign_headers("GET", "/docs/k", dict(headers), key="alice", secret="sesame")
    signed = [*headers, ("Authorization", value)]
    assert identify("GET", "/docs/k", signed).user == "alice"
    for spelling in (name, f"%{ord(name[0]):02x}{name[1:]}", f"%{ord(name[0]):02X}{name[1:]}"):
        for target in (f"/docs/k?{spelling}", f"/docs/k?{spelling}=x", f"/docs/k?a=b&{spelling}=x"):
            with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
                identify("GET", target, signed)


@pytest.mark.parametrize("kind", ["header v4", "header v2"])
def test_replays_end_with_the_clients_clock(kind: str) -> None:
    for seconds, served in ((-899, True), (899, True), (-901, False), (901, False), (86400, False)):
        moment = NOW + timedelta(seconds=seconds)
        if served:
            assert identify(*KINDS[kind](), now=moment).user == "alice"
        else:
            with pytest.raises(S3Error, match="RequestTimeTooSkewed"):
                identify(*KINDS[kind](), now=moment)


@pytest.mark.parametrize("kind", ["query v4", "query v2"])
def test_signed_addresses_end(kind: str) -> None:
    assert identify(*KINDS[kind](), now=NOW + timedelta(seconds=599)).user == "alice"
    with pytest.raises(S3Error, match="AccessDenied"):
        identify(*KINDS[kind](), now=NOW + timedelta(seconds=602))


def test_addresses_from_the_future_and_for_too_long() -> None:
    with pytest.raises(S3Error, match="AccessDenied"):
        identify(*query_v4(), now=NOW - timedelta(seconds=901))
    for expires in ("0", "604801", "0000000019999999", "-1", "+5", "1e3", "\u0661", "9" * 5000):
        target = query_v4()[1].replace("X-Amz-Expires=600", f"X-Amz-Expires={expires}")
        with pytest.raises(S3Error, match="AuthorizationQueryParametersError"):
            identify("GET", target, query_v4()[2])


@pytest.mark.parametrize("date", [None, "", "yesterday", "Sun, 28 Nov 2010"])
def test_no_date_no_service(date: str | None) -> None:
    headers = {} if date is None else {"Date": date}
    value = sigv2.sign_headers("GET", "/", headers, key="alice", secret="sesame")
    with pytest.raises(S3Error, match="AccessDenied"):
        identify("GET", "/", [*headers.items(), ("Authorization", value)])
    four = [(name, text) for name, text in header_v4()[2] if name != "x-amz-date"]
    with pytest.raises(S3Error, match="AccessDenied"):
        identify("GET", header_v4()[1], [*four, *headers.items()])


@pytest.mark.parametrize("left_out", ["Signature", "AWSAccessKeyId", "Expires"])
def test_a_part_of_a_signature_is_not_nobodys_request(left_out: str) -> None:
    method, target, headers = query_v2()
    path, _, query = target.partition("?")
    rest = "&".join(pair for pair in query.split("&") if not pair.startswith(f"{left_out}="))
    with pytest.raises(S3Error, match="AccessDenied"):
        identify(method, f"{path}?{rest}", headers)


def form_fields(version: str) -> dict[str, str]:
    conditions = [{"bucket": "docs"}, ["starts-with", "$key", "up/"], {"x-amz-meta-a": "b"}]
    extra: dict[str, str] = {}
    if version == "v4":
        extra = {"x-amz-algorithm": sigv4.ALGORITHM, "x-amz-credential": "alice/20101128/r/s3/aws4_request"}
        conditions += [{name: value} for name, value in extra.items()]
    document = {"expiration": "2010-11-28T19:00:00.000Z", "conditions": conditions}
    policy = base64.b64encode(json.dumps(document).encode()).decode()
    fields = {"key": "up/k", "x-amz-meta-a": "b", "policy": policy, **extra}
    if version == "v4":
        key = sigv4.signing_key("sesame", sigv4.Scope("20101128", "r"))
        return fields | {"x-amz-signature": sigv4.signature(key, policy)}
    return fields | {"awsaccesskeyid": "alice", "signature": sigv2.signature("sesame", policy)}


def form_refused(fields: dict[str, str]) -> bool:
    def take() -> bool:
        user = postpolicy.claimed_key(fields)
        if user not in PASSWORDS or not postpolicy.verify(fields, PASSWORDS[user]):
            return False
        postpolicy.parse(fields["policy"]).check({**fields, "bucket": "docs"}, NOW.timestamp())
        return True

    status = refusal(lambda: take() or _mismatch())
    assert status in (None, 400, 403)
    return status is not None


def _mismatch() -> None:
    raise S3Error("SignatureDoesNotMatch", "the form's")


@pytest.mark.parametrize("version", ["v2", "v4"])
@settings(max_examples=200, deadline=None)
@given(part=st.integers(0, 99), bit=st.integers(0, 8000))
def test_a_form_with_any_flipped_bit_is_refused(version: str, part: int, bit: int) -> None:
    fields = form_fields(version)
    assert not form_refused(fields)
    name = sorted(fields)[part % len(fields)]
    changed = {**fields, name: flipped(fields[name], bit)}
    if name == "key" and changed[name].startswith("up/"):
        return  # this the policy leaves free
    assert form_refused(changed), name


def test_version_2_takes_a_bucket_signed_with_a_slash() -> None:
    """As boto3 signs addresses of buckets; a key is not spelt in two ways."""
    headers = [("Date", "Sun, 28 Nov 2010 18:41:22 +0000")]

    def signed(target: str) -> list[tuple[str, str]]:
        value = sigv2.sign_headers("GET", target, dict(headers), key="alice", secret="sesame")
        return [*headers, ("Authorization", value)]

    assert identify("GET", "/docs?versioning", signed("/docs/?versioning")).user == "alice"
    assert identify("GET", "/docs/?versioning", signed("/docs/?versioning")).user == "alice"
    for sent, meant in (("/docs/k", "/docs/k/"), ("/docs/", "/docs"), ("/docs", "/docs//"), ("/docs", "/other/")):
        with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
            identify("GET", sent, signed(meant))
