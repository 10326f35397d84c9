"""What daemons share to empty themselves on the driver's request (haild.wire.emptying).

It is refused unless the environment names a file with the secret (`HAILD_EMPTYING`), as that of a stack does.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import shutil
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from haild.daemon.settings import await_file
from haild.wire import emptying as wire

VARIABLE: Final = "HAILD_EMPTYING"
MARKER: Final = "emptying"
"""A file in a data directory that is being emptied; the next process that opens the directory goes on with it."""


def proof(service: str) -> str | None:
    """What proves the right to empty this daemon; None where no client has it.

    The file is waited for as a configuration is. Raises OSError.
    """
    name = os.environ.get(VARIABLE)
    if not name:
        return None
    await_file(Path(name))
    secret = Path(name).read_text(encoding="ascii").strip()
    return wire.proof(secret, service) if secret else None


def admits(known: str | None, given: str | None) -> bool:
    """Whether a request with this proof may be granted."""
    if known is None or given is None:
        return False
    return hmac.compare_digest(known.encode(), given.encode("utf-8", "replace"))


def purge(connection: sqlite3.Connection) -> None:
    """Leave no byte of a deleted row in the database's file or its log. No transaction may be open.

    Raises sqlite3.Error, also if another connection reads so that the log cannot be cut off.
    """
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("VACUUM")
    (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise sqlite3.OperationalError("the log is being read, so what was deleted is still in it")


def begin(directory: Path) -> None:
    """Note durably that all in `directory` is to go; `finish` does it, now or after a crash. Raises OSError."""
    descriptor = os.open(directory / MARKER, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    _sync(directory)


def finish(directory: Path, others: Iterable[Path] = ()) -> bool:
    """If `begin` was called for `directory`, remove everything in it and in `others`; whether it was.

    `others` may contain `directory`. Raises OSError.
    """
    directory = directory.resolve()
    marker = directory / MARKER
    if not marker.exists():
        return False
    for place in others:
        if place.is_dir():
            _clear(place.resolve(), directory)
    _clear(directory, marker)
    _sync(directory)
    marker.unlink()
    _sync(directory)
    return True


def _clear(place: Path, kept: Path) -> None:
    """Remove what is in `place`, except `kept` and the directories that lead to it."""
    for entry in place.iterdir():
        if entry == kept:
            continue
        if entry.is_dir() and not entry.is_symlink():
            if kept.is_relative_to(entry):
                _clear(entry, kept)
            else:
                shutil.rmtree(entry)
        else:
            with contextlib.suppress(FileNotFoundError):
                entry.unlink()


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
