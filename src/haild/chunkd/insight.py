"""Counting chunkd's requests, and telling of them while there is a reader."""

from __future__ import annotations

import time
from typing import Final

from haild.chunkd.connection import Connection
from haild.daemon.insight import HERE, key_text
from haild.wire.chunk.messages import Operation, Request, ResponseCode

_NAMES: Final = {int(operation): f"CHO_{operation.name}" for operation in Operation}
"""As the protocol's header file of 2010 calls them (chunkd.md section 4)."""
_PUT: Final = int(Operation.PUT)
_CODES: Final = {int(code): code.name for code in ResponseCode}


def note(connection: Connection, request: Request, code: int, began: float) -> None:
    """A request was answered; `began` by time.perf_counter()."""
    seconds = time.perf_counter() - began
    operation = _NAMES.get(request.operation, "unknown")
    length = request.data_length if request.operation == _PUT else 0
    HERE.count(operation, _CODES.get(code) or str(code), seconds, length)
    if HERE.watching and request.operation not in (Operation.NOP, Operation.LOGIN, Operation.TABLE_OPEN):
        HERE.tell(
            {
                "kind": "request",
                "time": time.time() - seconds,
                "seconds": seconds,
                "peer": connection.peer,
                "operation": operation,
                "key": key_text(request.key),
                "status": _CODES.get(code, str(code)),
                "received": length,
            }
        )
