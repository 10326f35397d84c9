"""Reads all that the warehouse keeps, says what is damaged, and mends bodies from good copies (our addition)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

from haild.iwhd.metadata import records
from haild.iwhd.metadata.port import Database
from haild.iwhd.metadata.records import DamagedAttributeError, Record
from haild.iwhd.provider.base import DamagedError, MissingError, Provider, ProviderError
from haild.iwhd.warehouse.directory import ProviderDirectory
from haild.iwhd.warehouse.object import ChangedError, Objects
from haild.wire.blockchecksums import BlockChecksums

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Scrubbed:
    """What was read so far: bodies and attributes; how many are damaged or cannot be read; how many were mended."""

    bodies: int = 0
    attributes: int = 0
    damaged: int = 0
    mended: int = 0


class Scrubber:
    """Reads the primary provider and the metadata of one daemon."""

    def __init__(self, database: Database, directory: ProviderDirectory, objects: Objects) -> None:
        self._database = database
        self._directory = directory
        self._objects = objects

    async def scrub(self, result: Scrubbed) -> AsyncIterator[str]:
        """Read all bodies at the primary provider and all attributes, counted in `result`; mend what copies can mend.

        Yields a line for each that is damaged or cannot be read, and an empty one after each object. What is put,
        deleted or replaced meanwhile may be left out. Raises DatabaseError.
        """
        for bucket in await self._database.read(records.buckets):
            position: int | None = 0
            while position is not None:
                page = await self._database.read(partial(records.page, bucket=bucket, position=position))
                for listed in page.listed:
                    async for trouble in self._of_object(bucket, listed.key, result):
                        result.damaged += 1
                        yield trouble
                    yield ""
                position = page.position

    async def _of_object(self, bucket: str, key: str, result: Scrubbed) -> AsyncIterator[str]:
        reading = await self._objects.reading(bucket, key)
        if reading.record is not None:
            result.bodies += 1
            try:
                async with reading.open(afresh=True) as body:
                    async for _ in body.blocks:
                        pass
            except ChangedError:
                pass  # it has a new body, just written
            except (DamagedError, MissingError) as error:
                source = await self._mended(bucket, key, reading.record)
                result.mended += source is not None
                yield str(error) if source is None else f"{error}; mended from provider {source}"
            except ProviderError as error:
                yield str(error)
        names = partial(records.attribute_names, bucket=bucket, key=key)
        for name in await self._database.read(names) or []:
            result.attributes += 1
            try:
                await self._database.read(partial(records.attribute, bucket=bucket, key=key, name=name))
            except DamagedAttributeError as error:
                yield str(error)

    async def _mended(self, bucket: str, key: str, record: Record) -> str | None:
        """Put a copy with the right checksums in the place of a body; the name of its provider, None without one."""
        for provider in self._directory:
            if provider is self._objects.primary or provider.name not in record.locations or record.sums is None:
                continue
            try:
                await self._copy_back(provider, bucket, key, record)
            except (ProviderError, ChangedError) as error:
                logger.warning("%s/%s is not mended from %s: %s", bucket, key, provider.name, error)
            else:
                return provider.name
        return None

    async def _copy_back(self, source: Provider, bucket: str, key: str, record: Record) -> None:
        """Raises ProviderError, also where the copy is no better; ChangedError if there is another body by now."""
        checksums = BlockChecksums()
        put = await self._objects.start_put(bucket, key, record.size, upstream=record.upstream)
        put.replaces = record.etag
        try:
            async with source.open(bucket, key) as body:
                async for block in body.blocks:
                    checksums.update(block)
                    await put.write(block)
            if put.size != record.size or checksums.encode() != record.sums:
                raise DamagedError(f"the copy of {bucket}/{key} at provider {source.name} is damaged, too")
        except BaseException:
            await put.abort()
            raise
        await put.finish()
