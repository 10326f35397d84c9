"""HTTP in front of the operations: from a request to a call, from an answer or an error to what is sent.

There is no router: the target is taken as it was sent (haild.http.server, then routes).
"""

from __future__ import annotations

import contextlib
import logging
import random
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from haild.daemon.insight import HERE
from haild.http import request as http
from haild.http.parser import Refusal
from haild.http.server import HttpServer, Limits
from haild.tabled.bodies.placement import Piece
from haild.tabled.http import insight, routes
from haild.tabled.metadata.port import (
    BodyMissingError,
    BucketMissingError,
    BucketNotEmptyError,
    DamagedRecordError,
    StorageError,
    SupersededError,
    UploadMissingError,
)
from haild.tabled.operations import admission, cors, foreign, sts
from haild.tabled.operations.answer import Answer
from haild.tabled.operations.call import Request, Services
from haild.tabled.s3 import addressing, headers
from haild.tabled.s3.authentication import Authenticator, Identity, RequestFacts
from haild.tabled.s3.errors import S3Error
from haild.transfer import splice
from haild.wire import emptying, traceparent
from haild.wire.s3 import xml as s3xml

SERVER: Final = "tabled 0.5.2"
REFUSED: Final = "request %s of %s: %s"
"""What is logged of each error (tabled.md 4.4): id, client's address, code."""
CLIENT_GONE: Final = 499
"""Status in the counts for a client that did not wait for its answer."""
STALL: Final = 60.0
"""Seconds that a client may leave an answer unread."""
UPLOAD_MEMORY: Final = 1 << 25
"""Bytes that all uploads under way may take together, as long as their blocks are not the smallest."""
BLOCKS_HELD: Final = 5
"""Blocks of an upload in memory: two received, one being digested, one being sent, one in the transport."""
SMALLEST_BLOCK: Final = 1 << 16
LARGEST_BLOCK: Final = 1 << 20
"""Bytes of an upload that are handled at a time: large blocks cost less processor time."""
IN_BLOCKS: Final = 1 << 19
"""Bytes of a body from which on it pays to receive it in blocks."""
HEAD_LIMIT: Final = 1 << 14
"""Bytes of the first line, and of each other line of a request's head."""

logger = logging.getLogger(__name__)
_random: Final = random.Random()  # noqa: S311 - ids, no secrets

_VERSIONS: Final = ((1, 1), (1, 0))
_OF_STORAGE: Final[dict[type[StorageError], tuple[str, str]]] = {
    BucketMissingError: ("NoSuchBucket", "The specified bucket does not exist."),
    BucketNotEmptyError: ("BucketNotEmpty", "The bucket you tried to delete is not empty."),
    UploadMissingError: (
        "NoSuchUpload",
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or "
        "completed.",
    ),
    DamagedRecordError: ("InternalError", "The stored metadata of this object are damaged; store it again."),
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
        self.emptying: Callable[[http.Request], Awaitable[None]] | None = None
        """Answers the request of the stack's driver to discard everything, where that is allowed."""

    def serve(self, services: Services | None) -> None:
        """Answer with these services from now on."""
        self._services = services
        self._authenticator = (
            None
            if services is None
            else Authenticator(services.metadata.password, region=self._region, sessions=services.keys.session)
        )

    async def handle(self, request: http.Request) -> None:
        """Answer one request."""
        if request.target == emptying.PATH and request.method == "POST" and self.emptying is not None:
            await self.emptying(request)
            return
        self.requests += 1
        began = time.perf_counter()
        request_id = _new_request_id()
        header = request.headers.get(traceparent.HEADER)
        followed = header is not None or HERE.watching
        if followed:
            traceparent.CURRENT.set(traceparent.received(header, _random))
        upload = request.length is None or request.length > SMALLEST_BLOCK
        self._uploads += upload
        action = ""
        call: Request | None = None
        try:
            call = self._understand(request, request_id)
            if call.method == "OPTIONS":
                answer = await cors.preflight(call)
            elif call.method == "POST" and call.address.scope == "service" and self._authenticator is not None:
                answer = await sts.answer(call, self._authenticator)
            else:
                identity = await self._identify(call)
                operation = routes.find(call.method, call.address.scope, call.query)
                action = operation.action_for(call.query)
                if identity.user is None and not operation.is_form:  # a form shows later who sends it
                    await foreign.refuse(call)
                answer = await operation.handler(await admission.admit(call, identity, action, operation.permission))
            if "Origin" in request.headers:
                answer.headers.update(await cors.headers_for(call))
            await _send(request, answer, request_id)
        except ConnectionError as error:
            # Trouble with nodes never comes as far as this: it is the client that has gone.
            logger.debug("request %s: the client has gone: %s", request_id, error)
            request.abort()
            request.status = CLIENT_GONE
        except Exception as error:
            await self._refuse(request, call, error, request_id)
        finally:
            self._uploads -= upload
        self.on_answer(action, request.status)
        insight.note(request, call, action, request_id, began)
        if followed:
            traceparent.CURRENT.set(None)

    async def _refuse(self, request: http.Request, call: Request | None, cause: Exception, request_id: str) -> None:
        error = _error_for(cause, request_id)
        self.errors += 1
        logger.info(REFUSED, request_id, request.remote, error.code)
        if call is not None and "Origin" in request.headers:
            with contextlib.suppress(sqlite3.Error, SupersededError):  # a script from elsewhere is told why
                error.headers.update(await cors.headers_for(call))
        _send_error(request, error, request_id)

    def _block(self) -> int:
        """Bytes of an upload to handle at a time."""
        share = UPLOAD_MEMORY // (BLOCKS_HELD * max(self._uploads, 1))
        return min(max(share, SMALLEST_BLOCK), LARGEST_BLOCK)

    def _understand(self, request: http.Request, request_id: str) -> Request:
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
        target = addressing.absolute_to_origin(request.target)
        address = addressing.locate(host, target, self._own_names)
        query = addressing.parse_query(target.partition("?")[2])
        addressing.check_version(query.get("versionId", ""))
        if request.length is not None and request.length >= IN_BLOCKS:
            request.body.in_blocks(self._block)
        return Request(
            services=self._services,
            method=request.method,
            target=target,
            headers=request.headers,
            query=query,
            address=address,
            request_id=request_id,
            now=self._services.clock(),
            source=request.body,
            block=self._block,
            before_reading=request.ask_for_body,
            remote=request.remote,
            own_address=request.own_address,
            secure=request.transport is not None and request.transport.get_extra_info("sslcontext") is not None,
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


def _error_for(cause: Exception, request_id: str) -> S3Error:
    """What the client is told of an exception; one that no client can cause is logged."""
    if isinstance(cause, S3Error):
        return cause
    if isinstance(cause, StorageError):
        if isinstance(cause, DamagedRecordError):
            logger.error("request %s: %s", request_id, cause)
        return S3Error(*_OF_STORAGE[type(cause)])
    if isinstance(cause, http.BadBodyError):
        return S3Error("IncompleteBody", str(cause))
    if isinstance(cause, SupersededError):
        logger.warning("request %s: %s", request_id, cause)
        return _not_ready()
    if isinstance(cause, sqlite3.Error | OSError):
        logger.error("request %s: %s", request_id, cause)
    else:
        logger.error("request %s failed", request_id, exc_info=cause)
    return S3Error("InternalError", "We encountered an internal error. Please try again.")


def _common(headers: dict[str, str], request_id: str) -> dict[str, str]:
    headers["Server"] = SERVER
    headers["x-amz-request-id"] = request_id
    headers["x-amz-id-2"] = request_id
    return headers


async def _send(request: http.Request, answer: Answer, request_id: str) -> None:
    headers = _common(answer.headers, request_id)
    if answer.stream is None:
        request.respond(answer.status, headers, answer.body, length=answer.length)
        return
    async with contextlib.aclosing(answer.stream) as stream:
        first = await anext(stream)  # what fails before the first byte still gets its own status
        request.start(answer.status, headers, answer.length)
        try:
            await _write(request, first)
            async for piece in stream:
                await _write(request, piece)
        except (S3Error, TimeoutError) as error:
            logger.warning("request %s: the answer breaks off: %s", request_id, error or type(error).__name__)
            request.abort()
            return
    request.finish()


async def _write(request: http.Request, piece: Piece) -> None:
    """Send a piece. If a RemainingBody ends early, its stream goes on, and may find the bytes elsewhere."""
    if isinstance(piece, bytes):
        await request.write(piece)
    elif splice.can_take(request.transport):
        request.send_head()
        try:
            await splice.splice(
                piece.descriptor, request.transport, piece.size, source_deadline=piece.stall, deadline=STALL
            )
            piece.taken = piece.size
        except splice.BrokenSourceError as error:
            piece.taken, piece.failure = error.passed, str(error)


def _send_error(request: http.Request, error: S3Error, request_id: str) -> None:
    if request.status:  # the answer has begun
        request.abort()
        return
    headers = _common(dict(error.headers), request_id)
    body = b""
    if request.method != "HEAD" and error.status != 304:
        body = s3xml.error(
            error.code, error.message, request.target.partition("?")[0], request_id, error.fields.items()
        )
        headers["Content-Type"] = "application/xml"
    if request.waits_for_continue or error.status >= 500 or error.code in ("RequestTimeout", "IncompleteBody"):
        request.keep_alive = False
    with contextlib.suppress(ConnectionError):
        request.respond(error.status, headers, body)


def low_level_server(server: S3Server) -> HttpServer:
    """The protocol factory to listen with; the event loop must run."""
    return HttpServer(server.handle, _refuse, Limits(stall=STALL, line=HEAD_LIMIT))


def _refuse(refusal: Refusal, client: str) -> tuple[int, dict[str, str], bytes]:
    """The answer to what is no request."""
    request_id = _new_request_id()
    logger.info(REFUSED, request_id, client, "InvalidArgument")
    body = s3xml.error("InvalidArgument", refusal.reason, "", request_id)
    return 400, _common({"Content-Type": "application/xml"}, request_id), body
