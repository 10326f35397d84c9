"""Names for stacks that say which process they belong to, so that the next run can remove what a killed one left.

The name holds digests of what tells that process from every other (`processes`), as a stack's name has 31 characters
at most.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import Final

from hailbox import processes

PREFIX: Final = "pt"
_NAME: Final = re.compile(rf"{PREFIX}-([0-9a-f]{{4}})-(\d{{1,7}})-([0-9a-f]{{8}})(?:-[a-z0-9]+)?")


def _host() -> str:
    """What tells the processes that we can see from those of other machines and containers that use the engine."""
    return f"{processes.machine()} {processes.space()}"


def _digest(*words: str, length: int) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:length]


def stack_name(worker: str = "", pid: int | None = None) -> str:
    """The name of this process's stack; `worker` (`gw0`) tells those of one run apart.

    Raises ProcessLookupError if there is no process `pid`.
    """
    pid = os.getpid() if pid is None else pid
    started = processes.began(pid)
    if started is None:
        raise ProcessLookupError(pid)
    owner = _digest(processes.boot(), str(pid), started, length=8)
    return "-".join(filter(None, [PREFIX, _digest(_host(), length=4), str(pid), owner, worker]))


def abandoned(stack: str) -> bool:
    """Whether a stack has the name of one that a test run on this host made, and that run is over."""
    match = _NAME.fullmatch(stack)
    if match is None or match[1] != _digest(_host(), length=4):
        return False
    started = processes.began(int(match[2]))
    return started is None or match[3] != _digest(processes.boot(), match[2], started, length=8)
