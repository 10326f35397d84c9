"""The chunkd codec against the worked bytes of chunkd.md section 10, both ways, in every cut."""

from __future__ import annotations

import pytest
from chunk_examples import CP, GET, LOGIN, MTIME, PUT, REQUESTS, RESPONSES, SECRET, START_TLS, nonce
from hypothesis import given, settings
from hypothesis import strategies as st

from haild.wire.chunk import messages as chunk
from haild.wire.chunk.messages import CheckState, Operation, Request, RequestDecoder, Response, ResponseDecoder


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
    assert request.nonce == nonce(7)


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
    body = bytes.fromhex("0100000000000000003b3d4b00000000")
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
    four: bytes,
    flags: int,
    data_length: int,
    offset: int,
    source: bytes,
    secret: bytes,
) -> None:
    encoded = chunk.encode_request(
        operation,
        nonce=four,
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
    assert (request.operation, request.key, request.nonce, request.flags) == (operation, key, four, flags)
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
