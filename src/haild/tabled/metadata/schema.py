"""The tables, and how records stand in them."""

from __future__ import annotations

import contextlib
import json
import secrets
import sqlite3
import time
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from haild.tabled.metadata.port import DamagedRecordError
from haild.tabled.metadata.records import ObjectRecord, Part, PartSize, Segment, Upload
from haild.tabled.s3.acl import Acl, from_text, to_text

FILE_NAME: Final = "passwd"
"""Set-up scripts check for a file of this name after `tdbadm -u` (tabled.md 2.2)."""

TABLES: Final = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS users (name TEXT PRIMARY KEY, password TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS buckets (
    name TEXT PRIMARY KEY, owner TEXT NOT NULL, created REAL NOT NULL, acl TEXT NOT NULL,
    versioning TEXT NOT NULL DEFAULT '', settings TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS settings (
    bucket TEXT NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (bucket, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS objects (
    sequence INTEGER PRIMARY KEY,
    bucket TEXT NOT NULL, key TEXT NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL, modified REAL NOT NULL,
    acl TEXT NOT NULL, version TEXT NOT NULL, marker INTEGER NOT NULL, current INTEGER NOT NULL,
    headers TEXT NOT NULL, segments TEXT NOT NULL, parts TEXT NOT NULL, checksum TEXT NOT NULL, tags TEXT NOT NULL,
    upload TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS current_objects ON objects (bucket, key) WHERE current = 1;
CREATE INDEX IF NOT EXISTS old_objects ON objects (bucket, key, sequence DESC) WHERE current = 0;
CREATE TABLE IF NOT EXISTS uploads (
    upload TEXT PRIMARY KEY, bucket TEXT NOT NULL, key TEXT NOT NULL, initiated REAL NOT NULL, acl TEXT NOT NULL,
    headers TEXT NOT NULL, tags TEXT NOT NULL, checksum_algorithm TEXT NOT NULL, checksum_type TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS uploads_by_key ON uploads (bucket, key, upload);
CREATE TABLE IF NOT EXISTS parts (
    upload TEXT NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL,
    modified REAL NOT NULL, segments TEXT NOT NULL, checksum TEXT NOT NULL, PRIMARY KEY (upload, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bodies (
    body INTEGER PRIMARY KEY, size INTEGER NOT NULL, users INTEGER NOT NULL, nodes TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS garbage (
    node INTEGER NOT NULL, body INTEGER NOT NULL, PRIMARY KEY (node, body)
) WITHOUT ROWID;
"""

MIGRATIONS: Final = {
    # Encryption, object lock, notifications, policies of users.
    2: """
ALTER TABLE objects ADD COLUMN encryption TEXT NOT NULL DEFAULT '';
ALTER TABLE objects ADD COLUMN lock TEXT NOT NULL DEFAULT '';
ALTER TABLE uploads ADD COLUMN encryption TEXT NOT NULL DEFAULT '';
ALTER TABLE uploads ADD COLUMN lock TEXT NOT NULL DEFAULT '';
ALTER TABLE bodies ADD COLUMN cipher TEXT NOT NULL DEFAULT '';
CREATE TABLE masterkeys (number INTEGER PRIMARY KEY, wrapped TEXT NOT NULL);
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY, due REAL NOT NULL, attempts INTEGER NOT NULL,
    target TEXT NOT NULL, text TEXT NOT NULL
);
CREATE TABLE userpolicies (
    user TEXT NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (user, name)
) WITHOUT ROWID;
""",
    # A checksum over each object's row.
    3: """
ALTER TABLE objects ADD COLUMN sum INTEGER;
UPDATE objects SET sum = rowsum(bucket, key, size, etag, modified, acl, version, marker,
    headers, segments, parts, checksum, tags, upload, encryption, lock);
""",
}
"""By version, how a database of the version before becomes one of this. TABLES are those of version 1.

What was released never changes: the next change of the tables is a new entry.
"""

VERSION: Final = max(MIGRATIONS)
"""Kept in the database as `user_version`."""

OBJECT_COLUMNS: Final = (
    "bucket, key, size, etag, modified, acl, sequence, version, marker, current,"
    " headers, segments, parts, checksum, tags, upload, encryption, lock, sum"
)
SUM: Final = (
    "rowsum(bucket, key, size, etag, modified, acl, version, marker,"
    " headers, segments, parts, checksum, tags, upload, encryption, lock)"
)
"""The checksum of an object's row as an expression. Its place among the versions and `current` change alone."""
UPLOAD_COLUMNS: Final = (
    "upload, bucket, key, initiated, acl, headers, tags, checksum_algorithm, checksum_type, encryption, lock"
)
PART_COLUMNS: Final = "number, size, etag, modified, segments, checksum"

Row = tuple[Any, ...]

_encode: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
"""Made once: `json.dumps` with arguments makes one for each call, which takes longer than the encoding."""


class DatabaseVersionError(Exception):
    """The database was written by another generation of this program; trying again does not help."""


def row_sum(*values: object) -> int:
    """The checksum of a row's values, as they are stored (CRC-32, which finds every burst of 32 bits)."""
    return zlib.crc32("\x1f".join(map(str, values)).encode("utf-8", "surrogatepass"))


def connect(path: Path, *, read_only: bool = False, threads: bool = False) -> sqlite3.Connection:
    """A connection set up for durable commits; statements run outside a transaction unless one is begun.

    Raises sqlite3.Error.
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=not threads, timeout=10.0)
    connection.create_function("rowsum", -1, row_sum, deterministic=True)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA cache_size = -8000")
    if read_only:
        connection.execute("PRAGMA query_only = 1")
    return connection


def peek(path: Path) -> sqlite3.Connection:
    """A connection that only reads. Other than the last of `connect`, it leaves the log as it is when it is closed.

    Raises sqlite3.Error.
    """
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=10.0)


def create(connection: sqlite3.Connection) -> None:
    """Make the tables where they are missing, bring those of an earlier version up to date.

    Raises DatabaseVersionError.
    """
    found = check(connection)
    if not found:
        # Body ids of a new database start above those of every older one, so that it neither collides with what
        # an older database of the group left on the nodes nor takes that for its own orphans.
        first = int(time.time()) << 24
        facts = f"('identity', '{secrets.token_hex(16)}'), ('first_body', {first}), ('next_body', {first})"
        begin = f"{TABLES}INSERT OR IGNORE INTO facts VALUES {facts};"  # noqa: S608
    elif found < VERSION:
        begin = ""
    else:
        return
    steps = "".join(script for number, script in sorted(MIGRATIONS.items()) if number > max(found, 1))
    connection.executescript(f"BEGIN IMMEDIATE;{begin}{steps}PRAGMA user_version = {VERSION};COMMIT;")


def check(connection: sqlite3.Connection) -> int:
    """The version of the database's tables; 0 for a new one. Raises DatabaseVersionError for other tables."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        return 0
    if not 0 < version <= VERSION:
        raise DatabaseVersionError(
            f"the database is of version {version}, and this tabled knows only versions 1 to {VERSION};"
            " start the tabled that wrote it, or discard the data"
        )
    with contextlib.closing(sqlite3.connect(":memory:")) as expected:
        expected.create_function("rowsum", -1, row_sum)
        expected.executescript(TABLES)
        expected.executescript("".join(script for number, script in sorted(MIGRATIONS.items()) if number <= version))
        wanted = _columns(expected)
    found = _columns(connection)
    names = [f"{table}.{column}" for table, column in sorted(wanted ^ found)]
    if names:
        raise DatabaseVersionError(
            f"the database says that it is of version {version} but has other columns ({', '.join(names)});"
            " start the tabled that wrote it, or discard the data"
        )
    return int(version)


def _columns(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    """Table and name of every column."""
    statement = (
        "SELECT tables.name, columns.name FROM sqlite_master AS tables, pragma_table_info(tables.name) AS columns"
        " WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite_%'"
    )
    return set(connection.execute(statement))


def dump(value: Mapping[str, str] | Iterable[object]) -> str:
    """A small structure as text; empty structures as the empty text."""
    return _encode(value) if value else ""


def load_mapping(text: str) -> dict[str, str]:
    """A mapping that `dump` wrote."""
    return json.loads(text) if text else {}


def dump_segments(segments: Iterable[Segment]) -> str:
    """`body:offset:length` joined by semicolons."""
    return ";".join(f"{s.body}:{s.offset}:{s.length}" for s in segments)


def load_segments(text: str) -> tuple[Segment, ...]:
    """The segments that `dump_segments` wrote."""
    if not text:
        return ()
    return tuple(Segment(*map(int, piece.split(":"))) for piece in text.split(";"))


def _load_tags(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in json.loads(text)) if text else ()


def object_from(row: Row) -> ObjectRecord:
    """A record from OBJECT_COLUMNS. Raises DamagedRecordError where the row is not as it was written."""
    bucket, key, size, etag, modified, acl, sequence, version, marker, current, *texts, total = row
    if row_sum(*row[:6], version, marker, *texts) != total:
        damaged = ObjectRecord(
            bucket=bucket,
            key=key,
            size=0,
            etag="",
            modified=0.0,
            acl=Acl(""),
            sequence=sequence,
            version=version,
            current=bool(current),
        )
        raise DamagedRecordError(damaged)
    headers, segments, parts, checksum, tags, upload, encryption, lock = texts
    return ObjectRecord(
        bucket=bucket,
        key=key,
        size=size,
        etag=etag,
        modified=modified,
        acl=from_text(acl),
        sequence=sequence,
        version=version,
        marker=bool(marker),
        current=bool(current),
        headers=load_mapping(headers),
        segments=load_segments(segments),
        parts=tuple(PartSize(*item) for item in json.loads(parts)) if parts else (),
        checksum=load_mapping(checksum),
        tags=_load_tags(tags),
        upload=upload,
        encryption=load_mapping(encryption),
        lock=load_mapping(lock),
    )


def object_values(record: ObjectRecord, version: str) -> Row:
    """The values of a new row: OBJECT_COLUMNS without the sequence."""
    first = (
        record.bucket,
        record.key,
        record.size,
        record.etag,
        float(record.modified),
        to_text(record.acl),
        version,
        int(record.marker),
    )
    texts = (
        dump(record.headers),
        dump_segments(record.segments),
        dump([[p.number, p.size, p.checksum] for p in record.parts]),
        dump(record.checksum),
        dump(record.tags),
        record.upload,
        dump(record.encryption),
        dump(record.lock),
    )
    return (*first, 1, *texts, row_sum(*first, *texts))


def upload_from(row: Row) -> Upload:
    """A record from UPLOAD_COLUMNS."""
    upload, bucket, key, initiated, acl, headers, tags, algorithm, kind, encryption, lock = row
    return Upload(
        upload=upload,
        bucket=bucket,
        key=key,
        initiated=initiated,
        acl=from_text(acl),
        headers=load_mapping(headers),
        tags=_load_tags(tags),
        checksum_algorithm=algorithm,
        checksum_type=kind,
        encryption=load_mapping(encryption),
        lock=load_mapping(lock),
    )


def upload_values(upload: Upload) -> Row:
    """The values of a new row, in the order of UPLOAD_COLUMNS."""
    return (
        upload.upload,
        upload.bucket,
        upload.key,
        upload.initiated,
        to_text(upload.acl),
        dump(upload.headers),
        dump(upload.tags),
        upload.checksum_algorithm,
        upload.checksum_type,
        dump(upload.encryption),
        dump(upload.lock),
    )


def part_from(row: Row) -> Part:
    """A record from PART_COLUMNS."""
    number, size, etag, modified, segments, checksum = row
    return Part(
        number=number,
        size=size,
        etag=etag,
        modified=modified,
        segments=load_segments(segments),
        checksum=load_mapping(checksum),
    )


def bucket_acl(owner: str, acl: str) -> Acl:
    """The list of a bucket row."""
    return from_text(acl) if acl else Acl(owner)
