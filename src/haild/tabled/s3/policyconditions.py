"""The conditions of policies: operators, keys, and whether one holds for a request. Pure.

Source: IAM user guide, "IAM JSON policy elements: Condition operators"; S3 user guide, "Bucket policy examples using
condition keys".
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from haild.tabled.s3.dates import parse_date
from haild.tabled.s3.errors import S3Error
from haild.tabled.s3.wildcard import like

Context = Mapping[str, Sequence[str]]
"""What is known of a request: values by key, keys in lower case."""

_S3_KEYS: Final = frozenset(
    (
        *("s3:authtype", "s3:delimiter", "s3:locationconstraint", "s3:max-keys", "s3:prefix", "s3:signatureage"),
        *("s3:signatureversion", "s3:tlsversion", "s3:versionid", "s3:x-amz-acl", "s3:x-amz-content-sha256"),
        *("s3:x-amz-copy-source", "s3:x-amz-grant-full-control", "s3:x-amz-grant-read", "s3:x-amz-grant-read-acp"),
        *("s3:x-amz-grant-write", "s3:x-amz-grant-write-acp", "s3:x-amz-metadata-directive"),
        *("s3:x-amz-object-ownership", "s3:x-amz-server-side-encryption", "s3:x-amz-storage-class"),
        *("s3:x-amz-server-side-encryption-aws-kms-key-id", "s3:x-amz-website-redirect-location"),
        *("s3:x-amz-server-side-encryption-customer-algorithm", "s3:object-lock-mode", "s3:object-lock-legal-hold"),
        *("s3:object-lock-retain-until-date", "s3:object-lock-remaining-retention-days", "s3:requestobjecttagkeys"),
        *("s3:dataaccesspointaccount", "s3:dataaccesspointarn", "s3:accesspointnetworkorigin"),
        *("s3:resourceaccount", "s3:if-match", "s3:if-none-match", "s3:x-amz-bucket-namespace"),
    )
)
_S3_PREFIXES: Final = ("s3:existingobjecttag/", "s3:requestobjecttag/")
_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")

Test = Callable[[str, str], bool]
"""Of a value of the policy and one of the request."""


def _number(test: Callable[[float, float], bool]) -> Test:
    def compare(wanted: str, value: str) -> bool:
        try:
            return test(float(value), float(wanted))
        except ValueError:
            return False

    return compare


def _date(test: Callable[[float, float], bool]) -> Test:
    def seconds(text: str) -> float | None:
        return float(text) if text.isascii() and text.isdecimal() else parse_date(text)

    def compare(wanted: str, value: str) -> bool:
        first, second = seconds(value), seconds(wanted)
        return first is not None and second is not None and test(first, second)

    return compare


def _address(wanted: str, value: str) -> bool:
    try:
        address = ipaddress.ip_address(value)
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address) in ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        return False


def _same_ignoring_case(wanted: str, value: str) -> bool:
    return wanted.lower() == value.lower()


def _equal(wanted: Any, value: Any) -> bool:
    return bool(wanted == value)


_COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    "Equals": lambda a, b: a == b,
    "LessThan": lambda a, b: a < b,
    "LessThanEquals": lambda a, b: a <= b,
    "GreaterThan": lambda a, b: a > b,
    "GreaterThanEquals": lambda a, b: a >= b,
}
_OPERATORS: Final[dict[str, tuple[Test, bool]]] = {
    "StringEquals": (_equal, False),
    "StringNotEquals": (_equal, True),
    "StringEqualsIgnoreCase": (_same_ignoring_case, False),
    "StringNotEqualsIgnoreCase": (_same_ignoring_case, True),
    "StringLike": (like, False),
    "StringNotLike": (like, True),
    "ArnEquals": (like, False),
    "ArnNotEquals": (like, True),
    "ArnLike": (like, False),
    "ArnNotLike": (like, True),
    "Bool": (_same_ignoring_case, False),
    "BinaryEquals": (_equal, False),
    "IpAddress": (_address, False),
    "NotIpAddress": (_address, True),
    **{f"Numeric{name}": (_number(test), False) for name, test in _COMPARISONS.items()},
    "NumericNotEquals": (_number(_COMPARISONS["Equals"]), True),
    **{f"Date{name}": (_date(test), False) for name, test in _COMPARISONS.items()},
    "DateNotEquals": (_date(_COMPARISONS["Equals"]), True),
}
"""The test of each operator, and whether its outcome is negated."""
_WILD: Final = (like,)


@dataclass(frozen=True)
class Condition:
    """One key under one operator. `quantifier`: empty, ForAnyValue or ForAllValues."""

    key: str
    wanted: tuple[str, ...]
    operator: str
    quantifier: str = ""
    if_exists: bool = False

    def holds(self, context: Context) -> bool:
        """Whether the condition is true for a request."""
        values = context.get(self.key)
        if self.operator == "Null":
            return any((value.lower() == "true") is (values is None) for value in self.wanted)
        test, negated = _OPERATORS[self.operator]
        if values is None:
            return self.if_exists or negated or self.quantifier == "ForAllValues"
        wanted = [substitute(text, context, wild=test in _WILD) for text in self.wanted]
        outcomes = [any(test(text, value) for text in wanted) is not negated for value in values]
        return all(outcomes) if self.quantifier == "ForAllValues" or negated else any(outcomes)


def substitute(text: str, context: Context, *, wild: bool) -> str:
    """A text with the policy's variables filled in. `wild`: it is a pattern, in which their values mean themselves.

    A variable that the request has no value for stays as it is, and so matches nothing.
    """
    if "${" not in text:
        return text

    def value(match: re.Match[str]) -> str:
        name, _, default = match[1].partition(",")
        if name in ("*", "?", "$"):
            return name
        known = context.get(name.strip().lower())
        if known is not None and len(known) == 1 and not (wild and any(c in known[0] for c in "*?")):
            return known[0]
        return default.strip().strip("'") or match[0]

    return _VARIABLE.sub(value, text)


def read(value: Any) -> tuple[Condition, ...]:
    """The conditions of a statement's Condition element. Raises MalformedPolicy."""
    if not isinstance(value, dict):
        raise S3Error("MalformedPolicy", "Invalid condition")
    return tuple(_read(operator, key, values) for operator, keys in value.items() for key, values in _items(keys))


def _items(keys: Any) -> list[tuple[str, Any]]:
    if not isinstance(keys, dict):
        raise S3Error("MalformedPolicy", "Invalid condition")
    return list(keys.items())


def _read(operator: str, key: str, values: Any) -> Condition:
    quantifier, colon, name = operator.rpartition(":")
    if_exists = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    known = name in _OPERATORS or (name == "Null" and not if_exists)
    if not known or (colon and quantifier not in ("ForAnyValue", "ForAllValues")):
        raise S3Error("MalformedPolicy", f"Invalid Condition type : {operator}")
    lower = key.lower()
    prefix, slash, tag = key.partition("/")
    if slash:
        lower = f"{prefix.lower()}/{tag}"  # the key of a tag has a case
    if not (lower in _S3_KEYS or lower.startswith(("aws:", *_S3_PREFIXES))):
        raise S3Error("MalformedPolicy", "Policy has an invalid condition key")
    listed = values if isinstance(values, list) else [values]
    texts = tuple(str(v).lower() if isinstance(v, bool) else str(v) for v in listed)
    if not texts or not all(isinstance(v, (str, int, float)) for v in listed):
        raise S3Error("MalformedPolicy", f"Invalid values of the condition key {key}")
    if name in ("IpAddress", "NotIpAddress"):
        _check_addresses(texts)
    return Condition(lower, texts, name, quantifier, if_exists)


def _check_addresses(texts: Sequence[str]) -> None:
    for text in texts:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise S3Error("MalformedPolicy", f"Invalid IP address {text} in policy") from None
