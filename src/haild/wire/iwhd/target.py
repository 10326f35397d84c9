"""Interface of the image warehouse: addresses, reserved names, limits (iwhd.md section 4).

The output shapes are in haild.wire.iwhd.xml and haild.wire.iwhd.json.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote, unquote_to_bytes

VERSION: Final = "0.96"
"""The interface that clients see in the root document: that of upstream's last release (iwhd.md 5.1)."""

DEFAULT_PORT: Final = 9090

MAXIMUM_NAME: Final = 63
"""Bytes of a segment of a path."""

MAXIMUM_SEGMENTS: Final = 3

RESERVED_OBJECTS: Final = frozenset({"_default", "_new", "_policy", "_query"})
RESERVED_ATTRIBUTES: Final = frozenset({"_attrs", "_bucket", "_date", "_etag", "_key", "_loc", "_size"})
RESERVED_BUCKETS: Final = frozenset({"_new", "_providers", "_health", "_metrics"}) | RESERVED_OBJECTS
"""`_health` and `_metrics` are our own: the addresses of the health check and of the counts."""

ROLE_HEADER: Final = "X-redhat-role"
MASTER_ROLE: Final = "master"
ETAG_HEADER: Final = "X-iwhd-etag"
"""Ours: the etag that the body of a copy has at the master that sends it."""

VALUE_HEADER: Final = "X-redhat-value"

Kind = Literal[
    "root",
    "health",
    "metrics",
    "providers",
    "provider",
    "primary",
    "bucket",
    "query",
    "object",
    "attributes",
    "attribute",
]


@dataclass(frozen=True, slots=True)
class Target:
    """What an address points to. Of the names only those that `kind` has are set.

    For the kinds `provider` and `primary`, `bucket` is empty and `name` is the provider; for an attribute
    `name` is the attribute.
    """

    kind: Kind
    bucket: str = ""
    key: str = ""
    name: str = ""


def is_name(text: str) -> bool:
    """Whether `text` can name a bucket, object or attribute: no control character, and it is UTF-8.

    What fails this cannot be written in XML 1.0 (section 2.2), so it could be stored but never listed.
    """
    if not text:
        return False
    return not any(
        code < 0x20 or code == 0x7F or 0xD800 <= code <= 0xDFFF or code in (0xFFFE, 0xFFFF) for code in map(ord, text)
    )


def is_path_segment(text: str) -> bool:
    """Whether `text` can be a segment of an address: a name of at most MAXIMUM_NAME bytes, no `.` or `..`."""
    if text in (".", "..") or "/" in text or not is_name(text):
        return False
    return len(text.encode()) <= MAXIMUM_NAME


def parse_target(raw: str) -> Target | None:
    """The meaning of a request target as it was sent; None stands for 404.

    The path is percent-decoded first and split at `/` afterwards, empty segments dropped, as upstream does
    it; a query is ignored. `../`, the segments `.` and `..`, NUL and other control characters are refused.
    """
    path = raw.partition("?")[0].partition("#")[0]
    scheme, separator, rest = path.partition("://")
    if separator and scheme.lower() in ("http", "https"):
        path = "/" + rest.partition("/")[2]
    try:
        text = unquote_to_bytes(path).decode("utf-8")
    except UnicodeError:
        return None
    segments = [segment for segment in text.split("/") if segment]
    if "../" in text or len(segments) > MAXIMUM_SEGMENTS or not all(map(is_path_segment, segments)):
        return None
    return _target(segments)


def _target(segments: list[str]) -> Target | None:
    match segments:
        case []:
            return Target("root")
        case ["_health" | "_metrics" as word]:
            return Target("health" if word == "_health" else "metrics")
        case ["_providers"]:
            return Target("providers")
        case ["_providers", name]:
            return Target("provider", name=name)
        case ["_providers", name, "_primary"]:
            return Target("primary", name=name)
        case ["_providers" | "_health" | "_metrics", *_]:
            return None
        case [bucket]:
            return Target("bucket", bucket)
        case [bucket, "_query"]:
            return Target("query", bucket)
        case [bucket, key]:
            return Target("object", bucket, key)
        case [bucket, key, "_attrs"]:
            return Target("attributes", bucket, key)
        case [bucket, key, name]:
            return Target("attribute", bucket, key, name)
        case _:
            return None


def path_of(*names: str) -> str:
    """The path of the address made of `names`, percent-encoded; for the root it is `/`."""
    return "/" + "/".join(quote(name, safe="~!$'()*+,;=:@") for name in names)


def etag_of(time: float) -> str:
    """The etag of a body put at `time` (seconds of the epoch): its 8-byte float in hex (iwhd.md 7.1)."""
    return struct.pack("<d", time).hex()
