"""The requests of a stack for the pages that show them: one tracer for all pages, while one is open."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from hailbox.console.state import Problem, defect
from hailbox.context import Context
from hailbox.model.errors import HailboxError
from hailbox.trace.exchange import Exchange
from hailbox.trace.follow import Tracer

KEPT: Final = 300
"""Exchanges that a page shows first."""
WATCHED_FOR: Final = 10.0
"""Seconds after the last sign of a page until the tracer ends."""


class TraceFeed:
    """Keeps the last exchanges, each with its number."""

    def __init__(self, context: Callable[[], Context]) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._kept: deque[tuple[int, Exchange]] = deque(maxlen=KEPT)
        self._number = 0
        self._wanted_until = 0.0
        self._running = False
        self.problem: Problem | None = None
        """Why nothing can be followed now."""

    def want(self) -> None:
        """A page is open: follow, if nothing is followed yet."""
        with self._lock:
            self._wanted_until = time.monotonic() + WATCHED_FOR
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, daemon=True).start()

    def since(self, number: int) -> list[tuple[int, Exchange]]:
        """Those after the one of that number, oldest first."""
        with self._lock:
            return [each for each in self._kept if each[0] > number]

    def _run(self) -> None:
        tracer = Tracer(self._context())
        try:
            for found in tracer.turns():
                self.problem = None
                if not self._keep(found):
                    return
        except HailboxError as error:
            self.problem = Problem.of(error)
        except Exception as error:
            self.problem = Problem.of(defect(error))
        finally:
            tracer.stop()
            with self._lock:
                self._running = False

    def _keep(self, found: list[Exchange]) -> bool:
        """Keep these; whether a page still wants more."""
        with self._lock:
            for exchange in found:
                self._number += 1
                self._kept.append((self._number, exchange))
            return time.monotonic() < self._wanted_until
