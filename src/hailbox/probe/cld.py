"""cld works if a file can be made, locked, written, read back and removed in a session."""

from __future__ import annotations

import secrets
from typing import Final

from hailbox.probe.outcome import Credentials, ProbeError, Reached
from hailbox.probe.patience import attempt_deadline
from haild.client.cld import CldError, ConnectError, ErrorCode, Session
from haild.wire.cld.messages import OpenMode

_MODE: Final = OpenMode.READ | OpenMode.WRITE | OpenMode.LOCK | OpenMode.CREATE | OpenMode.EXCL


async def _round_trip(session: Session) -> None:
    path = f"/hailbox-probe-{secrets.token_hex(6)}"
    content = secrets.token_bytes(32)
    handle = await session.open(path, _MODE)
    try:
        if not await session.try_lock(handle):
            raise ProbeError(Reached.ANSWER, "a free lock was refused")
        await session.put(handle, content)
        read = (await session.get(handle)).data
    finally:
        await session.delete(path)
    if read != content:
        raise ProbeError(Reached.ANSWER, "a file read back differs from what was written")


async def probe(host: str, port: int, credentials: Credentials) -> None:
    """See `outcome.Probe`."""
    user, secret = credentials["CLD_USER"], credentials["CLD_SECRET"].encode()
    try:
        session = await Session.connect(host, port, user=user, secret=secret, deadline=attempt_deadline())
        try:
            await _round_trip(session)
        finally:
            await session.end()
    except ConnectError as error:
        raise ProbeError(
            Reached.NOTHING, "no session: the port is closed, or its listener does not answer"
        ) from error
    except CldError as error:
        refused = error.code is ErrorCode.SIG_INVAL
        raise ProbeError(Reached.ANSWER, f"cld refused the round trip: {error.code.name}", refused=refused) from error
