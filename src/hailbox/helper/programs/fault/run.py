"""The life of an agent: from its arguments to the end that was asked for, whichever way."""

from __future__ import annotations

import json
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

READY = "ready"
"""The line that says that the fault is in effect."""

AGAIN = 75
"""Exit status (EX_TEMPFAIL of sysexits.h) with which an agent asks the engine to start it again."""


class StartAgainError(Exception):
    """What the agent was attached to is gone; a new start attaches it to what took its place."""


class Agent(Protocol):
    """One fault."""

    def begin(self) -> None:
        """Bring the fault about; returns when it is in effect. Raises OSError if this kernel cannot."""

    def step(self) -> float:
        """Uphold it; returns after how many seconds it wants to be called again."""

    def readable(self) -> Sequence[int]:
        """Descriptors on which something to read makes `step` due at once."""

    def end(self) -> None:
        """Undo it."""


def run(make: Callable[[Mapping[str, Any]], Agent], text: str) -> int:
    """Run the agent for these arguments (JSON) until SIGTERM or the time `until` (seconds since the epoch)."""
    arguments = json.loads(text)
    until = arguments.get("until") or float("inf")
    if time.time() >= until:
        return 0
    asked, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    agent = make(arguments)
    try:
        agent.begin()
        print(READY, flush=True)  # noqa: T201
        while (left := until - time.time()) > 0:
            pause = max(0.0, min(agent.step(), left, 3600.0))
            if asked.fileno() not in select.select([asked.fileno(), *agent.readable()], [], [], pause)[0]:
                continue
            if signal.SIGTERM in asked.recv(4096):
                break
    except StartAgainError:
        return AGAIN
    except OSError as error:
        print(f"{type(agent).__name__}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    finally:
        agent.end()
    return 0
