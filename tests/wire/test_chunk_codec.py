"""The chunkd codec against the worked bytes of chunkd.md section 10, both ways, in every cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haild.wire import chunk
from haild.wire.chunk import (
    CheckState,
    Operation,
    Request,
    RequestDecoder,
    RequestFlag,
    Response,
    ResponseCode,
    ResponseDecoder,
    ResponseFlag,
)

SECRET = b"testuser"


def _hex(text: str) -> bytes:
    return bytes.fromhex(text)


def _nonce(last: int) -> bytes:
    return (0x01020300 + last).to_bytes(4, "little")


LOGIN = (
    _hex("4348554e4b447631 06 00 0900 04030201 0000000000000000")
    + b"T7IROjLGXfKP6Mmz1jq5cASc2MM="
    + bytes(36)
    + b"testuser\0"
)
TABLE_OPEN = _hex(
    "4348554e4b447631070205000503020100000000000000006f55344a742b2b34"
    "395865744a6e64376330742f324275474475633d000000000000000000000000"
    "0000000000000000000000000000000000000000000000007465737400"
)
PUT = _hex(
    "4348554e4b44763103000900060302010e00000000000000544141703037754a"
    "384c72585165674d37774b6d554450474775733d000000000000000000000000"
    "0000000000000000000000000000000000000000000000006465616462656566"
    "00"
)
GET = _hex(
    "4348554e4b447631010009000703020100000000000000004d78592f69615150"
    "715a4d2f395655567a6f544948424f777353593d000000000000000000000000"
    "0000000000000000000000000000000000000000000000006465616462656566"
    "00"
)
GET_PART = _hex(
    "4348554e4b4476310c0009000803020104000000000000007074307346706452"
    "636164676752756e6d53436c373162417a756b3d000000000000000000000000"
    "0000000000000000000000000000000000000000000000006465616462656566"
    "00 0300000000000000"
)
CP = _hex(
    "4348554e4b4476310b0005000903020109000000000000005347477634544d79"
    "4336704e303570773272627565576f657661303d000000000000000000000000"
    "000000000000000000000000000000000000000000000000636f707900646561"
    "646265656600"
)
LIST = _hex(
    "4348554e4b447631050000000a03020100000000000000006954572b63586d36"
    "54444f6d646854632f443741583435726268343d000000000000000000000000"
    "000000000000000000000000000000000000000000000000"
)
DEL = _hex(
    "4348554e4b447631040009000c03020100000000000000004746763956335431"
    "71673448443864312b67616f6b4d5165636d6f3d000000000000000000000000"
    "0000000000000000000000000000000000000000000000006465616462656566"
    "00"
)
START_TLS = _hex(
    "4348554e4b4476310a0000000b030201000000000000000053544152542d544c"
    "5300000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000000000000000000000000000000000"
)

REQUESTS = {
    "login": (LOGIN, {"operation": Operation.LOGIN, "nonce": _nonce(4), "key": b"testuser\0"}),
    "table_open": (
        TABLE_OPEN,
        {
            "operation": Operation.TABLE_OPEN,
            "nonce": _nonce(5),
            "key": b"test\0",
            "flags": RequestFlag.TABLE_CREATE,
        },
    ),
    "put": (
        PUT,
        {"operation": Operation.PUT, "nonce": _nonce(6), "key": b"deadbeef\0", "data_length": 14},
    ),
    "get": (GET, {"operation": Operation.GET, "nonce": _nonce(7), "key": b"deadbeef\0"}),
    "get_part": (
        GET_PART,
        {
            "operation": Operation.GET_PART,
            "nonce": _nonce(8),
            "key": b"deadbeef\0",
            "data_length": 4,
            "offset": 3,
        },
    ),
    "cp": (
        CP,
        {
            "operation": Operation.CP,
            "nonce": _nonce(9),
            "key": b"copy\0",
            "data_length": 9,
            "source_key": b"deadbeef\0",
        },
    ),
    "list": (LIST, {"operation": Operation.LIST, "nonce": _nonce(10)}),
    "del": (DEL, {"operation": Operation.DEL, "nonce": _nonce(12), "key": b"deadbeef\0"}),
    "start_tls": (START_TLS, {"operation": Operation.START_TLS, "nonce": _nonce(11)}),
}

SHA1 = _hex("d74d46f66004bbb51b4152e83a53461ba9c76394")
MTIME = 1262304000
RESPONSES = {
    "login": (
        Operation.LOGIN,
        _hex("4348554e4b447631 00 00 0000 04030201 0000000000000000") + bytes(24),
        Response(ResponseCode.SUCCESS, _nonce(4), 0),
        0,
    ),
    "put": (
        Operation.PUT,
        _hex("4348554e4b44763100000000060302010e00000000000000d74d46f66004bbb51b4152e83a53461ba9c7639400000000"),
        Response(ResponseCode.SUCCESS, _nonce(6), 14, sha1=SHA1),
        0,
    ),
    "put_existing": (
        Operation.PUT,
        _hex("4348554e4b4476310a000000060302010e00000000000000000000000000000000000000000000000000000000000000"),
        Response(ResponseCode.KEY_EXISTS, _nonce(6), 14),
        0,
    ),
    "get": (
        Operation.GET,
        _hex(
            "4348554e4b44763100000000070302010e00000000000000d74d46f66004bbb5"
            "1b4152e83a53461ba9c7639400000000003b3d4b00000000"
        ),
        Response(ResponseCode.SUCCESS, _nonce(7), 14, sha1=SHA1, mtime=MTIME),
        14,
    ),
    "get_missing": (
        Operation.GET,
        _hex("4348554e4b44763105000000070302010000000000000000000000000000000000000000000000000000000000000000"),
        Response(ResponseCode.NO_SUCH_KEY, _nonce(7), 0),
        0,
    ),
    "get_part": (
        Operation.GET_PART,
        _hex(
            "4348554e4b44763100000000080302010400000000000000d74d46f66004bbb5"
            "1b4152e83a53461ba9c7639400000000003b3d4b00000000"
        ),
        Response(ResponseCode.SUCCESS, _nonce(8), 4, sha1=SHA1, mtime=MTIME),
        4,
    ),
    "get_part_last": (
        Operation.GET_PART,
        _hex(
            "4348554e4b44763100080000080302010b00000000000000d74d46f66004bbb5"
            "1b4152e83a53461ba9c7639400000000003b3d4b00000000"
        ),
        Response(ResponseCode.SUCCESS, _nonce(8), 11, flags=ResponseFlag.GET_PART_LAST, sha1=SHA1, mtime=MTIME),
        11,
    ),
    "check_status": (
        Operation.CHECK_STATUS,
        _hex("4348554e4b447631000000000d03020110000000000000000000000000000000") + bytes(16),
        Response(ResponseCode.SUCCESS, _nonce(13), 16),
        16,
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_requests_are_encoded_to_the_worked_bytes(name: str) -> None:
    encoded, fields = REQUESTS[name]
    arguments = {"nonce": fields["nonce"], "secret": None if name == "start_tls" else SECRET, **fields}
    operation = arguments.pop("operation")
    assert chunk.encode_request(operation, **arguments) == encoded


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("step", [1, 7, 89, 4096])
def test_requests_are_decoded_in_pieces_of_any_size(name: str, step: int) -> None:
    encoded, fields = REQUESTS[name]
    decoder = RequestDecoder()
    for start in range(0, len(encoded), step):
        assert decoder.next_request() is None
        assert decoder.wanted > 0
        decoder.receive(encoded[start : start + step])
    request = decoder.next_request()
    assert request is not None
    assert {name: getattr(request, name) for name in fields} == fields
    assert request.well_formed
    assert request.signed_with(SECRET) == (name != "start_tls")
    assert not request.signed_with(b"another")
    assert len(decoder) == 0


def test_following_bytes_are_left_for_the_next_request() -> None:
    decoder = RequestDecoder()
    decoder.receive(LOGIN + PUT + b"my first value" + GET)
    first, second = decoder.next_request(), decoder.next_request()
    assert first is not None
    assert second is not None
    assert (first.content_length, second.content_length) == (0, 14)
    assert decoder.take(14) == b"my first value"
    third = decoder.next_request()
    assert third is not None
    assert third.operation == Operation.GET


def test_wanted_never_reaches_beyond_start_tls() -> None:
    decoder = RequestDecoder()
    assert decoder.wanted == 88
    decoder.receive(START_TLS[:80])
    assert decoder.wanted == 8
    decoder.receive(START_TLS[80:])
    assert decoder.wanted == 0


@pytest.mark.parametrize("name", REQUESTS)
def test_truncated_requests_stay_incomplete(name: str) -> None:
    encoded, _ = REQUESTS[name]
    for length in range(len(encoded)):
        decoder = RequestDecoder()
        decoder.receive(encoded[:length])
        assert decoder.next_request() is None


def test_a_key_over_the_limit_is_refused_at_the_header() -> None:
    decoder = RequestDecoder()
    decoder.receive(GET[:10] + (1025).to_bytes(2, "little") + GET[12:88])
    with pytest.raises(chunk.KeyTooLongError):
        decoder.next_request()


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"CHUNKDv2" + GET[8:88], id="magic"),
        pytest.param(GET[:24] + bytes(64), id="empty signature"),
        pytest.param(GET[:24] + b"x" * 64, id="signature without NUL"),
    ],
)
def test_malformed_headers_are_seen_without_their_key(header: bytes) -> None:
    decoder = RequestDecoder()
    decoder.receive(header)
    request = decoder.next_request()
    assert request is not None
    assert not request.well_formed
    assert not request.signed_with(SECRET)
    assert request.nonce == _nonce(7)


def test_a_source_key_over_the_limit_is_not_waited_for() -> None:
    decoder = RequestDecoder()
    decoder.receive(CP[:16] + (1025).to_bytes(8, "little") + CP[24:93])
    request = decoder.next_request()
    assert request is not None
    assert request.source_key is None


@pytest.mark.parametrize("name", RESPONSES)
def test_responses_are_encoded_to_the_worked_bytes(name: str) -> None:
    _, encoded, response, _ = RESPONSES[name]
    assert response.encode() == encoded


@pytest.mark.parametrize("name", RESPONSES)
@pytest.mark.parametrize("step", [1, 5, 4096])
def test_responses_are_decoded_in_pieces_of_any_size(name: str, step: int) -> None:
    operation, encoded, response, body_length = RESPONSES[name]
    decoder = ResponseDecoder()
    for start in range(0, len(encoded), step):
        assert decoder.next_response(operation) is None
        decoder.receive(encoded[start : start + step])
    decoder.receive(b"following")
    decoded = decoder.next_response(operation)
    assert decoded == response
    assert response.body_length(operation) == body_length
    assert decoder.take(100) == b"following"


def test_a_response_without_the_magic_is_refused() -> None:
    decoder = ResponseDecoder()
    decoder.receive(b"HTTP/1.1" + bytes(40))
    with pytest.raises(chunk.ProtocolError):
        decoder.next_response(Operation.NOP)


def test_check_status_body() -> None:
    body = _hex("0100000000000000003b3d4b00000000")
    assert chunk.encode_check_status(CheckState.IDLE, MTIME) == body
    assert chunk.decode_check_status(body) == (CheckState.IDLE, MTIME)
    for damaged in (body[:-1], body + b"\0", b"\x07" + body[1:]):
        with pytest.raises(chunk.ProtocolError):
            chunk.decode_check_status(damaged)


@pytest.mark.parametrize(
    ("key", "user"),
    [
        (b"testuser\0", b"testuser"),
        (b"testuser", b"testuser"),
        (b"a\0b\0", b"a"),
        (b"\0", b""),
        (b"x" * 64, b"x" * 64),
        (b"", None),
        (b"x" * 65, None),
    ],
)
def test_user_of_a_login(key: bytes, user: bytes | None) -> None:
    assert chunk.user_of(key) == user


@pytest.mark.parametrize(
    ("size", "offset", "wanted", "expected"),
    [
        (14, 3, 4, (4, False)),
        (14, 3, 0, (11, True)),
        (14, 3, 11, (11, True)),
        (14, 14, 0, (0, True)),
        (300_000, 0, 0, (262_144, False)),
        (300_000, 0, 1 << 40, (262_144, False)),
        (300_000, 100_000, 1 << 40, (200_000, True)),
    ],
)
def test_range_of_a_part(size: int, offset: int, wanted: int, expected: tuple[int, bool]) -> None:
    assert chunk.part_range(size, offset, wanted) == expected


KEYS = st.binary(min_size=1, max_size=chunk.MAXIMUM_KEY)


@given(
    st.sampled_from([operation for operation in Operation if operation is not Operation.START_TLS]),
    KEYS,
    st.binary(min_size=4, max_size=4),
    st.integers(0, 255),
    st.integers(0, 1024),
    st.integers(0, 2**64 - 1),
    KEYS,
    st.binary(max_size=80),
)
@settings(max_examples=60, deadline=None)
def test_what_is_encoded_is_decoded(
    operation: Operation,
    key: bytes,
    nonce: bytes,
    flags: int,
    data_length: int,
    offset: int,
    source: bytes,
    secret: bytes,
) -> None:
    encoded = chunk.encode_request(
        operation,
        nonce=nonce,
        secret=secret,
        key=key,
        flags=flags,
        data_length=data_length,
        offset=offset,
        source_key=source,
    )
    decoder = RequestDecoder()
    decoder.receive(encoded)
    request = decoder.next_request()
    assert request is not None
    assert (request.operation, request.key, request.nonce, request.flags) == (operation, key, nonce, flags)
    assert request.signed_with(secret)
    if operation == Operation.CP:
        assert request.source_key == source
    elif operation == Operation.GET_PART:
        assert request.offset == offset


@given(st.lists(st.binary(max_size=300), max_size=12))
@settings(max_examples=100, deadline=None)
def test_no_bytes_break_the_decoders(pieces: list[bytes]) -> None:
    decoder = RequestDecoder()
    answers = ResponseDecoder()
    given_bytes = 0
    for piece in pieces:
        given_bytes += len(piece)
        decoder.receive(piece)
        answers.receive(piece)
        try:
            while isinstance(decoder.next_request(), Request):
                pass
            while isinstance(answers.next_response(Operation.GET), Response):
                pass
        except chunk.ProtocolError:
            break
        assert len(decoder) <= given_bytes
