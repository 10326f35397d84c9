r"""Names of any bytes as printable text and back: `\xNN` for a byte that is no printable character, `\\` for `\`."""

from __future__ import annotations

import re
from typing import Final

_ESCAPE: Final = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.?)", re.DOTALL)


def escape(name: bytes) -> str:
    """One line of text that says which bytes `name` has."""
    return "".join(map(_shown, name.decode("utf-8", "surrogateescape")))


def _shown(character: str) -> str:
    if character == "\\":
        return r"\\"
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def unescape(text: str) -> bytes:
    """The inverse of `escape`. Raises ValueError for a backslash that begins neither `\\xNN` nor `\\\\`."""

    def byte(match: re.Match[bytes]) -> bytes:
        found = match[1]
        if found == b"\\":
            return found
        if len(found) != 3:
            raise ValueError(f"in {text!r} a backslash begins neither \\xNN nor \\\\")
        return bytes.fromhex(found[1:].decode())

    return _ESCAPE.sub(byte, text.encode("utf-8", "surrogateescape"))
