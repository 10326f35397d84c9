"""The group-commit writer that chunkd, tabled and iwhd share."""

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from haild.chunkd.catalog import Catalog, create_catalog
from haild.daemon.groupcommit import GroupCommit
from haild.iwhd.metadata.sqlite import SqliteDatabase
from haild.tabled.metadata import schema

Write = Callable[[Callable[[sqlite3.Connection], None]], Awaitable[None]]


class WrappedError(Exception):
    """What the writer under test makes of SQLite's errors."""


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[GroupCommit]:
    connection = schema.connect(tmp_path / "db", threads=True)
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, b BLOB)")
    made = GroupCommit(connection, failure=lambda error: WrappedError(str(error)))
    yield made
    made.close()


def _put(number: int, blob: bytes = b"") -> Callable[[sqlite3.Connection], None]:
    return lambda db: db.execute("INSERT INTO t VALUES (?, ?)", (number, blob)) and None


def _remove(number: int) -> Callable[[sqlite3.Connection], None]:
    return lambda db: db.execute("DELETE FROM t WHERE id = ?", (number,)) and None


def _numbers(db: sqlite3.Connection) -> list[int]:
    return [number for (number,) in db.execute("SELECT id FROM t ORDER BY id")]


async def test_a_change_that_raises_undoes_only_itself(writer: GroupCommit) -> None:
    def half(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO t VALUES (7, x'')")
        raise ValueError("after all not")

    results = await asyncio.gather(
        writer.run(_put(1)), writer.run(half), writer.run(_put(1)), writer.run(_put(2)), return_exceptions=True
    )
    assert isinstance(results[1], ValueError)
    assert isinstance(results[2], WrappedError)
    assert isinstance(results[2].__cause__, sqlite3.IntegrityError)
    assert await writer.run(_numbers) == [1, 2]


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "with others"])
async def test_what_a_change_did_before_it_raised_is_undone(writer: GroupCommit, beside: bool) -> None:
    started, proceed = threading.Event(), threading.Event()

    def hold(_db: sqlite3.Connection) -> None:
        started.set()
        proceed.wait(30)

    def half(db: sqlite3.Connection) -> None:
        _put(7)(db)
        raise ValueError("after all not")

    holding = asyncio.create_task(writer.run(hold))
    await asyncio.to_thread(started.wait, 30)
    changes = [half, _put(1)] if beside else [half]
    waiting = asyncio.gather(*map(writer.run, changes), return_exceptions=True)
    await asyncio.sleep(0)
    proceed.set()
    await holding
    assert isinstance((await waiting)[0], ValueError)
    await writer.run(_put(2))
    assert await writer.run(_numbers) == ([1, 2] if beside else [2])


@pytest.mark.parametrize("thrown", [SystemExit, StopIteration, MemoryError, KeyboardInterrupt])
async def test_nothing_that_a_change_raises_ends_the_writer(writer: GroupCommit, thrown: type[BaseException]) -> None:
    def change(_db: sqlite3.Connection) -> None:
        raise thrown

    future = asyncio.ensure_future(asyncio.wait_for(_caught(writer, change), 10))
    expected = RuntimeError if thrown is StopIteration else thrown
    assert await future is expected
    await writer.run(_put(1))
    assert await writer.run(_numbers) == [1]


async def _caught(writer: GroupCommit, change: Callable[[sqlite3.Connection], None]) -> type[BaseException]:
    # In the task itself: SystemExit that leaves a task ends the loop.
    try:
        await writer.run(change)
    except BaseException as error:
        return type(error)
    raise AssertionError("nothing was raised")


async def test_cancelling_waits_for_the_commit(writer: GroupCommit) -> None:
    delivered = []
    task = asyncio.create_task(writer.run(_put(1), delivered=lambda: delivered.append(1)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert delivered == [1]
    assert await writer.run(_numbers) == [1]


async def test_cancelling_waits_for_a_change_that_fails(writer: GroupCommit) -> None:
    ended = []

    def fail(_db: sqlite3.Connection) -> None:
        ended.append(1)
        raise ValueError

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await writer.run(fail)
    assert ended == [1]
    task = asyncio.create_task(writer.run(fail))
    await asyncio.sleep(0)
    assert task.cancel()
    assert task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [1, 1]


async def test_delivered_runs_before_any_caller_of_the_group_goes_on(writer: GroupCommit) -> None:
    order: list[str] = []

    async def one(number: int) -> None:
        await writer.run(_put(number), delivered=lambda: order.append("delivered"))
        order.append("went on")

    def busy(_db: sqlite3.Connection) -> None:
        gate.result(timeout=10)

    loop = asyncio.get_running_loop()
    gate = asyncio.run_coroutine_threadsafe(asyncio.sleep(0.05), loop)
    first = asyncio.create_task(writer.run(busy))
    await asyncio.sleep(0.01)
    await asyncio.gather(one(1), one(2), one(3))
    await first
    assert order == ["delivered"] * 3 + ["went on"] * 3


async def test_after_runs_only_where_the_change_succeeded_and_its_error_is_raised(writer: GroupCommit) -> None:
    ran = []

    def after() -> None:
        ran.append(1)
        raise OSError("no rename")

    with pytest.raises(OSError, match="no rename"):
        await writer.run(_put(1), after=after)
    with pytest.raises(WrappedError):
        await writer.run(_put(1), after=after)
    assert ran == [1]


async def test_confirm_speaks_for_the_whole_group(tmp_path: Path) -> None:
    class SupersededError(Exception):
        pass

    def confirm() -> None:
        raise SupersededError

    connection = schema.connect(tmp_path / "db", threads=True)
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, b BLOB)")
    writer = GroupCommit(connection, confirm=confirm)
    try:
        results = await asyncio.gather(writer.run(_put(1)), writer.run(_put(2)), return_exceptions=True)
    finally:
        writer.close()
    assert [type(result) for result in results] == [SupersededError, SupersededError]


async def test_close_commits_what_waits_and_refuses_more(writer: GroupCommit, tmp_path: Path) -> None:
    tasks = [asyncio.create_task(writer.run(_put(number))) for number in range(50)]
    await asyncio.sleep(0)
    await asyncio.to_thread(writer.close, _put(100))
    await asyncio.gather(*tasks)
    with pytest.raises(WrappedError, match="closed"):
        await writer.run(_put(101))
    with contextlib.closing(sqlite3.connect(tmp_path / "db")) as database:
        assert _numbers(database) == [*range(50), 100]


# A full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MB."""
    directory = tmp_path / "small"
    directory.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(directory)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system takes the rights of root")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


def _fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while True:
            stream.write(bytes(4096))


def _chunkd(disk: Path) -> tuple[Write, Path, Callable[[], Awaitable[None]]]:
    path = disk / "catalog.sqlite"
    create_catalog(path)
    catalog = Catalog(path)
    return catalog.write, path, lambda: asyncio.to_thread(catalog.close, lambda _db: None)


def _tabled(disk: Path) -> tuple[Write, Path, Callable[[], Awaitable[None]]]:
    path = disk / "passwd"
    connection = schema.connect(path, threads=True)
    schema.create(connection)
    writer = GroupCommit(connection)
    return writer.run, path, lambda: asyncio.to_thread(writer.close)


def _iwhd(disk: Path) -> tuple[Write, Path, Callable[[], Awaitable[None]]]:
    database = SqliteDatabase(disk)
    return database.write, disk / "iwhd.db", database.close


@pytest.mark.parametrize("daemon", [_chunkd, _tabled, _iwhd])
async def test_deleting_works_on_a_disk_that_something_else_has_filled(
    small_disk: Path, daemon: Callable[[Path], tuple[Write, Path, Callable[[], Awaitable[None]]]]
) -> None:
    write, path, close = daemon(small_disk)
    blob = os.urandom(20_000)
    await write(lambda db: db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, b BLOB)") and None)
    for number in range(150):
        await write(_put(number, blob))
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    # A log that has not been copied back yet: its space is what deleting can use.
    for number in range(40):
        await write(_remove(number))
    for number in range(1000, 1030):
        await write(_put(number, blob))
    _fill(small_disk)
    for number in [*range(40, 150), *range(1000, 1030)]:
        await write(_remove(number))
    await close()
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert _numbers(database) == []


async def test_on_a_full_disk_a_large_change_does_not_take_the_deletions_beside_it_with_it(small_disk: Path) -> None:
    write, path, close = _tabled(small_disk)
    blob = os.urandom(20_000)
    await write(lambda db: db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, b BLOB)") and None)
    for number in range(80):
        await write(_put(number, blob))
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for number in range(60, 80):
        await write(_remove(number))
    _fill(small_disk)
    large = [write(_put(2000 + number, os.urandom(4 << 20))) for number in range(3)]
    small = [write(_remove(number)) for number in range(60)]
    results = await asyncio.gather(*large, *small, return_exceptions=True)
    await close()
    assert [type(result) for result in results[:3]] == [sqlite3.OperationalError] * 3
    assert results[3:] == [None] * 60
