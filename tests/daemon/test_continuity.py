"""A database that is gone, empty, another one or an older one is noticed, not started from."""

import asyncio
import contextlib
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from haild.chunkd.store import CATALOG, Store
from haild.daemon.errors import EXIT_DAMAGED, DamagedDataError
from support.chunkd_daemon import Daemon

USER = b"user"


async def _filled(root: Path, *, large: bool = False, close: bool = True) -> Store | None:
    store = Store.open(root)
    table, _ = await store.create_table(b"table")
    await store.add_inline(table, b"key", USER, b"content")
    if large:
        writer = store.writer()
        body = writer.append([bytes(100_000)], True)
        assert body is not None
        store.reserve(table, b"large")
        await store.add_file(table, b"large", USER, body)
    if not close:
        return store
    store.close()
    return None


def _found(store: Store) -> bytes:
    table = store.find_table(b"table")
    assert table is not None
    found = store.find(table, b"key")
    assert found is not None
    return store.inline_body(found)


async def test_an_orderly_end_and_a_start(tmp_path: Path) -> None:
    for _ in range(3):
        if not (tmp_path / CATALOG).exists():
            await _filled(tmp_path)
        store = Store.open(tmp_path)
        assert _found(store) == b"content"
        store.close()


def _remove(root: Path) -> None:
    for file in root.glob(f"{CATALOG}*"):
        if not file.name.endswith(".mark"):
            file.unlink()


def _empty(root: Path) -> None:
    (root / CATALOG).write_bytes(b"")


def _another(root: Path) -> None:
    (root / CATALOG).unlink()
    with contextlib.closing(sqlite3.connect(root / CATALOG)) as database:
        database.execute("CREATE TABLE x (y)")


@pytest.mark.parametrize(
    ("harm", "text"), [(_remove, "gone or empty"), (_empty, "gone or empty"), (_another, "another database")]
)
async def test_chunkd_without_its_catalog_does_not_start_empty(
    tmp_path: Path, harm: Callable[[Path], None], text: str
) -> None:
    await _filled(tmp_path)
    harm(tmp_path)
    for _ in range(2):
        with pytest.raises(DamagedDataError, match=text):
            Store.open(tmp_path)


async def test_nor_with_bodies_and_no_mark(tmp_path: Path) -> None:
    """As data of an earlier release is."""
    await _filled(tmp_path, large=True)
    for file in tmp_path.glob(f"{CATALOG}*"):
        file.unlink()
    with pytest.raises(DamagedDataError, match="bodies that it listed"):
        Store.open(tmp_path)


async def test_data_of_an_earlier_release_gets_a_mark(tmp_path: Path) -> None:
    await _filled(tmp_path)
    (tmp_path / f"{CATALOG}.mark").unlink()
    with contextlib.closing(sqlite3.connect(tmp_path / CATALOG)) as database:
        database.execute("DROP TABLE continuity")
    store = Store.open(tmp_path)
    assert _found(store) == b"content"
    store.close()
    _remove(tmp_path)
    with pytest.raises(DamagedDataError):
        Store.open(tmp_path)


async def test_an_older_catalog_is_noticed(tmp_path: Path) -> None:
    await _filled(tmp_path)
    shutil.copy(tmp_path / CATALOG, tmp_path / "older")
    for _ in range(2):
        Store.open(tmp_path).close()
    (tmp_path / "older").replace(tmp_path / CATALOG)
    with pytest.raises(DamagedDataError, match="older state"):
        Store.open(tmp_path)


async def test_a_lost_write_ahead_log_is_noticed_and_one_that_is_there_is_used(tmp_path: Path) -> None:
    running = tmp_path / "running"
    running.mkdir()
    store = await _filled(running, close=False)
    assert store is not None
    # As a kill leaves them.
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for copy in (whole, cut):
        shutil.copytree(running, copy)
    store.close()
    (cut / f"{CATALOG}-wal").unlink()
    with pytest.raises(DamagedDataError, match="latest changes"):
        Store.open(cut)
    recovered = Store.open(whole)
    assert _found(recovered) == b"content"
    recovered.close()


async def test_a_start_that_fails_for_another_reason_leaves_no_false_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _filled(tmp_path)

    def fails(*_arguments: object) -> None:
        raise OSError(5, "input/output error")

    with monkeypatch.context() as patched:
        patched.setattr("haild.chunkd.bodies.Bodies.recover", fails)
        with pytest.raises(Exception, match="input/output"):
            Store.open(tmp_path)
    store = Store.open(tmp_path)
    assert _found(store) == b"content"
    store.close()


def test_chunkd_says_so_and_exits_with_65(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.start()
    daemon.kill()
    asyncio.run(_filled(daemon.data))
    _remove(daemon.data)
    command = [sys.executable, "-m", "haild.chunkd", "-F", "-E", "-C", str(daemon.configuration)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == EXIT_DAMAGED
    assert done.stderr.count("\n") == 1
    assert f"{CATALOG} is gone or empty" in done.stderr
