"""Pages of listings: two ways to the same page, and what is shown of what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from haild.tabled.metadata import listing
from haild.tabled.metadata.records import Bucket, ListQuery, ObjectRecord
from haild.tabled.metadata.sqlite import SqliteMetadata
from haild.tabled.operations import listing as answers
from haild.tabled.operations.call import Call
from haild.tabled.s3.acl import Acl, canned
from haild.wire.s3 import xml as s3xml

OWNER = Acl("alice")
KEYS = ("", "a", "a/", "a/b", "a/b/c", "a0", "aa", "b&<", "z\U0010ffff", "z\U0010ffff\U0010ffff", "é", "\U0010ffff")


def record(key: str, **more: Any) -> ObjectRecord:
    return ObjectRecord("docs", key, 5, "e" * 32, 86400.0, more.pop("acl", OWNER), **more)


@pytest.fixture
async def metadata(tmp_path: Path) -> AsyncIterator[SqliteMetadata]:
    metadata = SqliteMetadata(tmp_path / "passwd")
    await metadata.create_bucket(Bucket("docs", 0.0, OWNER))
    await metadata.create_bucket(Bucket("docs2", 0.0, OWNER))
    yield metadata
    await metadata.close()


async def page_of(metadata: SqliteMetadata, *, versions: bool = False, **query: str) -> str:
    bucket = await metadata.bucket("docs")
    call = SimpleNamespace(query=query, bucket=bucket, metadata=metadata, identity=SimpleNamespace(version=4))
    answer = await (answers.list_versions if versions else answers.list_objects)(cast("Call", call))
    assert isinstance(answer.body, bytes)
    return answer.body.decode()


async def test_a_page_without_delimiter_is_the_one_that_the_rules_give(metadata: SqliteMetadata) -> None:
    await asyncio.gather(*(metadata.put_object(record(key), ()) for key in KEYS[1:]))
    await metadata.put_object(ObjectRecord("docs2", "a1", 1, "e", 0.0, OWNER), ())
    ordered = sorted(KEYS[1:])
    for prefix in KEYS:
        for after in (*KEYS, "a/bb", "zz"):
            for limit in (0, 1, 2, 3, 100):

                def seek(start: str, inclusive: bool) -> Any:
                    return iter([(key, key) for key in ordered if key > start or (inclusive and key == start)])

                wanted = listing.collect(seek, prefix, "", after, limit)
                page = await metadata.list_objects(ListQuery("docs", prefix, "", after, limit))
                got = [entry.key for entry in page.entries]
                assert (got, page.truncated, page.last) == (wanted.rows, wanted.truncated, wanted.last), (
                    prefix,
                    after,
                )


@pytest.mark.parametrize("query", [{}, {"delimiter": "/"}, {"list-type": "2"}, {"list-type": "2", "delimiter": "/"}])
async def test_a_page_shows_class_checksum_and_owner_as_they_are_stored(
    metadata: SqliteMetadata, query: dict[str, str]
) -> None:
    cold = {"x-amz-meta-note": "x-amz-storage-class", "x-amz-storage-class": "STANDARD_IA"}
    kind = {"type": "COMPOSITE"}
    await metadata.put_object(record("1", headers=cold, checksum={"crc32": "AAAAAA==", "type": "FULL_OBJECT"}), ())
    await metadata.put_object(record("2", headers={"x-amz-meta-note": "x-amz-storage-class"}), ())
    await metadata.put_object(record("3", checksum={**kind, "sha256": "A-2"}, acl=canned("public-read", "b&b")), ())
    await metadata.put_object(record("4", checksum={"md5": "AA=="}), ())
    await metadata.put_object(record("5", checksum=kind), ())
    for versions in (False, True):
        found = s3xml.parse(
            (await page_of(metadata, versions=versions, **{**query, "fetch-owner": "true"})).encode(),
            "ListVersionsResult" if versions else "ListBucketResult",
        )
        entries = list(found.all("Version" if versions else "Contents"))
        assert [entry.value("StorageClass") for entry in entries] == ["STANDARD_IA", *["STANDARD"] * 4]
        sums = [(entry.value("ChecksumAlgorithm"), entry.value("ChecksumType")) for entry in entries]
        assert sums == [("CRC32", "FULL_OBJECT"), ("", ""), ("SHA256", "COMPOSITE"), ("MD5", "FULL_OBJECT"), ("", "")]
        owners = [owner.value("ID") for entry in entries for owner in entry.all("Owner")]
        assert owners == ["alice", "alice", "b&b", "alice", "alice"]


async def test_one_key_that_has_to_be_escaped_is_escaped_among_many(metadata: SqliteMetadata) -> None:
    for key in ("plain", "a<b", "ä b", "tab\t"):
        await metadata.put_object(record(key), ())
    plain, url = await page_of(metadata), await page_of(metadata, **{"encoding-type": "url"})
    assert [f"<Key>{key}</Key>" in plain for key in ("plain", "a&lt;b", "ä b", "tab&#x9;")] == [True] * 4
    assert [f"<Key>{key}</Key>" in url for key in ("plain", "a%3Cb", "%C3%A4%20b", "tab%09")] == [True] * 4
