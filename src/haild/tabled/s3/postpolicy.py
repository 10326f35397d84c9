"""The signed policy of a browser upload (S3 API reference, "Browser-based uploads using POST"). Pure."""

from __future__ import annotations

import binascii
import hmac
import json
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from haild.tabled.s3.dates import parse_date
from haild.tabled.s3.errors import S3Error
from haild.wire.s3 import sigv2, sigv4

_EXPIRATION: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_SIZE: Final = re.compile("[0-9]{1,18}")
_FREE: Final = frozenset(("policy", "file", "x-amz-signature", "signature", "awsaccesskeyid", "submit"))
"""Fields that no condition need name; so are those that start with x-ignore-."""


@dataclass(frozen=True)
class PostPolicy:
    """What a policy demands of the fields, and the least and most bytes of the file (None: no limit)."""

    exact: tuple[tuple[str, str], ...]
    prefixes: tuple[tuple[str, str], ...]
    least: int
    most: int | None
    expires: float

    def check(self, fields: Mapping[str, str], now: float) -> None:
        """Raise AccessDenied unless the fields (lower-case names) are what the policy allows."""
        if now > self.expires:
            raise S3Error("AccessDenied", "Invalid according to Policy: Policy expired.")
        named = {name for name, _ in (*self.exact, *self.prefixes)}
        for name, wanted in self.exact:
            if fields.get(name) != wanted:
                raise _violated(f'["eq", "${name}", "{wanted}"]')
        for name, prefix in self.prefixes:
            if not fields.get(name, "").startswith(prefix):
                raise _violated(f'["starts-with", "${name}", "{prefix}"]')
        for name in fields:
            if name not in named and name not in _FREE and not name.startswith("x-ignore-"):
                raise S3Error("AccessDenied", f"Invalid according to Policy: Extra input fields: {name}")


def _violated(condition: str) -> S3Error:
    return S3Error("AccessDenied", f"Invalid according to Policy: Policy Condition failed: {condition}")


def _malformed(text: str) -> S3Error:
    return S3Error("InvalidPolicyDocument", f"Invalid Policy: {text}")


def parse(encoded: str) -> PostPolicy:
    """Read a base64 policy. Raises InvalidPolicyDocument."""
    try:
        document = json.loads(b64decode(encoded, validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise _malformed("it is not JSON in base64.") from None
    if not isinstance(document, dict) or not isinstance(document.get("conditions"), list):
        raise _malformed("it needs expiration and conditions.")
    text = str(document.get("expiration", ""))
    expires = parse_date(text) if _EXPIRATION.fullmatch(text) else None
    if expires is None:
        raise _malformed("expiration is not a date.")
    exact: list[tuple[str, str]] = []
    prefixes: list[tuple[str, str]] = []
    least = 0
    most: int | None = None
    for condition in document["conditions"]:
        kind, name, value = _condition(condition)
        if kind == "content-length-range":
            least = max(least, int(name))
            most = int(value) if most is None else min(most, int(value))
        else:
            (exact if kind == "eq" else prefixes).append((name, value))
    return PostPolicy(tuple(exact), tuple(prefixes), least, most, expires)


def _condition(condition: Any) -> tuple[str, str, str]:
    if isinstance(condition, dict) and len(condition) == 1:
        name, value = next(iter(condition.items()))
        return "eq", str(name).lower(), str(value)
    if isinstance(condition, list) and len(condition) == 3:
        kind, name, value = (str(item) for item in condition)
        kind = kind.lower()
        if kind == "content-length-range" and _SIZE.fullmatch(name) and _SIZE.fullmatch(value):
            return kind, name, value
        if kind in ("eq", "starts-with") and name.startswith("$"):
            return kind, name[1:].lower(), value
    raise _malformed("a condition is not one of those that exist.")


_SIGNED_BY: Final = {
    "x-amz-signature": ("policy", "x-amz-algorithm", "x-amz-credential"),
    "signature": ("policy", "awsaccesskeyid"),
}
"""By the field of a signature, what else a form that has it must have."""
_OF_SIGNATURES: Final = (
    ("x-amz-signature", ("x-amz-algorithm", "x-amz-credential")),
    ("signature", ("policy", "awsaccesskeyid")),
)
"""Fields of a signature, and those that make no sense without it."""


def claimed_key(fields: Mapping[str, str]) -> str:
    """The access key that the fields name; empty for an anonymous form. Raises InvalidArgument."""
    signature = next((name for name in _SIGNED_BY if name in fields), "")
    if not signature:
        for name, others in _OF_SIGNATURES:
            if any(other in fields for other in others):
                raise _missing(name)
        return ""
    for name in _SIGNED_BY[signature]:
        if name not in fields:
            raise _missing(name)
    if signature == "signature":
        return fields["awsaccesskeyid"]
    return fields["x-amz-credential"].partition("/")[0]


def _missing(name: str) -> S3Error:
    text = (
        f"Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields."
    )
    return S3Error("InvalidArgument", text, fields={"ArgumentName": name})


def verify(fields: Mapping[str, str], secret: str) -> bool:
    """True if the fields carry the right signature (V4 or V2) of their policy."""
    policy = fields.get("policy", "")
    if "x-amz-signature" not in fields:
        expected = sigv2.signature(secret, policy)
        return hmac.compare_digest(expected.encode(), fields.get("signature", "").encode("utf-8", "replace"))
    if fields.get("x-amz-algorithm") != sigv4.ALGORITHM:
        raise S3Error("InvalidRequest", "x-amz-algorithm must be AWS4-HMAC-SHA256.")
    try:
        claimed = sigv4.claim(fields.get("x-amz-credential", ""), "host", fields["x-amz-signature"])
    except sigv4.MalformedError as error:
        raise S3Error("InvalidRequest", str(error)) from None
    expected = sigv4.signature(sigv4.signing_key(secret, claimed.scope), policy)
    return hmac.compare_digest(expected.encode(), claimed.signature.encode())
