"""Counting cld's requests, telling of them while there is a reader, and the leases of its sessions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from haild.cld.operations import Request
from haild.cld.session import Session
from haild.daemon.insight import HERE
from haild.wire.cld import messages as cld
from haild.wire.cld import xdr
from haild.wire.cld.messages import ErrorCode, Op

_NAMES: Final = {int(op): f"CMO_{op.name}" for op in Op}
"""As the protocol's header file of 2010 calls them (cld.md 6.1)."""
_CODES: Final = {int(code): code.name for code in ErrorCode}
_MAPPED: Final = "::ffff:"


def note(call: Request, code: int) -> None:
    """A request of a session was answered. How long that took is not known here: answers wait for the next commit."""
    operation, status = _NAMES.get(call.op, "unknown"), _CODES.get(code, str(code))
    HERE.count(operation, status, None)
    if HERE.watching and call.op != Op.NOP:
        HERE.tell(
            {
                "kind": "request",
                "time": time.time(),
                "peer": call.session.address[1].removeprefix(_MAPPED),
                "operation": operation,
                "key": _path(call),
                "status": status,
            }
        )


def _path(call: Request) -> str:
    """The path that a request names; empty where it names a handle, or none."""
    if call.op not in (Op.OPEN, Op.DEL):
        return ""
    try:
        decoded = (cld.OpenRequest if call.op == Op.OPEN else cld.PathRequest).decode(call.body)
    except (xdr.XdrError, ValueError):
        return ""
    return decoded.path.decode("utf-8", "backslashreplace")


def leases(sessions: Callable[[], Iterable[Session]]) -> Callable[[], Mapping[str, Any]]:
    """A function that tells what is left of each session's lease, in seconds, by session."""

    def state() -> Mapping[str, Any]:
        now = time.monotonic()
        return {
            "leases": {
                session.sid.hex().upper(): round(session.expires_at() - now, 2)
                for session in sessions()
                if not session.ended
            }
        }

    return state
