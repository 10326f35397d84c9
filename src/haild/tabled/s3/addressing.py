"""From Host header and request target to bucket, key and query (tabled.md sections 6 and 17.8). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from haild.tabled.s3.errors import S3Error

MAXIMUM_KEY: Final = 1024
"""Bytes of a key in UTF-8."""

_BUCKET_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_NEW_BUCKET_NAME: Final = re.compile(r"[a-z0-9]+(?:(?:-+|\.)[a-z0-9]+)*")
_RESERVED_BEGINNINGS: Final = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_ENDS: Final = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
_FOUR_NUMBERS: Final = re.compile(r"\d+\.\d+\.\d+\.\d+")


@dataclass(frozen=True, slots=True)
class Address:
    """What a request names: bucket and key (either may be empty) and, for virtual hosts, the name as in Host."""

    bucket: str
    key: str
    bucket_in_host: str = ""

    @property
    def scope(self) -> str:
        """What is named: an `object`, a `bucket`, or the `service` as a whole."""
        return "object" if self.key else "bucket" if self.bucket else "service"


@lru_cache(maxsize=1024)
def check_bucket_name(name: str) -> None:
    """Raise InvalidBucketName unless `name` follows the rule of tabled.md section 6."""
    if not _BUCKET_NAME.fullmatch(name) or _FOUR_NUMBERS.search(name):
        raise S3Error("InvalidBucketName", "The specified bucket is not valid.", fields={"BucketName": name})


@lru_cache(maxsize=1024)
def check_new_bucket_name(name: str) -> None:
    """Raise InvalidBucketName unless S3 takes the name for a new bucket (S3 user guide, "Bucket naming rules")."""
    reserved = name.startswith(_RESERVED_BEGINNINGS) or name.endswith(_RESERVED_ENDS)
    if not _NEW_BUCKET_NAME.fullmatch(name) or not 3 <= len(name) <= 63 or reserved or _FOUR_NUMBERS.fullmatch(name):
        raise S3Error("InvalidBucketName", "The specified bucket is not valid.", fields={"BucketName": name})


def decode(text: str) -> str:
    """Undo percent-encoding once. Raises InvalidURI where the result is not UTF-8."""
    if "%" not in text and text.isascii():
        return text
    try:
        return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8")
    except UnicodeError:
        raise S3Error("InvalidURI", "Couldn't parse the specified URI.") from None


def is_utf8(text: str) -> bool:
    """Whether what the HTTP library decoded was UTF-8: bytes that are not are surrogates there."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def locate(host: str, target: str, own_names: tuple[str, ...]) -> Address:
    """Find bucket and key for a raw request target.

    `own_names` are the lower-case host names below which virtual-host buckets live. Any other host is path
    style. The query is cut off before decoding, so an encoded question mark belongs to the key.
    Raises InvalidURI, InvalidBucketName and KeyTooLongError.
    """
    path = target.partition("?")[0]
    if not path.startswith("/"):
        raise S3Error("InvalidURI", "The request target has no path.")
    path = decode(path)
    in_host = _bucket_of_host(host, own_names)
    if in_host:
        address = Address(in_host.lower(), path[1:], in_host)
    else:
        bucket, _, key = path[1:].partition("/")
        address = Address(bucket, key)
    if address.bucket:
        check_bucket_name(address.bucket)
    elif address.key:
        raise S3Error("InvalidBucketName", "The specified bucket is not valid.", fields={"BucketName": ""})
    check_key(address.key)
    return address


def check_key(key: str) -> None:
    """Raise KeyTooLongError for a key over 1024 bytes."""
    if len(key) > MAXIMUM_KEY or (len(key) * 4 > MAXIMUM_KEY and len(key.encode("utf-8")) > MAXIMUM_KEY):
        raise S3Error("KeyTooLongError", f"Your key is longer than {MAXIMUM_KEY} bytes.")


def check_version(name: str) -> None:
    """Raise InvalidArgument for what no version is called: an answer's header could not hold it."""
    if not (name.isascii() and name.isprintable()):
        raise S3Error("InvalidArgument", "Invalid version id specified", fields={"ArgumentName": "versionId"})


@lru_cache(maxsize=128)
def _bucket_of_host(host: str, own_names: tuple[str, ...]) -> str:
    name = host.rpartition(":")[0] if re.search(r":\d*$", host) else host
    lower = name.lower()
    for own in own_names:
        if lower.endswith(f".{own}") and len(lower) > len(own) + 1:
            return name[: -len(own) - 1]
    return ""


def absolute_to_origin(target: str) -> str:
    """The path and query of a request target that may be an absolute URI (its authority is ignored)."""
    if target.startswith("/"):
        return target
    match = re.match(r"(?i)https?://[^/?]*", target)
    if not match:
        return target
    rest = target[match.end() :]
    return rest if rest.startswith("/") else f"/{rest}"


def parse_query(query: str) -> dict[str, str]:
    """The query's parameters, decoded; the last of equal names wins. `+` is a blank (tabled.md 17.3)."""
    if not query:
        return {}
    query = query.replace("+", " ")
    found: dict[str, str] = {}
    for pair in query.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            found[decode(name)] = decode(value)
    return found
