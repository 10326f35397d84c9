"""A file beside the database that tells what must be there, so that a part that is missing is noticed.

Without its write-ahead log a database opens as if nothing was wrong, and is as old as its last checkpoint; without
its file tabled would start empty. The witness names the database that is in use, and tells whether it has a log.
Before a process closes the database, whereupon SQLite writes the log back and removes it, it takes that back.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from haild.tabled.metadata import schema
from haild.tabled.metadata.claim import database_file, generation

FILE_NAME: Final = "witness"


@dataclass(frozen=True)
class Witness:
    """What was known when the file was written."""

    identity: str
    """Of the metadata."""
    database: str
    """The database's file."""
    logged: bool
    """Whether a write-ahead log must be there."""
    reserved: int
    """Body ids below this one had been set aside: an older copy of the database knows fewer."""


def read(directory: Path) -> Witness | None:
    """The witness in a directory; None where there is none, or none that can be read."""
    try:
        return Witness(**json.loads((directory / FILE_NAME).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write(directory: Path, witness: Witness) -> None:
    """Replace the witness; durable on return. Raises OSError."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{FILE_NAME}.", dir=directory)
    try:
        with open(descriptor, "w") as file:
            json.dump(asdict(witness), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, directory / FILE_NAME)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    entry = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(entry)
    finally:
        os.close(entry)


def expect_no_log(directory: Path) -> None:
    """Say that the log may be gone from now on: it is about to be written back. Raises OSError."""
    known = read(directory)
    if known is not None and known.logged:
        write(directory, replace(known, logged=False))


def missing(directory: Path) -> str | None:
    """What the witness misses in a directory; None if all is there. Raises sqlite3.Error."""
    known = read(directory)
    if known is None:
        return None
    database = directory / known.database
    if not database.exists():
        # A process that takes a stopped one's place goes on in a file of the next generation.
        return None if generation(directory) and database_file(directory) != database else f"{database} is missing"
    if database_file(directory) != database:
        return None
    log = database.with_name(f"{database.name}-wal")
    # Twice, for another process may open or close the database meanwhile.
    if known.logged and not log.exists() and read(directory) == known and not log.exists():
        return f"{log} is missing, and with it all changes since it was last written back"
    return _other(database, known)


def _other(database: Path, known: Witness) -> str | None:
    with contextlib.closing(schema.peek(database)) as connection:
        if not schema.check(connection):
            return f"{database} is empty"
        facts = dict(connection.execute("SELECT name, value FROM facts"))
    if facts["identity"] != known.identity:
        return f"{database} is not the database that was here"
    if int(facts["next_body"]) < known.reserved:
        return f"{database} is older than the one that was here"
    return None


def advice(directory: Path) -> str:
    """What to do where something is missing."""
    return f"put it back, or restore a snapshot; to go on with what is there, remove {directory / FILE_NAME}"
