"""The XML of LIST: `haild.wire.chunk.listing`."""

from collections.abc import Iterator

from haild.wire.chunk import listing as chunklist
from haild.wire.chunk.listing import ListedObject

TOKENS = tuple(
    f"<{end}{name}>".encode() for name in ("Contents", "Name", "LastModified", "ETag") for end in ("", "/")
)
TOKENS += (b"&amp;", b"&#x1f;", b"&#31;", b" +0000", b" -0000", b"Fri, 01 Jan 2010 00:00:00")


def seeds() -> Iterator[bytes]:
    objects = [
        ListedObject(b"deadbeef", 1262304000, bytes(20), 14, b"u"),
        ListedObject(b"<&'\x01\xff", 0, b"", 0, b""),
    ]
    yield chunklist.HEAD + b"".join(map(chunklist.entry, objects)) + chunklist.TAIL


def fuzz(data: bytes) -> None:
    found = _parse([data])
    assert _parse([data[start : start + 11] for start in range(0, len(data), 11)]) == found
    for listed in found or ():
        _entry(listed)
    assert chunklist.unescape(chunklist.escape(data)) == data or b"\0" in data
    if data:
        _entry(ListedObject(data[1:1025], data[0] << 24, data[:20], data[0], data[-60:]))


def _parse(pieces: list[bytes]) -> list[ListedObject] | None:
    """What the parser finds; None where it gives up."""
    parser = chunklist.ListingParser()
    found: list[ListedObject] = []
    try:
        for piece in pieces:
            found += parser.receive(piece)
    except ValueError:
        return None
    return found


def _entry(listed: ListedObject) -> None:
    """What is written is read again."""
    assert _parse([chunklist.entry(listed)]) == [listed]
