"""How a daemon refuses to start, or to go on."""

from __future__ import annotations

import sqlite3
from typing import ClassVar

_DAMAGED = (11, 26)
"""SQLITE_CORRUPT and SQLITE_NOTADB (sqlite.org/rescode.html), primary result codes."""


class StartError(Exception):
    """The daemon cannot start; the text is one line for the user."""

    exit_status: ClassVar[int] = 1


class DamagedDataError(StartError):
    """The daemon's data is damaged: starting again is in vain until somebody restores or discards it.

    The exit status, EX_DATAERR of sysexits.h, tells the driver so.
    """

    exit_status = 65


def refusal(what: str, error: sqlite3.Error | OSError) -> StartError:
    """The error for data at `what` that cannot be opened: DamagedDataError if SQLite calls it damaged."""
    kind = DamagedDataError if (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF in _DAMAGED else StartError
    return kind(f"{what}: {error}")
