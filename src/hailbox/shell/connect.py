"""Interpreters for a replica of a stack, with the stack's own credentials."""

from __future__ import annotations

from hailbox.shell.chunkd import ChunkdInterpreter
from hailbox.shell.cld import CldInterpreter
from hailbox.shell.interpreter import Tell
from hailbox.stack.endpoint import Access
from haild.client.chunk import Connection
from haild.client.cld import Session


def cld(access: Access, tell: Tell, *, reconnect: bool, udp: bool = False) -> CldInterpreter:
    """An interpreter for that cld, not yet connected."""

    async def connect() -> Session:
        return await Session.connect(
            access.host,
            access.port,
            user=access.user,
            secret=access.secret.encode(),
            transport="udp" if udp else "tcp",
        )

    return CldInterpreter(connect, tell, reconnect=reconnect)


def chunkd(access: Access, *, table: str | None, create: bool, exact: bool) -> ChunkdInterpreter:
    """An interpreter for that chunkd, not yet connected. Raises CommandError for an impossible table name."""

    async def connect(name: bytes | None, *, create: bool) -> Connection:
        return await Connection.open(
            access.host,
            access.port,
            user=access.user,
            secret=access.secret.encode(),
            table=name,
            create=create,
        )

    return ChunkdInterpreter(connect, table=table, create=create, exact=exact)
