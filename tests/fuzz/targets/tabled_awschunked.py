"""aws-chunked bodies: the same content and the same verdict however the bytes are cut; no forged frame is taken."""

from collections.abc import Iterator

from fuzz.script import Script
from haild.wire.s3 import awschunked, sigv4

TOKENS = (b"\r\n", b"0\r\n", b";chunk-signature=", b"x-amz-checksum-crc32:", b"x-amz-trailer-signature:", b"ffffffff")
_SEED = awschunked.Seed(b"k" * 32, "20101128T184122Z", sigv4.Scope("20101128", "r"), "a" * 64)
KINDS = (awschunked.UNSIGNED_TRAILER, awschunked.SIGNED, awschunked.SIGNED_TRAILER)


def seeds() -> Iterator[bytes]:
    for number, kind in enumerate(KINDS):
        used = None if kind == awschunked.UNSIGNED_TRAILER else _SEED
        first, proof = awschunked.encode_frame(b"content", used, _SEED.signature)
        last, proof = awschunked.encode_frame(b"", used, proof)
        trailer = {"x-amz-checksum-crc32": "AAAAAA=="}
        end = b"\r\n" if kind == awschunked.SIGNED else awschunked.encode_trailer(trailer, used, proof)
        yield bytes([number, 3]) + first + last + end


def fuzz(data: bytes) -> None:
    script = Script(data)
    kind, step = script.choice(KINDS), script.byte() + 1
    body = script.take(len(data))
    whole = _decode(kind, [body])
    pieces = _decode(kind, [body[start : start + step] for start in range(0, len(body), step)])
    assert whole[1:] == pieces[1:], (whole, pieces)
    if whole[2] is None:
        assert whole[0] == pieces[0]
        assert len(whole[0]) <= len(body)


def _decode(kind: str, pieces: list[bytes]) -> tuple[bytes, dict[str, str], str | None]:
    """Content, trailers and the error, if any."""
    decoder = awschunked.Decoder(kind, None if kind == awschunked.UNSIGNED_TRAILER else _SEED)
    content = b""
    try:
        for piece in pieces:
            content += b"".join(decoder.feed(piece))
        return content, decoder.finish(), None
    except awschunked.FrameError as error:
        return content, {}, type(error).__name__
