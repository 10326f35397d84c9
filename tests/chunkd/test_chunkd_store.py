"""The store without a network: a full disk, a failing disk, listings of any length, numbers that are never reused."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from haild.chunkd import store as store_module
from haild.chunkd.catalog import CatalogError
from haild.chunkd.listing import LONG, write_listing
from haild.chunkd.store import RefusedError, Store
from haild.wire.chunk.listing import ListingParser
from haild.wire.chunk.messages import ResponseCode

USER = b"user"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store.open(tmp_path)
    await opened.create_table(b"table")
    yield opened
    opened.close()


async def _add_file(store: Store, key: bytes, content: bytes) -> int:
    writer = store.writer()
    finished = writer.append([content], True)
    assert finished is not None
    return (await store.add_file(1, key, USER, finished)).id


async def test_a_full_disk_takes_no_bodies_and_says_so_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    status = SimpleNamespace(f_blocks=1000, f_frsize=4096, f_bavail=100)
    monkeypatch.setattr(store_module.os, "statvfs", lambda _path: status)
    caplog.set_level(logging.WARNING)
    store.require_room(50 * 4096)
    for _ in range(3):
        with pytest.raises(RefusedError) as caught:
            store.require_room(51 * 4096)
        assert caught.value.code == ResponseCode.INTERNAL_ERROR
    store.require_room(0)
    assert [record.message for record in caplog.records] == [
        "the disk is full: nothing more is stored",
        "there is room on the disk again",
    ]


async def test_a_body_that_no_disk_would_take_is_refused_without_a_word(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Else anybody could fill the log."""
    monkeypatch.setattr(
        store_module.os, "statvfs", lambda _path: SimpleNamespace(f_blocks=1 << 18, f_frsize=4096, f_bavail=1 << 17)
    )
    for size in (1 << 29, 1 << 40, (1 << 62) - 1):
        with pytest.raises(RefusedError):
            store.require_room(size)
        store.require_room(1 << 20)
    assert not caplog.records


async def test_a_body_that_cannot_be_flushed_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_descriptor: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    writer = store.writer()
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", failing)
        with pytest.raises(OSError, match="input/output"):
            writer.append([b"x" * 100_000], True)
        writer.discard()
    assert os.listdir(store.bodies.scratch) == []


async def test_a_commit_that_fails_fails_all_that_waited_for_it_and_no_other(store: Store) -> None:
    def broken(_database: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    async def fails() -> None:
        with pytest.raises(CatalogError, match="I/O"):
            await store.catalog.write(broken)

    await fails()
    await store.add_inline(1, b"key", USER, b"content")
    found = store.find(1, b"key")
    assert found is not None
    assert store.inline_body(found) == b"content"


async def test_a_write_that_raises_undoes_only_itself(store: Store) -> None:
    def half(database: sqlite3.Connection) -> None:
        database.execute("INSERT INTO tables (name) VALUES (x'00')")
        raise ValueError("after all not")

    results = await asyncio.gather(
        store.catalog.write(half), store.add_inline(1, b"key", USER, b""), return_exceptions=True
    )
    assert isinstance(results[0], ValueError)
    assert store.find_table(b"\0") is None
    assert store.find(1, b"key") is not None


async def test_cancelling_waits_for_the_commit(store: Store) -> None:
    task = asyncio.create_task(_add_file(store, b"key", b"x" * 50_000))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    found = store.find(1, b"key")
    assert found is not None
    assert store.bodies.path(found.id).exists()


@pytest.mark.parametrize("count", [0, 1, 150])
async def test_listings_short_and_long(store: Store, count: int) -> None:
    names = [b"%d" % number + b"x" * 900 for number in range(count)]
    await asyncio.gather(*(store.add_inline(1, name, USER, name) for name in names))
    listing = await store.in_thread(write_listing, store.catalog.path, 1, USER, store.bodies.scratch)
    text = listing.text
    if listing.file is not None:
        with listing.file as file:
            file.seek(0)
            text = file.read()
    assert (len(text), listing.file is not None) == (listing.size, listing.size > LONG)
    assert sorted(listed.name for listed in ListingParser().receive(text)) == sorted(names)
    assert os.listdir(store.bodies.scratch) == []


async def test_numbers_are_not_reused_while_anything_bears_them(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    await store.create_table(b"table")
    first = await _add_file(store, b"one", b"1" * 50_000)
    damaged = store.find(1, b"one")
    assert damaged is not None
    assert await store.set_aside(damaged)
    assert not await store.set_aside(damaged)
    store.close()
    store = Store.open(tmp_path)
    assert await _add_file(store, b"two", b"2" * 50_000) > first
    assert store.bodies.quarantined(first).read_bytes() == b"1" * 50_000
    store.close()


async def test_copies_share_one_body_and_outlive_each_other(store: Store) -> None:
    number = await _add_file(store, b"source", b"s" * 50_000)
    await store.copy(1, b"source", b"copy", USER)
    copy = store.find(1, b"copy")
    assert copy is not None
    assert store.bodies.path(copy.id).stat().st_ino == store.bodies.path(number).stat().st_ino
    await store.delete(1, b"source", USER)
    body = await store.open_body(copy)
    body.verify(0, copy.size)
    body.close()
    assert not store.bodies.path(number).exists()


async def test_where_there_are_no_hard_links_a_copy_is_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_arguments: object) -> None:
        raise OSError(errno.EPERM, "operation not permitted")

    number = await _add_file(store, b"source", b"s" * 50_000)
    monkeypatch.setattr(os, "link", no_links)
    await store.copy(1, b"source", b"copy", USER)
    copy = store.find(1, b"copy")
    assert copy is not None
    assert store.bodies.path(copy.id).stat().st_ino != store.bodies.path(number).stat().st_ino
    assert store.bodies.path(copy.id).read_bytes() == b"s" * 50_000
