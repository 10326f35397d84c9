"""Text of strangers on its way to a terminal: names, addresses, what another program said."""

from __future__ import annotations

import logging
import unicodedata
from typing import Final

_KEPT: Final = frozenset("\n\t")
_HARMFUL: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""General categories (Unicode 4.5): controls, C1 included; bidirectional marks and other format characters; lone
surrogates; and separators of lines. A terminal obeys some of them, and others hide what a text says."""


def printable(text: str) -> str:
    r"""`text` with every character that a terminal might obey written as an escape such as `\x9b` or `\u202e`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(each) if _is_harmful(each) else each for each in text)


def _is_harmful(character: str) -> bool:
    return character not in _KEPT and unicodedata.category(character) in _HARMFUL


def _escaped(character: str) -> str:
    if ord(character) < 0x80:
        return f"\\x{ord(character):02x}"
    return character.encode("ascii", "backslashreplace").decode()


class PlainFormatter(logging.Formatter):
    """Log lines that a terminal may show: what strangers sent is escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """The text of `record`, by `printable`."""
        return printable(super().format(record))
