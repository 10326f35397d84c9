"""Objects and their versions: the statements (S3 user guide, "Using versioning in S3 buckets")."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from haild.tabled.metadata import bodies, schema
from haild.tabled.metadata.port import BucketMissingError, Check, DamagedRecordError, LockChange
from haild.tabled.metadata.records import NULL_VERSION, Deletion, ObjectRecord, StoredBody

_CURRENT: Final = f"SELECT {schema.OBJECT_COLUMNS} FROM objects WHERE bucket = ? AND key = ? AND current = 1"  # noqa: S608
_OLD: Final = f"SELECT {schema.OBJECT_COLUMNS} FROM objects WHERE bucket = ? AND key = ? AND current = 0"  # noqa: S608
_INSERT: Final = (
    "INSERT INTO objects (bucket, key, size, etag, modified, acl, version, marker, current,"
    " headers, segments, parts, checksum, tags, upload, encryption, lock, sum)"
    " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
)


def current(db: sqlite3.Connection, bucket: str, key: str) -> ObjectRecord | None:
    """The current object or delete marker."""
    row = db.execute(_CURRENT, (bucket, key)).fetchone()
    return schema.object_from(row) if row else None


def _present(db: sqlite3.Connection, bucket: str, key: str, check: Check | None) -> ObjectRecord | None:
    """What a write replaces. A damaged record may be replaced or deleted, but not where a condition asks for it."""
    try:
        return current(db, bucket, key)
    except DamagedRecordError as error:
        if check is not None:
            raise
        return error.record


def version(db: sqlite3.Connection, bucket: str, key: str, wanted: str) -> ObjectRecord | None:
    """One version."""
    for statement in (_CURRENT, _OLD):
        row = db.execute(f"{statement} AND version = ?", (bucket, key, wanted)).fetchone()
        if row:
            return schema.object_from(row)
    return None


def completed(db: sqlite3.Connection, bucket: str, key: str, upload: str) -> ObjectRecord | None:
    """The object, or the version of it, that a multipart upload became."""
    for statement in (_CURRENT, _OLD):
        row = db.execute(f"{statement} AND upload = ?", (bucket, key, upload)).fetchone()
        if row:
            return schema.object_from(row)
    return None


NO_PLACE: Final = 1 << 62
"""After every version: the place of one that is gone and does not tell where it was."""


def _new_version_id(db: sqlite3.Connection) -> str:
    """An id for the version that is inserted next: opaque to clients, and it tells its place among the others."""
    (place,) = db.execute("SELECT coalesce(max(sequence), 0) + 1 FROM objects").fetchone()
    return f"{place:x}.{secrets.token_urlsafe(16).replace('-', '_')}"


def place_of(version_id: str) -> int:
    """The place of a version that need not be there any more; NO_PLACE if its id does not tell."""
    digits, dot, _ = version_id.partition(".")
    try:
        return int(digits, 16) if dot else NO_PLACE
    except ValueError:
        return NO_PLACE


def put(
    db: sqlite3.Connection, record: ObjectRecord, stored: Sequence[StoredBody], check: Check | None = None
) -> str:
    """Make `record` current; returns its version id."""
    state = _versioning(db, record.bucket)
    present = _present(db, record.bucket, record.key, check)
    if check:
        check(None if present is None or present.marker else present)
    bodies.retain(db, record.segments, stored)
    version_id = _new_version_id(db) if state == "Enabled" else NULL_VERSION
    _make_room(db, record.bucket, record.key, state, present)
    db.execute(_INSERT, schema.object_values(record, version_id))
    return version_id


def _versioning(db: sqlite3.Connection, bucket: str) -> str:
    row = db.execute("SELECT versioning FROM buckets WHERE name = ?", (bucket,)).fetchone()
    if row is None:
        raise BucketMissingError(bucket)
    return str(row[0])


def _make_room(db: sqlite3.Connection, bucket: str, key: str, state: str, present: ObjectRecord | None) -> None:
    """Remove or set aside what is current, so that a new current row can be inserted."""
    if state == "Suspended":
        null = version(db, bucket, key, NULL_VERSION)
        if null is not None:
            _remove(db, null)
            if null.current:
                return
    if present is None:
        return
    if state == "":
        _remove(db, present)
    else:
        db.execute("UPDATE objects SET current = 0 WHERE sequence = ?", (present.sequence,))


def _remove(db: sqlite3.Connection, record: ObjectRecord) -> None:
    db.execute("DELETE FROM objects WHERE sequence = ?", (record.sequence,))
    bodies.release(db, record.segments)


def delete(db: sqlite3.Connection, bucket: str, key: str, wanted: str, check: Check | None, now: float) -> Deletion:
    """Delete a version, or (no version named) the object as the bucket's versioning wants it."""
    state = _versioning(db, bucket)
    if wanted:
        return _delete_version(db, bucket, key, wanted, check)
    present = _present(db, bucket, key, check)
    if check:
        check(None if present is None or present.marker else present)
    if state == "":
        if present is None:
            return Deletion()
        _remove(db, present)
        return Deletion(found=True)
    _make_room(db, bucket, key, state, present)
    version_id = _new_version_id(db) if state == "Enabled" else NULL_VERSION
    owner = db.execute("SELECT owner FROM buckets WHERE name = ?", (bucket,)).fetchone()[0]
    marker = ObjectRecord(bucket, key, 0, "", now, schema.bucket_acl(owner, ""), marker=True)
    db.execute(_INSERT, schema.object_values(marker, version_id))
    return Deletion(version_id, marker=True, found=present is not None)


def _delete_version(db: sqlite3.Connection, bucket: str, key: str, wanted: str, check: Check | None) -> Deletion:
    try:
        record = version(db, bucket, key, wanted)
    except DamagedRecordError as error:
        if check is not None:
            raise
        record = error.record
    if check:
        check(record)
    if record is None:
        return Deletion(wanted)
    _remove(db, record)
    if record.current:
        db.execute(
            "UPDATE objects SET current = 1 WHERE sequence ="
            " (SELECT max(sequence) FROM objects WHERE bucket = ? AND key = ? AND current = 0)",
            (bucket, key),
        )
    return Deletion(wanted, marker=record.marker, found=True)


def update(
    db: sqlite3.Connection, record: ObjectRecord, acl: str | None, tags: str | None, lock: LockChange | None = None
) -> None:
    """Change list, tags or lock in place, if the object is still the same one."""
    present = version(db, record.bucket, record.key, record.version)
    if present is None or (present.sequence, present.modified) != (record.sequence, record.modified):
        return
    if acl is not None:
        db.execute("UPDATE objects SET acl = ? WHERE sequence = ?", (acl, record.sequence))
    if tags is not None:
        db.execute("UPDATE objects SET tags = ? WHERE sequence = ?", (tags, record.sequence))
    if lock is not None:
        text = schema.dump(lock(present.lock))
        db.execute("UPDATE objects SET lock = ? WHERE sequence = ?", (text, record.sequence))
    db.execute(f"UPDATE objects SET sum = {schema.SUM} WHERE sequence = ?", (record.sequence,))  # noqa: S608


def complete(db: sqlite3.Connection, upload: str, record: ObjectRecord, check: Check | None) -> str:
    """Make a multipart object current and drop the upload; its parts' users become the object's."""
    version_id = put(db, replace(record), (), check)
    drop_parts(db, upload)
    return version_id


def drop_parts(db: sqlite3.Connection, upload: str) -> None:
    """Remove an upload with its parts."""
    for (segments,) in db.execute("SELECT segments FROM parts WHERE upload = ?", (upload,)).fetchall():
        bodies.release(db, schema.load_segments(segments))
    db.execute("DELETE FROM parts WHERE upload = ?", (upload,))
    db.execute("DELETE FROM uploads WHERE upload = ?", (upload,))
