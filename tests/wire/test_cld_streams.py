"""CLD's frames and fragments: byte at a time, cut short, damaged; and what hailbox adds to the protocol."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haild.wire.cld import extension as cld_extension
from haild.wire.cld import messages as cld
from haild.wire.cld import packet as cld_packet
from haild.wire.cld import xdr
from haild.wire.cld.packet import Direction, Message, Order, Packet

KEY = cld_packet.Key(b"user")
FEW = settings(max_examples=60, deadline=None)
SIDS = st.binary(min_size=8, max_size=8)
USERS = st.binary(min_size=1, max_size=31)
NUMBERS = st.integers(0, 2**64 - 1)
BODIES = st.one_of(st.binary(max_size=40), st.integers(1000, 5000).map(bytes))


@FEW
@given(SIDS, USERS, NUMBERS, st.integers(0, 2**32 - 1), BODIES, NUMBERS)
def test_message_survives_cutting_and_reassembly(
    sid: bytes, user: bytes, xid: int, op: int, body: bytes, sequence: int
) -> None:
    message = Message(xid, op, body)
    packets = cld_packet.fragments(sid, user, message, sequence)
    reassembly = cld_packet.Reassembly()
    results = []
    for number, packet in enumerate(packets):
        data = cld_packet.seal(packet, KEY)
        assert len(data) <= 1120
        assert KEY.verifies(data)
        parsed = cld_packet.parse(data)
        assert (parsed.sid, parsed.user) == (sid, user)
        assert parsed.sequence == (sequence + number) % 2**64
        results.append(reassembly.feed(parsed))
    assert results == [None] * (len(packets) - 1) + [message]


@FEW
@given(st.lists(st.binary(min_size=1, max_size=60), max_size=6), st.integers(1, 40))
def test_frames_are_found_however_they_arrive(packets: list[bytes], step: int) -> None:
    stream = b"".join(cld_packet.frame(packet, Direction.TO_SERVER) for packet in packets)
    reader = cld_packet.FrameReader(Direction.TO_SERVER)
    found = [packet for start in range(0, len(stream), step) for packet in reader.feed(stream[start : start + step])]
    assert found == packets
    single = cld_packet.FrameReader(Direction.TO_SERVER)
    assert [packet for byte in stream for packet in single.feed(bytes([byte]))] == packets
    assert cld_packet.FrameReader(Direction.TO_SERVER).feed(stream) == packets


def feed_all(reader: cld_packet.FrameReader, stream: bytes, step: int) -> None:
    for start in range(0, len(stream), step):
        reader.feed(stream[start : start + step])


@pytest.mark.parametrize(
    "header",
    ["434c443201480000", "434c443102480000", "434c443100480000", "434c443101000000", "434c443101011000", "58"],
)
def test_bad_frames_end_the_connection(header: str) -> None:
    for step in (1, 8, 5000):
        stream = bytes.fromhex(header) + bytes(5000)
        with pytest.raises(cld_packet.FrameError):
            feed_all(cld_packet.FrameReader(Direction.TO_SERVER), stream, step)


def test_largest_frame() -> None:
    packet = bytes(cld_packet.MAXIMUM_FRAME)
    stream = cld_packet.frame(packet, Direction.TO_CLIENT)
    assert cld_packet.FrameReader(Direction.TO_CLIENT).feed(stream) == [packet]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=150))
def test_any_bytes_are_a_packet_or_refused(data: bytes) -> None:
    for candidate in (data, b"tkp1cDLC" + data, b"tkp1cDLC" + bytes(11) + b"\4user" + data):
        try:
            packet = cld_packet.parse(candidate)
        except cld_packet.PacketError:
            continue
        assert packet.order in tuple(Order)
        assert len(packet.user) <= 32


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_a_body_or_refused(data: bytes) -> None:
    bodies = (
        cld.Generic,
        cld.HandleRequest,
        cld.OpenRequest,
        cld.OpenReply,
        cld.GetReply,
        cld.PutRequest,
        cld.PathRequest,
        cld.LockRequest,
        cld.EventBody,
    )
    for body in bodies:
        try:
            value = body.decode(data)
        except xdr.XdrError:
            continue
        assert body.decode(value.encode()) == value
    try:
        names = cld.directory_names(data)
    except xdr.XdrError:
        return
    assert len(names) <= len(data)


def test_first_fragment_begins_anew_and_stray_ones_are_ignored() -> None:
    message = Message(1, 6, bytes(3000))
    first, middle, last = cld_packet.fragments(b"session!", b"user", message, 5)
    reassembly = cld_packet.Reassembly()
    assert [reassembly.feed(packet) for packet in (middle, last, first, middle, first, middle)] == [None] * 6
    assert reassembly.feed(last) == message
    assert reassembly.feed(last) is None


def test_too_long_message_is_reported_once() -> None:
    message = Message(7, 6, bytes(cld.MAXIMUM_BODY + 3000))
    reassembly = cld_packet.Reassembly()
    packets = cld_packet.fragments(b"session!", b"user", message, 5)
    fitting = cld.MAXIMUM_BODY // cld_packet.MAXIMUM_CHUNK
    for packet in packets[:fitting]:
        assert reassembly.feed(packet) is None
    with pytest.raises(cld_packet.TooLongError) as caught:
        reassembly.feed(packets[fitting])
    assert (caught.value.xid, caught.value.op) == (7, 6)
    for packet in packets[fitting + 1 :]:
        assert reassembly.feed(packet) is None


def test_both_byte_orders_of_the_magic_are_taken() -> None:
    data = cld_packet.seal(Packet(b"session!", b"user", 3, 1, 0, b"", 9), KEY)
    swapped = b"CLDc1pkt" + data[8:]
    assert cld_packet.parse(swapped) == cld_packet.parse(data)


@pytest.mark.parametrize("secret", [b"k", b"s" * 64, b"s" * 65, b"s" * 127])
def test_signature_is_hmac_sha1(secret: bytes) -> None:
    import hmac

    assert cld_packet.Key(secret).mac(b"data") == hmac.digest(secret, b"data", "sha1")


def test_session_id_carries_the_lease() -> None:
    sid = cld_extension.make_sid(10, b"1234")
    assert len(sid) == 8
    assert cld_extension.lease_of(sid) == 10
    assert cld_extension.lease_of(b"original") is None
    for lease in (0, 121):
        with pytest.raises(ValueError, match="lease"):
            cld_extension.make_sid(lease, b"1234")


def test_additions_are_invisible_to_a_decoder_that_does_not_know_them() -> None:
    generic = cld.Generic(0, 77)
    grant = generic.encode() + cld_extension.Grant(10_000).encode()
    assert cld.Generic.decode(grant) == generic
    assert cld_extension.Grant.decode(grant) == cld_extension.Grant(10_000)
    assert cld_extension.Grant.decode(generic.encode()) is None
    owned = tuple(cld_extension.Owned(number, number % 2 == 0) for number in range(200))
    resumed = cld_extension.Resumed(owned)
    assert cld_extension.Resumed.decode(generic.encode() + resumed.encode()) == resumed
    for size in (12, 19, 30):
        with pytest.raises(xdr.XdrError):
            cld_extension.Resumed.decode((generic.encode() + resumed.encode())[:size])
    assert cld_extension.Lifeline.decode(cld_extension.Lifeline(9).encode()) == cld_extension.Lifeline(9)
    assert cld_extension.Lifeline.decode(b"trailing") is None
