"""The numbers of the status page: kept up by triggers, and equal to what a walk through the tables finds."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from haild.tabled.metadata import counting
from haild.tabled.metadata.port import BucketMissingError
from haild.tabled.metadata.records import Bucket, ObjectRecord, Segment, StoredBody
from haild.tabled.metadata.sqlite import SqliteMetadata
from haild.tabled.s3.acl import Acl

OWNER = Acl("alice")


@pytest.fixture
async def metadata(tmp_path: Path) -> AsyncIterator[SqliteMetadata]:
    metadata = SqliteMetadata(tmp_path / "passwd")
    await metadata.create_bucket(Bucket("docs", 0.0, OWNER))
    yield metadata
    await metadata.close()


async def put(metadata: SqliteMetadata, key: str, bucket: str = "docs") -> None:
    body = await metadata.new_body()
    record = ObjectRecord(bucket, key, 5, "etag", 0.0, OWNER, segments=(Segment(body, 0, 5),))
    await metadata.put_object(record, (StoredBody(body, 5, (1, 2)),))


def walked(path: Path) -> dict[str, int]:
    """What another connection finds in the tables."""
    with closing(sqlite3.connect(path)) as db:
        return {t: db.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in counting.TABLES}


async def test_counts_follow_every_change(metadata: SqliteMetadata, tmp_path: Path) -> None:
    await put(metadata, "before the first count")
    assert await metadata.counts() == {"buckets": 1, "objects": 1, "uploads": 0, "bodies": 1, "garbage": 0}
    for key in ("a", "b", "c", "a"):
        await put(metadata, key)
    await metadata.delete_object("docs", "b")
    await metadata.create_bucket(Bucket("more", 0.0, OWNER))
    assert await metadata.counts() == {"buckets": 2, "objects": 3, "uploads": 0, "bodies": 3, "garbage": 4}
    await metadata.forget_garbage(1, await metadata.garbage(1, 10))
    await metadata.delete_bucket("more")
    assert await metadata.counts() == walked(tmp_path / "passwd")


async def test_a_change_that_is_undone_does_not_count(metadata: SqliteMetadata, tmp_path: Path) -> None:
    before = await metadata.counts()

    def refuse(_present: ObjectRecord | None) -> None:
        raise PermissionError

    with pytest.raises(BucketMissingError):
        await put(metadata, "key", bucket="missing")
    await put(metadata, "key")
    with pytest.raises(PermissionError):
        await metadata.delete_object("docs", "key", check=refuse)
    after = await metadata.counts()
    assert (after["objects"], after["bodies"]) == (before["objects"] + 1, before["bodies"] + 1)
    assert after == walked(tmp_path / "passwd")
