"""Why a daemon cannot write its data, by its own word."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum

_FULL = re.compile(r"no space left on device|disk is full|disk quota exceeded|ENOSPC", re.IGNORECASE)
_READ_ONLY = re.compile(r"read-only file ?system|readonly database|EROFS", re.IGNORECASE)


class Trouble(StrEnum):
    """Why nothing can be written."""

    FULL = "full"
    READ_ONLY = "read-only"


def said(lines: Iterable[bytes]) -> Trouble | None:
    """What the last of these log lines that is about writing says."""
    trouble = None
    for line in lines:
        text = line.decode(errors="replace")
        if _FULL.search(text):
            trouble = Trouble.FULL
        elif _READ_ONLY.search(text):
            trouble = Trouble.READ_ONLY
    return trouble
