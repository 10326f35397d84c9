"""What the conditions of policies can ask of a request.

Source: S3 user guide, condition keys; IAM user guide, global condition context keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from haild.tabled.s3 import objectlock, policy, tags
from haild.tabled.s3.errors import S3Error
from haild.tabled.s3.policyconditions import Context

if TYPE_CHECKING:
    from haild.tabled.operations.call import Call

Tags = Iterable[tuple[str, str]]

_HEADERS: Final = (
    *("x-amz-acl", "x-amz-content-sha256", "x-amz-copy-source", "x-amz-grant-full-control", "x-amz-grant-read"),
    *("x-amz-grant-read-acp", "x-amz-grant-write", "x-amz-grant-write-acp", "x-amz-metadata-directive"),
    *("x-amz-object-ownership", "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id"),
    *("x-amz-server-side-encryption-customer-algorithm", "x-amz-storage-class", "x-amz-website-redirect-location"),
    *("if-match", "if-none-match"),
)
_QUERY: Final = ("prefix", "delimiter", "max-keys", "versionid")


def of(call: Call, existing: Tags | None) -> Context:
    """The values of the keys that a request has; `existing`: the tags of the object that it names."""
    found: dict[str, list[str]] = {}
    for name, value in _pairs(call, existing):
        found.setdefault(name, []).append(value)
    return found


def _pairs(call: Call, existing: Tags | None) -> Iterator[tuple[str, str]]:
    headers = call.headers
    for name in _HEADERS:
        if name in headers:
            yield f"s3:{name}", headers[name].removeprefix("/") if name == "x-amz-copy-source" else headers[name]
    for name, value in call.query.items():
        if name.lower() in _QUERY:
            yield f"s3:{name.lower()}", value
    yield from _lock(call)
    yield from _sender(call)
    yield from _wanted_tags(headers.get("x-amz-tagging", ""))
    for name, value in existing or ():
        yield f"s3:existingobjecttag/{name}", value


def _lock(call: Call) -> Iterator[tuple[str, str]]:
    for name in ("mode", "legal-hold", "retain-until-date"):
        value = call.headers.get(objectlock.PREFIX + name)
        if value is None:
            continue
        yield f"s3:object-lock-{name}", value
        until = objectlock.parse_until(value) if name == "retain-until-date" else None
        if until is not None:
            yield "s3:object-lock-remaining-retention-days", str(int(max(until - call.now, 0) // objectlock.DAY))


def _sender(call: Call) -> Iterator[tuple[str, str]]:
    now, headers, user = call.now, call.headers, call.identity.user
    yield "aws:securetransport", "true" if call.secure else "false"
    yield "aws:currenttime", datetime.fromtimestamp(now, UTC).isoformat()
    yield "aws:epochtime", str(int(now))
    if call.remote:
        yield "aws:sourceip", call.remote
    for name, header in (("aws:referer", "Referer"), ("aws:useragent", "User-Agent")):
        if header in headers:
            yield name, headers[header]
    yield "aws:principaltype", "Anonymous" if user is None else "User"
    if user is None:
        yield "aws:userid", "anonymous"
        return
    yield "aws:username", user
    yield "aws:userid", user
    yield "aws:principalaccount", policy.ACCOUNT
    yield "aws:principalarn", f"arn:aws:iam::{policy.ACCOUNT}:user/{user}"
    yield "s3:authtype", "REST-QUERY-STRING" if call.identity.presigned else "REST-HEADER"
    yield "s3:signatureversion", "AWS" if call.identity.version == 2 else "AWS4-HMAC-SHA256"


def _wanted_tags(text: str) -> Iterator[tuple[str, str]]:
    try:
        wanted = tags.parse(text)
    except S3Error:  # which the operation will say
        return
    for name, value in wanted:
        yield f"s3:requestobjecttag/{name}", value
        yield "s3:requestobjecttagkeys", name
