"""Checksums of blocks, and how long a verified body is trusted."""

from __future__ import annotations

import contextlib
import os
import time
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haild.chunkd.catalog import StoredObject
from haild.chunkd.reading import VERIFIED_COUNT, VERIFIED_FOR, BodyFile, DamagedError, Verified, in_memory
from haild.chunkd.store import Store
from haild.wire import blockchecksums
from haild.wire.blockchecksums import BlockChecksums

BLOCK = 65536


@given(st.lists(st.integers(0, 3 * BLOCK), max_size=8), st.integers(0, 255))
@settings(max_examples=30, deadline=None)
def test_checksums_do_not_depend_on_the_pieces(sizes: list[int], filler: int) -> None:
    pieces = [bytes([filler]) * size for size in sizes]
    body = b"".join(pieces)
    checksums = BlockChecksums()
    for piece in pieces:
        checksums.update(piece)
    expected = b"".join(
        zlib.crc32(body[start : start + BLOCK]).to_bytes(4, "little") for start in range(0, len(body), BLOCK)
    )
    assert checksums.encode() == expected
    assert blockchecksums.matches(expected, 0, memoryview(body))


@pytest.mark.parametrize(
    ("size", "offset", "length", "expected"),
    [
        (10, 3, 4, (0, 10)),
        (BLOCK * 3, 0, BLOCK, (0, BLOCK)),
        (BLOCK * 3, BLOCK - 1, 2, (0, 2 * BLOCK)),
        (BLOCK * 3 - 5, 2 * BLOCK, 1, (2 * BLOCK, 3 * BLOCK - 5)),
        (BLOCK, BLOCK, 0, (BLOCK, BLOCK)),
    ],
)
def test_whole_blocks_around_a_range(size: int, offset: int, length: int, expected: tuple[int, int]) -> None:
    assert blockchecksums.aligned(size, offset, length) == expected


def test_a_missing_checksum_never_matches() -> None:
    assert not blockchecksums.matches(b"", 0, memoryview(b"x"))
    assert not blockchecksums.matches(bytes(4), BLOCK, memoryview(b"x"))


def _stored(content: bytes) -> tuple[StoredObject, bytes]:
    checksums = BlockChecksums()
    checksums.update(content)
    return StoredObject(1, 1, b"k", b"u", len(content), b"", 0, True), checksums.encode()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_verified_body_is_trusted_until_it_is_touched_or_time_is_out(tmp_path: Path) -> None:
    path = tmp_path / "body"
    content = os.urandom(5 * BLOCK + 7)
    path.write_bytes(content)
    stored, checksums = _stored(content)
    clock = Clock()
    verified = Verified(clock)

    def opened() -> BodyFile:
        return BodyFile(stored, os.open(path, os.O_RDONLY), checksums, verified)

    body = opened()
    body.verify(BLOCK, len(content) - BLOCK)
    assert not opened().trusted, "without its first block"
    body.verify(0, 2 * BLOCK)
    body.verify(2 * BLOCK, len(content) - 2 * BLOCK)
    assert opened().trusted
    clock.now = VERIFIED_FOR
    assert not opened().trusted
    clock.now = 0
    assert opened().trusted
    before = path.stat()
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # the clock of the file system is coarse
        time.sleep(0.001)
        path.write_bytes(content[:-1] + b"x")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not opened().trusted, "a write is seen even if the time of modification is put back"
    with pytest.raises(DamagedError):
        opened().verify(5 * BLOCK, 7)
    opened().verify(0, 5 * BLOCK)


def test_a_shortened_body_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "body"
    content = os.urandom(3 * BLOCK)
    path.write_bytes(content[:-1])
    stored, checksums = _stored(content)
    body = BodyFile(stored, os.open(path, os.O_RDONLY), checksums, Verified())
    with pytest.raises(DamagedError):
        body.verify(0, len(content))


def test_the_memory_of_verified_bodies_is_bounded() -> None:
    verified = Verified(Clock())
    for number in range(VERIFIED_COUNT + 10):
        verified.add(number, (0, 0, 0, 0))
    assert not verified.holds(9, (0, 0, 0, 0))
    assert verified.holds(10, (0, 0, 0, 0))


async def test_a_body_just_stored_is_trusted_while_it_is_in_memory_and_untouched(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    try:
        table, _ = await store.create_table(b"t")

        async def put(key: bytes) -> tuple[StoredObject, Path]:
            writer = store.writer()
            finished = writer.append([os.urandom(5 * BLOCK + 7)], last=True)
            assert finished is not None
            stored = await store.add_file(table, key, b"user", finished)
            return stored, store.bodies.path(stored.id)

        async def trusted(stored: StoredObject) -> bool:
            body = await store.open_body(stored)
            with contextlib.closing(body):
                return body.trusted

        stored, path = await put(b"touched")
        assert await trusted(stored)
        with path.open("r+b") as file:
            file.write(b"x")
        assert not await trusted(stored)

        stored, path = await put(b"evicted")
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
        assert not await trusted(stored)

        stored, path = await put(b"copied")
        await store.copy(table, b"copied", b"copy", b"user")
        copy = store.owned(table, b"copy", b"user")
        assert not await trusted(copy), "nothing of it has been written just now"
    finally:
        store.close()


def test_what_the_system_has_dropped_is_not_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "body"
    path.write_bytes(bytes(5 * BLOCK))
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
        assert in_memory(descriptor, 5 * BLOCK)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        assert not in_memory(descriptor, 5 * BLOCK)
    finally:
        os.close(descriptor)
