"""`python -m haild.tabled.whereabouts DIR BUCKET KEY`: on which nodes the bodies of an object are, as JSON.

Reads the metadata beside the running server. Bucket and key are percent-encoded UTF-8. Prints `null` if there is no
such object, else `size`, `encrypted`, and `segments`: for each its `body`, the `key` of that on its nodes, `offset`
and `length` of the stretch, `size` of the whole body in bytes, and the ids of its `nodes`.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from haild.tabled.bodies.placement import key_of
from haild.tabled.metadata import bodies, schema
from haild.tabled.metadata.claim import database_file

_OBJECT: Final = (
    "SELECT size, segments, encryption FROM objects WHERE bucket = ? AND key = ? AND current = 1 AND marker = 0"
)


def find(connection: sqlite3.Connection, bucket: str, key: str) -> dict[str, Any] | None:
    """Where the object is; see the module. Raises sqlite3.Error."""
    row = connection.execute(_OBJECT, (bucket, key)).fetchone()
    if row is None:
        return None
    size, text, encryption = row
    segments = []
    for segment in schema.load_segments(text):
        stored = bodies.find(connection, segment.body)
        segments.append(
            {
                "body": segment.body,
                "key": key_of(segment.body).rstrip(b"\0").decode(),
                "offset": segment.offset,
                "length": segment.length,
                "size": stored.size if stored else 0,
                "nodes": list(stored.nodes) if stored else [],
            }
        )
    return {"size": size, "encrypted": bool(encryption), "segments": segments}


def main(arguments: list[str]) -> int:
    """Print it; returns the exit status."""
    if len(arguments) != 3:
        sys.stderr.write("usage: whereabouts DIR BUCKET KEY\n")
        return 2
    directory, bucket, key = arguments
    try:
        with contextlib.closing(schema.peek(database_file(Path(directory)))) as connection:
            found = find(connection, unquote(bucket, errors="strict"), unquote(key, errors="strict"))
    except (sqlite3.Error, ValueError) as error:
        sys.stderr.write(f"whereabouts: {directory}: {error}\n")
        return 1
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
