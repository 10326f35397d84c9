"""AWS signature version 2 of S3 requests: signing and verifying, in the header and in the query.

Source: tabled.md section 7 (what 2010 clients sign) and 17.2 (the full list of sub-resources);
S3 developer guide, "Signing and authenticating REST requests". Pure functions: time is an argument.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

SUBRESOURCES: Final = frozenset(
    (
        *("abac", "accelerate", "acl", "analytics", "annotation", "append", "attributes", "cors", "defaultObjectAcl"),
        *("delete", "encryption", "intelligent-tiering", "inventory", "legal-hold", "lifecycle", "location"),
        *("logging", "metadataAnnotationTable", "metadataConfiguration", "metadataInventoryTable"),
        *("metadataJournalTable", "metadataTable", "metrics", "notification", "object-lock", "ownershipControls"),
        *("partNumber", "policy", "policyStatus", "publicAccessBlock", "renameObject", "replication"),
        *("requestPayment", "restore", "retention", "select", "select-type", "session", "storageClass", "tagging"),
        *("torrent", "uploadId", "uploads", "versionId", "versioning", "versions", "website"),
        *("response-cache-control", "response-content-disposition", "response-content-encoding"),
        *("response-content-language", "response-content-type", "response-expires"),
    )
)
"""Query parameters that are part of the signed resource (tabled.md 17.2).

Every parameter that chooses another operation is one, also where S3 got it after version 2 was replaced: one that
was not signed could be added to a signed address.
"""

_WHOLE_QUERY: Final = frozenset(("acl", "location", "logging", "torrent"))
_AUTHORIZATION: Final = re.compile(r"AWS ([^\s:]+):(\S+)")


@dataclass(frozen=True)
class Authorization:
    """What a client claims: the access key and the base64 signature."""

    key: str
    signature: str


def parse_authorization(value: str) -> Authorization | None:
    """The parts of an `Authorization: AWS KEY:SIGNATURE` value; None for any other shape."""
    match = _AUTHORIZATION.fullmatch(value.strip())
    return Authorization(match[1], match[2]) if match else None


def canonical_resource(target: str, bucket_in_host: str = "") -> str:
    """The resource part of the string to sign.

    `target` is path and query as sent. A virtual-host bucket is lower-cased and put in front of the path.
    """
    path, _, query = target.partition("?")
    resource = f"/{bucket_in_host.lower()}{path}" if bucket_in_host else path
    if query.lower() in _WHOLE_QUERY:
        return f"{resource}?{query}"
    signed: list[tuple[str, str]] = []
    for pair in query.split("&"):
        name, equals, value = pair.partition("=")
        name = unquote(
            name.replace("+", " ")
        )  # as the server reads it: no spelling of a sub-resource may go unsigned
        if name in SUBRESOURCES:
            signed.append((name, name + equals + unquote(value.replace("+", " "))))
    if not signed:
        return resource
    return resource + "?" + "&".join(text for _, text in sorted(signed))


def string_to_sign(
    method: str,
    target: str,
    headers: Mapping[str, str],
    *,
    bucket_in_host: str = "",
    expires: str | None = None,
) -> str:
    """What the signature covers; `expires` (epoch seconds as sent) takes the date's place in query signatures.

    `headers` may hold one name several times (a multi-dictionary, or names that differ in case).
    """
    plain: dict[str, str] = {}
    amazon: dict[str, list[str]] = {}
    for name, value in headers.items():
        lower = name.lower()
        if lower.startswith("x-amz-"):
            amazon.setdefault(lower, []).append(value.lstrip())
        elif lower in ("content-md5", "content-type", "date"):
            plain.setdefault(lower, value)
    date = "" if "x-amz-date" in amazon else plain.get("date", "")
    date = date if expires is None else expires
    lines = [method, plain.get("content-md5", ""), plain.get("content-type", ""), date]
    lines += [f"{name}:{','.join(amazon[name])}" for name in sorted(amazon)]
    lines.append(canonical_resource(target, bucket_in_host))
    return "\n".join(lines)


def signature(secret: str, text: str) -> str:
    """base64(HMAC-SHA1(secret, text)), both as UTF-8."""
    digest = hmac.digest(secret.encode(), text.encode("utf-8", "surrogateescape"), hashlib.sha1)
    return b64encode(digest).decode("ascii")


def sign_headers(
    method: str, target: str, headers: Mapping[str, str], *, key: str, secret: str, bucket_in_host: str = ""
) -> str:
    """The value of the Authorization header for a request whose headers (with Date) are complete."""
    text = string_to_sign(method, target, headers, bucket_in_host=bucket_in_host)
    return f"AWS {key}:{signature(secret, text)}"


def presign(
    method: str,
    target: str,
    headers: Mapping[str, str],
    *,
    key: str,
    secret: str,
    expires: int,
    bucket_in_host: str = "",
) -> str:
    """`target` with the three parameters of a signed URL that is good until `expires` (epoch seconds)."""
    text = string_to_sign(method, target, headers, bucket_in_host=bucket_in_host, expires=str(expires))
    mark = "&" if "?" in target else "?"
    proof = quote(signature(secret, text), safe="")
    return f"{target}{mark}AWSAccessKeyId={quote(key, safe='')}&Expires={expires}&Signature={proof}"


def verify(
    claimed: str,
    method: str,
    target: str,
    headers: Mapping[str, str],
    *,
    secret: str,
    bucket_in_host: str = "",
    expires: str | None = None,
) -> bool:
    """True if `claimed` (base64) is the signature of this request. Compares in constant time, in full."""
    text = string_to_sign(method, target, headers, bucket_in_host=bucket_in_host, expires=expires)
    expected = signature(secret, text)
    return hmac.compare_digest(expected.encode(), claimed.encode("utf-8", "surrogateescape"))
