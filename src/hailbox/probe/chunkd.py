"""chunkd works if a small and a large object can be stored, read back and removed.

Ours keeps small bodies in its catalog and large ones as files: one may fail where the other does not.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Final

from hailbox.probe.outcome import Credentials, ProbeError, Reached
from hailbox.probe.patience import attempt_deadline
from haild.client.chunk import ChunkError, Connection, ResponseCode

_TABLE: Final = b"hailbox-probe\0"

_SIZES: Final = (64, 128 * 1024)
"""Bytes."""


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _round_trip(connection: Connection, size: int) -> None:
    key, content = secrets.token_bytes(16), secrets.token_bytes(size)
    await connection.put(key, size, _once(content))
    reader = await connection.get(key)
    read = b"".join([block async for block in reader])
    await connection.delete(key)
    if read != content:
        raise ProbeError(Reached.ANSWER, "an object read back differs from what was stored")


async def probe(host: str, port: int, credentials: Credentials) -> None:
    """See `outcome.Probe`."""
    try:
        connection = await Connection.open(
            host,
            port,
            user=credentials["CHUNK_USER"],
            secret=credentials["CHUNK_SECRET"].encode(),
            table=_TABLE,
            create=True,
            deadline=attempt_deadline(),
        )
        try:
            for size in _SIZES:
                await _round_trip(connection, size)
        finally:
            await connection.close()
    except ChunkError as error:
        refused = error.code in (ResponseCode.ACCESS_DENIED, ResponseCode.SIGNATURE_DOES_NOT_MATCH)
        said = f"chunkd refused the round trip: {error.code.name}"
        raise ProbeError(Reached.ANSWER, said, refused=refused) from error
