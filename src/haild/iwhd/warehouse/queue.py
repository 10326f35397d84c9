"""The replication queue: which changes the other providers still need.

The queue is part of the metadata: an item is added in the transaction of the change itself. The replicator
(haild.iwhd.warehouse.replication) does the work.
"""

from __future__ import annotations

import asyncio

from haild.iwhd.metadata import records, work
from haild.iwhd.metadata.port import Connection, Database
from haild.iwhd.warehouse import policy
from haild.iwhd.warehouse.directory import ProviderDirectory


class ReplicationQueue:
    """Queues work for the targets of a directory of providers.

    The methods that take a connection run inside a transaction of the database's writer; `announce` is
    called in the event loop after it.
    """

    def __init__(self, database: Database, directory: ProviderDirectory) -> None:
        self._database = database
        self._directory = directory
        self.news = asyncio.Event()
        """Set when there may be new work."""

    def _names(self) -> list[str]:
        return [target.name for target in self._directory.targets()]

    def bucket_created(self, connection: Connection, bucket: str) -> None:
        """Every target gets the bucket, whatever the policy."""
        work.enqueue(connection, self._names(), "create", bucket)

    def bucket_deleted(self, connection: Connection, bucket: str) -> None:
        """Every target loses the bucket."""
        work.enqueue(connection, self._names(), "remove", bucket)

    def object_changed(
        self, connection: Connection, bucket: str, key: str, policy_override: str | None = None
    ) -> None:
        """The targets that the policy selects now get body and attributes."""
        targets = policy.chosen(connection, bucket, key, self._directory.targets(), policy_override)
        work.enqueue(connection, targets, "copy", bucket, key)

    def object_pushed(
        self, connection: Connection, bucket: str, key: str, policy_override: str | None = None
    ) -> None:
        """As object_changed, but the body is copied even to those that are thought to hold it."""
        targets = policy.chosen(connection, bucket, key, self._directory.targets(), policy_override)
        for target in targets:
            records.drop_location(connection, bucket, key, target)
        work.enqueue(connection, targets, "copy", bucket, key)

    def object_deleted(self, connection: Connection, bucket: str, key: str) -> None:
        """Every target loses the object, whatever the policy."""
        work.enqueue(connection, self._names(), "delete", bucket, key)

    def attribute_unset(self, connection: Connection, bucket: str, key: str, name: str) -> None:
        """The targets that the policy selects lose the attribute."""
        targets = policy.chosen(connection, bucket, key, self._directory.targets())
        work.enqueue(connection, targets, "unset", bucket, key, name)

    def announce(self) -> None:
        """Wake the replicator: the queue may have grown."""
        self.news.set()

    async def length(self) -> int:
        """Items queued or running. Raises DatabaseError."""
        names = self._names()
        return await self._database.read(lambda connection: work.count(connection, names))
