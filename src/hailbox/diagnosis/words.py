"""What a daemon says in its log: read only in containers of images that are not ours.

Our daemons tell by their exit statuses. The programs of 2010, and a user's own builds of them, only have words, and
this is the one module that reads them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import Final

from hailbox.engine.port import Container, Engine
from hailbox.helper.volumecheck import Trouble

_LINES: Final = 50
_RECENT: Final = 120
"""Seconds of the log that count."""

_FULL: Final = re.compile(r"no space left on device|disk is full|disk quota exceeded|ENOSPC", re.IGNORECASE)
_READ_ONLY: Final = re.compile(r"read-only file ?system|readonly database|EROFS", re.IGNORECASE)


def trouble(engine: Engine, container: Container) -> Trouble | None:
    """Why the program in this container cannot write its data, by its last words about that; None if it has none."""
    return said(engine.logs(container.id, tail=_LINES, since=int(time.time()) - _RECENT))


def said(lines: Iterable[bytes]) -> Trouble | None:
    """The trouble named by the last of these log lines that is about writing, or None."""
    found = None
    for line in lines:
        text = line.decode(errors="replace")
        if _FULL.search(text):
            found = Trouble.FULL
        elif _READ_ONLY.search(text):
            found = Trouble.READ_ONLY
    return found
