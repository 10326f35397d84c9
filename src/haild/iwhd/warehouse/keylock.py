"""Locks by object: one holder per bucket and key at a time, and no memory for those that are free."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class KeyLocks:
    """Any number of locks, each made when it is wanted and gone when the last one has left it."""

    def __init__(self) -> None:
        self._locks: dict[tuple[str, str], tuple[asyncio.Lock, int]] = {}

    def is_held(self, bucket: str, key: str) -> bool:
        """Whether the lock of an object is held or waited for."""
        return (bucket, key) in self._locks

    @contextlib.asynccontextmanager
    async def held(self, bucket: str, key: str) -> AsyncIterator[None]:
        """Hold the lock of an object; waits while another holds it."""
        address = (bucket, key)
        lock, users = self._locks.get(address, (asyncio.Lock(), 0))
        self._locks[address] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks.pop(address)
            if users > 1:
                self._locks[address] = (lock, users - 1)
