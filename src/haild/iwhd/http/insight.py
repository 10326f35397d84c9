"""Counting iwhd's requests, telling of them while there is a reader, and `GET /_metrics`, an addition of ours."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Iterator
from typing import Final

from haild.daemon.insight import HERE
from haild.http.insight import tell
from haild.http.request import Request
from haild.iwhd.http.reply import Reply
from haild.iwhd.http.site import Site
from haild.wire import traceparent
from haild.wire.iwhd.target import Target, parse_target

BROKEN_OFF: Final = 499
"""Status in the counts for an answer that its client did not get, or not whole."""

_random: Final = random.Random()  # noqa: S311 - ids, no secrets


async def get_metrics(_site: Site, _request: Request, _target: Target) -> Reply:
    """The counts of this process in Prometheus' text format."""

    def text() -> str:
        from haild.daemon import metrics  # its library takes long to load

        return metrics.text(HERE)

    content = await asyncio.to_thread(text)
    return Reply(200, content.encode(), "text/plain; version=0.0.4; charset=utf-8")


@contextlib.contextmanager
def followed(request: Request) -> Iterator[None]:
    """Follow a request until it is answered."""
    began = time.perf_counter()
    header = request.headers.get(traceparent.HEADER)
    follows = header is not None or HERE.watching
    if follows:
        traceparent.CURRENT.set(traceparent.received(header, _random))
    try:
        yield
    finally:
        _note(request, began)
        if follows:
            traceparent.CURRENT.set(None)


def _note(request: Request, began: float) -> None:
    seconds = time.perf_counter() - began
    target = parse_target(request.target)
    operation = f"{request.method} {target.kind}" if target is not None else "unknown"
    request.status = request.status or BROKEN_OFF
    received = request.body.received
    HERE.count(operation, request.status, seconds, received, request.sent)
    if HERE.watching:
        bucket, key = ("", "") if target is None else (target.bucket, target.key)
        tell(request, seconds, operation, bucket=bucket, key=key, received=received)
