"""Small bodies kept in tabled's memory: how many and how long; and that a client sees nothing of it but the speed."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from haild.tabled.bodies.cache import FRESH, OVERHEAD, SMALL, BodyCache
from haild.tabled.metadata.records import StoredBody
from support.tabledrequests import code
from support.tabledstack import Stack, bucket_of, serving, wait_for

pytestmark = pytest.mark.fast_path


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def body(number: int, size: int) -> tuple[StoredBody, bytes]:
    return StoredBody(number, size, (1,)), bytes([number % 256]) * size


def test_memory_is_bounded_and_the_first_go_first() -> None:
    capacity = 10 * (1000 + OVERHEAD)
    cache = BodyCache(capacity)
    for number in range(1000):
        cache.add(*body(number, 1000))
        assert cache.size <= capacity
    assert [number for number in range(1000) if cache.get(number)] == list(range(990, 1000))
    cache.add(*body(1000, 9000))
    assert cache.size <= capacity
    assert cache.get(1000) == body(1000, 9000)
    assert [number for number in range(1000) if cache.get(number)] == [997, 998, 999]


def test_what_was_read_a_while_ago_is_forgotten_and_frees_its_memory() -> None:
    clock = Clock()
    cache = BodyCache(1 << 20, clock)
    cache.add(*body(1, 100))
    clock.now += FRESH - 0.1
    assert cache.get(1) == body(1, 100)
    cache.add(*body(2, 100))
    clock.now += 0.1
    assert cache.get(1) is None
    assert cache.get(2) == body(2, 100)
    clock.now += FRESH
    cache.add(*body(3, 100))
    assert cache.size == 100 + OVERHEAD


def test_a_body_that_is_read_again_lives_anew_and_counts_once() -> None:
    clock = Clock()
    cache = BodyCache(1 << 20, clock)
    for _ in range(5):
        cache.add(*body(1, 100))
        clock.now += FRESH / 2
    assert cache.get(1) == body(1, 100)
    assert cache.size == 100 + OVERHEAD
    cache.drop(1)
    cache.drop(1)
    assert cache.get(1) is None
    assert cache.size == 0


@pytest.mark.parametrize(
    ("capacity", "size", "taken"),
    [(0, 0, False), (0, 1, False), (1 << 20, SMALL, True), (1 << 20, SMALL + 1, False), (1000, 600, False)],
)
def test_which_bodies_are_kept(capacity: int, size: int, taken: bool) -> None:
    assert BodyCache(capacity).takes(size) is taken


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with serving(tmp_path_factory.mktemp("bodycache")) as stack:
        yield stack


@pytest.fixture
def bucket(stack: Stack, request: pytest.FixtureRequest) -> str:
    return bucket_of(stack.client(), request)


def read(s3: Any, bucket: str, key: str, **choice: str | int) -> bytes:
    content: bytes = s3.get_object(Bucket=bucket, Key=key, **choice)["Body"].read()
    return content


@pytest.mark.parametrize("size", [1, 4096, SMALL])
def test_a_small_body_comes_without_its_node_and_a_range_of_it_too(stack: Stack, bucket: str, size: int) -> None:
    s3, content = stack.client(), os.urandom(size)
    s3.put_object(Bucket=bucket, Key="k", Body=content)
    node = stack.chunkd[0].process
    assert node is not None
    node.send_signal(signal.SIGSTOP)
    try:
        assert read(s3, bucket, "k") == content
        assert read(s3, bucket, "k", Range="bytes=0-0") == content[:1]
        assert read(s3, bucket, "k", Range="bytes=-10") == content[-10:]
        assert read(s3, bucket, "k", Range=f"bytes={size // 2}-") == content[size // 2 :]
        assert read(s3, bucket, "k", PartNumber=1) == content
        assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == size
    finally:
        node.send_signal(signal.SIGCONT)


def test_what_is_replaced_or_deleted_never_comes_back(stack: Stack, bucket: str) -> None:
    s3 = stack.client()
    for number in range(20):
        s3.put_object(Bucket=bucket, Key="k", Body=b"%d" % number)
        s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"})
        assert read(s3, bucket, "k") == read(s3, bucket, "copy") == b"%d" % number
    s3.delete_object(Bucket=bucket, Key="k")
    assert code(read, s3, bucket, "k") == "NoSuchKey"
    assert read(s3, bucket, "copy") == b"19"


def test_versions_are_told_apart(stack: Stack, bucket: str) -> None:
    s3 = stack.client()
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    versions = {n: s3.put_object(Bucket=bucket, Key="k", Body=b"%d" % n)["VersionId"] for n in range(3)}
    for number, version in versions.items():
        assert read(s3, bucket, "k", VersionId=version) == b"%d" % number
    s3.delete_object(Bucket=bucket, Key="k", VersionId=versions[2])
    assert read(s3, bucket, "k") == b"1"
    s3.delete_object(Bucket=bucket, Key="k")
    assert code(read, s3, bucket, "k") == "NoSuchKey"
    assert code(read, s3, bucket, "k", VersionId=versions[2]) == "NoSuchVersion"
    assert read(s3, bucket, "k", VersionId=versions[0]) == b"0"


def test_who_may_not_read_gets_nothing(stack: Stack, bucket: str) -> None:
    s3, other = stack.client(), stack.client("bob")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="public-read")
    assert read(other, bucket, "k") == b"x"
    s3.put_object_acl(Bucket=bucket, Key="k", ACL="private")
    assert code(read, other, bucket, "k") == "AccessDenied"


def damage(stack: Stack) -> None:
    """Flip bits of every body in the node's catalog."""
    with closing(sqlite3.connect(stack.directory / "chunk1" / "catalog.sqlite", timeout=10)) as catalog, catalog:
        rows = catalog.execute("SELECT id, data FROM content").fetchall()
        assert rows
        damaged = [(bytes([content[0] ^ 1]) + content[1:], number) for number, content in rows]
        catalog.executemany("UPDATE content SET data = ? WHERE id = ?", damaged)


def damage_is_noticed(stack: Stack) -> bool:
    try:
        read(stack.client(), "bucket", "k")
    except ClientError as error:
        return error.response["Error"]["Code"] == "InternalError"
    return False


@pytest.mark.slow
def test_damage_is_hidden_for_no_longer_than_was_said(tmp_path: Path) -> None:
    with serving(tmp_path) as stack:
        s3 = stack.client()
        s3.create_bucket(Bucket="bucket")
        s3.put_object(Bucket="bucket", Key="k", Body=b"sound")
        damage(stack)
        assert read(s3, "bucket", "k") == b"sound"
        wait_for(lambda: damage_is_noticed(stack), "the node is asked again", FRESH + 5)


def test_with_the_cache_off_each_read_asks_the_node(tmp_path: Path) -> None:
    with serving(tmp_path, settings="<BodyCache>0</BodyCache>") as stack:
        s3 = stack.client()
        s3.create_bucket(Bucket="bucket")
        s3.put_object(Bucket="bucket", Key="k", Body=b"sound")
        assert read(s3, "bucket", "k") == b"sound"
        damage(stack)
        assert damage_is_noticed(stack)


def test_a_node_that_comes_back_empty_is_asked(tmp_path: Path) -> None:
    """As after `hailbox reset chunkd`: what was discarded is gone at once."""
    with serving(tmp_path) as stack:
        s3 = stack.client()
        s3.create_bucket(Bucket="bucket")
        s3.put_object(Bucket="bucket", Key="k", Body=b"discarded")
        stack.chunkd[0].kill()
        shutil.rmtree(tmp_path / "chunk1")
        (tmp_path / "chunk1").mkdir()
        stack.chunkd[0].start()
        wait_for(lambda: stack.log(stack.tabled).count(" is up") == 2, "the node is back")
        with pytest.raises(ClientError):
            read(s3, "bucket", "k")
