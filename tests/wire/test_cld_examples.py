"""The worked examples of cld.md section 14, byte for byte, in both directions."""

import hashlib

import pytest

from haild.wire.cld import messages as cld
from haild.wire.cld import packet as cld_packet
from haild.wire.cld.messages import Op

SID = bytes.fromhex("0123456789abcdef")
USER = b"testuser"
KEY = cld_packet.Key(USER)
HEAD = "746b703163444c430123456789abcdef00000008746573747573657200000003"

EXAMPLES = {
    "new session": (
        HEAD + "112233445566778800000001" + "0010000000000000" + "5d74dc74125152b3e51c45f73c7a2252bf5d7713",
        (0x1122334455667788, Op.NEW_SESS, b"", 0x1000),
        "434c443101480000",
    ),
    "new session response": (
        HEAD
        + "99aabbccddeeff0000000001000000001122334455667788"
        + "0020000000000000d9b681cfe3cb78ff8ed5175b2bb1df5f14d4957d",
        (0x99AABBCCDDEEFF00, Op.NEW_SESS, cld.Generic(0, 0x1122334455667788), 0x2000),
        "434c443102540000",
    ),
    "acknowledgement": (
        HEAD + "00000000000000000000000c" + "0020000000000000" + "9d2cfd93d41ff94d37080368af4b8db4b8cc4baa",
        (0, Op.ACK, b"", 0x2000),
        "434c443101480000",
    ),
    "open": (
        HEAD
        + "112233445566778900000002"
        + "00000012000000000000000e2f636c642d746573742d696e73740000"
        + "011000000000000019f5becd07e5b6005d0126d38741e371051ecc79",
        (0x1122334455667789, Op.OPEN, cld.OpenRequest(0x12, 0, b"/cld-test-inst"), 0x1001),
        "434c443101640000",
    ),
    "open response": (
        HEAD
        + "99aabbccddeeff0100000002"
        + "0000000011223344556677890000000000000002"
        + "012000000000000056031827cc6715eba2cdcd9175541e4b6bf06121",
        (0x99AABBCCDDEEFF01, Op.OPEN, cld.OpenReply(0, 0x1122334455667789, 2), 0x2001),
        "434c4431025c0000",
    ),
    "open acknowledgement": (
        HEAD + "00000000000000000000000c" + "0120000000000000" + "a04031f0ff85ecc8c8f54e363ce2aa5e4894afc8",
        (0, Op.ACK, b"", 0x2001),
        "434c443101480000",
    ),
    "put": (
        HEAD
        + "112233445566778a0000000600000000000000020000000f6c6f6e67657274657374646174610a00"
        + "0210000000000000cb398c5e20d5b600ac347b3a5b5fe0aa210e7cad",
        (0x112233445566778A, Op.PUT, cld.PutRequest(2, b"longertestdata\n"), 0x1002),
        "434c443101640000",
    ),
    "put response": (
        HEAD
        + "99aabbccddeeff020000000600000000112233445566778a"
        + "02200000000000003c9f2c228f341a88aa9d3ff7661b4906554b39a2",
        (0x99AABBCCDDEEFF02, Op.PUT, cld.Generic(0, 0x112233445566778A), 0x2002),
        "434c443102540000",
    ),
    "get without READ": (
        HEAD
        + "112233445566778b000000040000000000000002"
        + "0310000000000000adf2daa2c72c81af85634d42d7a4291226f59045",
        (0x112233445566778B, Op.GET, cld.HandleRequest(2), 0x1003),
        "434c443101500000",
    ),
    "get refused": (
        HEAD
        + "99aabbccddeeff03000000040000000d112233445566778b"
        + "03200000000000002bfcf2d4cb356dc17d39cdbd544c6b66e221b67c",
        (0x99AABBCCDDEEFF03, Op.GET, cld.Generic(13, 0x112233445566778B), 0x2003),
        "434c443102540000",
    ),
    "get": (
        HEAD
        + "112233445566778d000000040000000000000003"
        + "0510000000000000f391ef7f1d4578ffb3e526965dd5bf1c0c433137",
        (0x112233445566778D, Op.GET, cld.HandleRequest(3), 0x1005),
        "434c443101500000",
    ),
    "get response": (
        HEAD
        + "99aabbccddeeff0500000004"
        + "00000000112233445566778d000000006df92c680000000000000002000000004b3d3b00000000004b3d3b0100000000"
        + "0000000e2f636c642d746573742d696e737400000000000f6c6f6e67657274657374646174610a00"
        + "05200000000000006c771bd70dda3384596df1e8a81994c1bd95908e",
        (
            0x99AABBCCDDEEFF05,
            Op.GET,
            cld.GetReply(
                0,
                0x112233445566778D,
                0x6DF92C68,
                2,
                1262304000,
                1262304001,
                0,
                b"/cld-test-inst",
                b"longertestdata\n",
            ),
            0x2005,
        ),
        "434c443102a00000",
    ),
    "trylock": (
        HEAD
        + "112233445566778e0000000b000000000000000300000000"
        + "0610000000000000a2348a586bf93cab73ac22b027681e8e0c4850b4",
        (0x112233445566778E, Op.TRYLOCK, cld.LockRequest(3, 0), 0x1006),
        "434c443101540000",
    ),
    "trylock refused": (
        HEAD
        + "99aabbccddeeff060000000b0000000b112233445566778e"
        + "0620000000000000c15faa6b79a303d4a131f753a75622b179f58b1a",
        (0x99AABBCCDDEEFF06, Op.TRYLOCK, cld.Generic(11, 0x112233445566778E), 0x2006),
        "434c443102540000",
    ),
    "ping": (
        HEAD + "99aabbccddeeff070000000e" + "0720000000000000" + "1963c49f2c1c920b26db628c4e75b893d5fd7568",
        (0x99AABBCCDDEEFF07, Op.PING, b"", 0x2007),
        "434c443102480000",
    ),
    "ping acknowledgement": (
        HEAD + "00000000000000000000000c" + "0720000000000000" + "176605b422ee0246f638b69362222df07ec7d530",
        (0, Op.ACK, b"", 0x2007),
        "434c443101480000",
    ),
    "event": (
        HEAD
        + "99aabbccddeeff0800000010000000000000000300000001"
        + "08200000000000002f4643bfe246917259fb5e433a27bebc555c6d10",
        (0x99AABBCCDDEEFF08, Op.EVENT, cld.EventBody(3, 1), 0x2008),
        "434c443102540000",
    ),
    "end session": (
        HEAD + "112233445566778f0000000d" + "0710000000000000" + "c7c698f3ad4ef94a328e132fd760e65cbf69c397",
        (0x112233445566778F, Op.END_SESS, b"", 0x1007),
        "434c443101480000",
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_is_built_to_the_byte(name: str) -> None:
    text, (xid, op, body, sequence), frame = EXAMPLES[name]
    data = bytes.fromhex(text)
    message = cld_packet.Message(xid, op, body if isinstance(body, bytes) else body.encode())
    (packet,) = cld_packet.fragments(SID, USER, message, sequence)
    assert cld_packet.seal(packet, KEY) == data
    direction = cld_packet.Direction(bytes.fromhex(frame)[4])
    assert cld_packet.frame(data, direction) == bytes.fromhex(frame) + data


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_is_read(name: str) -> None:
    text, (xid, op, body, sequence), _ = EXAMPLES[name]
    data = bytes.fromhex(text)
    packet = cld_packet.parse(data)
    assert KEY.verifies(data)
    assert (packet.sid, packet.user, packet.sequence) == (SID, USER, sequence)
    message = cld_packet.Reassembly().feed(packet)
    assert message is not None
    assert message[:2] == (xid, op)
    if isinstance(body, bytes):
        assert message.body == body
    else:
        assert type(body).decode(message.body) == body
        assert type(body).decode(message.body + b"trailing") == body


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_changed_bit_and_every_truncation_is_noticed(name: str) -> None:
    data = bytes.fromhex(EXAMPLES[name][0])
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        assert not KEY.verifies(bytes(changed))
        shortened = data[:position]
        try:
            cld_packet.parse(shortened)
        except cld_packet.PacketError:
            continue
        assert not KEY.verifies(shortened)


def test_two_packet_put_of_section_14_7() -> None:
    body = cld.PutRequest(2, b"A" * 1500).encode()
    message = cld_packet.Message(0x1122334455667799, Op.PUT, body)
    packets = cld_packet.fragments(SID, USER, message, 0x1010)
    first, second = (cld_packet.seal(packet, KEY) for packet in packets)
    assert cld_packet.frame(first, cld_packet.Direction.TO_SERVER)[:8].hex() == "434c443101480400"
    assert cld_packet.frame(second, cld_packet.Direction.TO_SERVER)[:8].hex() == "434c443101240200"
    assert first[-28:].hex() == "1010000000000000e4d9d044033bb0c1fe07ae11ab498b26b20f98e8"
    assert hashlib.sha1(first).hexdigest() == "92e5a9672c70a87d17a768b76b596174b9f2baca"
    assert second[-28:].hex() == "1110000000000000d980ac6975f40cbddf2a396b85ae88f5f17b5e4b"
    assert hashlib.sha1(second).hexdigest() == "6d12fa37704c15bbcbdd16884b98907c5fec89d6"
    reassembly = cld_packet.Reassembly()
    assert reassembly.feed(cld_packet.parse(first)) is None
    assert reassembly.feed(cld_packet.parse(second)) == message


def test_six_byte_user_is_padded() -> None:
    message = cld_packet.Message(1, Op.NEW_SESS, b"")
    (packet,) = cld_packet.fragments(SID, b"tabled", message, 1)
    data = cld_packet.seal(packet, cld_packet.Key(b"tabled"))
    assert data[16:28].hex() == "000000067461626c65640000"
    assert cld_packet.parse(data) == packet


def test_directory_data_of_section_9_2() -> None:
    names = [b"cld-test-inst", b"a", b"sixsix", b"sevenxx"]
    data = b"".join(cld.directory_record(name) for name in names)
    assert data.hex() == (
        "0d00636c642d746573742d696e737400"
        + "0100610000000000"
        + "0600736978736978"
        + "0700736576656e787800000000000000"
    )
    assert cld.directory_names(data) == names
    assert cld.directory_names(b"") == []
