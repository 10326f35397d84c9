"""What readers of haild.daemon.insight are told of an answered request, by tabled and iwhd alike."""

from __future__ import annotations

import time

from haild.daemon.insight import HERE
from haild.http.request import Request
from haild.wire import traceparent


def tell(
    request: Request, seconds: float, operation: str, *, bucket: str, key: str, received: int, **more: str
) -> None:
    """Hand the event to the readers; call it while HERE is watching only.

    `seconds`: how long the answer took; `received`: bytes of the request's body; `more`: what else the daemon tells.
    """
    trace = traceparent.CURRENT.get()
    HERE.tell(
        {
            "kind": "request",
            "time": time.time() - seconds,
            "seconds": seconds,
            "peer": request.remote,
            "method": request.method,
            "target": request.target,
            "operation": operation,
            "bucket": bucket,
            "key": key,
            "status": str(request.status),
            "received": received,
            "sent": request.sent,
            **more,
            "trace": trace.trace if trace else "",
            "span": trace.span if trace else "",
            "parent": trace.parent if trace else "",
        }
    )
