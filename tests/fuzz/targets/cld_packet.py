"""Packets of CLD and their frames on TCP: `haild.wire.cld.packet`."""

from collections.abc import Iterator

from haild.wire.cld import packet as wire

TOKENS = (b"tkp1cDLC", b"CLDc1pkt", b"CLD1\x01", b"\0\0\0\x03", b"\0\0\0\x01")
KEY = wire.Key(b"u")


def seeds() -> Iterator[bytes]:
    for body in (b"", b"body", bytes(1500)):
        for packet in wire.fragments(b"12345678", b"user", wire.Message(7, 6, body), 1 << 63):
            sealed = wire.seal(packet, KEY)
            yield sealed
            yield wire.frame(sealed, wire.Direction.TO_SERVER)


def fuzz(data: bytes) -> None:
    _packet(data)
    _frames(data)


def _packet(data: bytes) -> None:
    try:
        packet = wire.parse(data)
    except wire.PacketError:
        return
    assert not KEY.verifies(data) or wire.seal(packet, KEY)[-20:] == data[-20:] or b"CLDc1pkt" in data
    assert wire.parse(wire.seal(packet, KEY)) == packet
    try:
        message = wire.Reassembly().feed(packet)
    except wire.TooLongError:
        return
    assert message is None or message == (packet.xid, packet.op, packet.chunk)


def _frames(data: bytes) -> None:
    """However the stream is cut, the same packets come out of it, and the same errors."""
    whole = _read([data])
    assert _read([data[start : start + 7] for start in range(0, len(data), 7)]) == whole
    middle = len(data) // 2
    assert _read([data[:middle], data[middle:]]) == whole
    packets, sound = whole
    assert all(0 < len(packet) <= wire.MAXIMUM_FRAME for packet in packets)
    if sound:
        again = b"".join(wire.frame(packet, wire.Direction.TO_SERVER) for packet in packets)
        assert data.startswith(again)
        assert len(data) - len(again) < 8 + wire.MAXIMUM_FRAME


def _read(pieces: list[bytes]) -> tuple[list[bytes], bool]:
    reader = wire.FrameReader(wire.Direction.TO_SERVER)
    packets: list[bytes] = []
    try:
        for piece in pieces:
            packets += reader.feed(piece)
    except wire.FrameError:
        # What came before the error in the same piece is lost with the connection.
        return [], False
    return packets, True
