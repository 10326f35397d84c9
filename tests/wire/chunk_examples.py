"""The worked examples of chunkd.md section 10: their bytes and what they mean."""

from __future__ import annotations

from typing import Any

from haild.wire.chunk.messages import Operation, RequestFlag, Response, ResponseCode, ResponseFlag

SECRET = b"testuser"


def _hex(text: str) -> bytes:
    return bytes.fromhex(text)


def nonce(last: int) -> bytes:
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

REQUESTS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "login": (LOGIN, {"operation": Operation.LOGIN, "nonce": nonce(4), "key": b"testuser\0"}),
    "table_open": (
        TABLE_OPEN,
        {
            "operation": Operation.TABLE_OPEN,
            "nonce": nonce(5),
            "key": b"test\0",
            "flags": RequestFlag.TABLE_CREATE,
        },
    ),
    "put": (
        PUT,
        {"operation": Operation.PUT, "nonce": nonce(6), "key": b"deadbeef\0", "data_length": 14},
    ),
    "get": (GET, {"operation": Operation.GET, "nonce": nonce(7), "key": b"deadbeef\0"}),
    "get_part": (
        GET_PART,
        {
            "operation": Operation.GET_PART,
            "nonce": nonce(8),
            "key": b"deadbeef\0",
            "data_length": 4,
            "offset": 3,
        },
    ),
    "cp": (
        CP,
        {
            "operation": Operation.CP,
            "nonce": nonce(9),
            "key": b"copy\0",
            "data_length": 9,
            "source_key": b"deadbeef\0",
        },
    ),
    "list": (LIST, {"operation": Operation.LIST, "nonce": nonce(10)}),
    "del": (DEL, {"operation": Operation.DEL, "nonce": nonce(12), "key": b"deadbeef\0"}),
    "start_tls": (START_TLS, {"operation": Operation.START_TLS, "nonce": nonce(11)}),
}

SHA1 = _hex("d74d46f66004bbb51b4152e83a53461ba9c76394")
MTIME = 1262304000
RESPONSES = {
    "login": (
        Operation.LOGIN,
        _hex("4348554e4b447631 00 00 0000 04030201 0000000000000000") + bytes(24),
        Response(ResponseCode.SUCCESS, nonce(4), 0),
        0,
    ),
    "put": (
        Operation.PUT,
        _hex("4348554e4b44763100000000060302010e00000000000000d74d46f66004bbb51b4152e83a53461ba9c7639400000000"),
        Response(ResponseCode.SUCCESS, nonce(6), 14, sha1=SHA1),
        0,
    ),
    "put_existing": (
        Operation.PUT,
        _hex("4348554e4b4476310a000000060302010e00000000000000000000000000000000000000000000000000000000000000"),
        Response(ResponseCode.KEY_EXISTS, nonce(6), 14),
        0,
    ),
    "get": (
        Operation.GET,
        _hex(
            "4348554e4b44763100000000070302010e00000000000000d74d46f66004bbb5"
            "1b4152e83a53461ba9c7639400000000003b3d4b00000000"
        ),
        Response(ResponseCode.SUCCESS, nonce(7), 14, sha1=SHA1, mtime=MTIME),
        14,
    ),
    "get_missing": (
        Operation.GET,
        _hex("4348554e4b44763105000000070302010000000000000000000000000000000000000000000000000000000000000000"),
        Response(ResponseCode.NO_SUCH_KEY, nonce(7), 0),
        0,
    ),
    "get_part": (
        Operation.GET_PART,
        _hex(
            "4348554e4b44763100000000080302010400000000000000d74d46f66004bbb5"
            "1b4152e83a53461ba9c7639400000000003b3d4b00000000"
        ),
        Response(ResponseCode.SUCCESS, nonce(8), 4, sha1=SHA1, mtime=MTIME),
        4,
    ),
    "get_part_last": (
        Operation.GET_PART,
        _hex(
            "4348554e4b44763100080000080302010b00000000000000d74d46f66004bbb5"
            "1b4152e83a53461ba9c7639400000000003b3d4b00000000"
        ),
        Response(ResponseCode.SUCCESS, nonce(8), 11, flags=ResponseFlag.GET_PART_LAST, sha1=SHA1, mtime=MTIME),
        11,
    ),
    "check_status": (
        Operation.CHECK_STATUS,
        _hex("4348554e4b447631000000000d03020110000000000000000000000000000000") + bytes(16),
        Response(ResponseCode.SUCCESS, nonce(13), 16),
        16,
    ),
}
