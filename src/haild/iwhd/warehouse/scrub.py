"""Reads all that the warehouse keeps and says what is damaged (our addition)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

from haild.iwhd.metadata import records
from haild.iwhd.metadata.database import Database
from haild.iwhd.metadata.records import DamagedAttributeError
from haild.iwhd.provider.base import ProviderError
from haild.iwhd.warehouse.object import ChangedError, Objects


@dataclass(slots=True)
class Scrubbed:
    """What was read so far: bodies and attributes, and how many of them are damaged or could not be read."""

    bodies: int = 0
    attributes: int = 0
    damaged: int = 0


async def scrub(database: Database, objects: Objects, result: Scrubbed) -> AsyncIterator[str]:
    """Read every body at the primary provider and every attribute, counted in `result`.

    Yields a line for each that is damaged or cannot be read, and an empty one after each object without trouble. What
    is put, deleted or replaced meanwhile may be left out. Raises DatabaseError.
    """
    for bucket in await database.read(records.buckets):
        position: int | None = 0
        while position is not None:
            page = await database.read(partial(records.page, bucket=bucket, position=position))
            for listed in page.listed:
                for trouble in await _of_object(database, objects, bucket, listed.key, result):
                    result.damaged += 1
                    yield trouble
                yield ""
            position = page.position


async def _of_object(database: Database, objects: Objects, bucket: str, key: str, result: Scrubbed) -> list[str]:
    troubles: list[str] = []
    try:
        reading = await objects.reading(bucket, key)
        if reading.record is not None:
            result.bodies += 1
            async with reading.open(afresh=True) as body:
                async for _ in body.blocks:
                    pass
    except ChangedError:
        pass  # it has a new body, just written
    except ProviderError as error:
        troubles.append(str(error))
    for name in await database.read(partial(records.attribute_names, bucket=bucket, key=key)) or []:
        result.attributes += 1
        try:
            await database.read(partial(records.attribute, bucket=bucket, key=key, name=name))
        except DamagedAttributeError as error:
            troubles.append(str(error))
    return troubles
