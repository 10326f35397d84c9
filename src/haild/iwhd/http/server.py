"""The HTTP face of iwhd: which handler answers which request, and what errors become (iwhd.md section 4)."""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import ClientError, web
from aiohttp.http_exceptions import HttpProcessingError

from haild.iwhd.http import attributes as attributeapi
from haild.iwhd.http import bucket as bucketapi
from haild.iwhd.http import object as objectapi
from haild.iwhd.http import root as rootapi
from haild.iwhd.http.connection import Connection
from haild.iwhd.http.reply import Reply, send
from haild.iwhd.metadata.database import DatabaseError
from haild.iwhd.provider.base import MissingError, ProviderError, UnavailableError
from haild.iwhd.site import Site
from haild.iwhd.warehouse.body import BodyTooLargeError, SlowClientError, expects_continue
from haild.wire.iwhd.form import FormError, FormTypeError
from haild.wire.iwhd.target import Kind, Target, parse_target

KEEPALIVE: Final = 75.0
"""Seconds that an idle connection is kept."""

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
"""What aiohttp says: a client that sends no HTTP is no event of ours."""
_protocol_logger.setLevel(logging.CRITICAL)

Handler = Callable[[Site, web.BaseRequest, Target], Awaitable[Reply]]

HANDLERS: Final[Mapping[tuple[str, Kind], Handler]] = {
    ("GET", "root"): rootapi.get_root,
    ("POST", "root"): rootapi.post_root,
    ("GET", "health"): rootapi.get_health,
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


def make_server(site: Site) -> web.Server:
    """The protocol factory of `site`; it is to be given a listening socket."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        reply = await answer(site, request)
        if expects_continue(request) and not request.content.is_eof():
            # No body comes any more: there is nothing to wait for before closing.
            reply.close = True
            request.content.feed_eof()
        try:
            return await send(request, reply)
        except (ProviderError, DatabaseError) as error:
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
    if target is None or handler is None:
        return Reply(404)
    try:
        return await handler(site, request, target)
    except ConnectionError:
        raise
    except Exception as error:
        status = _status(error)
        if status == 500:
            logger.exception("%s %s", request.method, request.raw_path[:200])
        elif status == 503:
            logger.warning("%s %s: %s", request.method, request.raw_path[:200], error)
        return Reply(status, close=not request.content.is_eof())


_STATUS: Final[tuple[tuple[type[Exception], int], ...]] = (
    (UnavailableError, 503),
    (DatabaseError, 503),
    (MissingError, 404),
    (ProviderError, 500),
    (FormTypeError, 415),
    (FormError, 400),
    (BodyTooLargeError, 413),
    (SlowClientError, 408),
    (HttpProcessingError, 400),
    (web.PayloadAccessError, 400),
    (ClientError, 400),
)


def _status(error: Exception) -> int:
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
