"""Colours, where what is printed goes to a terminal that knows them, or the user insists on them.

NO_COLOR (no-color.org) and TERM=dumb switch them off, FORCE_COLOR (force-color.org) switches them on, also in a pipe;
an empty variable counts as none. NO_COLOR wins.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from typing import Final

_COLOURS: Final = (36, 33, 32, 35, 34, 31, 96, 93, 92, 95, 94, 91)
"""Codes of ECMA-48, SGR: readable on a dark ground and on a light one; red comes late, as it looks like trouble."""


def wanted(*, terminal: bool, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether to use colours; `terminal`: whether the output goes to one."""
    if environment.get("NO_COLOR"):
        return False
    if environment.get("FORCE_COLOR"):
        return environment["FORCE_COLOR"] != "0"
    return terminal and environment.get("TERM", "dumb") != "dumb"


def able(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the terminal can be told where to write."""
    return environment.get("TERM", "dumb") != "dumb"


class Palette:
    """A colour for each name: those of one kind (`chunkd-1`, `chunkd-2`) differ, and a name keeps its colour."""

    def __init__(self, *, used: bool) -> None:
        """`used`: whether anything is coloured at all."""
        self._used = used

    def paint(self, name: str, text: str) -> str:
        """`text` in the colour of `name`."""
        if not self._used:
            return text
        kind, _, number = name.rpartition("-")
        place = zlib.crc32((kind or name).encode()) + (int(number) if number.isdecimal() else 0)
        return f"\x1b[{_COLOURS[place % len(_COLOURS)]}m{text}\x1b[0m"
