"""Sizes as people write them."""

from __future__ import annotations

import re

from hailbox.model.errors import UsageError

_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20}
_SIZE = re.compile(r"([1-9][0-9]{0,8}) ?(|[KM](?:iB)?)", re.IGNORECASE)
MAXIMUM = 64 << 20
"""Bytes: this many are in memory for each size."""


def parse(size: str) -> int:
    """Bytes in `4096`, `4KiB`, `16M`. Raises UsageError."""
    found = _SIZE.fullmatch(size)
    if found:
        unit = found[2][:1].upper()
        count = int(found[1]) * _UNITS[f"{unit}iB" if unit else ""]
        if count <= MAXIMUM:
            return count
    raise UsageError(
        f"{size!r} is not a size from 1 byte to {text(MAXIMUM)}", "write for example: --size 4KiB --size 16MiB"
    )


def text(count: int) -> str:
    """Bytes in the largest unit that makes a whole number."""
    for unit, scale in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= scale and count % scale == 0:
            return f"{count // scale} {unit}"
    return f"{count} bytes"
