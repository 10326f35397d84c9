"""Numbers in the text of protocols and configurations."""

from __future__ import annotations

from typing import Final

_MOST_DIGITS: Final = 20


def decimal(text: str, least: int, most: int) -> int | None:
    """The number that `text` writes in ASCII digits; None if it is none, or is not from `least` to `most`."""
    # int() takes other scripts' digits, signs and underscores, and raises ValueError for thousands of digits.
    if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS):
        return None
    number = int(text)
    return number if least <= number <= most else None
