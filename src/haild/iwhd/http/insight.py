"""Counting iwhd's requests, telling of them while there is a reader, and `GET /_metrics`, an addition of ours."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterator
from typing import Final

from aiohttp import web

from haild.daemon.insight import HERE
from haild.iwhd.http.reply import Reply
from haild.iwhd.http.site import Site
from haild.wire import traceparent
from haild.wire.iwhd.target import Target, parse_target

_random: Final = random.Random()  # noqa: S311 - ids, no secrets


async def get_metrics(_site: Site, _request: web.BaseRequest, _target: Target) -> Reply:
    """The counts of this process in Prometheus' text format."""

    def text() -> str:
        from haild.daemon import metrics  # its library takes long to load

        return metrics.text(HERE)

    content = await asyncio.to_thread(text)
    return Reply(200, content.encode(), "text/plain; version=0.0.4; charset=utf-8")


@contextlib.contextmanager
def followed(request: web.BaseRequest) -> Iterator[Callable[[web.StreamResponse], None]]:
    """Follow a request; the function is called with its answer, and otherwise the client got none."""
    began = time.perf_counter()
    header = request.headers.get(traceparent.HEADER)
    follows = header is not None or HERE.watching
    if follows:
        traceparent.CURRENT.set(traceparent.received(header, _random))
    answers: list[web.StreamResponse] = []
    try:
        yield answers.append
    finally:
        _note(request, answers[0] if answers else None, began)
        if follows:
            traceparent.CURRENT.set(None)


def _note(request: web.BaseRequest, answer: web.StreamResponse | None, began: float) -> None:
    seconds = time.perf_counter() - began
    target = parse_target(request.raw_path)
    operation = f"{request.method} {target.kind}" if target is not None else "unknown"
    status = str(answer.status) if answer is not None else "499"
    received = request.content_length or 0
    sent = max(0, answer.body_length) if answer is not None else 0
    HERE.count(operation, status, seconds, received, sent)
    if not HERE.watching:
        return
    trace = traceparent.CURRENT.get()
    HERE.tell(
        {
            "kind": "request",
            "time": time.time() - seconds,
            "seconds": seconds,
            "peer": request.remote or "",
            "method": request.method,
            "target": request.raw_path,
            "operation": operation,
            "bucket": target.bucket if target is not None else "",
            "key": target.key if target is not None else "",
            "status": status,
            "received": received,
            "sent": sent,
            "trace": trace.trace if trace else "",
            "span": trace.span if trace else "",
            "parent": trace.parent if trace else "",
        }
    )
