"""aws-chunked bodies: the example of the S3 documentation, all kinds, any split, any damage."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haild.wire import awschunked, sigv4

SCOPE = sigv4.Scope("20130524", "us-east-1")
# S3 API reference, "Signature calculations for the Authorization header: transferring payload in multiple chunks".
EXAMPLE = awschunked.Seed(
    sigv4.signing_key("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", SCOPE),
    "20130524T000000Z",
    SCOPE,
    "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
)
SIGNATURES = (
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
)


def example() -> bytes:
    first, second, last = (s.encode() for s in SIGNATURES)
    return (
        b"10000;chunk-signature=" + first + b"\r\n" + b"a" * 65536 + b"\r\n"
        b"400;chunk-signature=" + second + b"\r\n" + b"a" * 1024 + b"\r\n"
        b"0;chunk-signature=" + last + b"\r\n\r\n"
    )


def decode(decoder: awschunked.Decoder, data: bytes, step: int) -> bytes:
    pieces = []
    for start in range(0, len(data), step):
        pieces += [bytes(piece) for piece in decoder.feed(data[start : start + step])]
    decoder.finish()
    return b"".join(pieces)


@pytest.mark.parametrize("step", [1, 7, 4096, 1 << 20])
def test_documented_example(step: int) -> None:
    decoder = awschunked.Decoder(awschunked.SIGNED, EXAMPLE)
    assert decode(decoder, example(), step) == b"a" * 66560
    assert decoder.done


def test_the_encoder_makes_the_documented_example() -> None:
    previous, encoded = EXAMPLE.signature, b""
    for content in (b"a" * 65536, b"a" * 1024, b""):
        frame, previous = awschunked.encode_frame(content, EXAMPLE, previous)
        encoded += frame
    assert encoded + b"\r\n" == example()


@pytest.mark.parametrize("position", [3, 30, 100, 65700, 66800])
def test_a_changed_byte_is_noticed(position: int) -> None:
    data = bytearray(example())
    data[position] ^= 1
    with pytest.raises(awschunked.FrameError):
        decode(awschunked.Decoder(awschunked.SIGNED, EXAMPLE), bytes(data), 4096)


@settings(max_examples=40, deadline=None)
@given(
    frames=st.lists(st.binary(min_size=1, max_size=40), max_size=4),
    step=st.integers(1, 50),
    signed=st.booleans(),
)
def test_trailer_kinds(frames: list[bytes], step: int, signed: bool) -> None:
    seed = EXAMPLE if signed else None
    kind = awschunked.SIGNED_TRAILER if signed else awschunked.UNSIGNED_TRAILER
    previous, data = EXAMPLE.signature, b""
    for content in [*frames, b""]:
        frame, previous = awschunked.encode_frame(content, seed, previous)
        data += frame
    data += awschunked.encode_trailer({"x-amz-checksum-crc32": "AAAAAA=="}, seed, previous)
    decoder = awschunked.Decoder(kind, seed)
    assert decode(decoder, data, step) == b"".join(frames)
    assert decoder.trailers == {"x-amz-checksum-crc32": "AAAAAA=="}
    for cut in (0, len(data) - 5):
        with pytest.raises(awschunked.FrameError):
            decode(awschunked.Decoder(kind, seed), data[:cut], step)


@pytest.mark.parametrize(
    "data",
    [
        b"zz\r\n",
        b"\r\n",
        b"5\nhello",
        b"5\r\nhelloX\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\r\nmore\r\n",
        b"1" * 5000,
        b"11111111111111111\r\n",
        b"0\r\n" + b"".join(b"a%d:b\r\n" % n for n in range(40)) + b"\r\n",
        b"0\r\na:b\r\na:b\r\n\r\n",
        b"0\r\nno colon\r\n\r\n",
    ],
)
def test_broken_framing(data: bytes) -> None:
    with pytest.raises(awschunked.FrameError):
        decode(awschunked.Decoder(awschunked.UNSIGNED_TRAILER), data, 1000)


def test_a_signed_kind_needs_signatures() -> None:
    with pytest.raises(ValueError, match="seed"):
        awschunked.Decoder(awschunked.SIGNED)
    with pytest.raises(awschunked.FrameSignatureError):
        decode(awschunked.Decoder(awschunked.SIGNED, EXAMPLE), b"1\r\na\r\n0\r\n\r\n", 100)
    frame, _ = awschunked.encode_frame(b"", EXAMPLE, EXAMPLE.signature)
    with pytest.raises(awschunked.FrameSignatureError):
        decode(awschunked.Decoder(awschunked.SIGNED_TRAILER, EXAMPLE), frame + b"a:b\r\n\r\n", 100)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    with pytest.raises(awschunked.FrameError):
        decode(awschunked.Decoder(awschunked.UNSIGNED_TRAILER), data + b"\r\nx", 9)
