"""Codec of the chunkd protocol: requests, responses and signatures (chunkd.md sections 2 to 5).

Bytes in, values out. `RequestDecoder` is the server's side, `ResponseDecoder` the client's; both take the
stream in pieces of any size. All integers on the wire are little-endian; the nonce is opaque.
"""

from __future__ import annotations

import hmac
import struct
from binascii import b2a_base64
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

MAGIC: Final = b"CHUNKDv1"
REQUEST_SIZE: Final = 88
"""Bytes of a request's fixed header."""
RESPONSE_SIZE: Final = 48
"""Bytes of a response's fixed header."""
TIMED_RESPONSE_SIZE: Final = 56
"""Bytes of the header of a successful GET, GET_META or GET_PART."""
MAXIMUM_KEY: Final = 1024
"""Bytes of a key or table name."""
MAXIMUM_USER: Final = 64
"""Bytes of a user name with its NUL."""
BLOCK_SIZE: Final = 65536
"""Bytes of a checksum block."""
MAXIMUM_PART: Final = 4 * BLOCK_SIZE
"""Bytes one GET_PART can return."""
NO_HASH: Final = bytes(20)
TLS_SIGNATURE: Final = b"START-TLS"
"""What stands in the signature field of START_TLS."""

_REQUEST: Final = struct.Struct("<8sBBH4sQ64s")
_RESPONSE: Final = struct.Struct("<8sBB2x4sQ20s4x")
_TIMED_RESPONSE: Final = struct.Struct("<8sBB2x4sQ20s4xQ")
_OFFSET: Final = struct.Struct("<Q")
_UNSIGNED_SIZE: Final = 24
_NO_SIGNATURE: Final = bytes(64)


class Operation(IntEnum):
    """What a request asks for (section 4)."""

    NOP = 0
    GET = 1
    GET_META = 2
    PUT = 3
    DEL = 4
    LIST = 5
    LOGIN = 6
    TABLE_OPEN = 7
    CHECK_START = 8
    CHECK_STATUS = 9
    START_TLS = 10
    CP = 11
    GET_PART = 12
    EMPTY = 0x70
    """Ours: discard everything (haild.wire.emptying)."""


class RequestFlag(IntFlag):
    """Flags of a request; unknown ones are ignored."""

    NONE = 0
    SYNC = 0x01
    TABLE_CREATE = 0x02
    TABLE_EXCLUSIVE = 0x04


class ResponseFlag(IntFlag):
    """Flags of a response."""

    NONE = 0
    GET_PART_LAST = 0x08


class ResponseCode(IntEnum):
    """Outcome of a request (section 5)."""

    SUCCESS = 0
    ACCESS_DENIED = 1
    INTERNAL_ERROR = 2
    INVALID_ARGUMENT = 3
    INVALID_URI = 4
    NO_SUCH_KEY = 5
    SIGNATURE_DOES_NOT_MATCH = 6
    INVALID_KEY = 7
    INVALID_TABLE = 8
    BUSY = 9
    KEY_EXISTS = 10
    INVALID_SEEK = 11


class CheckState(IntEnum):
    """State of the self-check (section 6.9)."""

    NEVER_STARTED = 0
    IDLE = 1
    RUNNING = 2


TIMED_OPERATIONS: Final = frozenset({Operation.GET, Operation.GET_META, Operation.GET_PART})
"""Operations whose successful response carries an mtime."""

BODY_OPERATIONS: Final = frozenset({Operation.GET, Operation.GET_PART, Operation.LIST, Operation.CHECK_STATUS})
"""Operations whose successful response is followed by data_len bytes (section 3)."""


class ProtocolError(Exception):
    """The stream of bytes is not the chunkd protocol; nothing after this point can be understood."""


class KeyTooLongError(ProtocolError):
    """key_len is over MAXIMUM_KEY: the connection is dropped without a response (section 6.1)."""


@dataclass(frozen=True, slots=True)
class Request:
    """A decoded request. The content of a PUT is not part of it."""

    operation: int
    """An Operation, or an unknown number."""
    flags: int
    nonce: bytes
    data_length: int
    key: bytes
    signature: bytes | None
    """Text in the signature field; None if the field is empty or has no NUL."""
    message: bytes
    """What the signature covers (section 2.1)."""
    magic: bytes = MAGIC
    offset: int = 0
    """GET_PART only, bytes."""
    source_key: bytes | None = None
    """CP only; None if it is longer than MAXIMUM_KEY (it is then not consumed)."""

    @property
    def well_formed(self) -> bool:
        """Whether magic and signature field have the form of section 6.1, rule 2."""
        return self.signature is not None and self.magic == MAGIC

    @property
    def content_length(self) -> int:
        """Bytes of content that follow the request: those of a PUT."""
        return self.data_length if self.operation == Operation.PUT else 0

    def signed_with(self, secret: bytes) -> bool:
        """Whether the signature is the one that `secret` makes."""
        return self.signature is not None and hmac.compare_digest(self.signature, sign(secret, self.message))


@dataclass(frozen=True, slots=True)
class Response:
    """A response's header. What follows it depends on the operation: see `body_length`."""

    code: int
    nonce: bytes
    data_length: int
    flags: int = 0
    sha1: bytes = NO_HASH
    mtime: int | None = None
    """Seconds since 1970; only in a successful GET, GET_META or GET_PART."""
    magic: bytes = MAGIC

    def encode(self) -> bytes:
        """The 48 bytes of the header, or 56 if there is an mtime."""
        if self.mtime is None:
            return _RESPONSE.pack(self.magic, self.code, self.flags, self.nonce, self.data_length, self.sha1)
        return _TIMED_RESPONSE.pack(
            self.magic, self.code, self.flags, self.nonce, self.data_length, self.sha1, self.mtime
        )

    def body_length(self, operation: int) -> int:
        """Bytes that follow this response to `operation` (section 3: data_len is only sometimes a length)."""
        if self.code != ResponseCode.SUCCESS or operation not in BODY_OPERATIONS:
            return 0
        return self.data_length


def sign(secret: bytes, message: bytes) -> bytes:
    """The signature text of `message`: 28 characters of base64 (section 2.1)."""
    return b2a_base64(hmac.digest(secret, message, "sha1"), newline=False)


def encode_request(
    operation: int,
    *,
    nonce: bytes,
    secret: bytes | None,
    key: bytes = b"",
    flags: int = 0,
    data_length: int = 0,
    offset: int = 0,
    source_key: bytes = b"",
) -> bytes:
    """A whole request, signed with `secret`; the content of a PUT has to follow.

    Without a secret the signature field says START-TLS (section 6.2). `source_key` (CP) sets data_len.
    Raises ValueError for a key or source key over MAXIMUM_KEY or a nonce that has not four bytes.
    """
    if len(key) > MAXIMUM_KEY or len(source_key) > MAXIMUM_KEY:
        raise ValueError(f"a key has at most {MAXIMUM_KEY} bytes")
    if len(nonce) != 4:
        raise ValueError("a nonce has four bytes")
    tail = b""
    signed_tail = b""
    if operation == Operation.CP:
        data_length = len(source_key)
        tail = source_key if key else b""
    elif operation == Operation.GET_PART and key:
        tail = signed_tail = _OFFSET.pack(offset)
    header = _REQUEST.pack(MAGIC, operation, flags, len(key), nonce, data_length, _NO_SIGNATURE)
    signature = TLS_SIGNATURE if secret is None else sign(secret, header + key + signed_tail)
    return b"".join((header[:_UNSIGNED_SIZE], signature.ljust(64, b"\0"), key, tail))


def user_of(login_key: bytes) -> bytes | None:
    """The user named by the key of a LOGIN: what stands before its first NUL. None if the length is not 1..64."""
    if not 1 <= len(login_key) <= MAXIMUM_USER:
        return None
    return login_key.partition(b"\0")[0]


def part_range(size: int, offset: int, wanted: int) -> tuple[int, bool]:
    """Bytes that a GET_PART returns, and whether they are the last (section 6.6). `offset` is within `size`."""
    remaining = size - offset
    length = min(wanted, remaining) if wanted else remaining
    length = min(length, MAXIMUM_PART)
    return length, length == remaining


def encode_check_status(state: CheckState, finished: int) -> bytes:
    """The 16 bytes of a CHECK_STATUS body; `finished` in seconds since 1970, 0 for never."""
    return struct.pack("<B3xIQ", state, 0, finished)


def decode_check_status(body: bytes) -> tuple[CheckState, int]:
    """State and time of the last end of a check. Raises ProtocolError if `body` is not a CHECK_STATUS body."""
    try:
        state, _count, finished = struct.unpack("<B3xIQ", body)
        return CheckState(state), finished
    except (struct.error, ValueError) as error:
        raise ProtocolError("not a CHECK_STATUS body") from error


class RequestDecoder:
    """Turns the stream of a client into requests.

    `receive` bytes, then call `next_request` until it returns None. After a PUT the content follows in the same
    stream: `take` what of it has been received already, and keep the rest of it from `receive`.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def __len__(self) -> int:
        """Bytes received and not yet part of a request or taken."""
        return len(self._buffer)

    def receive(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes from the stream."""
        self._buffer += data

    @property
    def wanted(self) -> int:
        """Bytes without which no request can be complete; 0 if one may be complete already.

        Who receives no more than this never has a byte that follows the request: START_TLS needs that.
        """
        have = len(self._buffer)
        if have < REQUEST_SIZE:
            return REQUEST_SIZE - have
        return max(0, self._size() - have)

    def _size(self) -> int:
        """Bytes of the request whose fixed header is at the start of the buffer."""
        _, operation, _, key_length, _, data_length, _ = _REQUEST.unpack_from(self._buffer)
        size = REQUEST_SIZE + int(key_length)
        if key_length and operation == Operation.GET_PART:
            return size + _OFFSET.size
        if key_length and operation == Operation.CP and data_length <= MAXIMUM_KEY:
            return size + int(data_length)
        return size

    def next_request(self) -> Request | None:
        """The next complete request, or None if more bytes are needed. Raises KeyTooLongError.

        A header that is not well-formed is returned at once, without its key: the caller answers and closes.
        """
        buffer = self._buffer
        if len(buffer) < REQUEST_SIZE:
            return None
        magic, operation, flags, key_length, nonce, data_length, field = _REQUEST.unpack_from(buffer)
        if key_length > MAXIMUM_KEY:
            raise KeyTooLongError(f"a key of {key_length} bytes")
        signature, end, _ = field.partition(b"\0")
        if magic != MAGIC or not end or not signature:
            del buffer[:REQUEST_SIZE]
            return Request(operation, flags, nonce, data_length, b"", None, b"", magic)
        end_of_key = REQUEST_SIZE + key_length
        offset = 0
        source_key: bytes | None = None
        size = self._size()
        if len(buffer) < size:
            return None
        key = bytes(buffer[REQUEST_SIZE:end_of_key])
        message = b"".join((buffer[:_UNSIGNED_SIZE], _NO_SIGNATURE, key))
        if operation == Operation.GET_PART and key:
            message += buffer[end_of_key:size]
            (offset,) = _OFFSET.unpack_from(buffer, end_of_key)
        elif operation == Operation.CP and data_length <= MAXIMUM_KEY:
            source_key = bytes(buffer[end_of_key:size])
        del buffer[:size]
        return Request(operation, flags, nonce, data_length, key, signature, message, magic, offset, source_key)

    def take(self, limit: int) -> bytes:
        """Remove and return at most `limit` received bytes: the content that follows a PUT."""
        taken = bytes(self._buffer[:limit])
        del self._buffer[:limit]
        return taken


class ResponseDecoder:
    """Turns the stream of a server into responses; the client says which operation each one answers."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def __len__(self) -> int:
        """Bytes received and not yet part of a response or taken."""
        return len(self._buffer)

    def receive(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes from the stream."""
        self._buffer += data

    def next_response(self, operation: int) -> Response | None:
        """The header of the response to `operation`, or None if more bytes are needed. Raises ProtocolError."""
        buffer = self._buffer
        if len(buffer) < RESPONSE_SIZE:
            return None
        magic, code, flags, nonce, data_length, sha1 = _RESPONSE.unpack_from(buffer)
        if magic != MAGIC:
            raise ProtocolError("the response does not begin with the magic")
        mtime: int | None = None
        size = RESPONSE_SIZE
        if code == ResponseCode.SUCCESS and operation in TIMED_OPERATIONS:
            size = TIMED_RESPONSE_SIZE
            if len(buffer) < size:
                return None
            mtime = _TIMED_RESPONSE.unpack_from(buffer)[-1]
        del buffer[:size]
        return Response(code, nonce, data_length, flags, sha1, mtime, magic)

    def take(self, limit: int) -> bytes:
        """Remove and return at most `limit` received bytes: the body that follows a response."""
        taken = bytes(self._buffer[:limit])
        del self._buffer[:limit]
        return taken
