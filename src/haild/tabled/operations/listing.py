"""Listings of a bucket: objects V1 and V2, versions (tabled.md 9.3 and 17.4)."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from haild.tabled.metadata.records import Listed, ListedVersion, ListQuery, Page
from haild.tabled.operations.answer import Answer, quoted, xml
from haild.tabled.operations.call import Call
from haild.tabled.s3 import checksums, storageclass
from haild.tabled.s3.acl import from_text
from haild.tabled.s3.arguments import number
from haild.tabled.s3.errors import S3Error
from haild.wire.s3 import xml as s3xml
from haild.wire.s3.xml import timestamp

MOST: Final = 1000
"""Entries of one page, and the default."""


async def list_objects(call: Call) -> Answer:
    """GET bucket, version 1 or (`list-type=2`) version 2."""
    kind = call.query.get("list-type")
    if kind is None:
        return await _version_1(call)
    if kind != "2":
        raise S3Error("InvalidArgument", "Invalid List Type specified in Request")
    return await _version_2(call)


def _url(call: Call) -> bool:
    kind = call.query.get("encoding-type", "")
    if kind.lower() not in ("", "url"):
        raise S3Error("InvalidArgument", "Invalid Encoding Method specified in Request")
    return bool(kind)


async def _version_1(call: Call) -> Answer:
    query, url = call.query, _url(call)
    prefix, delimiter, marker = (query.get(name, "") for name in ("prefix", "delimiter", "marker"))
    limit = number(query, "max-keys", MOST, MOST)
    page = await call.metadata.list_objects(ListQuery(call.bucket.name, prefix, delimiter, marker, limit))
    parts = _head(call, prefix, delimiter, page, limit, url)
    # Clients of 2010 end on an empty element; today's expect it.
    plain = call.identity.version == 2
    if marker or not plain:
        parts.append(_key("Marker", marker, url))
    if page.truncated and delimiter:
        parts.append(_key("NextMarker", page.last, url))
    parts += _contents(page.entries, url, owners=True, plain=plain)
    parts += _prefixes(page.prefixes, url)
    return xml(s3xml.document("ListBucketResult", *parts))


async def _version_2(call: Call) -> Answer:
    query, url = call.query, _url(call)
    prefix, delimiter, start = (query.get(name, "") for name in ("prefix", "delimiter", "start-after"))
    token = query.get("continuation-token")
    limit = number(query, "max-keys", MOST, MOST)
    after = start if token is None else from_token(token)
    page = await call.metadata.list_objects(ListQuery(call.bucket.name, prefix, delimiter, after, limit))
    parts = _head(call, prefix, delimiter, page, limit, url)
    parts.append(s3xml.element("KeyCount", len(page.entries) + len(page.prefixes)))
    if token is not None:
        parts.append(s3xml.element("ContinuationToken", token))
    if "start-after" in query:
        parts.append(_key("StartAfter", start, url))
    if page.truncated:
        parts.append(s3xml.element("NextContinuationToken", to_token(page.last)))
    parts += _contents(page.entries, url, owners=query.get("fetch-owner", "").lower() == "true")
    parts += _prefixes(page.prefixes, url)
    return xml(s3xml.document("ListBucketResult", *parts))


async def list_versions(call: Call) -> Answer:
    """GET ?versions: all versions and delete markers, newest first within a key."""
    query, url = call.query, _url(call)
    prefix, delimiter, marker = (query.get(name, "") for name in ("prefix", "delimiter", "key-marker"))
    version = query.get("version-id-marker", "")
    if version and not marker:
        raise S3Error("InvalidArgument", "A version-id marker cannot be specified without a key marker.")
    limit = number(query, "max-keys", MOST, MOST)
    page = await call.metadata.list_versions(ListQuery(call.bucket.name, prefix, delimiter, marker, limit, version))
    parts = _head(call, prefix, delimiter, page, limit, url)
    parts += [_key("KeyMarker", marker, url), s3xml.element("VersionIdMarker", version)]
    if page.truncated:
        parts.append(_key("NextKeyMarker", page.last, url))
        if page.last_version:
            parts.append(s3xml.element("NextVersionIdMarker", page.last_version))
    parts += [_version(entry, url) for entry in page.entries]
    parts += _prefixes(page.prefixes, url)
    return xml(s3xml.document("ListVersionsResult", *parts))


def _head(call: Call, prefix: str, delimiter: str, page: Page[Any], limit: int, url: bool) -> list[str]:
    parts = [s3xml.element("Name", call.bucket.name), _key("Prefix", prefix, url)]
    if delimiter:
        parts.append(_key("Delimiter", delimiter, url))
    parts += [s3xml.element("MaxKeys", limit), s3xml.element("IsTruncated", page.truncated)]
    if url:
        parts.append("<EncodingType>url</EncodingType>")
    return parts


def _key(name: str, value: str, url: bool) -> str:
    return f"<{name}>{s3xml.listed_key(value, url)}</{name}>"


def _contents(entries: Sequence[Listed], url: bool, *, owners: bool, plain: bool = False) -> list[str]:
    """The entries. `plain`: without the elements that S3 did not have in 2010."""
    keys = s3xml.listed_keys([entry[0] for entry in entries], url)
    return [
        f"<Contents><Key>{key}</Key><LastModified>{timestamp(modified)}</LastModified>"
        f"<ETag>&quot;{etag}&quot;</ETag><Size>{size}</Size>{_owner(acl) if owners else ''}"
        f"{'' if plain or not checksum else _checksum(checksum)}"
        f"<StorageClass>{_storage_class(headers) if headers else storageclass.STANDARD}</StorageClass></Contents>"
        for key, (_, size, etag, modified, acl, checksum, headers) in zip(keys, entries, strict=True)
    ]


def _version(entry: ListedVersion, url: bool) -> str:
    listed = entry.listed
    common = (
        _key("Key", listed.key, url)
        + s3xml.element("VersionId", entry.version)
        + s3xml.element("IsLatest", entry.current)
        + s3xml.element("LastModified", s3xml.timestamp(listed.modified))
    )
    if entry.marker:
        return f"<DeleteMarker>{common}{_owner(listed.acl)}</DeleteMarker>"
    return (
        f"<Version>{common}{s3xml.element('ETag', quoted(listed.etag))}{s3xml.element('Size', listed.size)}"
        f"{_checksum(listed.checksum) if listed.checksum else ''}{_owner(listed.acl)}"
        f"<StorageClass>{_storage_class(listed.headers)}</StorageClass></Version>"
    )


@lru_cache(maxsize=256)
def _owner(acl: str) -> str:
    return s3xml.owner(from_text(acl).owner)


@lru_cache(maxsize=256)
def _storage_class(headers: str) -> str:
    return s3xml.escape(storageclass.of(json.loads(headers) if headers else {}))


def _checksum(text: str) -> str:
    """The elements of a checksum as it is stored, a JSON object of strings.

    All objects of a bucket have the same but for one value, which no element shows: what stands before and after it
    is read once.
    """
    pieces = text.split('"', 4)
    if len(pieces) == 5 and pieces[1] != "type":
        return _checksum_elements(pieces[1], pieces[4])
    return _elements_of(json.loads(text))


@lru_cache(maxsize=64)
def _checksum_elements(algorithm: str, rest: str) -> str:
    return _elements_of(json.loads(f'{{"{algorithm}":""{rest}'))


def _elements_of(stored: Mapping[str, str]) -> str:
    algorithm = checksums.stored_algorithm(stored)
    if not algorithm:
        return ""
    kind = stored.get("type", "FULL_OBJECT")
    return s3xml.element("ChecksumAlgorithm", algorithm.upper()) + s3xml.element("ChecksumType", kind)


def _prefixes(prefixes: Iterable[str], url: bool) -> list[str]:
    return [f"<CommonPrefixes>{_key('Prefix', prefix, url)}</CommonPrefixes>" for prefix in prefixes]


def to_token(last: str) -> str:
    """A continuation token, opaque to clients, for what comes after `last`."""
    return base64.urlsafe_b64encode(b"1" + last.encode()).decode("ascii")


def from_token(token: str) -> str:
    """What `to_token` was given. Raises InvalidArgument."""
    try:
        text = base64.urlsafe_b64decode(token.encode("ascii"))
        if text[:1] == b"1":
            return text[1:].decode()
    except (binascii.Error, ValueError):
        pass
    raise S3Error("InvalidArgument", "The continuation token provided is incorrect")
