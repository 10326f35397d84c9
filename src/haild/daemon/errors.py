"""How a daemon refuses to start, or to go on. The exit status tells the driver which kind of trouble it is."""

from __future__ import annotations

import errno
import sqlite3
from typing import ClassVar, Final

EXIT_REFUSED: Final = 1
EXIT_DAMAGED: Final = 65
"""EX_DATAERR of sysexits.h: the data is damaged."""
EXIT_NO_MEANS: Final = 71
"""EX_OSERR: the system gives too few threads, open files or too little memory."""
EXIT_UNWRITABLE: Final = 74
"""EX_IOERR: the data cannot be written."""
EXIT_IN_USE: Final = 75
"""EX_TEMPFAIL: another process has the data."""

_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_UNWRITABLE: Final = frozenset(
    {
        *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR),
        *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM),
    }
)
_IN_USE: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
"""Primary result codes (sqlite.org/rescode.html)."""
_UNWRITABLE_ERRNOS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM})


class StartError(Exception):
    """The daemon cannot start; the text is one line for the user."""

    exit_status: ClassVar[int] = EXIT_REFUSED


class DamagedDataError(StartError):
    """The daemon's data is damaged: no start succeeds until it is restored or discarded."""

    exit_status = EXIT_DAMAGED


class NoMeansError(StartError):
    """The limits that the daemon runs under are too small for it."""

    exit_status = EXIT_NO_MEANS


class UnwritableError(StartError):
    """The data cannot be written: the disk is full, broken or read-only, or the owner is wrong."""

    exit_status = EXIT_UNWRITABLE


class InUseError(StartError):
    """Another process has the data."""

    exit_status = EXIT_IN_USE


def refusal(what: str, error: sqlite3.Error | OSError) -> StartError:
    """The error, of the right kind, for data at `what` that cannot be opened."""
    if isinstance(error, OSError):
        kind = UnwritableError if error.errno in _UNWRITABLE_ERRNOS else StartError
        return kind(f"{what}: {error.strerror or error}")
    code = primary_code(error)
    for codes, found in ((_DAMAGED, DamagedDataError), (_UNWRITABLE, UnwritableError), (_IN_USE, InUseError)):
        if code in codes:
            return found(f"{what}: {error}")
    return StartError(f"{what}: {error}")


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 for an error that Python raised itself."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
