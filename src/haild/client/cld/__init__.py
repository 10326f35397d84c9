"""Client of cld: the public face.

    session = await Session.connect("cld-1", 8081, user="tabled", secret=b"tabled")
    handle = await session.open("/some/file", OpenMode.READ | OpenMode.LOCK)
    await session.lock(handle)

A session of this client has a lease (10 s by default). Against a server of ours the session outlives the loss of its
connection and a restart of the server. It fences itself before its lease ends, so that no other client can hold a
lock while this side believes to hold it: see `haild.client.cld.machine` for the rule and `haild.cld.machine` for the
argument. Before acting on the strength of a lock, check `Session.valid`.

Errors: see `haild.client.cld.errors`.
"""

from __future__ import annotations

from haild.client.cld.addresses import Address
from haild.client.cld.errors import CldError, ConnectError, SessionLostError
from haild.client.cld.keeper import keep_session
from haild.client.cld.session import Event, File, Session
from haild.wire.cld.messages import ErrorCode, EventMask, OpenMode

__all__ = [
    "Address",
    "CldError",
    "ConnectError",
    "ErrorCode",
    "Event",
    "EventMask",
    "File",
    "OpenMode",
    "Session",
    "SessionLostError",
    "keep_session",
]
