"""The HTTP face of iwhd: which handler answers which request, and what errors become (iwhd.md section 4)."""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

from aiohttp import web

from haild.daemon.errors import StartError
from haild.daemon.plaintext import printable
from haild.iwhd.http import attributes as attributeapi
from haild.iwhd.http import bucket as bucketapi
from haild.iwhd.http import insight
from haild.iwhd.http import object as objectapi
from haild.iwhd.http import root as rootapi
from haild.iwhd.http.body import expects_continue
from haild.iwhd.http.connection import Connection
from haild.iwhd.http.errors import WITH_TEXT, RequestError, status_of
from haild.iwhd.http.guard import admit
from haild.iwhd.http.reply import Reply, send
from haild.iwhd.http.site import Site
from haild.iwhd.metadata.database import DatabaseError
from haild.iwhd.metadata.evaluation import BudgetError
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

FEW_CONNECTIONS: Final = 32
LARGE_BUFFER: Final = 256 * 1024
SMALL_BUFFER: Final = 64 * 1024
"""Bytes of a body that wait for their reader (twice that is the limit); only a few connections get large ones."""

logger = logging.getLogger(__name__)

_protocol_logger = logging.getLogger(f"{__name__}.protocol")
"""What aiohttp logs: a client that does not speak HTTP is no event of ours."""
_protocol_logger.setLevel(logging.CRITICAL)

Handler = Callable[[Site, web.BaseRequest, Target], Awaitable[Reply]]

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


class _Server(web.Server):
    """Gives later connections smaller buffers, so that memory stays bounded."""

    def __call__(self) -> web.RequestHandler:
        few = len(self.connections) < FEW_CONNECTIONS
        self._kwargs["read_bufsize"] = LARGE_BUFFER if few else SMALL_BUFFER
        return Connection(self, loop=self._loop, **self._kwargs)


class Front:
    """What requests meet: the parts of the daemon that they are for, which may be others later."""

    def __init__(self, emptying: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]] | None = None) -> None:
        """`emptying` answers the request of the stack's driver to discard everything; None: it is no special one."""
        self.site: Site | None = None
        """None: every request is answered 503."""
        self.emptying = emptying
        self.server: web.Server | None = None

    def connections(self) -> list[web.RequestHandler]:
        """Those of all clients."""
        return [] if self.server is None else list(self.server.connections)


def make_server(front: Front) -> web.Server:
    """The protocol factory for a listening socket."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if front.emptying is not None and request.method == "POST" and request.raw_path == emptying.PATH:
            return await front.emptying(request)
        with insight.followed(request) as done:
            response = await _handle(request)
            done(response)
            return response

    async def _handle(request: web.BaseRequest) -> web.StreamResponse:
        site = front.site
        reply = Reply(503, b"being emptied\n", close=True) if site is None else await answer(site, request)
        if expects_continue(request) and not request.content.is_eof():
            # No body comes any more: there is nothing to wait for before closing.
            reply.close = True
            request.content.feed_eof()
        try:
            return await send(request, reply)
        except (ProviderError, DatabaseError, BudgetError, DamagedAttributeError) as error:
            logger.warning("%s %s: broken off: %s", request.method, request.raw_path[:200], error)
            _reset(request)
            raise ConnectionResetError("broken off") from error
        except ConnectionError:
            raise
        except Exception as error:
            logger.exception("%s %s", request.method, request.raw_path[:200])
            _reset(request)
            raise ConnectionResetError("broken off") from error

    return _Server(
        handle,
        access_log=None,
        keepalive_timeout=KEEPALIVE,
        lingering_time=LINGER,
        max_line_size=MAXIMUM_HEADER,
        max_field_size=MAXIMUM_HEADER,
        auto_decompress=False,
        logger=_protocol_logger,
    )


def _reset(request: web.BaseRequest) -> None:
    """Break the connection: to a client of HTTP/1.0 an orderly end means that the body is complete."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()


async def answer(site: Site, request: web.BaseRequest) -> Reply:
    """The answer to a request. Raises ConnectionError if the client is gone."""
    target = parse_target(request.raw_path)
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
            close=not request.content.is_eof(),
        )


def _refusal(status: int, text: str, *, close: bool, headers: Mapping[str, str] | None = None) -> Reply:
    content_type = "text/plain; charset=utf-8" if text else ""
    return Reply(status, printable(text).encode(), content_type, dict(headers or {}), close)


def _noted(request: web.BaseRequest, error: Exception) -> int:
    """The status for an error, which the log tells of where it is ours or a back end's."""
    status = status_of(error)
    if status is None:
        logger.exception("%s %s", request.method, request.raw_path[:200])
        return 500
    if status in (500, 503):
        logger.warning("%s %s: %s", request.method, request.raw_path[:200], error)
    return status


@contextlib.asynccontextmanager
async def listening(front: Front, port: int) -> AsyncIterator[None]:
    """Serve what `front` has on `port` of all addresses while in the context.

    Requests then get CLOSE_DEADLINE to finish. Raises StartError if the port cannot be had.
    """
    server = front.server = make_server(front)
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=CLOSE_DEADLINE)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, "0.0.0.0", port, backlog=BACKLOG, reuse_address=True).start()  # noqa: S104
        except OSError as error:
            raise StartError(f"cannot listen on port {port}: {error.strerror}") from error
        yield
    finally:
        await runner.cleanup()
