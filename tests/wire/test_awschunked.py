"""aws-chunked bodies: the example of the S3 documentation, all kinds, any split, any damage."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haild.wire.s3 import awschunked, sigv4

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


# S3 API reference, the same page for trailers: the content above and a checksum. Lines of a trailer that a signature
# covers end in a bare line feed there.
TRAILER_EXAMPLE = awschunked.Seed(
    EXAMPLE.key, EXAMPLE.timestamp, SCOPE, "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
)
TRAILER_SIGNATURES = (
    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435",
)


@pytest.mark.parametrize("step", [1, 7, 4096, 1 << 20])
@pytest.mark.parametrize("separator", [b"\n\r\n", b"\r\n"])
def test_documented_example_of_a_trailer(step: int, separator: bytes) -> None:
    first, second, last, trailer = (s.encode() for s in TRAILER_SIGNATURES)
    data = (
        b"10000;chunk-signature=" + first + b"\r\n" + b"a" * 65536 + b"\r\n"
        b"400;chunk-signature=" + second + b"\r\n" + b"a" * 1024 + b"\r\n"
        b"0;chunk-signature=" + last + b"\r\n"
        b"x-amz-checksum-crc32c:sOO8/Q==" + separator + b"x-amz-trailer-signature:" + trailer + b"\r\n\r\n"
    )
    decoder = awschunked.Decoder(awschunked.SIGNED_TRAILER, TRAILER_EXAMPLE)
    assert decode(decoder, data, step) == b"a" * 66560
    assert decoder.trailers == {"x-amz-checksum-crc32c": "sOO8/Q=="}


# One part of an upload as MinIO's client for Go (7.0.46 of Debian 12, with TrailingHeaders) sent it to tabled.
MINIO_TARGET = "/trailer/of%20minio?partNumber=2&uploadId=8b9a9377eefe34a9933e3e5373c5cb92f185889263880706"
MINIO_HEADERS = {
    "Host": "127.0.0.1:33765",
    "Content-Length": "396",
    "Authorization": "AWS4-HMAC-SHA256 Credential=alice/20261128/us-east-1/s3/aws4_request,"
    "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-trailer,"
    "Signature=a35f49a39b3b235bda3bed8dc554ecc9ca846b6df7fb00cc9356e2a53c298d85",
    "X-Amz-Content-Sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    "X-Amz-Date": "20261128T152425Z",
    "X-Amz-Decoded-Content-Length": "100",
    "X-Amz-Trailer": "x-amz-checksum-crc32c",
}
MINIO_CONTENT = bytes(number * 7 % 251 for number in range(5 << 20, (5 << 20) + 100))
MINIO_BODY = (
    b"64;chunk-signature=31512990de2dd6df1c025588a9d8b9f632189ba2c3646e2c2429a1749f45d860\r\n"
    + MINIO_CONTENT
    + b"\r\n"
    b"0;chunk-signature=4cb17cfa964093bc6860e8baecca670b7a3675b6b29aa8ff44fa083a6d8e026a\r\n"
    b"x-amz-checksum-crc32c:CH834g==\n\r\n"
    b"x-amz-trailer-signature:87df43005bbfa3e01b5a452208b6e7991094dbc6234c820b11e61b20dbdda26b\r\n\r\n"
)


def minio_decoder() -> awschunked.Decoder:
    claimed = sigv4.parse_authorization(MINIO_HEADERS["Authorization"])
    timestamp = MINIO_HEADERS["X-Amz-Date"]
    assert sigv4.verify(
        claimed,
        "PUT",
        MINIO_TARGET,
        MINIO_HEADERS,
        secret="sesame",
        timestamp=timestamp,
        payload_hash=awschunked.SIGNED_TRAILER,
    )
    key = sigv4.signing_key("sesame", claimed.scope)
    seed = awschunked.Seed(key, timestamp, claimed.scope, claimed.signature)
    return awschunked.Decoder(awschunked.SIGNED_TRAILER, seed)


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_a_signed_trailer_of_a_real_client(step: int) -> None:
    assert len(MINIO_BODY) == int(MINIO_HEADERS["Content-Length"])
    decoder = minio_decoder()
    assert decode(decoder, MINIO_BODY, step) == MINIO_CONTENT
    assert decoder.trailers == {"x-amz-checksum-crc32c": "CH834g=="}


def test_every_changed_byte_of_a_signed_trailer_is_noticed() -> None:
    for position in range(len(MINIO_BODY)):
        data = bytearray(MINIO_BODY)
        data[position] ^= 1
        with pytest.raises(awschunked.FrameError):
            decode(minio_decoder(), bytes(data), 1000)
    for end in range(len(MINIO_BODY) - 4):
        with pytest.raises(awschunked.FrameError):
            decode(minio_decoder(), MINIO_BODY[:end], 1000)


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
