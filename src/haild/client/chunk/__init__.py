"""Client of chunkd (protocol: chunkd.md).

    async with pool.connection() as node:
        sha1 = await node.put(key, len(body), pieces)
        async with await node.get(key) as reader:
            async for block in reader: ...

A refusal by the server raises ChunkError with its code, and the connection stays usable. Trouble with the
connection raises OSError (TimeoutError included); the connection is then closed.
"""

from haild.client.chunk.connection import ChunkError, Connection, Metadata, Part, Put, Reader, RemainingBody, observer
from haild.client.chunk.pool import Pool
from haild.wire.chunk.listing import ListedObject
from haild.wire.chunk.messages import CheckState, ResponseCode

__all__ = [
    "CheckState",
    "ChunkError",
    "Connection",
    "ListedObject",
    "Metadata",
    "Part",
    "Pool",
    "Put",
    "Reader",
    "RemainingBody",
    "ResponseCode",
    "observer",
]
