"""`python -m haild.cld admin`: what a server's database holds: sessions, locks with holder and age, files.

Reads the database beside the running server, or without one.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from haild.cld.store import NAME
from haild.wire.cld import extension as cld_extension
from haild.wire.cld import messages as cld

DIRECTORY: Final = Path("/var/lib/cld")
"""Where the database is in the images."""
_MAPPED: Final = "::ffff:"

_LOCKS: Final = """
SELECT inodes.path, locks.held, locks.shared, locks.since, locks.sid, sessions.user, sessions.host, sessions.port
FROM locks JOIN inodes ON inodes.inum = locks.inum JOIN sessions ON sessions.sid = locks.sid ORDER BY locks.number
"""
_SESSIONS: Final = """
SELECT sessions.sid, user, transport, host, port, began,
    (SELECT count(*) FROM handles WHERE handles.sid = sessions.sid),
    (SELECT count(*) FROM locks WHERE locks.sid = sessions.sid AND held)
FROM sessions ORDER BY began, sessions.sid
"""
_FILES: Final = """
SELECT path, flags, version, modified, ifnull(length(data), 0), inodes.inum
FROM inodes LEFT JOIN contents ON contents.inum = inodes.inum ORDER BY path
"""


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _address(host: str, port: int) -> str:
    host = host.removeprefix(_MAPPED)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def read(directory: Path, now: float) -> dict[str, list[dict[str, Any]]]:
    """The content of the database in `directory`; ages are seconds at `now` (since 1970). Raises sqlite3.Error."""
    uri = f"{(directory / NAME).resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as database:
        return {
            "sessions": [
                {
                    "id": sid.hex().upper(),
                    "user": _text(user),
                    "transport": transport,
                    "address": _address(host, port),
                    "age": max(0, int(now - began)),
                    "lease": cld_extension.lease_of(sid) or cld.SESSION_TIMEOUT,
                    "handles": handles,
                    "locks": locks,
                }
                for sid, user, transport, host, port, began, handles, locks in database.execute(_SESSIONS)
            ],
            "locks": [
                {
                    "path": _text(path),
                    "state": "held" if held else "waiting",
                    "mode": "shared" if shared else "exclusive",
                    "age": max(0, int(now - since)),
                    "session": sid.hex().upper(),
                    "user": _text(user),
                    "address": _address(host, port),
                }
                for path, held, shared, since, sid, user, host, port in database.execute(_LOCKS)
            ],
            "files": [
                {
                    "path": _text(path),
                    "kind": "directory" if flags & cld.INODE_DIRECTORY else "file",
                    "version": version,
                    "size": size,
                    "age": max(0, int(now - modified)),
                    "inode": inum,
                }
                for path, flags, version, modified, size, inum in database.execute(_FILES)
            ],
        }


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Lines of a table with a heading; none for no rows."""
    if not rows:
        return []
    heading = {name: name.upper() for name in rows[0]}
    cells = [[str(row[name]) for name in heading] for row in [heading, *rows]]
    widths = [max(len(line[column]) for line in cells) for column in range(len(heading))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def main(arguments: list[str]) -> int:
    """Print what was asked for; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="cld admin", description="List what cld's database holds (ages in seconds)."
    )
    parser.add_argument(
        "-d", "--data", metavar="DIR", type=Path, default=DIRECTORY, help=f"database directory of cld ({DIRECTORY})"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("what", nargs="*", metavar="sessions|locks|files", help="default: all of them")
    options = parser.parse_args(arguments)
    kinds = options.what or ["sessions", "locks", "files"]
    if not set(kinds) <= {"sessions", "locks", "files"}:
        parser.error("choose from sessions, locks, files")
    try:
        content = read(options.data, time.time())
    except sqlite3.Error as error:
        sys.stderr.write(f"cld admin: {options.data / NAME}: {error}\n")
        return 1
    if options.json:
        sys.stdout.write(json.dumps({kind: content[kind] for kind in kinds}) + "\n")
        return 0
    blocks = [[f"{kind}: {len(content[kind])}", *table(content[kind])] for kind in kinds]
    sys.stdout.write("\n\n".join("\n".join(block) for block in blocks) + "\n")
    return 0
