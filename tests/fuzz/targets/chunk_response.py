"""Responses of chunkd: `haild.wire.chunk.messages.ResponseDecoder`. The first byte says what was asked."""

from collections.abc import Iterator

from haild.wire.chunk import messages as wire
from haild.wire.chunk.messages import Operation, Response, ResponseCode

TOKENS = (wire.MAGIC,)


def seeds() -> Iterator[bytes]:
    yield bytes([Operation.PUT]) + Response(ResponseCode.SUCCESS, b"1234", 5, sha1=bytes(20)).encode()
    yield bytes([Operation.GET]) + Response(ResponseCode.SUCCESS, b"1234", 5, mtime=1262304000).encode() + b"hello"
    yield bytes([Operation.GET]) + Response(ResponseCode.NO_SUCH_KEY, b"1234", 0).encode()
    status = wire.encode_check_status(wire.CheckState.IDLE, 1262304000)
    yield bytes([Operation.CHECK_STATUS]) + Response(ResponseCode.SUCCESS, b"1234", 16).encode() + status


def fuzz(data: bytes) -> None:
    operation, stream = (data[0] if data else 0), data[1:]
    whole = _decode(operation, [stream])
    assert _decode(operation, [stream[start : start + 5] for start in range(0, len(stream), 5)]) == whole
    try:
        state, finished = wire.decode_check_status(stream[-16:])
    except wire.ProtocolError:
        return
    assert wire.decode_check_status(wire.encode_check_status(state, finished)) == (state, finished)


def _decode(operation: int, pieces: list[bytes]) -> list[object]:
    decoder = wire.ResponseDecoder()
    found: list[object] = []
    body = 0
    for piece in pieces:
        decoder.receive(piece)
        while True:
            body -= len(decoder.take(body))
            if body:
                break
            try:
                response = decoder.next_response(operation)
            except wire.ProtocolError:
                return [*found, "not the protocol"]
            if response is None:
                break
            found.append(response)
            body = response.body_length(operation)
            again = wire.ResponseDecoder()
            again.receive(response.encode())
            assert again.next_response(operation) == response
    return [*found, len(decoder), body]
