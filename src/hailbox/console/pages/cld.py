"""The lock service: its tree, who holds which lock, and its sessions."""

from __future__ import annotations

import time
from typing import Any, Final

from hailbox.console import lockservice
from hailbox.console.changes import in_thread
from hailbox.console.console import Console
from hailbox.console.jobs import command_line
from hailbox.console.lockservice import LockService
from hailbox.console.pages.page import Page, Query

KEPT_FOR: Final = 2.5
"""Seconds for which what cld holds is not asked for again: that runs three programs in its container."""
WORDS: Final = ["python3", "-m", "haild.cld", "admin"]


async def read(console: Console) -> LockService:
    """What the stack's cld holds; nothing where it has none. Raises HailboxError."""
    replicas = [replica.name for replica in console.view.replicas]
    cld = next((replica.name for replica in console.view.replicas if replica.service == "cld"), None)
    if cld is None:
        return LockService()
    known = console.locks
    if known is not None and time.monotonic() - known[0] < KEPT_FOR:
        return known[1]
    found = await in_thread(lambda: lockservice.read(console.context(), cld, replicas))
    console.locks = time.monotonic(), found
    return found


async def gather(console: Console, _query: Query) -> dict[str, Any]:
    """See `page.Gather`."""
    return {
        "held": await read(console),
        "line": command_line(console.stack, ["exec", "cld", "--", *WORDS]),
        "shell": command_line(console.stack, ["shell", "cld"]),
    }


PAGE: Final = Page("cld", "/cld", "cld", ("locks", "sessions", "tree"), gather, every=3.0)
