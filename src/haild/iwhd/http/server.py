"""The HTTP face of iwhd: which handler answers which request, and what errors become (iwhd.md section 4)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

from haild.daemon.errors import StartError
from haild.daemon.plaintext import printable
from haild.http.parser import Refusal
from haild.http.request import Request
from haild.http.server import HttpServer, Limits
from haild.iwhd.http import attributes as attributeapi
from haild.iwhd.http import bucket as bucketapi
from haild.iwhd.http import insight
from haild.iwhd.http import object as objectapi
from haild.iwhd.http import reply as replies
from haild.iwhd.http import root as rootapi
from haild.iwhd.http.errors import WITH_TEXT, RequestError, status_of
from haild.iwhd.http.guard import admit
from haild.iwhd.http.reply import Reply, send
from haild.iwhd.http.site import Site
from haild.iwhd.metadata.evaluation import BudgetError
from haild.iwhd.metadata.port import DatabaseError
from haild.iwhd.metadata.records import DamagedAttributeError
from haild.iwhd.provider.base import ProviderError
from haild.wire import emptying
from haild.wire.iwhd.target import Kind, Target, parse_target

KEEPALIVE: Final = 75.0
"""Seconds that an idle connection is kept."""

BACKLOG: Final = 512
"""Connections that wait to be accepted."""

CLOSE_DEADLINE: Final = 0.5
"""Seconds that running requests get to finish after SIGTERM."""

LINGER: Final = 1.0
"""Seconds that the rest of a body is read after an early answer, so that the client gets to read it."""

MAXIMUM_HEADER: Final = 64 * 1024
"""Bytes of the request line and of each header field."""

logger = logging.getLogger(__name__)

Handler = Callable[[Site, Request, Target], Awaitable[Reply]]

HANDLERS: Final[Mapping[tuple[str, Kind], Handler]] = {
    ("GET", "root"): rootapi.get_root,
    ("POST", "root"): rootapi.post_root,
    ("GET", "health"): rootapi.get_health,
    ("GET", "metrics"): insight.get_metrics,
    ("GET", "providers"): rootapi.get_providers,
    ("GET", "provider"): rootapi.get_provider,
    ("POST", "provider"): rootapi.post_provider,
    ("DELETE", "provider"): rootapi.delete_provider,
    ("PUT", "primary"): rootapi.put_primary,
    ("GET", "bucket"): bucketapi.get_bucket,
    ("PUT", "bucket"): bucketapi.put_bucket,
    ("POST", "bucket"): bucketapi.post_bucket,
    ("DELETE", "bucket"): bucketapi.delete_bucket,
    ("POST", "query"): bucketapi.post_query,
    ("GET", "object"): objectapi.get_object,
    ("PUT", "object"): objectapi.put_object,
    ("DELETE", "object"): objectapi.delete_object,
    ("POST", "object"): objectapi.post_object,
    ("GET", "attributes"): attributeapi.get_attributes,
    ("GET", "attribute"): attributeapi.get_attribute,
    ("PUT", "attribute"): attributeapi.put_attribute,
    ("DELETE", "attribute"): attributeapi.delete_attribute,
}
"""Every other combination is 404. HEAD is answered like GET, without the body."""


class Front:
    """What requests meet: the parts of the daemon that they are for, which may be others later."""

    def __init__(self, emptying: Callable[[Request], Awaitable[None]] | None = None) -> None:
        """`emptying` answers the request of the stack's driver to discard everything; None: it is no special one."""
        self.site: Site | None = None
        """None: every request is answered 503."""
        self.emptying = emptying
        self.server: HttpServer | None = None
        """While it listens."""


def make_server(front: Front) -> HttpServer:
    """The protocol factory for a listening socket."""

    async def handle(request: Request) -> None:
        if front.emptying is not None and request.method == "POST" and request.target == emptying.PATH:
            await front.emptying(request)
            return
        with insight.followed(request):
            await _handle(request)

    async def _handle(request: Request) -> None:
        site = front.site
        reply = Reply(503, b"being emptied\n", close=True) if site is None else await answer(site, request)
        if request.waits_for_continue:
            reply.close = True  # no body comes any more
        try:
            await send(request, reply)
            return
        except ConnectionError:
            pass
        except (ProviderError, DatabaseError, BudgetError, DamagedAttributeError) as error:
            logger.warning("%s %s: broken off: %s", request.method, request.target[:200], error)
        except Exception:
            logger.exception("%s %s", request.method, request.target[:200])
        request.abort()
        request.status = insight.BROKEN_OFF

    limits = Limits(idle=KEEPALIVE, linger=LINGER, stall=replies.WRITE_DEADLINE, line=MAXIMUM_HEADER)
    return HttpServer(handle, _refused, limits)


def _refused(refusal: Refusal, _client: str) -> tuple[int, dict[str, str], bytes]:
    """400 for malformed HTTP, but 404 for an unknown method: the contract answers every wrong verb so."""
    return 404 if refusal.unknown_method else 400, {"Server": "iwhd"}, b""


async def answer(site: Site, request: Request) -> Reply:
    """The answer to a request. Raises ConnectionError if the client is gone."""
    target = parse_target(request.target)
    method = "GET" if request.method == "HEAD" else request.method
    handler = None if target is None else HANDLERS.get((method, target.kind))
    try:
        admit(site.access, request, target)
        if target is None or handler is None:
            raise RequestError(404)
        return await handler(site, request, target)
    except ConnectionError:
        raise
    except RequestError as error:
        return _refusal(error.status, str(error), close=error.close, headers=error.headers)
    except Exception as error:
        return _refusal(
            _noted(request, error),
            f"{error}\n" if isinstance(error, WITH_TEXT) else "",
            close=not request.body.ended,
        )


def _refusal(status: int, text: str, *, close: bool, headers: Mapping[str, str] | None = None) -> Reply:
    content_type = "text/plain; charset=utf-8" if text else ""
    return Reply(status, printable(text).encode(), content_type, dict(headers or {}), close)


def _noted(request: Request, error: Exception) -> int:
    """The status for an error, which the log tells of where it is ours or a back end's."""
    status = status_of(error)
    if status is None:
        logger.exception("%s %s", request.method, request.target[:200])
        return 500
    if status in (500, 503):
        logger.warning("%s %s: %s", request.method, request.target[:200], error)
    return status


@contextlib.asynccontextmanager
async def listening(front: Front, port: int) -> AsyncIterator[None]:
    """Serve what `front` has on `port` of all addresses while in the context.

    Requests then get CLOSE_DEADLINE to finish. Raises StartError if the port cannot be had.
    """
    server = front.server = make_server(front)
    try:
        listener = await asyncio.get_running_loop().create_server(
            server,
            "0.0.0.0",  # noqa: S104 - a server
            port,
            backlog=BACKLOG,
            reuse_address=True,
        )
    except OSError as error:
        raise StartError(f"cannot listen on port {port}: {error.strerror}") from error
    try:
        yield
    finally:
        listener.close()
        await server.shutdown(CLOSE_DEADLINE)
