"""The aws-chunked encoding of upload bodies: frames with or without signatures, trailers.

Source: tabled.md 17.5; S3 API reference, "Signature calculations: transferring payload in multiple chunks".
A push parser: bytes in, content out; nothing is buffered but one frame's header or one trailer line.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Any, Final

from haild.wire.s3.sigv4 import EMPTY_SHA256, Scope, signature

SIGNED: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER: Final = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
KINDS: Final = frozenset((SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER))
"""Values of x-amz-content-sha256 that announce this encoding."""

MAXIMUM_LINE: Final = 4096
MAXIMUM_TRAILERS: Final = 32

_FRAME_HEADER: Final = re.compile(rb"([0-9a-fA-F]{1,16})(?:;chunk-signature=([0-9a-f]{64}))?[ \t]*")
_TRAILER: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:[ \t]*(.*?)[ \t]*")
_CHUNK_ALGORITHM: Final = "AWS4-HMAC-SHA256-PAYLOAD"
_TRAILER_ALGORITHM: Final = "AWS4-HMAC-SHA256-TRAILER"
_TRAILER_SIGNATURE: Final = "x-amz-trailer-signature"


class FrameError(ValueError):
    """The framing is broken."""


class FrameSignatureError(FrameError):
    """A frame or the trailer does not carry the signature that it must."""


@dataclass(frozen=True)
class Seed:
    """What the chain of signatures starts from: signing key, timestamp, scope and the request's own signature."""

    key: bytes
    timestamp: str
    scope: Scope
    signature: str


class Decoder:
    """Takes the encoded bytes in pieces of any size and gives back the content.

    `kind` is one of KINDS; `seed` is needed for the two signed ones. A signed frame's content is handed out
    before its signature is known to be right: the consumer must not commit before `finish` has returned.
    """

    def __init__(self, kind: str, seed: Seed | None = None) -> None:
        if kind not in KINDS or (seed is None and kind != UNSIGNED_TRAILER):
            raise ValueError("a signed kind needs a seed")
        self.trailers: dict[str, str] = {}
        self._seed = seed if kind != UNSIGNED_TRAILER else None
        self._previous = self._seed.signature if self._seed else ""
        self._expects_trailer = kind != SIGNED
        self._line = bytearray()
        self._left = 0
        self._frame_signature = ""
        self._frame_hash: Any = None
        self._blank = False
        self._state = self._frame_header

    @property
    def done(self) -> bool:
        """True when the last byte of the encoding has been seen."""
        return self._state == self._end

    def feed(self, data: bytes | memoryview) -> list[bytes | memoryview]:
        """The content in `data`, as pieces. Raises FrameError and FrameSignatureError."""
        content: list[bytes | memoryview] = []
        view = memoryview(data)
        while view:
            if self._left:
                piece = view[: self._left]
                self._left -= len(piece)
                view = view[len(piece) :]
                if self._frame_hash is not None:
                    self._frame_hash.update(piece)
                content.append(piece)
            else:
                view = self._take_line(view)
        return content

    def finish(self) -> dict[str, str]:
        """The trailers, by lower-case name, once the body has ended. Raises FrameError if it ended early."""
        if not self.done:
            # Some clients leave out the last empty line after the final frame.
            if self._state == self._trailer_line and not self._line:
                self._close_trailers()
            else:
                raise FrameError("the body ends inside the encoding")
        return self.trailers

    def _take_line(self, view: memoryview) -> memoryview:
        chunk = bytes(view[: MAXIMUM_LINE + 1])
        end = chunk.find(b"\n")
        taken = end + 1 if end >= 0 else len(chunk)
        self._line += chunk[:taken]
        if len(self._line) > MAXIMUM_LINE:
            raise FrameError("a line of the encoding is too long")
        if end >= 0:
            if self._line.endswith(b"\r\n"):
                line = bytes(self._line[:-2])
            elif self._state == self._trailer_line:  # as MinIO's clients write what the trailer's signature covers
                line = bytes(self._line[:-1])
            else:
                raise FrameError("a line does not end in CR LF")
            self._line.clear()
            self._state(line)
        return view[taken:]

    def _frame_header(self, line: bytes) -> None:
        match = _FRAME_HEADER.fullmatch(line)
        if not match:
            raise FrameError("a frame does not start with its size")
        self._left = int(match[1], 16)
        if self._seed:
            if match[2] is None:
                raise FrameSignatureError("a frame has no signature")
            self._frame_signature = match[2].decode("ascii")
            self._frame_hash = hashlib.sha256()
        if self._left:
            self._state = self._frame_end
        elif self._expects_trailer:
            self._check_frame()
            self._state = self._trailer_line
        else:
            self._state = self._last_frame_end

    def _frame_end(self, line: bytes) -> None:
        if line:
            raise FrameError("a frame is longer than its size says")
        self._check_frame()
        self._state = self._frame_header

    def _last_frame_end(self, line: bytes) -> None:
        self._frame_end(line)
        self._state = self._end

    def _end(self, line: bytes) -> None:
        raise FrameError("bytes after the end of the encoding")

    def _check_frame(self) -> None:
        if self._seed is None:
            return
        text = self._text(_CHUNK_ALGORITHM, f"{EMPTY_SHA256}\n{self._frame_hash.hexdigest()}")
        self._check(text, self._frame_signature)

    def _text(self, algorithm: str, last: str) -> str:
        assert self._seed is not None  # noqa: S101 - callers check
        return f"{algorithm}\n{self._seed.timestamp}\n{self._seed.scope}\n{self._previous}\n{last}"

    def _check(self, text: str, claimed: str) -> None:
        assert self._seed is not None  # noqa: S101 - callers check
        expected = signature(self._seed.key, text)
        if not hmac.compare_digest(expected.encode(), claimed.encode()):
            raise FrameSignatureError("the signature of a frame is wrong")
        self._previous = expected

    def _trailer_line(self, line: bytes) -> None:
        if not line:
            # In the same clients an empty line stands before the signature, too.
            if self._seed is None or _TRAILER_SIGNATURE in self.trailers or self._blank:
                self._close_trailers()
            self._blank = True
            return
        match = _TRAILER.fullmatch(line)
        name = match[1].decode("ascii").lower() if match else ""
        if not match or name in self.trailers or len(self.trailers) >= MAXIMUM_TRAILERS:
            raise FrameError("the trailer is not a short list of different headers")
        self.trailers[name] = match[2].decode("utf-8", "replace")

    def _close_trailers(self) -> None:
        self._state = self._end
        claimed = self.trailers.pop(_TRAILER_SIGNATURE, None)
        if self._seed is None:
            return
        if claimed is None:
            raise FrameSignatureError("the trailer has no signature")
        lines = "".join(f"{name}:{value}\n" for name, value in self.trailers.items())
        self._check(self._text(_TRAILER_ALGORITHM, hashlib.sha256(lines.encode()).hexdigest()), claimed)


def encode_frame(content: bytes, seed: Seed | None = None, previous: str = "") -> tuple[bytes, str]:
    """One frame around `content` (empty: the last one) without the CR LF of an empty frame's end.

    With a seed the frame is signed after `previous`; returns the frame and its signature.
    """
    if seed is None:
        head, proof = b"%x\r\n" % len(content), ""
    else:
        digest = hashlib.sha256(content).hexdigest()
        text = f"{_CHUNK_ALGORITHM}\n{seed.timestamp}\n{seed.scope}\n{previous}\n{EMPTY_SHA256}\n{digest}"
        proof = signature(seed.key, text)
        head = b"%x;chunk-signature=%s\r\n" % (len(content), proof.encode())
    return (head + content + b"\r\n" if content else head), proof


def encode_trailer(trailers: dict[str, str], seed: Seed | None = None, previous: str = "") -> bytes:
    """The trailer lines and the empty line after them; signed after `previous` if there is a seed."""
    text = "".join(f"{name}:{value}\r\n" for name, value in trailers.items())
    if seed is not None:
        lines = "".join(f"{name}:{value}\n" for name, value in trailers.items())
        digest = hashlib.sha256(lines.encode()).hexdigest()
        covered = f"{_TRAILER_ALGORITHM}\n{seed.timestamp}\n{seed.scope}\n{previous}\n{digest}"
        text += f"{_TRAILER_SIGNATURE}:{signature(seed.key, covered)}\r\n"
    return f"{text}\r\n".encode()
