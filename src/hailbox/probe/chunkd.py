"""chunkd works if an object can be stored, read back and removed."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

from hailbox.probe.outcome import ATTEMPT_DEADLINE, Credentials, ProbeError, Reached
from haild.client.chunk import ChunkError, Connection

_TABLE = b"hailbox-probe\0"


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def probe(host: str, port: int, credentials: Credentials) -> None:
    """See `outcome.Probe`."""
    key, content = secrets.token_bytes(16), secrets.token_bytes(64)
    try:
        connection = await Connection.open(
            host,
            port,
            user=credentials["CHUNK_USER"],
            secret=credentials["CHUNK_SECRET"].encode(),
            table=_TABLE,
            create=True,
            deadline=ATTEMPT_DEADLINE,
        )
        try:
            await connection.put(key, len(content), _once(content))
            reader = await connection.get(key)
            read = b"".join([block async for block in reader])
            await connection.delete(key)
        finally:
            await connection.close()
    except ChunkError as error:
        raise ProbeError(Reached.ANSWER, f"chunkd refused the round trip: {error.code.name}") from error
    if read != content:
        raise ProbeError(Reached.ANSWER, "an object read back differs from what was stored")
