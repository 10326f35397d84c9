"""The body of an upload: taken off its wrapping, measured and checked while it streams by.

The last piece is handed out only when every promise about the body has been verified, so that a body whose
digest is wrong is never complete on any storage node (tabled.md 17.2, 17.3 and 17.5).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final, Protocol

from haild.tabled.s3 import checksums
from haild.tabled.s3.authentication import Identity
from haild.tabled.s3.errors import S3Error
from haild.wire.numbers import decimal
from haild.wire.s3 import awschunked, sigv4

MAXIMUM_OBJECT: Final = 5 << 30
"""Bytes of one PUT (tabled.md 17.3)."""
SILENCE: Final = 30.0
"""Seconds that a client may pause in the middle of a body."""

THREAD_SIZE: Final = 1 << 16
"""Bytes from which a piece is digested in threads: below, handing it over costs more than it brings."""
THREADS: Final = min(max(os.cpu_count() or 2, 2), 8)

_HEX_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, "digest")


Piece = bytes | memoryview


class Source(Protocol):
    """Where raw body bytes come from; an empty piece is the end."""

    @property
    def ready(self) -> bool:
        """Whether `read` returns at once."""
        ...

    async def read(self, limit: int, /) -> Piece:
        """The next bytes, about `limit` at most; nothing at the end. They never change."""
        ...


class Upload:
    """One body. `length` is the number of content bytes; digests are there once `pieces` is exhausted."""

    def __init__(
        self,
        headers: Mapping[str, str],
        identity: Identity,
        source: Source,
        before_reading: Callable[[], None],
        block: Callable[[], int],
        *,
        promised: bool = True,
        default: str = "",
        always: str = "",
    ) -> None:
        """`before_reading` is called before the first byte is asked for (100-continue).

        `block`: how many bytes to take at a time, asked again each time. `promised`: x-amz-checksum-* headers are of
        this body. `default`: the checksum to compute where the client names none; `always`: one to compute in any
        case. Raises S3Error.
        """
        self._source = source
        self._block = block
        self._before_reading = before_reading
        self._decoder: awschunked.Decoder | None = None
        self._sha256_promised = ""
        self._understand_payload(identity)
        self.length = self._length(headers)
        # Then HTTP itself ends the body there, and there is no need to wait for its end.
        self._exact = self._decoder is None and "Content-Length" in headers
        self._md5_promised = _content_md5(headers)
        self._promised = checksums.named(headers) if promised else {}
        self._trailer = _announced_trailer(headers) if self._decoder else ""
        self.checksum_algorithm = self._trailer or next(iter(self._promised), "")
        """The algorithm that the client names; empty if it names none."""
        if promised:
            _check_announced(headers, self.checksum_algorithm)
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256() if self._sha256_promised else None
        names = {*self._promised, self.checksum_algorithm or default, always} - {""}
        self._checksums = {name: checksums.new(name) for name in names if not (name == "sha256" and self._sha256)}
        if self._sha256 is not None and "sha256" in names:
            self._checksums["sha256"] = self._sha256
        self._digesting: list[asyncio.Future[None]] = []
        self._updates = [
            self._md5.update,
            *([self._sha256.update] if self._sha256 is not None else []),
            *(c.update for c in self._checksums.values() if c is not self._sha256),
        ]

    def _understand_payload(self, identity: Identity) -> None:
        payload = identity.payload
        if payload in awschunked.KINDS:
            if payload != awschunked.UNSIGNED_TRAILER and identity.seed is None:
                raise S3Error("InvalidRequest", "Signed frames need a signature in the Authorization header.")
            self._decoder = awschunked.Decoder(payload, identity.seed)
        elif payload.startswith("STREAMING-"):
            raise S3Error("NotImplemented", f"{payload} is not implemented.")
        elif _HEX_DIGEST.fullmatch(payload):
            self._sha256_promised = payload
        elif payload not in ("", sigv4.UNSIGNED_PAYLOAD):
            raise S3Error("InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD or a SHA-256.")

    def _length(self, headers: Mapping[str, str]) -> int:
        name = "x-amz-decoded-content-length" if self._decoder else "Content-Length"
        text = headers.get(name)
        if text is None and not self._decoder:
            text = headers.get("x-amz-decoded-content-length")
        if text is None:
            raise S3Error("MissingContentLength", "You must provide the Content-Length HTTP header.")
        length = decimal(text, 0, 10**19)
        if length is None:
            raise S3Error("InvalidArgument", f"{name} is not a number.")
        if length > MAXIMUM_OBJECT:
            raise S3Error(
                "EntityTooLarge",
                "Your proposed upload exceeds the maximum allowed size.",
                fields={"ProposedSize": text, "MaxSizeAllowed": str(MAXIMUM_OBJECT)},
            )
        return length

    @property
    def has_sha256(self) -> bool:
        """Whether the signature covers the content."""
        return bool(self._sha256_promised)

    @property
    def md5(self) -> str:
        """Hexadecimal MD5 of the content."""
        return self._md5.hexdigest()

    @property
    def checksums(self) -> dict[str, str]:
        """The checksums of the content, by algorithm, in base64."""
        return {name: checksums.text(value) for name, value in self._checksums.items()}

    async def pieces(self) -> AsyncIterator[Piece]:
        """The content, piece by piece, `length` bytes in all. Raises S3Error."""
        self._before_reading()
        held: Piece = b""
        seen = 0
        while not (self._exact and seen == self.length) and (raw := await self._next()):
            for piece in self._decode(raw):
                seen += len(piece)
                if seen > self.length:
                    raise S3Error("InvalidRequest", "The body is longer than was announced.")
                await self._digest(piece)
                if held:
                    yield held
                held = piece
        if seen < self.length:
            raise _incomplete()
        await self._digested()
        self._verify()
        if held:
            yield held

    async def _digest(self, piece: Piece) -> None:
        """Take a piece into all digests: a large one in a thread for each, while the piece before it is sent."""
        await self._digested()
        if len(piece) < THREAD_SIZE:
            for update in self._updates:
                update(piece)
        else:
            run = asyncio.get_running_loop().run_in_executor
            self._digesting = [run(_threads(), update, piece) for update in self._updates]

    async def _digested(self) -> None:
        digesting, self._digesting = self._digesting, []
        for each in digesting:
            await each

    async def read(self, limit: int) -> bytes:
        """The whole content of a small document. Raises S3Error, MaxMessageLengthExceeded over `limit` bytes."""
        if self.length > limit:
            raise S3Error("MaxMessageLengthExceeded", f"The document is longer than {limit} bytes.")
        return b"".join([piece async for piece in self.pieces()])

    async def _next(self) -> Piece:
        if self._source.ready:
            return await self._source.read(self._block())
        try:
            async with asyncio.timeout(SILENCE):
                return await self._source.read(self._block())
        except TimeoutError:
            raise S3Error(
                "RequestTimeout", "Your socket connection to the server was not read from or written to in time."
            ) from None

    def _decode(self, raw: Piece) -> list[Piece]:
        if self._decoder is None:
            return [raw]
        try:
            return self._decoder.feed(raw)
        except awschunked.FrameError as error:
            raise _frame_error(error) from None

    def _verify(self) -> None:
        if self._decoder is not None:
            try:
                trailers = self._decoder.finish()
            except awschunked.FrameError as error:
                raise _frame_error(error) from None
            self._take_trailers(trailers)
        if self._sha256 is not None and self._sha256.hexdigest() != self._sha256_promised:
            raise S3Error(
                "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match the body."
            )
        if self._md5_promised and self._md5.digest() != self._md5_promised:
            raise S3Error("BadDigest", "The Content-MD5 you specified did not match what we received.")
        for name, value in self._promised.items():
            if checksums.text(self._checksums[name]) != value:
                raise S3Error("BadDigest", f"The {name.upper()} you specified did not match the calculated checksum.")

    def _take_trailers(self, trailers: Mapping[str, str]) -> None:
        """Note the checksums in the trailer, announced or not. Raises S3Error for one that cannot be verified."""
        for header, value in trailers.items():
            name = header.removeprefix(checksums.HEADER_PREFIX)
            if not header.startswith(checksums.HEADER_PREFIX) or name == "type":
                continue
            if name not in self._checksums or not checksums.well_formed(name, value):
                raise _malformed_trailer()
            self._promised[name] = value
        if self._trailer and self._trailer not in self._promised:
            raise _malformed_trailer()


def _malformed_trailer() -> S3Error:
    return S3Error(
        "MalformedTrailerError",
        "The request contained trailing data that was not well-formed or did not conform to our published schema.",
    )


def _check_announced(headers: Mapping[str, str], found: str) -> None:
    announced = checksums.algorithm_of(headers, "x-amz-sdk-checksum-algorithm")
    if announced and not found:
        raise S3Error(
            "InvalidRequest",
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers "
            "were found.",
        )
    if announced != found and announced:
        raise S3Error("InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid.")


def _incomplete() -> S3Error:
    return S3Error("IncompleteBody", "You did not provide the number of bytes specified by Content-Length.")


def _frame_error(error: awschunked.FrameError) -> S3Error:
    if isinstance(error, awschunked.FrameSignatureError):
        return S3Error("SignatureDoesNotMatch", str(error))
    return S3Error("IncompleteBody", str(error))


def _content_md5(headers: Mapping[str, str]) -> bytes:
    text = headers.get("Content-MD5")
    if text is None:
        return b""
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != 16:
        raise S3Error("InvalidDigest", "The Content-MD5 you specified is not valid.")
    return digest


def _announced_trailer(headers: Mapping[str, str]) -> str:
    found = ""
    for name in headers.get("x-amz-trailer", "").lower().split(","):
        if not name.strip().startswith(checksums.HEADER_PREFIX):
            continue
        algorithm = name.strip().removeprefix(checksums.HEADER_PREFIX)
        if algorithm not in checksums.SIZES or (found and algorithm != found):
            raise S3Error("InvalidRequest", "The value specified in the x-amz-trailer header is not supported")
        found = algorithm
    return found
