"""Requests of chunkd: `haild.wire.chunk.messages.RequestDecoder`, and what the server asks of a request."""

from collections.abc import Iterator

from haild.wire.chunk import messages as wire
from haild.wire.chunk.messages import Operation

SECRET = b"u"
TOKENS = (wire.MAGIC, b"START-TLS\0")
END = "end of what can be understood"


def seeds() -> Iterator[bytes]:
    def request(operation: int, **fields: object) -> bytes:
        return wire.encode_request(operation, nonce=b"1234", secret=SECRET, **fields)  # type: ignore[arg-type]

    yield request(Operation.LOGIN, key=b"u\0") + request(Operation.TABLE_OPEN, key=b"t\0", flags=2)
    yield request(Operation.PUT, key=b"k", data_length=5) + b"hello" + request(Operation.GET, key=b"k")
    yield request(Operation.GET_PART, key=b"k", offset=3, data_length=4)
    yield request(Operation.CP, key=b"to", source_key=b"from")
    yield request(Operation.LIST) + request(Operation.CHECK_STATUS) + request(99)
    yield wire.encode_request(Operation.START_TLS, nonce=b"1234", secret=None)


def fuzz(data: bytes) -> None:
    whole = _decode([data])
    assert _decode([data[start : start + 13] for start in range(0, len(data), 13)]) == whole
    assert _decode([data[start : start + 1] for start in range(min(len(data), 200))] + [data[200:]]) == whole
    for request in whole:
        if isinstance(request, wire.Request):
            _request(request)


def _decode(pieces: list[bytes]) -> list[object]:
    """The requests, each without the content that follows a PUT; at last the bytes that are left, or END."""
    decoder = wire.RequestDecoder()
    found: list[object] = []
    content = 0
    for piece in [*pieces, b""]:
        decoder.receive(piece)
        while True:
            content -= len(decoder.take(content))
            if content:
                break
            wanted = decoder.wanted
            try:
                request = decoder.next_request()
            except wire.KeyTooLongError:
                return [*found, END]
            assert request is None or not wanted or not request.well_formed
            if request is None:
                assert wanted, "a request is complete, but is not given out"
                break
            found.append(request)
            if not request.well_formed:
                return [*found, END]
            content = request.content_length
    return [*found, len(decoder), content]


def _request(request: wire.Request) -> None:
    assert len(request.key) <= wire.MAXIMUM_KEY
    assert request.source_key is None or len(request.source_key) <= wire.MAXIMUM_KEY
    if request.signed_with(SECRET):
        again = wire.encode_request(
            request.operation,
            nonce=request.nonce,
            secret=SECRET,
            key=request.key,
            flags=request.flags,
            data_length=request.data_length,
            offset=request.offset,
            source_key=request.source_key or b"",
        )
        if request.operation != Operation.CP:
            (decoded,) = (each for each in _decode([again]) if isinstance(each, wire.Request))
            assert decoded == request
    wire.user_of(request.key)
    length, last = wire.part_range(request.offset + request.data_length, request.offset, request.data_length)
    assert length <= wire.MAXIMUM_PART
    assert last == (length == request.data_length)
