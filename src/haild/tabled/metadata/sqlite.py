"""The metadata in one SQLite file: WAL, `synchronous=FULL`, group commit.

Reads are answered on the event loop from a second connection: a look-up takes some 20 microseconds, less
than handing it to a thread. Writes go through `haild.daemon.groupcommit`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from haild.daemon.groupcommit import GroupCommit
from haild.tabled.metadata import bodies, counting, events, listing, objects, pages, schema, witness
from haild.tabled.metadata.annexe import Annexe
from haild.tabled.metadata.port import (
    BucketExistsError,
    BucketMissingError,
    BucketNotEmptyError,
    Check,
    DamagedRecordError,
    LockChange,
    Notify,
    SupersededError,
    UploadMissingError,
)
from haild.tabled.metadata.records import (
    Bucket,
    Deletion,
    Listed,
    ListedVersion,
    ListQuery,
    ObjectRecord,
    Page,
    Part,
    StoredBody,
    Upload,
    UploadPage,
)
from haild.tabled.s3.acl import Acl, to_text

BLOCK: Final = 5000
"""Body ids set aside in the database at a time; at most so many are skipped by a restart."""

KEPT_BUCKETS: Final = 1000
"""Buckets of which the rows are kept in memory."""

_BUCKET_COLUMNS: Final = "name, owner, created, acl, versioning, settings"

logger = logging.getLogger(__name__)


class SqliteMetadata(Annexe):
    """Implements `metadata.port.Metadata`."""

    def __init__(self, path: Path, confirm: Callable[[], None] = lambda: None) -> None:
        """Open or create the database at `path`; the event loop must run.

        `confirm` raises SupersededError when what was committed must not be acknowledged (`claim.py`).
        Raises sqlite3.Error.
        """
        connection = schema.connect(path, threads=True)
        schema.create(connection)
        facts = dict(connection.execute("SELECT name, value FROM facts"))
        self.identity = str(facts["identity"])
        self.first_body = int(facts["first_body"])
        self._next_body = self._reserved = self._first_of_process = int(facts["next_body"])
        self._reader = schema.connect(path, read_only=True)
        self._writer = GroupCommit(connection, confirm=confirm)
        self._read = self._reader.execute
        super().__init__(self._reader, self._writer)
        self._directory = path.parent
        self._confirm = confirm
        self._witness = witness.Witness(self.identity, path.name, True, self._reserved)
        # The log is there now, and stays until `close`.
        witness.write(self._directory, self._witness)
        self._passwords: dict[str, str] = {}
        """Of users who have been asked for; while this process is the master, users are only added."""
        self._buckets: dict[str, Bucket] = {}
        """Buckets as they are committed, for only this process changes them."""

    def own_bodies(self) -> tuple[int, int]:
        """The first body id of this database, and the first that no process before this one gave out."""
        return self.first_body, self._first_of_process

    async def close(self) -> None:
        """Finish what is queued and close."""
        with contextlib.suppress(SupersededError, OSError):  # then it is another process's
            self._confirm()
            witness.write(self._directory, replace(self._witness, logged=False))
        await asyncio.to_thread(self._writer.close)
        self._reader.close()

    # Users and buckets.

    async def password(self, user: str) -> str | None:
        """The user's password."""
        known = self._passwords.get(user)
        if known is not None:
            return known
        row = self._read("SELECT password FROM users WHERE name = ?", (user,)).fetchone()
        if row is None:
            return None
        password = self._passwords[user] = str(row[0])
        return password

    async def bucket(self, name: str) -> Bucket | None:
        """The bucket."""
        known = self._buckets.get(name)
        if known is not None:
            return known
        row = self._read(f"SELECT {_BUCKET_COLUMNS} FROM buckets WHERE name = ?", (name,)).fetchone()  # noqa: S608
        if row is None:
            return None
        if len(self._buckets) >= KEPT_BUCKETS:
            self._buckets.clear()
        bucket = self._buckets[name] = _bucket(row)
        return bucket

    async def _change_bucket(self, name: str, change: Callable[[sqlite3.Connection], None]) -> None:
        """Run a change of a bucket's row, and forget what was known of it once the new one is committed."""
        await self._writer.run(change, delivered=lambda: self._buckets.pop(name, None))

    async def buckets(self, owner: str, prefix: str = "", after: str = "", limit: int | None = None) -> list[Bucket]:
        """Buckets of a user."""
        end = listing.successor(prefix)
        rows = self._read(
            f"SELECT {_BUCKET_COLUMNS} FROM buckets WHERE owner = ?"  # noqa: S608
            " AND name >= ? AND name > ? AND (? IS NULL OR name < ?) ORDER BY name LIMIT ?",
            (owner, prefix, after, end, end, -1 if limit is None else limit),
        )
        return [_bucket(row) for row in rows]

    async def create_bucket(self, bucket: Bucket, settings: Mapping[str, str] | None = None) -> None:
        """Raises BucketExistsError."""
        documents = settings or {}
        names = " ".join(sorted(documents))
        values = (bucket.name, bucket.owner, bucket.created, to_text(bucket.acl), bucket.versioning, names)

        def change(db: sqlite3.Connection) -> None:
            try:
                db.execute(
                    "INSERT INTO buckets (name, owner, created, acl, versioning, settings) VALUES (?, ?, ?, ?, ?, ?)",
                    values,
                )
            except sqlite3.IntegrityError:
                raise BucketExistsError(bucket.name) from None
            rows = [(bucket.name, name, text) for name, text in documents.items()]
            db.executemany("INSERT OR REPLACE INTO settings VALUES (?, ?, ?)", rows)

        await self._writer.run(change)

    async def delete_bucket(self, name: str) -> None:
        """Unfinished uploads in it are aborted."""

        def change(db: sqlite3.Connection) -> None:
            for state in (1, 0):
                statement = f"SELECT 1 FROM objects WHERE bucket = ? AND current = {state} LIMIT 1"  # noqa: S608
                if db.execute(statement, (name,)).fetchone():
                    raise BucketNotEmptyError(name)
            if not db.execute("DELETE FROM buckets WHERE name = ?", (name,)).rowcount:
                raise BucketMissingError(name)
            for (upload,) in db.execute("SELECT upload FROM uploads WHERE bucket = ?", (name,)).fetchall():
                objects.drop_parts(db, upload)
            db.execute("DELETE FROM settings WHERE bucket = ?", (name,))

        await self._change_bucket(name, change)

    async def set_bucket_acl(self, name: str, acl: Acl) -> None:
        """Replace the bucket's list."""
        text = to_text(acl)
        statement = "UPDATE buckets SET acl = ? WHERE name = ?"
        await self._change_bucket(name, lambda db: _changed(db, statement, text, name))

    async def set_versioning(self, name: str, state: str) -> None:
        """State is Enabled or Suspended."""
        statement = "UPDATE buckets SET versioning = ? WHERE name = ?"
        await self._change_bucket(name, lambda db: _changed(db, statement, state, name))

    async def setting(self, bucket: str, name: str) -> str | None:
        """A document stored with the bucket."""
        row = self._read("SELECT text FROM settings WHERE bucket = ? AND name = ?", (bucket, name)).fetchone()
        return str(row[0]) if row else None

    async def set_setting(self, bucket: str, name: str, text: str | None) -> None:
        """Store or remove a document; the bucket's row says which documents there are."""

        def change(db: sqlite3.Connection) -> None:
            if text is None:
                db.execute("DELETE FROM settings WHERE bucket = ? AND name = ?", (bucket, name))
            else:
                db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?, ?)", (bucket, name, text))
            names = db.execute("SELECT name FROM settings WHERE bucket = ? ORDER BY name", (bucket,))
            listed = " ".join(row[0] for row in names)
            _changed(db, "UPDATE buckets SET settings = ? WHERE name = ?", listed, bucket)

        await self._change_bucket(bucket, change)

    async def settings(self, name: str) -> list[tuple[str, str]]:
        """Bucket and text of every document of that name."""
        rows = self._read("SELECT bucket, text FROM settings WHERE name = ?", (name,))
        return [(str(bucket), str(text)) for bucket, text in rows]

    # Objects.

    async def new_body(self) -> int:
        """An id that no body ever had."""
        while self._next_body >= self._reserved:
            reserved = await self._writer.run(_reserve)
            self._reserved = max(self._reserved, reserved)
            self._next_body = max(self._next_body, reserved - BLOCK)
            self._witness = replace(self._witness, reserved=self._reserved)
            witness.write(self._directory, self._witness)
        number = self._next_body
        self._next_body += 1
        return number

    async def object(self, bucket: str, key: str, version: str = "") -> ObjectRecord | None:
        """The current object, or the named version."""
        if version:
            return objects.version(self._reader, bucket, key, version)
        return objects.current(self._reader, bucket, key)

    async def put_object(
        self,
        record: ObjectRecord,
        stored: Sequence[StoredBody],
        check: Check | None = None,
        notify: Notify | None = None,
    ) -> str:
        """Make `record` current."""
        if notify is not None:
            return await self._writer.run(
                lambda db: _noted(db, notify, objects.put(db, record, stored, check), marker=False)
            )
        return await self._writer.run(lambda db: objects.put(db, record, stored, check))

    async def delete_object(
        self,
        bucket: str,
        key: str,
        version: str = "",
        check: Check | None = None,
        notify: Notify | None = None,
    ) -> Deletion:
        """Delete the object or a version."""
        now = time.time()

        def change(db: sqlite3.Connection) -> Deletion:
            deletion = objects.delete(db, bucket, key, version, check, now)
            if notify is not None and (deletion.found or deletion.marker):
                _noted(db, notify, deletion.version, marker=deletion.marker and not version)
            return deletion

        return await self._writer.run(change)

    async def update_object(
        self,
        record: ObjectRecord,
        *,
        acl: Acl | None = None,
        tags: Sequence[tuple[str, str]] | None = None,
        lock: LockChange | None = None,
        notify: Notify | None = None,
    ) -> None:
        """Change list, tags or lock."""
        acl_text = None if acl is None else to_text(acl)
        tags_text = None if tags is None else schema.dump(tuple(tags))

        def change(db: sqlite3.Connection) -> None:
            objects.update(db, record, acl_text, tags_text, lock)
            if notify is not None:
                _noted(db, notify, record.version, marker=False)

        await self._writer.run(change)

    async def list_objects(self, query: ListQuery) -> Page[Listed]:
        """Current objects, without delete markers."""
        return pages.current(self._reader, query)

    async def list_versions(self, query: ListQuery) -> Page[ListedVersion]:
        """All versions and markers, newest first within a key."""
        return pages.versions(self._reader, query)

    async def expired(self, bucket: str, prefix: str, after: str, before: float, limit: int) -> list[ObjectRecord]:
        """Current objects under a prefix stored before a time."""
        end = listing.successor(prefix)
        rows = self._read(
            f"SELECT {schema.OBJECT_COLUMNS} FROM objects WHERE bucket = ? AND current = 1"  # noqa: S608
            " AND key >= ? AND key > ? AND (? IS NULL OR key < ?) AND marker = 0 AND modified < ?"
            " ORDER BY key LIMIT ?",
            (bucket, prefix, after, end, end, before, limit),
        )
        found = []
        for row in rows:
            try:
                found.append(schema.object_from(row))
            except DamagedRecordError as error:
                logger.error("%s", error)
        return found

    # Uploads.

    async def create_upload(self, upload: Upload) -> None:
        """Raises BucketMissingError."""

        def change(db: sqlite3.Connection) -> None:
            if not db.execute("SELECT 1 FROM buckets WHERE name = ?", (upload.bucket,)).fetchone():
                raise BucketMissingError(upload.bucket)
            statement = f"INSERT INTO uploads ({schema.UPLOAD_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)"  # noqa: S608
            db.execute(statement, schema.upload_values(upload))

        await self._writer.run(change)

    async def upload(self, upload: str) -> Upload | None:
        """An upload in progress."""
        statement = f"SELECT {schema.UPLOAD_COLUMNS} FROM uploads WHERE upload = ?"  # noqa: S608
        row = self._read(statement, (upload,)).fetchone()
        return schema.upload_from(row) if row else None

    async def put_part(self, upload: str, part: Part, stored: Sequence[StoredBody]) -> None:
        """Add or replace a part."""

        def change(db: sqlite3.Connection) -> None:
            if not db.execute("SELECT 1 FROM uploads WHERE upload = ?", (upload,)).fetchone():
                raise UploadMissingError(upload)
            bodies.retain(db, part.segments, stored)
            old = db.execute(
                "SELECT segments FROM parts WHERE upload = ? AND number = ?", (upload, part.number)
            ).fetchone()
            if old:
                bodies.release(db, schema.load_segments(old[0]))
            segments, checksum = schema.dump_segments(part.segments), schema.dump(part.checksum)
            db.execute(
                "INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?, ?)",
                (upload, part.number, part.size, part.etag, part.modified, segments, checksum),
            )

        await self._writer.run(change)

    async def parts(self, upload: str, after: int, limit: int) -> list[Part]:
        """Parts with a number above `after`."""
        statement = f"SELECT {schema.PART_COLUMNS} FROM parts WHERE upload = ? AND number > ?"  # noqa: S608
        rows = self._read(f"{statement} ORDER BY number LIMIT ?", (upload, after, limit))
        return [schema.part_from(row) for row in rows]

    async def complete_upload(
        self, upload: str, record: ObjectRecord, check: Check | None = None, notify: Notify | None = None
    ) -> str:
        """Make the object current and drop the upload."""

        def change(db: sqlite3.Connection) -> str:
            if not db.execute("SELECT 1 FROM uploads WHERE upload = ?", (upload,)).fetchone():
                raise UploadMissingError(upload)
            version = objects.complete(db, upload, record, check)
            return version if notify is None else _noted(db, notify, version, marker=False)

        return await self._writer.run(change)

    async def completed_upload(self, bucket: str, key: str, upload: str) -> ObjectRecord | None:
        """What the upload became, if it is still there."""
        return objects.completed(self._reader, bucket, key, upload)

    async def abort_upload(self, upload: str) -> None:
        """Raises UploadMissingError."""

        def change(db: sqlite3.Connection) -> None:
            if not db.execute("SELECT 1 FROM uploads WHERE upload = ?", (upload,)).fetchone():
                raise UploadMissingError(upload)
            objects.drop_parts(db, upload)

        await self._writer.run(change)

    async def list_uploads(self, query: ListQuery) -> UploadPage:
        """Uploads in progress by key and id."""

        def seek(start: str, inclusive: bool) -> Iterator[tuple[str, schema.Row]]:
            again = not inclusive and bool(query.after_version) and start == query.after
            comparison = ">=" if inclusive or again else ">"
            rows = self._read(
                f"SELECT {schema.UPLOAD_COLUMNS} FROM uploads WHERE bucket = ? AND key {comparison} ?"  # noqa: S608
                " ORDER BY key, upload",
                (query.bucket, start),
            )
            return ((r[2], r) for r in rows if not again or r[2] > start or r[0] > query.after_version)

        page = listing.collect(seek, query.prefix, query.delimiter, query.after, query.limit)
        return UploadPage([schema.upload_from(row) for row in page.rows], page.prefixes, page.truncated)

    async def stale_uploads(self, before: float) -> list[str]:
        """Ids of uploads that nothing has come for since a time."""
        statement = (
            "SELECT upload FROM uploads WHERE initiated < ? AND NOT EXISTS"
            " (SELECT 1 FROM parts WHERE parts.upload = uploads.upload AND parts.modified >= ?)"
        )
        return [upload for (upload,) in self._read(statement, (before, before))]

    # Bodies.

    async def body(self, body: int) -> StoredBody | None:
        """Size and places of a body."""
        return bodies.find(self._reader, body)

    async def add_copy(self, body: int, node: int) -> bool:
        """Note a new copy."""
        return await self._writer.run(lambda db: bodies.add_copy(db, body, node))

    async def drop_copies(self, node: int, bodies_: Sequence[int], *, collect: bool) -> None:
        """Forget copies on a node."""
        await self._writer.run(lambda db: bodies.drop_copies(db, node, bodies_, collect))

    async def search_bodies(
        self, after: int, limit: int, wanted: Callable[[tuple[int, ...]], bool]
    ) -> tuple[list[int], int | None]:
        """Bodies whose nodes are `wanted`."""
        return bodies.search(self._reader, after, limit, wanted)

    async def garbage(self, node: int, limit: int) -> list[int]:
        """Bodies that the node still has to delete."""
        rows = self._read("SELECT body FROM garbage WHERE node = ? ORDER BY body LIMIT ?", (node, limit))
        return [body for (body,) in rows]

    async def add_garbage(self, copies: Sequence[tuple[int, int]]) -> int:
        """Queue (body, node) pairs for deletion."""
        return 0 if not copies else await self._writer.run(lambda db: bodies.add_garbage(db, copies))

    async def forget_garbage(self, node: int, bodies_: Sequence[int]) -> None:
        """The node has deleted them."""
        statement = "DELETE FROM garbage WHERE node = ? AND body = ?"
        await self._writer.run(lambda db: _many(db, statement, [(node, body) for body in bodies_]))

    async def counts(self) -> Mapping[str, int]:
        """Numbers for the status page."""
        return await self._writer.run(counting.counts)


def _noted(db: sqlite3.Connection, notify: Notify, version: str, *, marker: bool) -> str:
    """Queue the events of a change in its transaction; returns the version."""
    events.add(db, notify(version, marker), time.time())
    return version


def _bucket(row: schema.Row) -> Bucket:
    name, owner, created, acl, versioning, settings = row
    return Bucket(name, created, schema.bucket_acl(owner, acl), versioning, frozenset(settings.split()))


def _changed(db: sqlite3.Connection, statement: str, value: str, bucket: str) -> None:
    if not db.execute(statement, (value, bucket)).rowcount:
        raise BucketMissingError(bucket)


def _many(db: sqlite3.Connection, statement: str, values: Sequence[tuple[int, int]]) -> None:
    db.executemany(statement, values)


def _reserve(db: sqlite3.Connection) -> int:
    statement = "UPDATE facts SET value = value + ? WHERE name = 'next_body' RETURNING value"
    return int(db.execute(statement, (BLOCK,)).fetchone()[0])
