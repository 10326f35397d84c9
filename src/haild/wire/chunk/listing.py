"""The XML of LIST (chunkd.md section 6.8), to the byte; written and read piece by piece."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Final

HEAD: Final = (
    b'<?xml version="1.0" encoding="UTF-8"?>\r\n'
    b'<ListVolumeResult xmlns="http://indy.yyz.us/doc/2006-03-01/">\r\n'
    b"  <Name>volume</Name>\r\n"
)
TAIL: Final = b"</ListVolumeResult>\r\n"

MAXIMUM_ENTRY: Final = 16384
"""Bytes of one Contents element: a key of 1,024 bytes of which each takes six when escaped, and the rest."""

_NAMED: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&apos;", '"': "&quot;"}
_ESCAPES: Final = {ord(character): text for character, text in _NAMED.items()} | {
    code: f"&#x{code:x};" for code in (*range(1, 9), 11, 12, *range(14, 32), *range(127, 133), *range(134, 160))
}
_PLAIN: Final = re.compile(rb"[ !#$%(-;=?-~]*")
_REFERENCE: Final = re.compile(rb"&(?:#x([0-9A-Fa-f]{1,6})|#([0-9]{1,7})|(amp|lt|gt|apos|quot));")
_UNNAMED: Final = {text[1:-1].encode(): character.encode() for character, text in _NAMED.items()}
_CONTENTS: Final = re.compile(rb"<Contents>(.*?)</Contents>", re.DOTALL)
_VALUE: Final = re.compile(rb"<(Name|LastModified|ETag|Size|Owner)>([^<]*)</\1>")


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One object of a listing."""

    name: bytes
    """The key up to its first NUL."""
    mtime: int
    """Seconds since 1970."""
    sha1: bytes
    size: int
    """Bytes."""
    owner: bytes


def escape(text: bytes) -> bytes:
    """`text` as character data; bytes that are not UTF-8 are passed through."""
    match = _PLAIN.fullmatch(text)
    if match:
        return text
    return text.decode("utf-8", "surrogateescape").translate(_ESCAPES).encode("utf-8", "surrogateescape")


def unescape(text: bytes) -> bytes:
    """The inverse of `escape`; references that name no character are left as they are."""

    def character(match: re.Match[bytes]) -> bytes:
        hexadecimal, decimal, name = match.groups()
        if name:
            return _UNNAMED[name]
        code = int(hexadecimal, 16) if hexadecimal else int(decimal)
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            return match.group()
        return chr(code).encode()

    return _REFERENCE.sub(character, text) if b"&" in text else text


def entry(listed: ListedObject) -> bytes:
    """The Contents element of one object, with its line ends."""
    modified = format_datetime(datetime.fromtimestamp(listed.mtime, UTC)).encode("ascii")
    return b"".join(
        (
            b"  <Contents>\r\n    <Name>",
            escape(listed.name),
            b"</Name>\r\n    <LastModified>",
            modified,
            b"</LastModified>\r\n    <ETag>",
            listed.sha1.hex().encode("ascii"),
            b"</ETag>\r\n    <Size>%d</Size>\r\n    <Owner>" % listed.size,
            escape(listed.owner),
            b"</Owner>\r\n  </Contents>\r\n",
        )
    )


class ListingParser:
    """Reads a listing piece by piece. Entries without a Name are skipped, as libhail does.

    It asks for no well-formed XML, because keys that are not UTF-8 or hold control characters make none.
    """

    def __init__(self) -> None:
        self._rest = b""

    def receive(self, data: bytes) -> list[ListedObject]:
        """The objects whose entries end in `data`. Raises ValueError for an entry that cannot be read."""
        text = self._rest + data
        found = []
        end = 0
        for match in _CONTENTS.finditer(text):
            end = match.end()
            listed = _read_entry(match.group(1))
            if listed is not None:
                found.append(listed)
        self._rest = text[end:]
        if len(self._rest) > MAXIMUM_ENTRY:
            raise ValueError("an entry of the listing is too long")
        return found


def _read_entry(text: bytes) -> ListedObject | None:
    values = {name: unescape(value) for name, value in _VALUE.findall(text)}
    if b"Name" not in values:
        return None
    modified = values.get(b"LastModified", b"").decode("ascii", "replace")
    return ListedObject(
        name=values[b"Name"],
        mtime=int(parsedate_to_datetime(modified).timestamp()) if modified else 0,
        sha1=bytes.fromhex(values.get(b"ETag", b"").decode("ascii", "replace")),
        size=int(values.get(b"Size", b"0")),
        owner=values.get(b"Owner", b""),
    )
