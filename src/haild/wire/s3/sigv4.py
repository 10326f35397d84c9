"""AWS signature version 4 of S3 requests: signing and verifying, in the header and in the query.

Source: tabled.md 17.2; S3 API reference, "Authenticating requests (AWS signature version 4)".
Pure functions: time is an argument. The frames of aws-chunked bodies are in `haild.wire.s3.awschunked`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote_to_bytes

ALGORITHM: Final = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"
EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()
TIMESTAMP_FORMAT: Final = "%Y%m%dT%H%M%SZ"

_PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9\-_.~/]*")
_SCOPE: Final = re.compile(r"(?P<key>.+)/(?P<date>\d{8})/(?P<region>[^/]*)/(?P<service>[^/]*)/aws4_request")
_TIMESTAMP: Final = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})Z")
_HEX_SIGNATURE: Final = re.compile(r"[0-9a-f]{64}")


class MalformedError(ValueError):
    """An Authorization header or query that claims to be version 4 and is not well-formed."""


@dataclass(frozen=True)
class Scope:
    """Where a signature holds: day (YYYYMMDD), region and service."""

    date: str
    region: str
    service: str = "s3"

    def __str__(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


@dataclass(frozen=True)
class Authorization:
    """What a client claims: access key, scope, names of the signed headers in order, hex signature."""

    key: str
    scope: Scope
    signed_headers: tuple[str, ...]
    signature: str


def parse_authorization(value: str) -> Authorization:
    """The parts of an `AWS4-HMAC-SHA256 Credential=..., SignedHeaders=..., Signature=...` value.

    Raises MalformedError.
    """
    algorithm, _, rest = value.strip().partition(" ")
    if algorithm != ALGORITHM:
        raise MalformedError("the algorithm is not AWS4-HMAC-SHA256")
    fields: dict[str, str] = {}
    for item in rest.split(","):
        name, equals, text = item.strip().partition("=")
        if not equals or name in fields:
            raise MalformedError("the header is not a list of Name=value")
        fields[name] = text
    if fields.keys() != {"Credential", "SignedHeaders", "Signature"}:
        raise MalformedError("Credential, SignedHeaders and Signature are required, once each")
    return claim(fields["Credential"], fields["SignedHeaders"], fields["Signature"])


def claim(credential: str, signed_headers: str, signature: str) -> Authorization:
    """An Authorization from its three texts (of the header or of the query). Raises MalformedError."""
    key, scope = _key_and_scope(credential)
    names = _header_names(signed_headers)
    if not _HEX_SIGNATURE.fullmatch(signature):
        raise MalformedError("the signature is not 64 lower-case hexadecimal digits")
    return Authorization(key, scope, names, signature)


# A client says the same of these in all its requests of a day.


@lru_cache(maxsize=128)
def _key_and_scope(credential: str) -> tuple[str, Scope]:
    match = _SCOPE.fullmatch(credential)
    if not match:
        raise MalformedError("the credential is not KEY/DATE/REGION/SERVICE/aws4_request")
    return match["key"], Scope(match["date"], match["region"], match["service"])


@lru_cache(maxsize=128)
def _header_names(listed: str) -> tuple[str, ...]:
    names = tuple(listed.split(";"))
    if not all(names) or any(name != name.lower() for name in names):
        raise MalformedError("SignedHeaders is not a list of lower-case names")
    return names


@lru_cache(maxsize=64)
def parse_timestamp(text: str) -> datetime | None:
    """The time of an `x-amz-date` value (YYYYMMDDTHHMMSSZ); None where it is not one."""
    match = _TIMESTAMP.fullmatch(text)
    if not match:
        return None
    try:
        return datetime(*map(int, match.groups()), tzinfo=UTC)  # type: ignore[arg-type,misc]
    except ValueError:
        return None


def canonical_path(path: str) -> str:
    """The path with each byte outside `A-Za-z0-9-_.~/` percent-encoded once; nothing is collapsed."""
    if _PLAIN_PATH.fullmatch(path):
        return path or "/"
    return quote(unquote_to_bytes(path.encode("utf-8", "surrogateescape")), safe="/~")


def canonical_query(query: str, leave_out: str = "") -> str:
    """The query's pairs, encoded uniformly and sorted by name, then value; without the pairs named `leave_out`."""
    pairs: list[tuple[str, str]] = []
    for pair in query.split("&"):
        if not pair:
            continue
        name, _, value = pair.partition("=")
        name = _uniform(name)
        if name != leave_out:
            pairs.append((name, _uniform(value)))
    pairs.sort()
    return "&".join(f"{name}={value}" for name, value in pairs)


def _uniform(text: str) -> str:
    if _PLAIN_PATH.fullmatch(text) and "/" not in text:
        return text
    return quote(unquote_to_bytes(text.encode("utf-8", "surrogateescape")), safe="~")


def canonical_request(
    method: str,
    target: str,
    headers: Mapping[str, str],
    signed_headers: Iterable[str],
    payload_hash: str,
    *,
    leave_out: str = "",
) -> str:
    """The canonical request. `headers` may hold one name several times; `leave_out` names a query parameter."""
    path, _, query = target.partition("?")
    names = sorted(signed_headers)
    wanted: dict[str, list[str]] = {name: [] for name in names}
    for name, value in headers.items():
        values = wanted.get(name.lower())
        if values is not None:
            values.append(" ".join(value.split()))
    lines = [method, canonical_path(path), canonical_query(query, leave_out)]
    lines += [f"{name}:{','.join(wanted[name])}" for name in names]
    lines += ["", ";".join(names), payload_hash]
    return "\n".join(lines)


def string_to_sign(timestamp: str, scope: Scope, request: str) -> str:
    """The string to sign for a canonical request."""
    digest = hashlib.sha256(request.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{ALGORITHM}\n{timestamp}\n{scope}\n{digest}"


@lru_cache(maxsize=256)
def signing_key(secret: str, scope: Scope) -> bytes:
    """The key derived from the secret for one day, region and service."""
    derived = b"AWS4" + secret.encode()
    for part in (scope.date, scope.region, scope.service, "aws4_request"):
        derived = hmac.digest(derived, part.encode("utf-8", "surrogateescape"), hashlib.sha256)
    return derived


def signature(key: bytes, text: str) -> str:
    """Hexadecimal HMAC-SHA256 of `text` under a signing key."""
    return hmac.digest(key, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hex()


def sign_headers(
    method: str,
    target: str,
    headers: Mapping[str, str],
    *,
    key: str,
    secret: str,
    region: str,
    when: datetime,
    payload_hash: str,
) -> dict[str, str]:
    """The headers to add to a request: Authorization, x-amz-date and x-amz-content-sha256.

    `headers` must hold Host; Host, Content-Type, Content-MD5 and every x-amz-* header are signed.
    `target` is path and query as sent (percent-encoded); `when` must be aware of its zone.
    """
    timestamp = when.astimezone(UTC).strftime(TIMESTAMP_FORMAT)
    added = {"x-amz-date": timestamp, "x-amz-content-sha256": payload_hash}
    complete: dict[str, str] = {name.lower(): value for name, value in headers.items()} | added
    names = [n for n in complete if n.startswith("x-amz-") or n in ("host", "content-type", "content-md5")]
    if "host" not in names:
        raise ValueError("the Host header must be there to be signed")
    scope = Scope(timestamp[:8], region)
    text = string_to_sign(timestamp, scope, canonical_request(method, target, complete, names, payload_hash))
    proof = signature(signing_key(secret, scope), text)
    listed = ";".join(sorted(names))
    added["Authorization"] = f"{ALGORITHM} Credential={key}/{scope}, SignedHeaders={listed}, Signature={proof}"
    return added


def presign(
    method: str,
    target: str,
    headers: Mapping[str, str],
    *,
    key: str,
    secret: str,
    region: str,
    when: datetime,
    expires: int,
) -> str:
    """`target` with the parameters of a signed URL that is good for `expires` seconds from `when` on.

    Every header in `headers` (at least Host) is signed and must be sent as given.
    """
    timestamp = when.astimezone(UTC).strftime(TIMESTAMP_FORMAT)
    scope = Scope(timestamp[:8], region)
    names = sorted(name.lower() for name in headers)
    parameters = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{key}/{scope}",
        "X-Amz-Date": timestamp,
        "X-Amz-Expires": str(expires),
        "X-Amz-SignedHeaders": ";".join(names),
    }
    mark = "&" if "?" in target else "?"
    target += mark + "&".join(f"{name}={quote(value, safe='~')}" for name, value in parameters.items())
    request = canonical_request(method, target, headers, names, UNSIGNED_PAYLOAD)
    proof = signature(signing_key(secret, scope), string_to_sign(timestamp, scope, request))
    return f"{target}&X-Amz-Signature={proof}"


def verify(
    claimed: Authorization,
    method: str,
    target: str,
    headers: Mapping[str, str],
    *,
    secret: str,
    timestamp: str,
    payload_hash: str,
) -> bool:
    """True if the claimed signature is that of this request. Compares in constant time, in full.

    For a signed URL `payload_hash` is UNSIGNED-PAYLOAD and `target` still holds X-Amz-Signature.
    """
    request = canonical_request(
        method, target, headers, claimed.signed_headers, payload_hash, leave_out="X-Amz-Signature"
    )
    expected = signature(signing_key(secret, claimed.scope), string_to_sign(timestamp, claimed.scope, request))
    return hmac.compare_digest(expected.encode(), claimed.signature.encode())
