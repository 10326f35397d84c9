"""The one interface to the metadata. SQLite implements it today (`sqlite.py`).

Every method that changes something returns when the change is durable. Nothing here names SQL, files or
threads, so that another database can take the place for a group of tabled processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from haild.tabled.metadata.events import Event
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
from haild.tabled.s3.acl import Acl

LockChange = Callable[[Mapping[str, str]], Mapping[str, str]]
"""From the present lock of a version to its next, inside the transaction that replaces it; raises to refuse."""

Notify = Callable[[str, bool], Iterable[tuple[str, str]]]
"""From the version id that a change made or removed, and whether it is a delete marker that it made, to the events
(target, text) to queue with it."""

Check = Callable[[ObjectRecord | None], None]
"""Looks at what is stored under a key now, inside the transaction that replaces it; raises to refuse."""


class StorageError(Exception):
    """The metadata cannot do what was asked. `http/server` answers with the S3 error of each kind."""


class BucketExistsError(StorageError):
    """A bucket of that name exists."""


class BucketMissingError(StorageError):
    """The bucket does not exist (any more)."""


class BucketNotEmptyError(StorageError):
    """The bucket holds objects, versions or uploads."""


class UploadMissingError(StorageError):
    """The upload does not exist (any more)."""


class BodyMissingError(StorageError):
    """A body that a new record shares with an old one went away in the meantime."""


class DamagedRecordError(StorageError):
    """The stored metadata of an object are not those that were written: its checksum does not hold."""

    def __init__(self, record: ObjectRecord) -> None:
        """`record`: what is there, without what must not be believed: its segments."""
        super().__init__(f"the metadata of {record.bucket}/{record.key} are damaged: their checksum does not hold")
        self.record = record


class SupersededError(Exception):
    """Another process has become master: whether the change is kept, only that one knows."""


class Metadata(Protocol):
    """Users, buckets, objects, uploads, and the places of bodies."""

    async def password(self, user: str) -> str | None:
        """The user's password; None for an unknown user."""
        ...

    async def user_policies(self, user: str) -> list[str]:
        """The policies that a user must keep to; `tdbadm` may have changed them a second ago."""
        ...

    async def bucket(self, name: str) -> Bucket | None:
        """The bucket; None if there is none."""
        ...

    async def buckets(self, owner: str, prefix: str = "", after: str = "", limit: int | None = None) -> list[Bucket]:
        """The buckets of a user whose names start with `prefix` and come after `after`, by name, at most `limit`."""
        ...

    async def create_bucket(self, bucket: Bucket, settings: Mapping[str, str] | None = None) -> None:
        """`settings`: the documents that it has from the start. Raises BucketExistsError."""
        ...

    async def delete_bucket(self, name: str) -> None:
        """Raises BucketMissingError and BucketNotEmptyError."""
        ...

    async def set_bucket_acl(self, name: str, acl: Acl) -> None:
        """Replace the bucket's list."""
        ...

    async def set_versioning(self, name: str, state: str) -> None:
        """State is Enabled or Suspended."""
        ...

    async def setting(self, bucket: str, name: str) -> str | None:
        """A document stored with the bucket (policy, cors, ...)."""
        ...

    async def set_setting(self, bucket: str, name: str, text: str | None) -> None:
        """Store a document with the bucket; None removes it."""
        ...

    async def settings(self, name: str) -> list[tuple[str, str]]:
        """Bucket and text of every document of that name."""
        ...

    async def master_keys(self) -> dict[int, str]:
        """The wrapped master keys of encryption, by number."""
        ...

    async def add_master_key(self, number: int, wrapped: str) -> None:
        """Keep one more master key, unless there is one with its number."""
        ...

    async def add_events(self, events: Iterable[tuple[str, str]]) -> None:
        """Queue events (target, text)."""
        ...

    async def due_events(self, now: float, limit: int) -> list[Event]:
        """The oldest events that are due, at most `limit`."""
        ...

    async def next_event(self) -> float | None:
        """When the next event is due (seconds since 1970); None where there is none."""
        ...

    async def settle_events(self, done: Iterable[int], failed: Iterable[tuple[int, float]]) -> None:
        """Forget what was delivered or given up; what failed waits until the time given."""
        ...

    async def new_body(self) -> int:
        """An id that no body ever had (tabled.md 13.4)."""
        ...

    async def object(self, bucket: str, key: str, version: str = "") -> ObjectRecord | None:
        """The current object (also when it is a delete marker), or the named version."""
        ...

    async def put_object(
        self,
        record: ObjectRecord,
        stored: Sequence[StoredBody],
        check: Check | None = None,
        notify: Notify | None = None,
    ) -> str:
        """Make `record` the current object, with the bodies just stored. Returns the version id it got.

        Segments may name bodies that other objects use already; they are shared.
        Raises BucketMissingError, BodyMissingError, and whatever `check` raises.
        """
        ...

    async def delete_object(
        self,
        bucket: str,
        key: str,
        version: str = "",
        check: Check | None = None,
        notify: Notify | None = None,
    ) -> Deletion:
        """Delete the object or a version; in a versioned bucket a delete without version leaves a marker."""
        ...

    async def update_object(
        self,
        record: ObjectRecord,
        *,
        acl: Acl | None = None,
        tags: Sequence[tuple[str, str]] | None = None,
        lock: LockChange | None = None,
        notify: Notify | None = None,
    ) -> None:
        """Change what may change without a new object; nothing, if the object is another one by now.

        Raises whatever `lock` raises.
        """
        ...

    async def list_objects(self, query: ListQuery) -> Page[Listed]:
        """Current objects, without delete markers."""
        ...

    async def list_versions(self, query: ListQuery) -> Page[ListedVersion]:
        """All versions and markers, newest first within a key."""
        ...

    async def create_upload(self, upload: Upload) -> None:
        """Raises BucketMissingError."""
        ...

    async def upload(self, upload: str) -> Upload | None:
        """An upload in progress."""
        ...

    async def put_part(self, upload: str, part: Part, stored: Sequence[StoredBody]) -> None:
        """Add or replace a part. Raises UploadMissingError."""
        ...

    async def parts(self, upload: str, after: int, limit: int) -> list[Part]:
        """Parts with a number above `after`, ascending, at most `limit`."""
        ...

    async def complete_upload(
        self, upload: str, record: ObjectRecord, check: Check | None = None, notify: Notify | None = None
    ) -> str:
        """Make the object current, drop the upload and the parts it does not use. Returns the version id."""
        ...

    async def completed_upload(self, bucket: str, key: str, upload: str) -> ObjectRecord | None:
        """The object, or the version of it, that a completed upload became; None if it is not there (any more)."""
        ...

    async def abort_upload(self, upload: str) -> None:
        """Raises UploadMissingError."""
        ...

    async def list_uploads(self, query: ListQuery) -> UploadPage:
        """Uploads in progress by key and age; `after_version` is the upload id marker."""
        ...

    async def stale_uploads(self, before: float) -> list[str]:
        """Ids of uploads that were begun, and got their last part, before a time (seconds since 1970)."""
        ...

    async def body(self, body: int) -> StoredBody | None:
        """Size and places of a body; None if no object uses it (any more)."""
        ...

    async def add_copy(self, body: int, node: int) -> bool:
        """Note a new copy; False (and nothing noted) if the body is gone."""
        ...

    async def drop_copies(self, node: int, bodies: Sequence[int], *, collect: bool) -> None:
        """Forget copies on a node; with `collect` the node is told to delete them."""
        ...

    async def search_bodies(
        self, after: int, limit: int, wanted: Callable[[tuple[int, ...]], bool]
    ) -> tuple[list[int], int | None]:
        """Bodies with ids above `after` whose nodes are `wanted`, ascending, and where to go on (None: the end).

        At most `limit`, and fewer where a long stretch without any was passed.
        """
        ...

    async def garbage(self, node: int, limit: int) -> list[int]:
        """Bodies that the node still has to delete."""
        ...

    async def add_garbage(self, copies: Sequence[tuple[int, int]]) -> int:
        """Queue (body, node) pairs for deletion; returns how many were not queued already."""
        ...

    async def forget_garbage(self, node: int, bodies: Sequence[int]) -> None:
        """The node has deleted them."""
        ...

    async def counts(self) -> Mapping[str, int]:
        """Numbers of buckets, objects, uploads, bodies and garbage, for the status page."""
        ...

    async def expired(self, bucket: str, prefix: str, after: str, before: float, limit: int) -> list[ObjectRecord]:
        """Current objects (no markers) under a prefix, keys above `after`, stored before a time."""
        ...

    async def close(self) -> None:
        """Finish what is queued and close."""
        ...
