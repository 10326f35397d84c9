"""HTTP in front of the operations: from a request to a call, from an answer or an error to a response.

aiohttp's low-level server: no router, no middleware; the target is taken as it was sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.http_parser import HttpRequestParser
from aiohttp.web_protocol import RequestHandler

from haild.http.connection import HttpConnection
from haild.tabled.bodies.placement import Piece
from haild.tabled.http import routes
from haild.tabled.metadata.port import (
    BodyMissingError,
    BucketMissingError,
    BucketNotEmptyError,
    StorageError,
    SupersededError,
    UploadMissingError,
)
from haild.tabled.operations import admission, cors
from haild.tabled.operations.answer import Answer
from haild.tabled.operations.call import Request, Services
from haild.tabled.s3 import addressing, headers
from haild.tabled.s3.authentication import Authenticator, Identity, RequestFacts
from haild.tabled.s3.errors import S3Error
from haild.tabled.s3.upload import Source
from haild.transfer import receive as intake
from haild.transfer import splice
from haild.transfer.receive import Intake
from haild.wire.s3 import xml as s3xml

SERVER = "tabled 0.5.2"
REFUSED = "request %s of %s: %s"
"""What is logged of each error (tabled.md 4.4): id, client's address, code."""
CLIENT_GONE = 499
"""Status in the counts for a client that did not wait for its answer."""
STALL = 60.0
"""Seconds that a client may leave an answer unread."""
HEAD_DEADLINE = 30.0
"""Seconds in which the head of a request must arrive whole."""
UPLOAD_MEMORY = 1 << 25
"""Bytes that all uploads under way may take together, as long as their blocks are not the smallest."""
BLOCKS_HELD = 5
"""Blocks of an upload in memory: two received, one being digested, one being sent, one in the transport."""
SMALLEST_BLOCK, LARGEST_BLOCK = 1 << 16, 1 << 20
"""Bytes of an upload that are handled at a time: large blocks cost less processor time."""
READ_BUFFER = 1 << 16
"""Bytes of a small body that are received ahead."""
HEAD_LIMIT = 1 << 14
"""Bytes of the first line, and of each other line of a request's head."""
MOST_BLANK = 4096
"""Bytes of empty lines in front of a connection's requests."""
LINGER = 5.0
"""Seconds during which the rest of a refused body is read and dropped, so that the client sees the answer."""

logger = logging.getLogger(__name__)

_VERSIONS = ((1, 1), (1, 0))
_OF_STORAGE: Final[dict[type[StorageError], tuple[str, str]]] = {
    BucketMissingError: ("NoSuchBucket", "The specified bucket does not exist."),
    BucketNotEmptyError: ("BucketNotEmpty", "The bucket you tried to delete is not empty."),
    UploadMissingError: (
        "NoSuchUpload",
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or "
        "completed.",
    ),
    BodyMissingError: ("SlowDown", "The source is being replaced; please retry."),
}
"""The S3 error (code and text) of each storage error that an operation lets through."""


class S3Server:
    """Serves requests with the services of the moment; without any, every request is answered 503."""

    def __init__(self, own_names: Sequence[str], region: str) -> None:
        """`own_names`: host names below which virtual-host buckets live."""
        self._own_names = tuple(name.lower().partition(":")[0] for name in own_names)
        self._region = region
        self._services: Services | None = None
        self._authenticator: Authenticator | None = None
        self._uploads = 0
        self.requests = 0
        self.errors = 0
        self.on_answer: Callable[[str, int], None] = lambda action, status: None

    def serve(self, services: Services | None) -> None:
        """Answer with these services from now on."""
        self._services = services
        self._authenticator = (
            None if services is None else Authenticator(services.metadata.password, region=self._region)
        )

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        self.requests += 1
        request_id = _new_request_id()
        call: Request | None = None
        action = ""
        upload = _is_long(request)
        self._uploads += upload
        try:
            if upload:
                request.content.set_read_chunk_size(self._block())
            call = self._understand(request, request_id)
            if call.method == "OPTIONS":
                answer = await cors.preflight(call)
            else:
                identity = await self._identify(call)
                operation = routes.find(call.method, call.address.scope, call.query)
                action = operation.action_for(call.query)
                answer = await operation.handler(await admission.admit(call, identity, action, operation.permission))
            if "Origin" in request.headers:
                answer.headers.update(await cors.headers_for(call))
            response = await _send(request, answer, request_id)
        except S3Error as error:
            response = await self._refuse(request, call, error, request_id)
        except StorageError as error:
            response = await self._refuse(request, call, S3Error(*_OF_STORAGE[type(error)]), request_id)
        except ConnectionError as error:
            # Trouble with nodes never comes as far as this: it is the client that has gone.
            logger.debug("request %s: the client has gone: %s", request_id, error)
            _cut(request)
            response = web.Response(status=CLIENT_GONE)
        except SupersededError as error:
            logger.warning("request %s: %s", request_id, error)
            response = _send_error(request, _not_ready(), request_id)
        except (sqlite3.Error, OSError) as error:
            logger.error("request %s: %s", request_id, error)
            response = _send_error(request, _internal(), request_id)
        except Exception:
            logger.exception("request %s failed", request_id)
            response = _send_error(request, _internal(), request_id)
        finally:
            self._uploads -= upload
            _leave_body(request)
        self.on_answer(action, response.status)
        return response

    async def _refuse(
        self, request: web.BaseRequest, call: Request | None, error: S3Error, request_id: str
    ) -> web.StreamResponse:
        self.errors += 1
        logger.info(REFUSED, request_id, request.remote, error.code)
        if call is not None and "Origin" in request.headers:
            with contextlib.suppress(sqlite3.Error):  # a script from elsewhere is told why, if possible
                error.headers.update(await cors.headers_for(call))
        return _send_error(request, error, request_id)

    def _block(self) -> int:
        """Bytes of an upload to handle at a time."""
        share = UPLOAD_MEMORY // (BLOCKS_HELD * max(self._uploads, 1))
        return min(max(share, SMALLEST_BLOCK), LARGEST_BLOCK)

    def _source(self, request: web.BaseRequest) -> Source:
        length, connection = request.content_length, cast(_Connection, request.protocol)
        # A form, which comes by POST, needs the stream that the parser makes.
        if request.method != "PUT" or length is None or length < intake.SMALLEST or request.content.is_eof():
            return request.content
        connection.intake = Intake(request, length, self._block, connection.expect_head)
        return connection.intake

    def _understand(self, request: web.BaseRequest, request_id: str) -> Request:
        if request.version not in _VERSIONS:
            raise S3Error("InvalidArgument", "The version of HTTP is neither 1.0 nor 1.1.")
        for name, value in request.headers.items():
            metadata = name.lower().startswith(headers.METADATA)  # which may be Latin-1
            if not value.isascii() and not metadata and not addressing.is_utf8(value):
                raise S3Error("InvalidArgument", "A header is not UTF-8.")
        host = request.headers.get("Host")
        if host is None:
            raise S3Error("InvalidArgument", "The Host header is missing.")
        if self._services is None or not self._services.leading():
            raise _not_ready()
        target = addressing.absolute_to_origin(request.raw_path)
        address = addressing.locate(host, target, self._own_names)
        query = addressing.parse_query(target.partition("?")[2])
        addressing.check_version(query.get("versionId", ""))
        return Request(
            services=self._services,
            method=request.method,
            target=target,
            headers=request.headers,
            query=query,
            address=address,
            request_id=request_id,
            now=self._services.clock(),
            source=self._source(request),
            block=self._block,
            before_reading=lambda: _continue(request),
            remote=request.remote or "",
        )

    async def _identify(self, request: Request) -> Identity:
        """Who sends the request. Raises S3Error."""
        assert self._authenticator is not None  # noqa: S101 - set together with the services
        facts = RequestFacts(
            request.method, request.target, request.headers, request.query, request.address.bucket_in_host
        )
        return await self._authenticator.identify(facts, request.now)


def _new_request_id() -> str:
    return f"{random.getrandbits(64):016X}"


def _not_ready() -> S3Error:
    return S3Error("ServiceUnavailable", "Not ready; please retry.", headers={"Retry-After": "1"})


def _is_long(request: web.BaseRequest) -> bool:
    """Whether a body comes that is longer than a block, or of unknown length."""
    length = request.content_length
    return request.body_exists and (length is None or length > SMALLEST_BLOCK)


def _leave_body(request: web.BaseRequest) -> None:
    """Nobody asks for the rest of a large body any more."""
    connection = cast(_Connection, request.protocol)
    if connection.intake is not None:
        connection.intake.abandon()
        connection.intake = None


def _internal() -> S3Error:
    return S3Error("InternalError", "We encountered an internal error. Please try again.")


async def _continue(request: web.BaseRequest) -> None:
    """The interim response, once it is sure that the body is wanted (tabled.md section 5)."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= (1, 1):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


def _common(headers: dict[str, str], request_id: str) -> dict[str, str]:
    headers["Server"] = SERVER
    headers["x-amz-request-id"] = request_id
    headers["x-amz-id-2"] = request_id
    return headers


async def _send(request: web.BaseRequest, answer: Answer, request_id: str) -> web.StreamResponse:
    headers = _common(answer.headers, request_id)
    if answer.stream is None and (answer.length is None or request.method != "HEAD"):
        return web.Response(status=answer.status, headers=headers, body=answer.body)
    response = web.StreamResponse(status=answer.status, headers=headers)
    response.content_length = answer.length
    if answer.stream is None:
        await response.prepare(request)
        await response.write_eof()
        return response
    async with contextlib.aclosing(answer.stream) as stream:
        first = await anext(stream)  # what fails before the first byte still gets its own status
        if isinstance(first, bytes) and len(first) == answer.length:
            return web.Response(status=answer.status, headers=headers, body=first)
        await response.prepare(request)
        try:
            await _write(request, response, first)
            async for piece in stream:
                await _write(request, response, piece)
        except (S3Error, TimeoutError) as error:
            logger.warning("request %s: the answer breaks off: %s", request_id, error or type(error).__name__)
            _cut(request)
            return response
    await response.write_eof()
    return response


async def _write(request: web.BaseRequest, response: web.StreamResponse, piece: Piece) -> None:
    """Send a piece. What ends a Rest early is left to whoever gave it, who may have the bytes from elsewhere."""
    if isinstance(piece, bytes):
        async with asyncio.timeout(STALL):
            await response.write(piece)
    elif splice.can_take(request.transport):
        request.writer.send_headers()
        try:
            await splice.splice(
                piece.descriptor, request.transport, piece.size, source_deadline=piece.stall, deadline=STALL
            )
            piece.taken = piece.size
        except splice.BrokenSourceError as error:
            piece.taken, piece.failure = error.passed, str(error)


def _cut(request: web.BaseRequest) -> None:
    """Close the connection at once, so that the client cannot take a part for the whole."""
    if request.transport is not None:
        request.transport.abort()


def _send_error(request: web.BaseRequest, error: S3Error, request_id: str) -> web.StreamResponse:
    headers = _common(dict(error.headers), request_id)
    body = b""
    if request.method != "HEAD" and error.status != 304:
        body = s3xml.error(
            error.code, error.message, request.raw_path.partition("?")[0], request_id, error.fields.items()
        )
        headers["Content-Type"] = "application/xml"
    response = web.Response(status=error.status, headers=headers, body=body)
    if not request.content.is_eof() and request.headers.get("Expect", "").lower() == "100-continue":
        response.force_close()  # the body will not come, or cannot be told from the next request
    if error.status >= 500 or error.code in ("RequestTimeout", "IncompleteBody"):
        response.force_close()
    return response


class _Connection(HttpConnection):
    """One connection; what the parser refuses gets the protocol's error document."""

    intake: Intake | None = None
    """What receives the present request's body, if that is large."""
    _head_timer: asyncio.TimerHandle | None = None
    _blank = 0

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """A large upload under way is given as long as any other request."""
        if self.intake is not None and timeout is not None:
            asyncio.get_running_loop().call_later(timeout, self.intake.cancel)
        await super().shutdown(timeout)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A request's head is expected soon."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Nothing is expected any more."""
        self._head_arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a head without its end must be followed by the rest in time."""
        begins = self.between_requests
        super().data_received(data)
        of_a_body = not begins and not self.within_head
        if self._messages or self._current_request is not None or of_a_body:
            self._head_arrived()
            return
        if self._head_timer is None:
            self._await_head()
        # The parser skips empty lines in front of a request, however many come.
        if not data.strip(b"\r\n"):
            self._blank += len(data)
            if self._blank > MOST_BLANK:
                self.force_close()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Called for every block that is read from a body; only what was paused has anything to go on with."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def expect_head(self) -> None:
        """What the parser is in the midst of has been received elsewhere; the head of another request follows."""
        self._parser = HttpRequestParser(
            self,
            self._loop,
            READ_BUFFER,
            max_line_size=HEAD_LIMIT,
            max_field_size=HEAD_LIMIT,
            payload_exception=web.RequestPayloadError,
            auto_decompress=False,
        )

    def _await_head(self) -> None:
        self._head_timer = asyncio.get_running_loop().call_later(HEAD_DEADLINE, self.force_close)

    def _head_arrived(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def handle_error(
        self, request: Any, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        code = "InvalidArgument" if isinstance(exc, BadHttpMessage) or status < 500 else "InternalError"
        if code == "InternalError":
            logger.error("a request failed: %s", exc or message, exc_info=exc)
        request_id = _new_request_id()
        logger.info(REFUSED, request_id, self.peername[0] if self.peername else "", code)
        body = s3xml.error(code, message or "The request is not HTTP as we know it.", "", request_id)
        headers = _common({"Content-Type": "application/xml"}, request_id)
        response = web.Response(status=status, headers=headers, body=body)
        response.force_close()
        return response


class _LowLevelServer(web.Server):
    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


def low_level_server(server: S3Server) -> web.Server:
    """The protocol factory to listen with; the event loop must run."""
    return _LowLevelServer(
        server.handle,
        access_log=None,
        auto_decompress=False,  # a body is stored as it was sent
        keepalive_timeout=75.0,
        lingering_time=LINGER,
        read_bufsize=READ_BUFFER,
        max_line_size=HEAD_LIMIT,
        max_field_size=HEAD_LIMIT,
    )
