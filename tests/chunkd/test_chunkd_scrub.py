"""The scrub: finds damage without being asked, goes on where it stopped, and waits long between two bites."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from haild.chunkd import check
from haild.chunkd.catalog import StoredObject
from haild.chunkd.check import Checker, StoppedError, check_objects
from haild.chunkd.store import Store
from haild.wire.blockchecksums import BlockChecksums

USER = b"user"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store.open(tmp_path)
    await opened.create_table(b"table")
    yield opened
    opened.close()


async def _put(store: Store, key: bytes, content: bytes) -> StoredObject:
    if len(content) < 1000:
        return await store.add_inline(1, key, USER, content)
    writer = store.writer()
    finished = writer.append([content], True)
    assert finished is not None
    return await store.add_file(1, key, USER, finished)


def _damage(store: Store, stored: StoredObject) -> None:
    with store.bodies.path(stored.id).open("r+b") as file:
        file.seek(stored.size // 2)
        byte = file.read(1)
        file.seek(stored.size // 2)
        file.write(bytes([byte[0] ^ 0x10]))


async def _damage_inline(store: Store, stored: StoredObject) -> None:
    await store.catalog.write(
        lambda database: database.execute("UPDATE content SET data = x'00' WHERE id = ?", (stored.id,)) and None
    )


async def test_the_scrub_sets_damaged_objects_aside(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "LEAST_PAUSE", 0.01)
    monkeypatch.setattr(check, "BITE_OBJECTS", 2)
    objects = {key: await _put(store, key, os.urandom(size)) for key, size in SIZES.items()}
    _damage(store, objects[b"file 2"])
    await _damage_inline(store, objects[b"inline 2"])
    # A damaged file whose checksums of blocks have been damaged to match: the SHA-1 tells.
    _damage(store, objects[b"file 3"])
    blocks = _block_checksums(store.bodies.path(objects[b"file 3"].id).read_bytes())
    await store.catalog.write(
        lambda database: (
            database.execute("UPDATE content SET data = ? WHERE id = ?", (blocks, objects[b"file 3"].id)) and None
        )
    )
    checker = Checker(store, scrub_days=1e-9)
    checker.start_scrub()
    async with asyncio.timeout(15):
        while store.catalog.reader.execute("SELECT count(*) FROM quarantine").fetchone()[0] < 3:  # noqa: ASYNC110 - the store has no event for it
            await asyncio.sleep(0.01)
    await checker.close()
    left = {key for (key,) in store.catalog.reader.execute("SELECT key FROM objects")}
    assert left == {b"file 1", b"inline 1", b"inline 3"}


SIZES = {b"inline 1": 10, b"file 1": 50_000, b"inline 2": 11, b"file 2": 200_000, b"inline 3": 0, b"file 3": 70_000}


def _block_checksums(content: bytes) -> bytes:
    checksums = BlockChecksums()
    checksums.update(content)
    return checksums.encode()


async def test_a_bite_ends_after_some_bytes_and_goes_on_there(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "BITE", 100_000)
    numbers = [(await _put(store, b"%d" % number, os.urandom(60_000))).id for number in range(5)]

    def bite(after: int) -> check.Bite:
        return check_objects(store.catalog.reader, store.bodies, after, lambda _count: None)

    first = bite(0)
    assert (first.position, first.damaged) == (numbers[1], [])
    second = bite(numbers[1])
    assert second.position == numbers[3]
    assert bite(numbers[3]).position is None


async def test_an_object_that_is_deleted_meanwhile_is_not_damaged(store: Store) -> None:
    stored = await _put(store, b"key", os.urandom(50_000))
    await store.delete(1, b"key", USER)
    assert not await store.set_aside(stored)
    assert store.catalog.reader.execute("SELECT count(*) FROM quarantine").fetchone() == (0,)


async def test_the_pauses_fit_the_size_of_the_store(store: Store) -> None:
    checker = Checker(store, scrub_days=7)
    assert checker._pause() == 3600
    insert = "INSERT INTO objects VALUES (?, 1, ?, x'', ?, x'', 0, 1)"
    await store.catalog.write(lambda database: database.execute(insert, (1000, b"huge", 1 << 40)) and None)
    assert checker._pause() == 10
    await store.catalog.write(lambda database: database.execute("UPDATE objects SET size = 1 << 36") and None)
    assert pytest.approx(checker._pause()) == 7 * 86400 / (1 << 13)


async def test_stopping_does_not_wait_for_a_long_body(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await _put(store, b"key", os.urandom(3_000_000))
    monkeypatch.setattr(check, "SCRUB_RATE", 1)
    checker = Checker(store, scrub_days=1)
    bite = asyncio.create_task(asyncio.to_thread(checker._bite_in_thread, 0, checker._slowly))
    await checker.close()
    with pytest.raises(StoppedError):
        await asyncio.wait_for(bite, 5)
