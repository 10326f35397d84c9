"""Sizes as people write and read them."""

from __future__ import annotations

import re
from typing import Final

from hailbox.model.errors import UsageError

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_WRITTEN: Final = re.compile(r"([1-9][0-9]{0,8}) ?(?:([KM])(?:iB)?)?", re.IGNORECASE)
_SCALES: Final = {"": 1, "K": 1 << 10, "M": 1 << 20}


def parse(size: str, maximum: int) -> int:
    """Bytes in `4096`, `4KiB`, `16M`. Raises UsageError, also above `maximum` bytes."""
    if found := _WRITTEN.fullmatch(size):
        count = int(found[1]) * _SCALES[(found[2] or "").upper()]
        if count <= maximum:
            return count
    raise UsageError(
        f"{size!r} is not a size from 1 byte to {exact(maximum)}", "write for example: --size 4KiB --size 16MiB"
    )


def exact(count: int) -> str:
    """Bytes in the largest unit that makes a whole number: `16 MiB`, `5000 bytes`."""
    for unit, scale in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= scale and count % scale == 0:
            return f"{count // scale} {unit}"
    return f"{count} bytes"


def rounded(count: float) -> str:
    """Bytes to two digits or more: `512 B`, `1.5 MiB`, `16 MiB`."""
    unit = 0
    while count >= 1023.5 and unit < len(_UNITS) - 1:
        count /= 1024
        unit += 1
    digits = 0 if unit == 0 or count >= 99.95 else 1
    return f"{f'{count:.{digits}f}'.removesuffix('.0')} {_UNITS[unit]}"
