"""Kills a store at every call by which it changes the file system or its catalog, and looks at what is left.

    python chunkd_crash_sweep.py DIRECTORY

Prints the number of crash points, or what was wrong and with which of them. Every run is a forked child, so that
a sweep of a hundred crashes takes seconds. What is acknowledged is told to the parent through a pipe; after the
crash the store is opened again (killed at every call of that, too) and must hold the acknowledged state, or that
and the effect of the one step under way, and not a file more.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from haild.chunkd import catalog as catalog_module
from haild.chunkd import store as store_module
from haild.chunkd.store import Store

CHANGES = ("write", "fsync", "rename", "unlink", "link", "open", "mkdir")
USER = b"user"
Contents = dict[bytes, bytes]
_write = os.write


class Countdown:
    """Ends the process before the call number `at`; or, if `half`, in the midst of the write number `at`."""

    def __init__(self, at: int, *, half: bool = False) -> None:
        self.left = at
        self.half = half

    def install(self) -> None:
        for name in CHANGES:
            setattr(os, name, self._wrapped(getattr(os, name), name))

        class Connection(sqlite3.Connection):
            def execute(connection, statement: str, *arguments: Any) -> sqlite3.Cursor:  # noqa: N805
                if self.half or statement not in ("COMMIT", "BEGIN IMMEDIATE"):
                    return super().execute(statement, *arguments)
                return self._call(lambda: super(Connection, connection).execute(statement, *arguments))

        connect = sqlite3.connect
        catalog_module.sqlite3.connect = lambda *a, **k: connect(*a, factory=Connection, **k)  # type: ignore[assignment, attr-defined]

    def _wrapped(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            if name == "open" and not arguments[1] & os.O_CREAT:
                return function(*arguments, **keywords)
            if self.half and name != "write":
                return function(*arguments, **keywords)
            if self.half and self.left == 1:
                function(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
            return self._call(lambda: function(*arguments, **keywords))

        return call

    def _call(self, function: Callable[[], Any]) -> Any:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function()


# The steps: what is done, and what the contents are afterwards.


async def _put(store: Store, key: bytes, content: bytes) -> None:
    store.reserve(1, key)
    if len(content) <= store_module.INLINE_SIZE:
        await store.add_inline(1, key, USER, content)
    else:
        writer = store.writer()
        middle = len(content) // 2
        writer.append([content[:middle]], False)
        finished = writer.append([content[middle:]], True)
        assert finished is not None
        await store.add_file(1, key, USER, finished)
    store.release(1, key)


async def _copy(store: Store, key: bytes, source: bytes) -> None:
    await store.copy(1, source, key, USER)


async def _delete(store: Store, key: bytes, _content: bytes) -> None:
    await store.delete(1, key, USER)


async def _set_aside(store: Store, key: bytes, _content: bytes) -> None:
    stored = store.find(1, key)
    assert stored is not None
    await store.set_aside(stored)


LARGE, OTHER = b"large" * 20_000, b"other" * 30_000
STEPS: list[tuple[Callable[[Store, bytes, bytes], Any], bytes, bytes]] = [
    (_put, b"small", b"content"),
    (_put, b"large", LARGE),
    (_copy, b"copy", b"large"),
    (_delete, b"large", b""),
    (_put, b"large", OTHER),
    (_delete, b"small", b""),
    (_copy, b"small", b"large"),
    (_delete, b"copy", b""),
    (_set_aside, b"large", b""),
    (_put, b"large", LARGE),
    (_put, b"empty", b""),
]


def contents_after(steps: int) -> Contents:
    contents: Contents = {}
    for action, key, value in STEPS[:steps]:
        if action is _put:
            contents[key] = value
        elif action is _copy:
            contents[key] = contents[value]
        else:
            del contents[key]
    return contents


async def _work(root: Path, tell: Callable[[bytes], None]) -> None:
    store = Store.open(root)
    table, _ = await store.create_table(b"table")
    assert table == 1
    tell(b"t")
    for action, key, value in STEPS:
        await action(store, key, value)
        tell(b".")
    store.close()


async def _examine(root: Path, acknowledged: int, countdown: Countdown) -> None:
    store = Store.open(root)
    countdown.left = 1 << 30
    found: Contents = {}
    for (key,) in store.catalog.reader.execute("SELECT key FROM objects").fetchall():
        stored = store.find(1, key)
        assert stored is not None
        if stored.in_file:
            body = await store.open_body(stored)
            body.verify_all(lambda _: None)
            found[key] = os.pread(body.file.fileno(), stored.size, 0)
            body.close()
        else:
            found[key] = store.inline_body(stored)
    allowed = [contents_after(acknowledged), contents_after(acknowledged + 1)]
    assert found in allowed, f"holds {sorted(found)} after {acknowledged} steps"
    _examine_files(root, store.catalog.reader)
    store.close()


def _examine_files(root: Path, reader: sqlite3.Connection) -> None:
    def names(query: str) -> set[str]:
        return {f"{number:016x}" for (number,) in reader.execute(query)}

    assert os.listdir(root / "incoming") == [], "debris in incoming/"
    bodies = {path.name for path in (root / "bodies").glob("*/*")}
    assert bodies == names("SELECT id FROM objects WHERE in_file"), "debris in bodies/, or a body is missing"
    aside = set(os.listdir(root / "quarantine"))
    assert aside == names("SELECT id FROM quarantine WHERE in_file"), "debris in quarantine/"
    numbers = names("SELECT id FROM objects") | names("SELECT id FROM quarantine")
    assert names("SELECT id FROM content") == numbers, "content without an object"
    assert names("SELECT id FROM garbage") == set()


def forked(action: Callable[[Callable[[bytes], None]], None]) -> tuple[bool, bytes]:
    """Run `action` in a child. Returns whether it was killed by its countdown, and what it told."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.close(reading)
            action(lambda text: _write(writing, text) and None)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    told = b""
    while piece := os.read(reading, 4096):
        told += piece
    os.close(reading)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True, told
    if os.WEXITSTATUS(status):
        raise SystemExit("a child failed")
    return False, told


def sweep(root: Path, *, half: bool) -> int:
    """Crash at call 1, 2, ... until there is none left. Returns how many there were."""
    at = 0
    killed = True
    while killed:
        at += 1
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()

        def work(tell: Callable[[bytes], None], at: int = at) -> None:
            Countdown(at, half=half).install()
            asyncio.run(_work(root, tell))

        killed, told = forked(work)
        acknowledged = told.count(b".")
        sys.stderr.write(f"call {at} ({half=}): {acknowledged} steps acknowledged\n")
        _recover(root, acknowledged)
    return at - 1


def _recover(root: Path, acknowledged: int) -> None:
    """Open the store, killed at call 1, 2, ... of that, until it opens; then see what it holds."""
    at = 0
    killed = True
    while killed:
        at += 1

        def reopen(_tell: Callable[[bytes], None], at: int = at) -> None:
            countdown = Countdown(at)
            countdown.install()
            asyncio.run(_examine(root, acknowledged, countdown))

        killed, _ = forked(reopen)


if __name__ == "__main__":
    store_directory = Path(sys.argv[1]) / "store"
    sys.stdout.write(f"{sweep(store_directory, half=False)} {sweep(store_directory, half=True)}\n")
