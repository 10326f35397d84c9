"""Buckets: create and delete, at the primary provider and in the metadata (iwhd.md 6.1)."""

from __future__ import annotations

from typing import Final

from haild.iwhd.metadata import records
from haild.iwhd.metadata.port import Connection, Database
from haild.iwhd.provider.base import ExistsError, MissingError, ProviderError, UnavailableError
from haild.iwhd.warehouse.directory import ProviderDirectory
from haild.iwhd.warehouse.keylock import KeyLocks
from haild.iwhd.warehouse.queue import ReplicationQueue

NEVER: Final = b"0"
"""The policy of a new bucket: no copies."""


class NotEmptyError(Exception):
    """There are objects in the bucket."""


class Buckets:
    """The buckets of one daemon."""

    def __init__(self, database: Database, directory: ProviderDirectory, queue: ReplicationQueue) -> None:
        self._database = database
        self._directory = directory
        self._queue = queue
        self._locks = KeyLocks()

    async def create(self, bucket: str) -> None:
        """Create a bucket. Raises ExistsError, other ProviderErrors, DatabaseError.

        A bucket that the provider has and we do not know (after a crash, or made by hand) is known from then on;
        the caller still gets ExistsError.
        """
        provider = self._directory.primary
        async with self._locks.held(bucket, ""):
            try:
                await provider.create_bucket(bucket)
            except ExistsError:
                await provider.check_bucket(bucket)
                await self._record(bucket)
                raise
            if not await self._record(bucket):
                raise ExistsError(f"bucket {bucket} is there already")

    async def _record(self, bucket: str) -> bool:
        """Make the record of a bucket; False if there was one."""

        def change(connection: Connection) -> bool:
            if records.find(connection, bucket, records.DEFAULT_OBJECT) is not None:
                return False
            attributes = [(records.POLICY_ATTRIBUTE, NEVER)]
            records.set_attributes(connection, bucket, records.DEFAULT_OBJECT, attributes)
            self._queue.bucket_created(connection, bucket)
            return True

        created = await self._database.write(change)
        self._queue.announce()
        return created

    async def delete(self, bucket: str) -> None:
        """Delete an empty bucket. Raises MissingError, NotEmptyError, other ProviderErrors, DatabaseError."""
        async with self._locks.held(bucket, ""):
            await self._delete(bucket)

    async def _delete(self, bucket: str) -> None:
        known, filled = await self._database.read(
            lambda connection: (records.is_bucket(connection, bucket), records.has_objects(connection, bucket))
        )
        if not known:
            raise MissingError(f"there is no bucket {bucket}")
        if filled:
            raise NotEmptyError(f"bucket {bucket} is not empty")
        try:
            await self._directory.primary.delete_bucket(bucket)
        except MissingError:
            pass
        except UnavailableError:
            raise
        except ProviderError as error:
            raise NotEmptyError(str(error)) from error

        def change(connection: Connection) -> None:
            records.forget_bucket(connection, bucket)
            self._queue.bucket_deleted(connection, bucket)

        await self._database.write(change)
        self._queue.announce()
