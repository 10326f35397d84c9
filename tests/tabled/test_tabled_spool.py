"""The room for forms: each client has its share of it, and gives it back."""

from __future__ import annotations

from pathlib import Path

import pytest

from haild.tabled.bodies.spool import GRANT, RESERVE, NoRoomError, Spool


async def test_what_is_written_is_read(tmp_path: Path) -> None:
    async with Spool(tmp_path).file("a") as file:
        await file.write(b"abc")
        await file.write(b"def")
        file.rewind()
        assert [await file.read(4), await file.read(4), await file.read(4)] == [b"abcd", b"ef", b""]
        assert file.written == 6
        assert list(tmp_path.iterdir()) == []


async def test_a_client_has_half_of_what_is_free_and_gives_it_back(tmp_path: Path) -> None:
    disk = RESERVE + 8 * GRANT
    used = 0
    spool = Spool(tmp_path, lambda _: disk - used)
    block = bytes(GRANT)
    async with spool.file("a") as first, spool.file("a") as second, spool.file("b") as other:
        for file in (first, second, first, second):
            await file.write(block)
            used += GRANT
        for file in (first, second):
            with pytest.raises(NoRoomError):
                await file.write(block)
        await other.write(block)
        used += GRANT
        await other.write(block)
        used += GRANT
        with pytest.raises(NoRoomError):
            await other.write(block)
    used = 0
    async with spool.file("a") as again:
        for _ in range(4):
            await again.write(block)
            used += GRANT


async def test_a_full_volume(tmp_path: Path) -> None:
    async with Spool(tmp_path, lambda _: RESERVE).file("a") as file:
        with pytest.raises(NoRoomError):
            await file.write(b"x")
