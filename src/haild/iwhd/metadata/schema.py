"""Tables of the metadata database.

Texts are UTF-8; values of attributes are bytes as clients sent them. The order of `id` is the order of
storage, in which lists are sent (iwhd.md section 18).
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 2
"""Kept in the database as `user_version`; a database of a later version is refused."""

SCHEMA: Final = """
CREATE TABLE object(
    id INTEGER PRIMARY KEY,
    bucket TEXT NOT NULL,
    key TEXT NOT NULL,
    etag TEXT,      -- these three are NULL while the object has attributes only
    size INTEGER,
    date REAL,
    sums BLOB,      -- checksums of the body's blocks (haild.wire.blockchecksums), NULL where they are not known
    upstream TEXT,  -- the etag that the master had for the body when it was copied here
    UNIQUE(bucket, key)
);
CREATE INDEX object_by_bucket ON object(bucket, id);
CREATE TABLE attribute(
    id INTEGER PRIMARY KEY,
    object INTEGER NOT NULL REFERENCES object ON DELETE CASCADE,
    name TEXT NOT NULL,
    value BLOB NOT NULL,
    sum INTEGER,    -- CRC-32 of name, NUL and value; NULL for what version 1 stored
    UNIQUE(object, name)
);
CREATE TABLE location(
    object INTEGER NOT NULL REFERENCES object ON DELETE CASCADE,
    name TEXT NOT NULL,
    PRIMARY KEY(object, name)
) WITHOUT ROWID;
CREATE TABLE intent(            -- the journal: what is being done to the primary provider
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    action TEXT NOT NULL,       -- put or delete
    provider TEXT NOT NULL,
    bucket TEXT NOT NULL,
    key TEXT NOT NULL,
    etag TEXT NOT NULL DEFAULT '',
    size INTEGER NOT NULL DEFAULT 0,
    date REAL NOT NULL DEFAULT 0,
    token TEXT NOT NULL DEFAULT '',
    sums BLOB,
    upstream TEXT
);
CREATE TABLE work(              -- the replication queue
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    target TEXT NOT NULL,
    action TEXT NOT NULL,       -- create, copy, delete, unset or remove
    bucket TEXT NOT NULL,
    key TEXT NOT NULL DEFAULT '',
    name TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX work_by_target ON work(target, id);
CREATE INDEX work_by_object ON work(target, bucket, key);
CREATE TABLE setting(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

UPGRADES: Final[dict[int, str]] = {
    1: """
ALTER TABLE object ADD COLUMN sums BLOB;
ALTER TABLE object ADD COLUMN upstream TEXT;
ALTER TABLE attribute ADD COLUMN sum INTEGER;
ALTER TABLE intent ADD COLUMN sums BLOB;
ALTER TABLE intent ADD COLUMN upstream TEXT;
""",
}
"""By version: the statements that make the next version of it."""
