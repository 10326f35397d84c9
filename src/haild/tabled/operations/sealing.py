"""Encryption as operations see it: what a request wants, a body stored sealed, a body read plain."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import replace

from haild.tabled.encryption import frames, spec, streams
from haild.tabled.encryption.spec import NONE, Wanted
from haild.tabled.metadata.records import ObjectRecord, Segment, StoredBody
from haild.tabled.operations.call import Call
from haild.tabled.s3.upload import Piece

Read = Callable[[StoredBody, int, int], AsyncGenerator[bytes, None]]
"""The bytes of a stretch (offset, length) of a body's content."""


async def wanted(call: Call, headers: Mapping[str, str] | None = None) -> Wanted:
    """How the request wants its object stored: as its headers say, else as the bucket's default has it.

    `headers`: those of a form. Raises S3Error.
    """
    default: Mapping[str, str] = {}
    if spec.SETTING in call.bucket.settings:
        default = json.loads(await call.metadata.setting(call.bucket.name, spec.SETTING) or "{}")
    return spec.wanted(call.headers if headers is None else headers, default, call.services.region)


def reading_key(call: Call, record: ObjectRecord) -> bytes | None:
    """The customer's key in a request that reads an object. Raises S3Error where it does not fit the object."""
    spec.refuse_in_read(call.headers)
    return spec.reading_key(record.encryption, spec.customer_key(call.headers))


def whole(stored: StoredBody | None) -> tuple[Segment, ...]:
    """The segments of an object that is one body."""
    if stored is None:
        return ()
    return (Segment(stored.body, 0, frames.plain_length(stored.size) if stored.cipher else stored.size),)


async def store(call: Call, length: int, pieces: AsyncIterator[Piece], wanted: Wanted = NONE) -> StoredBody | None:
    """Store `length` bytes of content, sealed if that is wanted, as a new body; None for an empty one.

    The body is in `being_stored` then; the caller takes it out when it is committed, or is not to be. Raises S3Error,
    and whatever `pieces` raises.
    """
    if not length:
        async for _ in pieces:  # their end is their verification
            pass
        return None
    placement = call.services.placement
    body = await call.metadata.new_body()
    placement.being_stored.add(body)
    try:
        if not wanted.encryption:
            return await placement.store(body, length, pieces)
        key, cipher = await call.services.keys.new_key(body, wanted)
        sealed = streams.sealed(key, length, pieces)
        return replace(await placement.store(body, frames.sealed_length(length), sealed), cipher=cipher)
    except BaseException:
        placement.being_stored.discard(body)
        raise


def reader(call: Call, customer: bytes | None) -> Read:
    """Reads plain text from bodies, encrypted or not. `customer`: the customer's key, where there is one."""
    read = call.services.placement.read

    async def opened(stored: StoredBody, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        if stored.cipher:
            key = await call.services.keys.key_of(stored, customer)
            source = streams.opened(read, stored, key, offset, length)
        else:
            source = read(stored, offset, length)
        async with contextlib.aclosing(source) as pieces:
            async for piece in pieces:
                yield piece

    return opened


async def open_small(call: Call, stored: StoredBody, customer: bytes | None, content: bytes) -> bytes:
    """The plain text of a small body whose stored form is `content`."""
    if not stored.cipher:
        return content
    return streams.open_small(await call.services.keys.key_of(stored, customer), content)


__all__ = ["NONE", "Wanted", "open_small", "reader", "reading_key", "store", "wanted", "whole"]
