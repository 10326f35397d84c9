"""What the metadata keep in memory, buckets and users: a query after a commit sees what was committed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from haild.tabled.metadata import sqlite, users
from haild.tabled.metadata.port import BucketMissingError
from haild.tabled.metadata.records import Bucket
from haild.tabled.metadata.sqlite import SqliteMetadata
from haild.tabled.s3.acl import Acl, canned

OWNER = Acl("alice")
PUBLIC = canned("public-read", "alice")
Change = Callable[[SqliteMetadata], Coroutine[Any, Any, None]]


@pytest.fixture
async def metadata(tmp_path: Path) -> AsyncIterator[SqliteMetadata]:
    metadata = SqliteMetadata(tmp_path / "passwd")
    await metadata.create_bucket(Bucket("docs", 0.0, OWNER))
    yield metadata
    await metadata.close()


CHANGES: list[tuple[Change, Bucket | None]] = [
    (lambda metadata: metadata.set_bucket_acl("docs", PUBLIC), Bucket("docs", 0.0, PUBLIC)),
    (lambda metadata: metadata.set_versioning("docs", "Enabled"), Bucket("docs", 0.0, OWNER, "Enabled")),
    (
        lambda metadata: metadata.set_setting("docs", "policy", "{}"),
        Bucket("docs", 0.0, OWNER, settings=frozenset({"policy"})),
    ),
    (lambda metadata: metadata.delete_bucket("docs"), None),
]


@pytest.mark.parametrize(("change", "expected"), CHANGES)
async def test_a_change_of_a_bucket_is_seen_when_it_is_acknowledged(
    metadata: SqliteMetadata, change: Change, expected: Bucket | None
) -> None:
    assert await metadata.bucket("docs") == Bucket("docs", 0.0, OWNER)
    await change(metadata)
    assert await metadata.bucket("docs") == expected


@pytest.mark.parametrize(("change", "expected"), CHANGES)
async def test_a_change_is_seen_also_when_nobody_waits_for_it_any_more(
    metadata: SqliteMetadata, change: Change, expected: Bucket | None
) -> None:
    assert await metadata.bucket("docs") == Bucket("docs", 0.0, OWNER)
    asking = asyncio.create_task(change(metadata))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await metadata.bucket("docs")  # may be old or new
    await metadata.counts()  # committed after it
    assert await metadata.bucket("docs") == expected


async def test_a_bucket_that_is_made_anew_is_the_new_one(metadata: SqliteMetadata) -> None:
    await metadata.set_versioning("docs", "Enabled")
    assert (await metadata.bucket("docs") or Bucket("", 0.0, OWNER)).versioning == "Enabled"
    await metadata.delete_bucket("docs")
    with pytest.raises(BucketMissingError):
        await metadata.set_versioning("docs", "Enabled")
    await metadata.create_bucket(Bucket("docs", 5.0, Acl("bob")))
    assert await metadata.bucket("docs") == Bucket("docs", 5.0, Acl("bob"))


async def test_more_buckets_than_are_kept(metadata: SqliteMetadata, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "KEPT_BUCKETS", 3)
    for number in range(10):
        await metadata.create_bucket(Bucket(f"b{number}", float(number), OWNER))
    for number in [*range(10), *range(10)]:
        assert await metadata.bucket(f"b{number}") == Bucket(f"b{number}", float(number), OWNER)
        assert len(metadata._buckets) <= 3


async def test_a_user_who_is_added_meanwhile_is_known(metadata: SqliteMetadata, tmp_path: Path) -> None:
    assert await metadata.password("alice") is None
    users.insert(tmp_path / "passwd", [("alice", "sesame")])  # as tdbadm does it
    assert await metadata.password("alice") == "sesame"
    assert await metadata.password("alice") == "sesame"
    assert await metadata.password("bob") is None
