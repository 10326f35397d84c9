"""What all pages of a console share."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Self

from hailbox.bench.measure import BenchResult
from hailbox.console.changes import Changes
from hailbox.console.guard import Guard
from hailbox.console.jobs import Jobs
from hailbox.console.lockservice import LockService
from hailbox.console.resources import Resources
from hailbox.console.state import View
from hailbox.console.tracefeed import TraceFeed
from hailbox.console.watcher import Watcher
from hailbox.context import Context


@dataclass
class Console:
    """One console of one stack."""

    context: Callable[[], Context]
    """A fresh context of the stack; it reports to no one."""
    guard: Guard
    changes: Changes
    watcher: Watcher
    resources: Resources
    jobs: Jobs
    feed: TraceFeed
    benches: deque[tuple[int, BenchResult]] = field(default_factory=lambda: deque(maxlen=3))
    """What was measured, the newest last, each with its number."""
    locks: tuple[float, LockService] | None = None
    """What cld holds, and when that was asked for."""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @classmethod
    def of(cls, context: Context, port: int) -> Self:
        """The console of that context's stack on this port; must be made inside the event loop."""
        changes = Changes(asyncio.get_running_loop())

        def fresh() -> Context:
            return replace(context, command="hailbox ui", report=lambda _progress: None, spans=[])

        watcher = Watcher(fresh, changes.tell, context.stack)
        resources = Resources(fresh, lambda: watcher.wanted)
        return cls(fresh, Guard(port), changes, watcher, resources, Jobs(fresh, changes.tell), TraceFeed(fresh))

    @property
    def stack(self) -> str:
        """The name of the stack."""
        return self.view.stack

    @property
    def view(self) -> View:
        """The stack as it was seen last."""
        return self.watcher.view

    def keep(self, result: BenchResult) -> None:
        """Keep what was measured for the page that compares."""
        self.benches.append((next(self._numbers), result))
        self.changes.tell()

    def start(self) -> None:
        """Begin to look."""
        self.watcher.start()
        self.resources.start()

    def stop(self) -> None:
        """End looking."""
        self.watcher.stop()
        self.resources.stop()
